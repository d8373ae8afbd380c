"""SandboxFusion's `/run_code`: its request and its reply, on our sandbox, so that clients of it need only another URL.

Kept: names, defaults, statuses, and that a program's own failure is `Failed` and ours `SandboxError`. Different, and
meant: `run_timeout` is both CPU and wall seconds, less the time a program stood in line for a CPU; the program has no
network; `memory_limit_MB` of -1 is the default of 512 and not unlimited; `stderr` is the last 2,000 bytes of it;
`compile_timeout` is CPU seconds; `files` and `fetch_files` are for Python alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from mellum_eval.service.settings import Refused, Settings
from sandboxes.check import Limits
from sandboxes.endings import breach, not_loaded
from sandboxes.errors import LostTwice, SandboxError
from sandboxes.languages import NAMES, Language, named
from sandboxes.programs import Program, Programs
from sandboxes.retry import judged
from sandboxes.runtime.codec import encode
from sandboxes.sandbox import End, Ending, Role, Sandbox
from sandboxes.verdict import Outcome

STDOUT_BYTES = 16 << 20
SIGKILLED = -9
_NAMES: list[Any] = sorted(NAMES)


class RunCodeRequest(BaseModel):
    """What to run. Fields that are not named here are ignored, as SandboxFusion does."""

    code: str
    language: str = Field(json_schema_extra={"enum": _NAMES})
    """SandboxFusion's name of a language, such as `nodejs`, or ours."""
    stdin: str | None = None
    compile_timeout: float = Field(default=10, gt=0, le=3600)
    """CPU seconds for the compiler, where the language has one; not more than a job may have."""
    run_timeout: float = Field(default=10, gt=0, le=3600)
    """Seconds, of CPU and of wall time."""
    memory_limit_MB: int = Field(default=-1, ge=-1, le=65536)
    """MiB over all its processes; -1 and 0 are the default of 512."""
    files: dict[str, str | None] = Field(default_factory=dict)
    """Base64 by path, written into the working directory before the program starts; null is an empty file."""
    fetch_files: list[str] = Field(default_factory=list)
    """Paths of files that the reply shall hold."""
    args: list[str] = Field(default_factory=list)
    """Taken for clients that send it; SandboxFusion gives it to pytest alone."""

    @field_validator("language")
    @classmethod
    def _is_known(cls, language: str) -> str:
        if language.lower() not in NAMES:
            raise ValueError(f"{', '.join(sorted(NAMES))} can be run here")
        return language

    @model_validator(mode="after")
    def _files_are_pythons(self) -> RunCodeRequest:
        if named(self.language).name != "python" and (self.files or self.fetch_files):
            raise ValueError("files and fetch_files are for python alone")
        return self

    @field_validator("files")
    @classmethod
    def _are_base64(cls, files: dict[str, str | None]) -> dict[str, str | None]:
        for path, content in files.items():
            try:
                base64.b64decode(content or "", validate=True)
            except (binascii.Error, ValueError):
                raise ValueError(f"the content of {path[:100]!r} is not base64") from None
        return files


class CommandRunResult(BaseModel):
    """How a process went."""

    status: Literal["Finished", "Error", "TimeLimitExceeded"]
    execution_time: float | None = None
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunCodeResponse(BaseModel):
    """`Success`: it exited with 0; `Failed`: it did not; `SandboxError`: it could not be run, by our fault."""

    status: Literal["Success", "Failed", "SandboxError"]
    message: str = ""
    compile_result: CommandRunResult | None = None
    run_result: CommandRunResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = Field(default_factory=dict)


def parse(data: Any, settings: Settings) -> RunCodeRequest:
    """A request of this service's size.

    Raises:
        Refused: It is none; names the field.
    """
    try:
        request = RunCodeRequest.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise Refused(422, f"{field}: {message}" if field else message, field=field or None) from None
    if request.run_timeout > settings.max_cpu_s:
        raise Refused(422, f"run_timeout: at most {settings.max_cpu_s:g} s are given here", field="run_timeout")
    if request.memory_limit_MB > settings.max_memory_mb:
        raise Refused(
            422, f"memory_limit_MB: at most {settings.max_memory_mb} MiB are given here", field="memory_limit_MB"
        )
    # Cut down and not refused: clients send it with languages that have no compiler, too.
    return request.model_copy(update={"compile_timeout": min(request.compile_timeout, settings.max_cpu_s)})


class Runner:
    """Runs programs in one sandbox, and keeps what was compiled."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._programs = Programs(sandbox)

    async def run(self, request: RunCodeRequest) -> RunCodeResponse:
        """Run a program. Never raises for what it is or does."""
        language = named(request.language)
        attempt = _python(self._sandbox, request) if language.name == "python" else self._other(language, request)
        try:
            return await judged(self._sandbox, attempt)
        except LostTwice as error:
            return _failed(CommandRunResult(status="Finished", return_code=SIGKILLED, stdout="", stderr=str(error)))
        except SandboxError as error:
            return RunCodeResponse(status="SandboxError", message=str(error))

    def _other(self, language: Language, request: RunCodeRequest) -> Callable[[], Awaitable[RunCodeResponse]]:
        build = language.build_limits.model_copy(
            update={"cpu_s": request.compile_timeout, "wall_s": 6 * request.compile_timeout}
        )
        program = Program.of(replace(language, build_limits=build), request.code)

        async def attempt() -> RunCodeResponse:
            stdin = (request.stdin or "").encode("utf-8", "surrogatepass")
            done = await self._programs.run(program, stdin, _limits(request), capture_stdout=STDOUT_BYTES)
            if done.phase == "build":
                result = _result(done.ending, b"")
                result.stderr = done.words
                if result.status == "Finished":
                    result.return_code = result.return_code or 1  # the session's own, which ends well
                return RunCodeResponse(status="Failed", compile_result=result)
            made = _reply(_result(done.ending, done.ending.stdout), {})
            if program.build:
                made.compile_result = CommandRunResult(status="Finished", return_code=0, stdout="", stderr="")
            return made

        return attempt


def _limits(request: RunCodeRequest) -> Limits:
    limits = Limits(cpu_s=request.run_timeout, memory_mb=max(16, request.memory_limit_MB))
    if request.memory_limit_MB < 1:
        limits = Limits(cpu_s=request.run_timeout)
    # Not by validation, which would raise the wall limit for the verdict's sake: here the timeout is the client's word.
    return limits.model_copy(update={"wall_s": request.run_timeout})


def _result(ending: Ending, stdout: bytes) -> CommandRunResult:
    result = CommandRunResult(
        status="Finished",
        execution_time=round(ending.wall_s, 6),
        return_code=ending.status,
        stdout=stdout.decode("utf-8", "replace"),
        stderr=ending.stderr_tail,
    )
    over = breach(ending)
    if ending.end is End.PROTOCOL:
        result.return_code, result.stderr = SIGKILLED, "it sent messages to the sandbox"
    elif over is not None and over[0] is Outcome.TIMEOUT:
        result.status, result.return_code = "TimeLimitExceeded", None
    elif over is not None:
        result.return_code, result.stderr = SIGKILLED, f"{ending.stderr_tail}\nkilled: {over[1]}".lstrip()
    return result


def _python(sandbox: Sandbox, request: RunCodeRequest) -> Callable[[], Awaitable[RunCodeResponse]]:
    return lambda: _attempt(sandbox, request)


async def _attempt(sandbox: Sandbox, request: RunCodeRequest) -> RunCodeResponse:
    mark = secrets.token_hex(16)
    code = request.code
    if request.files or request.fetch_files:
        code = _with_files(request, mark)
    stdin = (request.stdin or "").encode("utf-8", "surrogatepass")
    refused = None
    async with sandbox.session(Role.ARENA, _limits(request), capture_stdout=STDOUT_BYTES) as session:
        await session.send(encode(("program", code, stdin)))
        message = await session.receive()
        if message is not None and message[:2] == b"XS":
            refused = not_loaded(message[1:])[1]
        ending = await session.finish(kill=message is not None)
    stdout, files = _fetched(ending.stdout, mark) if request.fetch_files else (ending.stdout, {})
    result = _result(ending, stdout)
    if refused is not None:
        result.status, result.return_code, result.stderr = "Finished", 1, refused
    elif message is not None:
        result.status, result.return_code = "Finished", SIGKILLED
        result.stderr = "it sent messages to the sandbox"
    return _reply(result, files)


def _reply(result: CommandRunResult, files: dict[str, str]) -> RunCodeResponse:
    if result.status == "Finished" and result.return_code == 0:
        return RunCodeResponse(status="Success", run_result=result, files=files)
    return _failed(result, files)


def _failed(result: CommandRunResult, files: dict[str, str] | None = None) -> RunCodeResponse:
    return RunCodeResponse(status="Failed", run_result=result, files=files or {})


_WRAPPER = """\
import base64, json, os, sys
job = json.loads(base64.b64decode({job!r}))
for path, content in job["files"].items():
    if os.path.dirname(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(base64.b64decode(content or ""))
if job["fetch"]:
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = {{}}
        for path in job["fetch"]:
            try:
                with open(path, "rb") as file:
                    found[path] = base64.b64encode(file.read()).decode()
            except OSError:
                pass
        sys.stdout.flush()
        with open(1, "wb", closefd=False) as out:
            out.write((job["mark"] + json.dumps(found)).encode())
        if status < 0:
            import signal
            signal.signal(-status, signal.SIG_DFL) if -status not in (9, 19) else None
            os.kill(os.getpid(), -status)
        os._exit(status)
with open("solution.py", "w", encoding="utf-8", errors="surrogatepass") as file:
    file.write(job["code"])
import runpy
del sys.modules[__name__].job
runpy.run_path("solution.py", run_name="__main__")
"""


def _with_files(request: RunCodeRequest, mark: str) -> str:
    """A program that writes the files, runs the given one, and at last prints the wanted files behind a mark.

    The program could print the mark itself. It would lie about its own files to its own sender, and gain nothing.
    """
    job = {"files": request.files, "fetch": request.fetch_files, "mark": mark, "code": request.code}
    return _WRAPPER.format(job=base64.b64encode(json.dumps(job).encode()).decode())


def _fetched(stdout: bytes, mark: str) -> tuple[bytes, dict[str, str]]:
    before, found, after = stdout.rpartition(mark.encode())
    if not found:
        return stdout, {}
    try:
        files = json.loads(after)
    except (ValueError, RecursionError):
        return stdout, {}
    if not isinstance(files, dict) or not all(isinstance(content, str) for content in files.values()):
        return stdout, {}
    return before, files
