"""A pool survives the loss of what it is made of: frozen supervisors, killed containers, a killed harness."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from arena_jobs import SCRIPTED, SMALL, PoolOf, run
from engines import engine_called, processes_below, scripted_pool

from sandboxes import bootstrap
from sandboxes.check import Limits
from sandboxes.errors import ContainerLost, LostTwice, SandboxError, SandboxUnavailable
from sandboxes.pool import SandboxPool
from sandboxes.retry import judged
from sandboxes.sandbox import End, Role

pytestmark = pytest.mark.docker


@pytest.fixture
def engine_name() -> str:
    return "docker"


def container_of(pool: SandboxPool) -> Any:
    (worker,) = pool._all
    return worker.channel._container


def main_pid(container: Any) -> int:
    container.reload()
    return int(container.attrs["State"]["Pid"])


def zygote_pid(pool: SandboxPool) -> int:
    supervisor = main_pid(container_of(pool))
    return int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text())


async def test_a_killed_container_is_lost_and_replaced(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        async with pool.session(Role.ARENA, SMALL) as session:
            await session.send(b"import time; time.sleep(100)")
            await asyncio.to_thread(container_of(pool).kill)
            with pytest.raises(ContainerLost):
                await session.receive()
            with pytest.raises(ContainerLost):
                await session.finish()
        assert (await run(pool, "send(b'next')"))[0] == [b"next"]
        assert await pool.healthy()


async def test_containers_that_died_idle_cost_no_attempt(pool_of: PoolOf) -> None:
    async with pool_of(workers=2) as pool:
        async with pool.session(Role.ARENA, SMALL) as one, pool.session(Role.ARENA, SMALL) as other:
            for session in (one, other):
                await session.send(b"pass")
                await session.finish()
        assert len(pool._all) == 2
        for worker in list(pool._all):
            await asyncio.to_thread(worker.channel._container.kill)
        await asyncio.sleep(0.3)
        assert (await run(pool, "send(b'fresh')"))[0] == [b"fresh"]


async def test_a_lost_container_is_tried_again(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        attempts = 0

        async def attempt() -> list[bytes]:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                async with pool.session(Role.ARENA, SMALL) as session:
                    await session.send(b"import time; time.sleep(100)")
                    await asyncio.to_thread(container_of(pool).kill)
                    await session.receive()
            return (await run(pool, "send(b'again')"))[0]

        assert await judged(pool, attempt) == [b"again"]


async def test_a_frozen_supervisor_never_hangs_the_pool(pool_of: PoolOf) -> None:
    async with pool_of(quiet_s=3.0) as pool:
        await run(pool, "pass")
        pid = main_pid(container_of(pool))
        async with pool.session(Role.ARENA, SMALL) as session:
            await session.send(b"import time; time.sleep(100)")
            await asyncio.sleep(0.2)
            os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(ContainerLost, match="silent"):
                await session.receive()
            assert time.monotonic() - began < 15
        assert (await run(pool, "send(b'next')"))[0] == [b"next"]


async def test_a_frozen_zygote_never_hangs_the_pool(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = bootstrap.sources()
    quick = texts["supervisor"].replace("STUCK_S = 30.0", "STUCK_S = 1.0")
    assert quick != texts["supervisor"]
    monkeypatch.setitem(texts, "supervisor", quick)
    async with pool_of() as pool:
        await run(pool, "pass")
        pid = zygote_pid(pool)
        for code, moment in (("pass", 0.0), ("import time; time.sleep(100)", 0.3)):
            async with pool.session(Role.ARENA, Limits(cpu_s=0.1, wall_s=0.6)) as session:
                if not moment:
                    os.kill(pid, signal.SIGSTOP)
                await session.send(code.encode())
                await asyncio.sleep(moment)
                os.kill(pid, signal.SIGSTOP)
                with pytest.raises(ContainerLost, match="stuck"):
                    await session.finish()
            assert (await run(pool, "send(b'next')"))[0] == [b"next"]
            pid = zygote_pid(pool)


async def test_a_quiet_but_living_session_is_not_lost(pool_of: PoolOf) -> None:
    async with pool_of(quiet_s=3.0) as pool:
        assert (await run(pool, "import time; time.sleep(5); send(b'late')"))[0] == [b"late"]


async def test_an_answer_that_always_takes_its_container_down_is_named(pool_of: PoolOf) -> None:
    async with pool_of() as pool:

        async def attempt() -> None:
            async with pool.session(Role.ARENA, SMALL) as session:
                await session.send(b"import time; time.sleep(100)")
                await asyncio.sleep(0.1)
                await asyncio.to_thread(next(w for w in pool._all if not w.fit).channel._container.kill)
                await session.receive()

        with pytest.raises(LostTwice):
            await judged(pool, attempt)


async def test_what_is_lost_while_nothing_works_is_our_fault(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """No canary passes: a machine that loses whatever it runs, so the answer is not to blame."""
    async with pool_of() as pool:

        async def sick() -> bool:
            return False

        async def attempt() -> None:
            raise ContainerLost("gone")

        monkeypatch.setattr(pool, "healthy", sick)
        with pytest.raises(SandboxError, match="whatever runs in them") as raised:
            await judged(pool, attempt)
        assert not isinstance(raised.value, LostTwice)


async def test_memory_limits_follow_the_session(pool_of: PoolOf) -> None:
    hold = "b = bytearray(b'x') * (200 << 20); send(b'held')"
    async with pool_of() as pool:
        assert (await run(pool, hold, Limits(memory_mb=64)))[0] == []
        assert (await run(pool, hold, Limits(memory_mb=512)))[0] == [b"held"]
        assert (await run(pool, hold, Limits(memory_mb=64)))[0] == []
        assert len(pool._all) == 1


async def test_what_is_missing_is_said_with_its_mend() -> None:
    from sandboxes.engines.docker import DockerEngine

    await (await engine_called("docker")).close()
    with pytest.raises(SandboxUnavailable, match=r"no image .*mellum-eval sandbox build"):
        async with SandboxPool(DockerEngine(image="mellum-eval/none:0")):
            pass


async def test_no_engine_is_said_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    from sandboxes.engines.docker import DockerEngine

    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(SandboxUnavailable, match="no Docker engine answers"):
        async with SandboxPool(DockerEngine()):
            pass


async def test_a_supervisor_that_cannot_start_fails_all_who_wait() -> None:
    engine = await engine_called("docker")
    pool = SandboxPool(engine, 2, children={Role.ARENA: "extra"}, extra="raise RuntimeError('broken child program')")
    results = await asyncio.gather(*(run(pool, "pass") for _ in range(4)), return_exceptions=True)
    assert all(isinstance(r, SandboxError) for r in results), results
    assert any("broken child program" in str(r) for r in results)
    await pool.close()


HARNESS = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from arena_jobs import SCRIPTED
from sandboxes.engines.docker import DockerEngine
from sandboxes.pool import SandboxPool
from sandboxes.sandbox import End, Role
from sandboxes.check import Limits
async def main():
    pool = SandboxPool(DockerEngine(image={image!r}), 1, children={{r: "extra" for r in Role}}, extra=SCRIPTED)
    await pool.start()
    async with pool.session(Role.ARENA, Limits(cpu_s=100)) as session:
        await session.send(b"send(b'on')\\nwhile True: pass")
        await session.receive()
        (worker,) = pool._all
        print(worker.channel._container.id, flush=True)
        await session.receive()
asyncio.run(main())
"""


async def test_a_killed_harness_leaves_no_container() -> None:
    engine = await engine_called("docker")
    root = Path(__file__).resolve().parents[2]
    program = HARNESS.format(tests=str(Path(__file__).parents[1]), image=engine.image)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    ) as harness:
        line = await asyncio.to_thread(harness.stdout.readline)
        container = line.decode().strip()
        assert container
        harness.kill()
    deadline = time.monotonic() + 15
    client = engine._client
    while any(c.id == container for c in client.containers.list(all=True, ignore_removed=True)):
        assert time.monotonic() < deadline, "the container outlived its harness"
        await asyncio.sleep(0.2)
    await engine.close()


async def test_orphans_of_dead_harnesses_are_removed_at_start() -> None:
    from sandboxes.engines.docker import LABEL, OWNER, DockerEngine
    from sandboxes.engines.owners import owner

    engine = await engine_called("docker")
    client = engine._client
    world = owner().split("/")[0]
    made = {
        name: client.containers.create(engine.image, ["python3"], labels={LABEL: "arena", OWNER: name})
        for name in (f"{world}/1/12345678901", "elsewhere/1/12345678901", owner())
    }
    try:
        other = DockerEngine(image=engine.image)
        await other.open()
        left = {c.id for c in client.containers.list(all=True, ignore_removed=True)}
        assert [c.id in left for c in made.values()] == [False, True, True]
        await other.close()
    finally:
        for container in made.values():
            with contextlib.suppress(Exception):
                container.remove(force=True)
    await engine.close()


async def test_closing_leaves_no_container() -> None:
    from sandboxes.engines.docker import OWNER
    from sandboxes.engines.owners import owner

    async with SandboxPool(
        await engine_called("docker"), 2, children={r: "extra" for r in Role}, extra=SCRIPTED
    ) as pool:
        # More than one worker can serve at once: another is being started, perhaps still when the pool is closed.
        await asyncio.gather(*(run(pool, "pass") for _ in range(6)))
        sleeper = asyncio.create_task(run(pool, "import time; time.sleep(100)"))
        await asyncio.sleep(0.05)
    with pytest.raises((SandboxError, asyncio.CancelledError)):
        await sleeper
    other = await engine_called("docker")
    mine = {"label": f"{OWNER}={owner()}"}
    assert other._client.containers.list(all=True, ignore_removed=True, filters=mine) == []
    await other.close()


def judge_of(pool: SandboxPool) -> Any:
    (worker,) = [worker for worker in pool._all if worker.role is Role.JUDGE]
    return worker


async def test_a_judge_that_is_frozen_or_removed_is_replaced(pool_of: PoolOf) -> None:
    """The arena's worker goes on meanwhile: it has no part in it."""
    async with pool_of(quiet_s=3.0) as pool:
        await run(pool, "pass")
        (arena,) = pool._all

        async def freeze(worker: Any) -> None:
            os.kill(main_pid(worker.channel._container), signal.SIGSTOP)

        async def remove(worker: Any) -> None:
            await asyncio.to_thread(worker.channel._container.remove, force=True)

        for fault in (freeze, remove):
            async with pool.session(Role.JUDGE, SMALL) as session:
                await session.send(b"send(b'on')\nimport time; time.sleep(100)")
                assert await session.receive() == b"on"
                judge = judge_of(pool)
                await fault(judge)
                async with asyncio.timeout(20):
                    with pytest.raises(ContainerLost):
                        await session.receive()
            async with pool.session(Role.JUDGE, SMALL) as session:
                await session.send(b"send(b'next')")
                assert await session.receive() == b"next"
                await session.finish()
            assert judge_of(pool) is not judge
        assert arena in pool._all and (await run(pool, "send(b'arena')"))[0] == [b"arena"]


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "killed"])
@pytest.mark.parametrize("which", ["keeper", "supervisor", "zygote"])
async def test_the_local_sandbox_survives_the_same(which: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = bootstrap.sources()
    quick = texts["supervisor"].replace("STUCK_S = 30.0", "STUCK_S = 1.0")
    assert quick != texts["supervisor"]
    monkeypatch.setitem(texts, "supervisor", quick)
    async with scripted_pool("local", quiet_s=3.0) as pool:
        await run(pool, "pass")
        (worker,) = pool._all
        keeper = int(worker.channel.id)
        supervisor = children_of(keeper)[0]
        pid = {"keeper": keeper, "supervisor": supervisor, "zygote": children_of(supervisor)[0]}[which]
        everyone = processes_below(keeper)
        async with pool.session(Role.ARENA, Limits(cpu_s=0.2, wall_s=1.2)) as session:
            await session.send(b"send(b'on')\nimport time; time.sleep(100)")
            assert await session.receive() == b"on"
            everyone |= processes_below(keeper)
            os.kill(pid, number)
            async with asyncio.timeout(20):
                if (which, number) == ("keeper", signal.SIGSTOP):  # it only waits: nothing depends on it
                    assert (await session.finish()).end is End.WALL_LIMIT
                else:
                    with pytest.raises(ContainerLost):
                        await session.finish()
        assert (await run(pool, "send(b'next')"))[0] == [b"next"]
    await asyncio.to_thread(gone, everyone)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pids: set[int]) -> None:
    """Wait until none of these processes lives."""
    deadline = time.monotonic() + 15
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, f"processes {left} outlived their pool"
        time.sleep(0.1)
