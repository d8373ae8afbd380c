"""`mellum-eval verify`: JSONL jobs on stdin, JSONL verdicts on stdout, in the same order (contract 3).

Streaming, with a bounded look-ahead: as many jobs are in flight as keep all workers busy behind a slow one, and no more
is read, so an endless pipe is fine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from mellum_eval.cli.choices import Judge, JudgeKey, Ray, Runtime, Which, runtime_for
from mellum_eval.errors import PrerequisiteMissing, UserError

if TYPE_CHECKING:
    from mellum_eval.spec import RunSpec
    from sandboxes.sandbox import Sandbox
    from sandboxes.verdict import Verdict
    from sandboxes.verify import Judges

app = typer.Typer(
    rich_markup_mode=None,
    help="Judge JSONL jobs from stdin, verdicts to stdout.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

LOOK_AHEAD = 8
"""Jobs in flight for each worker: how far the others may run ahead of the slowest."""
MAX_LINE = 256 << 20


@app.command()
def verify(
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Jobs at the same time; the number of CPUs if not given.")
    ] = None,
    sandbox: Annotated[Which, typer.Option("--sandbox", help="Which sandbox to use.")] = Which.AUTO,
    runtime: Runtime = None,
    ray: Ray = None,
    judge: Judge = None,
    judge_api_key_env: JudgeKey = None,
    max_infra_rate: Annotated[
        float, typer.Option("--max-infra-rate", min=0.0, max=1.0, help="Exit 1 if more than this could not be judged.")
    ] = 0.01,
) -> None:
    """Judge JSONL jobs from stdin, verdicts to stdout."""
    from mellum_eval.spec import RunSpec
    from sandboxes.errors import SandboxError, SandboxUnavailable

    try:
        given = {"judge": judge, "judge_api_key_env": judge_api_key_env}
        spec = RunSpec.model_validate({name: value for name, value in given.items() if value is not None})
        counts = asyncio.run(_judge(sandbox.value, workers, ray, runtime_for(sandbox, runtime, ray), spec))
    except SandboxUnavailable:
        raise
    except SandboxError as error:
        raise PrerequisiteMissing(str(error), "see `mellum-eval sandbox status`") from error
    if counts.malformed:
        raise UserError(f"stdin: {counts.first}; {counts.malformed} of {counts.lines} lines could not be read as jobs")
    if counts.infra > max_infra_rate * counts.lines:
        typer.echo(f"mellum-eval: {counts.infra} of {counts.lines} jobs could not be judged", err=True)
        raise typer.Exit(1)


@dataclass(slots=True)
class _Counts:
    lines: int = 0
    malformed: int = 0
    infra: int = 0
    first: str = ""
    """The message of the first malformed line."""


async def _judge(choice: str, workers: int | None, ray: str | None, runtime: str | None, spec: RunSpec) -> _Counts:
    from mellum_eval.judge import opened
    from sandboxes.verify import Verifiers

    out = sys.stdout
    if ray is None:
        async with opened(spec) as model, Verifiers(lambda: _opened(choice, workers, runtime), judge=model) as here:
            return await _stream(here, lambda: workers or os.cpu_count() or 1, out)
    if spec.judge is not None:
        raise UserError("--judge: the nodes of a cluster have no judge model; leave --ray out")
    from mellum_eval.cli.finish import say
    from mellum_eval.cluster import ClusterVerifiers

    # Ray prints what it has to say of its nodes, whatever it was told about logging: not between the verdicts.
    with contextlib.redirect_stdout(sys.stderr):
        async with ClusterVerifiers(ray, choice, workers, say=say) as cluster:
            await cluster.ready()
            return await _stream(cluster, lambda: cluster.workers or 1, out)


async def _opened(choice: str, workers: int | None, runtime: str | None) -> Sandbox:
    from mellum_eval.cli.finish import say
    from sandboxes.choose import open_sandbox

    pool = await open_sandbox(choice, workers, runtime=runtime)  # type: ignore[arg-type]
    if pool.notice:
        say(pool.notice)
    return pool


async def _stream(judges: Judges, workers: Callable[[], int], out: TextIO) -> _Counts:
    counts = _Counts()
    lines = _Lines(asyncio.get_running_loop())
    waiting: deque[asyncio.Task[_Answer]] = deque()
    arrival: asyncio.Task[bytes | None] | None = None
    number, ended = 0, False
    try:
        while waiting or not ended:
            if not ended and len(waiting) < LOOK_AHEAD * workers():
                # Whichever comes first: another line, or the verdict that is next to be written.
                arrival = arrival or asyncio.create_task(lines.next())
                await asyncio.wait({arrival, *([waiting[0]] if waiting else [])}, return_when="FIRST_COMPLETED")
                if arrival.done():
                    line, arrival = arrival.result(), None
                    number += 1
                    ended = line is None
                    if line is not None and line.strip():
                        waiting.append(asyncio.create_task(_one(judges, number, line)))
                    continue
            answer = await waiting.popleft()
            counts.lines += 1
            counts.infra += answer.infra
            if answer.malformed:
                counts.malformed += 1
                counts.first = counts.first or answer.malformed
            out.write(answer.text + "\n")
            out.flush()
    finally:
        for task in (*waiting, *([arrival] if arrival else [])):
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return counts


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    malformed: str = ""
    infra: bool = False


async def _one(judges: Judges, number: int, line: bytes) -> _Answer:
    from sandboxes.job import JobError, parse_line
    from sandboxes.verdict import infra_error

    try:
        if len(line) > MAX_LINE:
            raise JobError(f"longer than {MAX_LINE >> 20} MiB")
        job = parse_line(line)
    except JobError as error:
        message = f"line {number}: {error}"
        return _Answer(_text(infra_error(message), error.id), malformed=message)
    verdict = await judges.verify_twice(job.check, job.answer)
    return _Answer(_text(verdict, job.id), infra=verdict.passed is None)


def _text(verdict: Verdict, id: str | None) -> str:
    # ASCII: lone surrogates and control characters of hostile strings stay escapes.
    return json.dumps(verdict.as_line(id), ensure_ascii=True, allow_nan=False)


class _Lines:
    """Lines of stdin, read in a thread: files, pipes and terminals alike, and no lock at exit."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(2)
        threading.Thread(target=self._read, args=(sys.stdin.fileno(),), daemon=True).start()

    async def next(self) -> bytes | None:
        """The next line, None at the end."""
        line = await self._queue.get()
        self._room.release()
        return line

    def _put(self, line: bytes | None) -> None:
        self._room.acquire()
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, line)
        except RuntimeError:  # the loop is closed: nobody waits any more
            raise SystemExit from None

    def _read(self, fd: int) -> None:
        line = bytearray()
        while chunk := os.read(fd, 1 << 16):
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                self._put(bytes(line + end))
                line.clear()
            if len(line) <= MAX_LINE:  # beyond, the line is refused anyway
                line += rest
        if line:
            self._put(bytes(line))
        self._put(None)
