"""Programs of any language, compiled and run in the arena: what `stdio` and `program` are made of.

The build is a session of its own, with limits of its own, and what it leaves comes back as bytes that nobody out here
looks into. They are kept by the content that made them (files, commands, environment) and sent with each run, so no
directory is shared that a candidate could write to: whatever a hostile source makes of its own build reaches only runs
of the very same source.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sandboxes.check import Limits
from sandboxes.endings import breach, one_line
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.languages import BUILD_LIMITS, LANGUAGES, Language, Step, filled
from sandboxes.runtime.codec import encode
from sandboxes.sandbox import End, Ending, Role, Sandbox
from sandboxes.verdict import Outcome

KEPT_BYTES = 256 << 20
"""What the builds of one `Programs` may take together; the least recently used go first."""
MISSING = 127
_STATUS = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class Program:
    """Files, how to compile them, and what to run. `Program.of` makes the usual one; `dataclasses.replace` another.

    Attributes:
        language: Decides the image, the environment and the build's limits.
        files: Name in the work directory to content.
        build: Compiler commands, in order, with `Language`'s placeholders filled in but `{heap}`.
        keeps: Patterns of the files that the build leaves and `run` needs. Source files are there for the build only,
            where there is one.
        run: The command.
        check: Where nothing is built: the command that fails on what is not well-formed.
    """

    language: Language
    files: Mapping[str, bytes]
    run: Step
    build: tuple[Step, ...] = ()
    keeps: tuple[str, ...] = ()
    check: Step = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, language: Language, code: str, files: Mapping[str, bytes] | None = None) -> Program:
        """One source file, and perhaps others beside it."""
        source, main = language.names_in(code)

        def named(step: Step) -> Step:
            return tuple(part.replace("{source}", source).replace("{main}", main) for part in step)

        return cls(
            language,
            {**(files or {}), source: code.encode("utf-8", "surrogatepass")},
            run=named(language.run),
            build=tuple(named(step) for step in language.build),
            keeps=language.keeps,
            check=named(language.check),
            environment=language.environment,
        )


@dataclass(frozen=True, slots=True)
class Build:
    """What became of a build.

    Attributes:
        bundle: What the runs need; None where it failed.
        words: What the compiler said, where it failed.
        ending: Of the build's session; None where there was nothing to build.
    """

    bundle: bytes | None
    words: str = ""
    ending: Ending | None = None

    @property
    def failed(self) -> bool:
        """Whether there is nothing to run."""
        return self.bundle is None


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a program.

    Attributes:
        phase: What ended it: `build` where that failed and nothing was run, `check` where the run failed because the
            source is not well-formed, else `run`.
        ending: Of that session: exit status, stdout, the tail of stderr, CPU seconds, why it ended.
        words: The compiler's, where the phase is not `run`.
    """

    phase: Literal["build", "check", "run"]
    ending: Ending
    words: str = ""


def refused(execution: Execution) -> tuple[Outcome, str]:
    """The outcome of a program that was not one: its phase is not `run`."""
    over = breach(execution.ending) if execution.phase == "build" else None
    if over is not None:
        return over[0], f"while compiling: {over[1]}"
    lines = execution.words.strip().splitlines() or [f"the compiler ended with status {execution.ending.status}"]
    telling = next((line for line in lines if "error" in line.lower()), lines[0])
    return Outcome.COMPILE_ERROR, one_line(telling)


class Programs:
    """Builds and runs programs on a sandbox, and keeps their builds for as long as it lives."""

    def __init__(self, sandbox: Sandbox, kept_bytes: int = KEPT_BYTES) -> None:
        """Starts nothing.

        Args:
            sandbox: Where sessions are opened.
            kept_bytes: See `KEPT_BYTES`.
        """
        self._sandbox = sandbox
        self._room = kept_bytes
        self._kept: OrderedDict[str, Build] = OrderedDict()
        self._building: dict[str, asyncio.Future[Build]] = {}

    async def build(self, program: Program) -> Build:
        """Compile, or take what the same files and commands were compiled to before.

        Raises:
            SandboxUnavailable: There is no image, or there are no tools, of that language here; says how to get them.
            SandboxError: It could not be had this time.
        """
        await self._sandbox.require(program.language)
        if not program.build:
            return Build(b"")
        key = _key(program)
        while True:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
            other = self._building.get(key)
            if other is None:
                break
            await asyncio.wait([other])  # whatever became of it: what failed for our reasons is tried again
            if not other.cancelled() and other.exception() is None:
                return other.result()
        future: asyncio.Future[Build] = asyncio.get_running_loop().create_future()
        self._building[key] = future
        try:
            made = await self._build(program)
        except BaseException:
            future.cancel()
            raise
        finally:
            del self._building[key]
        future.set_result(made)
        if made.ending is not None and made.ending.end is End.EXITED:  # a limit may be met another time
            self._keep(key, made)
        return made

    async def run(self, program: Program, stdin: bytes, limits: Limits, *, capture_stdout: int) -> Execution:
        """Compile where that is still to be done, then run.

        Args:
            program: What to run.
            stdin: What it reads.
            limits: Of the run; the build has its language's.
            capture_stdout: See `Sandbox.session`.

        Raises:
            ContainerLost: The container went away.
            SandboxUnavailable: As `build`.
            SandboxError: As `build`.
        """
        built = await self.build(program)
        if built.bundle is None:
            if built.ending is None:
                raise SandboxError("a build failed without an ending")
            return Execution("build", built.ending, built.words)
        ending = await self._run(program, program.run, built.bundle, stdin, limits, capture_stdout)
        if program.check and ending.end is End.EXITED and ending.status != 0:
            checked = await self._run(program, program.check, b"", b"", program.language.build_limits, 1 << 20)
            if checked.end is End.EXITED and checked.status not in (0, MISSING):
                words = checked.stdout.decode("utf-8", "replace").strip() or checked.stderr_tail
                return Execution("check", ending, words)
        return Execution("run", ending)

    async def _build(self, program: Program) -> Build:
        limits = program.language.build_limits
        steps = [_filled(step, limits) for step in program.build]
        job = ("build", _files(program), steps, list(program.keeps), _environment(program, limits))
        family = program.language.family
        async with self._sandbox.session(Role.ARENA, limits, family=family) as session:
            await session.send(encode(job))
            message = await session.receive()
            ending = await session.finish(kill=message is not None)
        if message is None or message[:1] not in (b"B", b"F"):
            return Build(None, one_line(ending.stderr_tail), ending)
        if message[:1] == b"B":
            return Build(message[1:], ending=ending)
        words = message[1 + _STATUS.size :].decode("utf-8", "replace")
        if message[1 : 1 + _STATUS.size] == _STATUS.pack(MISSING):
            raise SandboxError(f"the {family} sandbox cannot compile {program.language.title}: {one_line(words)}")
        return Build(None, words, ending)

    async def _run(
        self, program: Program, step: Step, bundle: bytes, stdin: bytes, limits: Limits, capture_stdout: int
    ) -> Ending:
        files = [] if bundle else _files(program)
        job = ("run", files, bundle, _filled(step, limits), _environment(program, limits), stdin)
        family = program.language.family
        async with self._sandbox.session(Role.ARENA, limits, capture_stdout=capture_stdout, family=family) as session:
            await session.send(encode(job))
            message = await session.receive()
            ending = await session.finish(kill=message is not None)
        if message is not None:  # sent before any of the program ran
            words = message[1 + _STATUS.size :].decode("utf-8", "replace")
            raise SandboxError(f"the {family} sandbox cannot run {program.language.title}: {one_line(words)}")
        return ending

    def _keep(self, key: str, build: Build) -> None:
        self._kept[key] = build
        size = sum(len(kept.bundle or b"") for kept in self._kept.values())
        while size > self._room and self._kept:
            _, oldest = self._kept.popitem(last=False)
            size -= len(oldest.bundle or b"")


def _files(program: Program) -> list[tuple[str, bytes]]:
    return sorted(program.files.items())


def _filled(step: Step, limits: Limits) -> list[str]:
    return filled(step, memory_mb=limits.memory_mb)


def _environment(program: Program, limits: Limits) -> dict[str, str]:
    return dict(
        zip(program.environment, filled(tuple(program.environment.values()), memory_mb=limits.memory_mb), strict=True)
    )


def _key(program: Program) -> str:
    """Content address of a build. The tools are those of one sandbox's image, which stays the same while it is open."""
    digest = hashlib.sha256()
    head = [program.language.name, program.build, program.keeps, sorted(program.environment.items())]
    digest.update(json.dumps(head).encode())
    for name, data in _files(program):
        digest.update(f"\0{len(name)} {name} {len(data)}\0".encode("utf-8", "surrogatepass"))
        digest.update(data)
    return digest.hexdigest()


async def versions(sandbox: Sandbox) -> dict[str, str]:
    """The tools of each language as they name themselves, or what is missing and the command that mends it."""
    found: dict[str, str] = {}
    programs = Programs(sandbox)
    for language in LANGUAGES.values():
        asked = Program(language, {}, run=language.version, environment=language.environment)
        try:
            execution = await programs.run(asked, b"", BUILD_LIMITS, capture_stdout=1 << 16)
        except SandboxUnavailable as missing:
            found[language.name] = str(missing)
        else:
            said = execution.ending.stdout.decode("utf-8", "replace") + execution.ending.stderr_tail
            found[language.name] = one_line((said.strip().splitlines() or ["does not say"])[0])
    return found
