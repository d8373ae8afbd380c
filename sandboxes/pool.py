"""A pool of warm workers behind one engine: the `Sandbox` that verifiers use.

A worker is one confinement and runs one session at a time. Workers start when they are wanted, are given to sessions
first come first served, and are replaced in the background when lost, dirty or worn out. They are of one role and one
family of languages each: as many as there are CPUs may work at a time, whatever their family; a few more may rest, so
that jobs in turn of C++ and Java do not wait for containers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandboxes import bootstrap
from sandboxes.check import Limits
from sandboxes.engines.base import Channel, Engine
from sandboxes.errors import ContainerLost, EngineAway, SandboxError, SandboxUnavailable
from sandboxes.languages import FAMILIES, Family, Language
from sandboxes.runtime import frames
from sandboxes.sandbox import Ending, Role
from sandboxes.worker import Worker, WorkerSession

LAUNCH_TRIES = 3
LAUNCH_PAUSE_S = 0.5
ENGINE_PATIENCE_S = 60.0
"""How long to wait for an engine that does not answer, such as one that restarts."""
SESSIONS_PER_WORKER = 20_000
CANARY = Limits(cpu_s=5, wall_s=60, memory_mb=64)


RESTING = 8
"""Workers, beyond those that may work at a time, that are kept for the next job of their family."""


@dataclass(slots=True)
class _Wish:
    """A session that waits for a worker."""

    family: Family
    memory_mb: int
    future: asyncio.Future[Worker]


class _Crew:
    """Workers of one role: those who rest, who waits for one, and how many work or are being started."""

    def __init__(self, role: Role, size: int) -> None:
        self.role = role
        self.size = size
        self.idle: list[Worker] = []
        """The one that rests longest first."""
        self.waiting: deque[_Wish] = deque()
        self.slots = list(range(size + RESTING - 1, -1, -1))
        self.busy = 0
        self.starting: Counter[Family] = Counter()
        self.alive: Counter[Family] = Counter()
        """Workers that there are, those that are being started among them."""

    @property
    def room(self) -> bool:
        """Whether one more may work."""
        return self.busy + self.starting.total() < self.size


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
        self._found: set[str] = set()
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
        worker = await self._acquire(Role.ARENA, "python", CANARY.memory_mb)
        self._release(worker)

    @contextlib.asynccontextmanager
    async def session(
        self,
        role: Role,
        limits: Limits,
        *,
        capture_stdout: int = 0,
        family: Family = "python",
        _canary: bool = False,
    ) -> AsyncIterator[WorkerSession]:
        """Open a session on the next free worker of that kind; leaving the context kills what has not ended."""
        worker = await self._fitted(role, family, limits.memory_mb)
        session = worker.open(limits, capture_stdout, canary=_canary)
        try:
            yield session
        finally:
            if session.ended:
                self._release(worker)
            else:
                self._spawn(self._wind_up(worker, session))

    async def require(self, language: Language) -> None:
        """Raises SandboxUnavailable where a language's tools cannot be had."""
        if language.name not in self._found:
            await self._engine.require(language)
            self._found.add(language.name)

    def standing(self) -> list[Worker]:
        """The workers that there are, at work or at rest."""
        return list(self._all)

    async def healthy(self) -> bool:
        """Whether a fresh session of a known-good job works now, in each role and family that is in use."""
        used = [(crew.role, family) for crew in self._crews.values() for family in crew.alive if crew.alive[family]]
        try:
            for role, family in used or [(Role.ARENA, FAMILIES[0])]:
                async with self.session(role, CANARY, family=family, _canary=True) as session:
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

    async def _fitted(self, role: Role, family: Family, memory_mb: int) -> Worker:
        """A worker with that memory limit.

        Raises:
            SandboxError: None can be had. Never `ContainerLost`: no answer has run yet.
        """
        for _ in range(LAUNCH_TRIES):
            try:
                return await self._acquire(role, family, memory_mb)
            except ContainerLost as lost:
                last = lost
        raise SandboxError(f"workers are lost before anything runs in them ({last})") from last

    async def _acquire(self, role: Role, family: Family, memory_mb: int) -> Worker:
        if self._closed:
            raise SandboxError("the sandbox is closed")
        crew = self._crews[role]
        for dead in [worker for worker in crew.idle if not worker.channel.alive]:
            crew.idle.remove(dead)  # died while it rested: nobody's answer did that
            self._dismiss(dead)
        worker = None
        if not crew.waiting and crew.room:
            worker = _best(crew.idle, family, memory_mb)
        if worker is not None:
            crew.busy += 1
        else:
            wish = _Wish(family, memory_mb, asyncio.get_running_loop().create_future())
            crew.waiting.append(wish)
            self._staff(crew)
            try:
                worker = await wish.future
            except asyncio.CancelledError:
                if wish.future.done() and not wish.future.cancelled() and wish.future.exception() is None:
                    self._release(wish.future.result())
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
        """Let a worker rest, for whoever waits longest; replace it if it is not fit."""
        if self._closed or not worker.fit or worker.sessions >= SESSIONS_PER_WORKER:
            self._replace(worker)
            return
        crew = self._crews[worker.role]
        crew.busy -= 1
        crew.idle.append(worker)
        self._staff(crew)

    def _replace(self, worker: Worker) -> None:
        """One that worked works no more."""
        crew = self._crews[worker.role]
        crew.busy -= 1
        self._dismiss(worker)
        self._staff(crew)

    def _dismiss(self, worker: Worker) -> None:
        if worker in self._all:
            self._all.discard(worker)
            crew = self._crews[worker.role]
            crew.slots.append(worker.slot)
            crew.alive[worker.family] -= 1
            self._spawn(worker.channel.kill())

    def _staff(self, crew: _Crew, *, start: bool = True) -> None:
        """Give those who wait longest the workers that rest, or have some started, as far as there is room.

        Who has a worker started for him takes one that comes free before.
        """
        promised = crew.starting.copy()
        passed: list[_Wish] = []
        while crew.waiting and crew.room and not self._closed:
            wish = crew.waiting.popleft()
            if wish.future.done():
                continue
            worker = _best(crew.idle, wish.family, wish.memory_mb)
            if worker is not None:
                crew.busy += 1
                wish.future.set_result(worker)
                continue
            passed.append(wish)
            if promised[wish.family]:
                promised[wish.family] -= 1
            elif start and (crew.slots or crew.idle):
                if not crew.slots:
                    self._dismiss(crew.idle.pop(0))
                crew.starting[wish.family] += 1
                crew.alive[wish.family] += 1
                self._spawn(self._launch(crew, wish.family, crew.slots.pop(), wish.memory_mb))
        crew.waiting.extendleft(reversed(passed))

    async def _launch(self, crew: _Crew, family: Family, slot: int, memory_mb: int) -> None:
        error: SandboxError = SandboxError("no worker was started")
        worker = None
        try:
            attempt, give_up_at = 0, asyncio.get_running_loop().time() + ENGINE_PATIENCE_S
            while attempt < LAUNCH_TRIES and not self._closed:
                try:
                    worker = await self._try_launch(crew.role, family, slot, memory_mb)
                    return
                except SandboxUnavailable as missing:
                    error = missing
                    break
                except EngineAway as away:
                    error = away
                    if asyncio.get_running_loop().time() > give_up_at:
                        break
                    await asyncio.sleep(LAUNCH_PAUSE_S)
                except SandboxError as failed:
                    error = failed
                    attempt += 1
                    await asyncio.sleep(LAUNCH_PAUSE_S * 2 ** (attempt - 1))
        finally:
            crew.starting[family] -= 1
            if worker is not None:
                self._all.add(worker)
                crew.idle.append(worker)
                self._staff(crew)
            else:
                crew.slots.append(slot)
                crew.alive[family] -= 1
                # Others may still be served by workers that live; without any, waiting would be for ever.
                if not crew.alive[family]:
                    self._fail(crew, error, family)
                self._staff(crew, start=not crew.alive[family])

    async def _try_launch(self, role: Role, family: Family, slot: int, memory_mb: int) -> Worker:
        channel: Channel = await self._engine.launch(role, slot, memory_mb, family)
        try:
            await channel.send(
                bootstrap.shipment(role, channel.confinement, child=self._children.get(role), extra=self._extra)
            )
            async with asyncio.timeout(60):
                kind, _, length = frames.HEADER.unpack(await channel.receive(frames.HEADER.size))
                hello = await channel.receive(length)
            if kind != frames.READY:
                raise SandboxError(f"the sandbox's supervisor said {kind} instead of being ready")
            await channel.ready(json.loads(hello))
        except (TimeoutError, ContainerLost) as error:
            await channel.kill()
            last = (channel.diagnosis().splitlines() or [str(error) or "no word in 60 s"])[-1]
            raise SandboxError(f"the sandbox did not get ready: {last}") from error
        except BaseException:
            await asyncio.shield(channel.kill())
            raise
        return Worker(channel, role, slot, memory_mb, self._quiet_s, family)

    def _fail(self, crew: _Crew, error: SandboxError, family: Family | None = None) -> None:
        """Disappoint all who wait, or those of one family."""
        for wish in crew.waiting:
            if family in (None, wish.family) and not wish.future.done():
                wish.future.set_exception(error)  # `_staff` drops it

    async def _wind_up(self, worker: Worker, session: WorkerSession) -> None:
        """Kill an abandoned session and wait for its cleaning."""
        with contextlib.suppress(ContainerLost):
            await session.finish(kill=True)
        self._release(worker)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _best(idle: list[Worker], family: Family, memory_mb: int) -> Worker | None:
    """An idle worker of the family, with that memory limit already if there is one: changing it costs milliseconds."""
    found = None
    for at in range(len(idle) - 1, -1, -1):
        if idle[at].family == family:
            if idle[at].memory_mb == memory_mb:
                return idle.pop(at)
            found = at if found is None else found
    return None if found is None else idle.pop(found)


__all__ = ["Ending", "SandboxPool"]
