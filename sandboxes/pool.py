"""A pool of warm workers behind one engine: the `Sandbox` that verifiers use.

A worker is one confinement and runs one session at a time. Workers start when they are wanted, up to a number for each
role, wait in line first come first served, and are replaced in the background when lost, dirty or worn out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sandboxes import bootstrap
from sandboxes.check import Limits
from sandboxes.engines.base import Channel, Engine
from sandboxes.errors import ContainerLost, SandboxError, SandboxUnavailable
from sandboxes.runtime import frames
from sandboxes.sandbox import Ending, Role
from sandboxes.worker import Worker, WorkerSession

LAUNCH_TRIES = 3
LAUNCH_PAUSE_S = 0.5
SESSIONS_PER_WORKER = 20_000
CANARY = Limits(cpu_s=5, wall_s=60, memory_mb=64)


class _Crew:
    """Workers of one role: idle ones, those who wait for one, and how many there are or are being started."""

    def __init__(self, role: Role, size: int) -> None:
        self.role = role
        self.size = size
        self.idle: list[Worker] = []
        self.waiting: deque[tuple[asyncio.Future[Worker], int]] = deque()
        self.slots = list(range(size - 1, -1, -1))
        self.starting = 0


class SandboxPool:
    """Sessions on warm workers; implements `sandboxes.sandbox.Sandbox`."""

    def __init__(
        self,
        engine: Engine,
        workers: int | None = None,
        *,
        quiet_s: float = 30.0,
        children: Mapping[Role, str] | None = None,
        extra: str | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            engine: Where confinements come from; closed with the pool.
            workers: Workers of each role at most; the number of CPUs if not given.
            quiet_s: Seconds of silence, while an answer is awaited, after which a worker counts as lost.
            children: Other child programs than the roles' own (tests).
            extra: Source of a further runtime module named `extra` (tests).
        """
        self._engine = engine
        self.workers = workers or os.cpu_count() or 1
        self._quiet_s = quiet_s
        self._children = dict(children or {})
        self._extra = extra
        self._crews = {role: _Crew(role, self.workers) for role in Role}
        self._tasks: set[asyncio.Task[None]] = set()
        self._all: set[Worker] = set()
        self._closed = False
        self.notice = ""
        """A line for the user about the choice of this sandbox, if there is something to say."""

    @property
    def engine(self) -> str:
        """`docker` or `local`."""
        return self._engine.name

    def describe(self) -> Mapping[str, Any]:
        """For the run's manifest."""
        return {**self._engine.describe(), "workers": self.workers}

    async def start(self) -> None:
        """Have one arena worker ready, so that what is missing shows now and not in the middle of a run.

        Raises:
            SandboxUnavailable: It cannot be had here; says how to mend that.
            SandboxError: It failed to start.
        """
        worker = await self._acquire(Role.ARENA, CANARY.memory_mb)
        self._release(worker)

    @contextlib.asynccontextmanager
    async def session(
        self, role: Role, limits: Limits, *, capture_stdout: int = 0, _canary: bool = False
    ) -> AsyncIterator[WorkerSession]:
        """Open a session on the next free worker of that role; leaving the context kills what has not ended."""
        worker = await self._acquire(role, limits.memory_mb)
        session = worker.open(limits, capture_stdout, canary=_canary)
        try:
            yield session
        finally:
            if session.ended:
                self._release(worker)
            else:
                self._spawn(self._wind_up(worker, session))

    async def healthy(self) -> bool:
        """Whether a fresh session of a known-good job works now, in each role that is in use."""
        roles = [crew.role for crew in self._crews.values() if len(crew.slots) < crew.size] or [Role.ARENA]
        try:
            for role in roles:
                async with self.session(role, CANARY, _canary=True) as session:
                    await session.send(b"canary")
                    if await session.receive() != b"canary":
                        return False
                    ending = await session.finish()
                    if ending.status != 0:
                        return False
        except SandboxError:
            return False
        return True

    async def close(self) -> None:
        """Stop the workers and remove what they left. What still waits for one gets an error."""
        self._closed = True
        for crew in self._crews.values():
            self._fail(crew, SandboxError("the sandbox is closed"))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.channel.kill() for worker in self._all), return_exceptions=True)
        self._all.clear()
        await self._engine.close()

    async def __aenter__(self) -> SandboxPool:
        """Start; see `start`."""
        try:
            await self.start()
        except BaseException:
            await asyncio.shield(self.close())
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        await asyncio.shield(self.close())

    # -- workers come and go --------------------------------------------------------------------------------------

    async def _acquire(self, role: Role, memory_mb: int) -> Worker:
        if self._closed:
            raise SandboxError("the sandbox is closed")
        crew = self._crews[role]
        for dead in [worker for worker in crew.idle if not worker.channel.alive]:
            crew.idle.remove(dead)  # died while it rested: nobody's answer did that
            self._replace(dead)
        if crew.idle and not crew.waiting:
            worker = _best(crew.idle, memory_mb)
        else:
            future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
            crew.waiting.append((future, memory_mb))
            self._staff(crew, memory_mb)
            try:
                worker = await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._release(future.result())
                raise
        if worker.memory_mb != memory_mb:
            try:
                await worker.channel.set_memory(memory_mb)
            except BaseException:
                self._replace(worker)
                raise
            worker.memory_mb = memory_mb
        return worker

    def _release(self, worker: Worker) -> None:
        """Give a worker to whoever waits longest, or let it rest; replace it if it is not fit."""
        if self._closed or not worker.fit or worker.sessions >= SESSIONS_PER_WORKER:
            self._replace(worker)
            return
        crew = self._crews[worker.role]
        while crew.waiting:
            future, _ = crew.waiting.popleft()
            if not future.done():
                future.set_result(worker)
                return
        crew.idle.append(worker)

    def _replace(self, worker: Worker) -> None:
        crew = self._crews[worker.role]
        if worker in self._all:
            self._all.discard(worker)
            crew.slots.append(worker.slot)
            self._spawn(worker.channel.kill())
        if crew.waiting:
            self._staff(crew, crew.waiting[0][1])

    def _staff(self, crew: _Crew, memory_mb: int) -> None:
        """Start workers for those who wait, as far as there are slots."""
        while crew.slots and crew.starting < len(crew.waiting) and not self._closed:
            crew.starting += 1
            self._spawn(self._launch(crew, crew.slots.pop(), memory_mb))

    async def _launch(self, crew: _Crew, slot: int, memory_mb: int) -> None:
        error: SandboxError = SandboxError("no worker was started")
        worker = None
        try:
            for attempt in range(LAUNCH_TRIES):
                try:
                    worker = await self._try_launch(crew.role, slot, memory_mb)
                    return
                except SandboxUnavailable as missing:
                    error = missing
                    break
                except SandboxError as failed:
                    error = failed
                    await asyncio.sleep(LAUNCH_PAUSE_S * 2**attempt)
        finally:
            crew.starting -= 1
            if worker is not None:
                self._all.add(worker)
                self._release(worker)
            else:
                crew.slots.append(slot)
                # Others may still be served by workers that live; without any, waiting would be for ever.
                if len(crew.slots) == crew.size:
                    self._fail(crew, error)

    async def _try_launch(self, role: Role, slot: int, memory_mb: int) -> Worker:
        channel: Channel = await self._engine.launch(role, slot, memory_mb)
        try:
            await channel.send(
                bootstrap.shipment(role, channel.confinement, child=self._children.get(role), extra=self._extra)
            )
            async with asyncio.timeout(60):
                kind, _, length = frames.HEADER.unpack(await channel.receive(frames.HEADER.size))
                await channel.receive(length)
            if kind != frames.READY:
                raise SandboxError(f"the sandbox's supervisor said {kind} instead of being ready")
        except (TimeoutError, ContainerLost) as error:
            await channel.kill()
            last = (channel.diagnosis().splitlines() or [str(error) or "no word in 60 s"])[-1]
            raise SandboxError(f"the sandbox did not get ready: {last}") from error
        except BaseException:
            await asyncio.shield(channel.kill())
            raise
        return Worker(channel, role, slot, memory_mb, self._quiet_s)

    def _fail(self, crew: _Crew, error: SandboxError) -> None:
        while crew.waiting:
            future, _ = crew.waiting.popleft()
            if not future.done():
                future.set_exception(error)

    async def _wind_up(self, worker: Worker, session: WorkerSession) -> None:
        """Kill an abandoned session and wait for its cleaning."""
        with contextlib.suppress(ContainerLost):
            await session.finish(kill=True)
        self._release(worker)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _best(idle: list[Worker], memory_mb: int) -> Worker:
    """An idle worker with that memory limit already, else any: changing the limit costs milliseconds."""
    for at, worker in enumerate(idle):
        if worker.memory_mb == memory_mb:
            return idle.pop(at)
    return idle.pop()


__all__ = ["Ending", "SandboxPool"]
