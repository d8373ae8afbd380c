"""Faults of the machinery: an engine that restarts or is full, another runtime, sessions that never end."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from arena_jobs import SCRIPTED, SMALL, PoolOf, run
from engines import engine_called
from own_engine import OwnEngine, available, own_engine

from sandboxes import bootstrap
from sandboxes import pool as pool_module
from sandboxes import worker as worker_module
from sandboxes.check import Limits
from sandboxes.engines import docker as docker_engine
from sandboxes.engines import owners
from sandboxes.engines.docker import IMAGE, DockerEngine
from sandboxes.errors import ContainerLost, SandboxError, SandboxUnavailable
from sandboxes.pool import SandboxPool
from sandboxes.retry import judged
from sandboxes.sandbox import End, Role

pytestmark = pytest.mark.docker
CHILD = {"children": {role: "extra" for role in Role}, "extra": SCRIPTED}
SOURCE = os.environ.get("MELLUM_SANDBOX_IMAGE", IMAGE)


@pytest.fixture
def engine_name() -> str:
    return "docker"


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    """One of our own, with crun if it is installed."""
    if reason := available():
        if os.environ.get("MELLUM_REQUIRE_DOCKER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with own_engine(SOURCE, crun=os.path.exists("/usr/bin/crun")) as own:
        yield own


async def test_an_engine_that_restarts_loses_no_job(engine: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "LAUNCH_PAUSE_S", 0.05)  # as many launches fail as there are tries, and more
    async with SandboxPool(DockerEngine(image=SOURCE, client=engine.client()), 2, **CHILD) as pool:

        async def job(number: int) -> list[bytes]:
            async def attempt() -> list[bytes]:
                return (await run(pool, f"import time; time.sleep(0.5); send(b'{number}')"))[0]

            return await judged(pool, attempt)

        jobs = [asyncio.create_task(job(number)) for number in range(12)]
        await asyncio.sleep(1.0)
        await asyncio.to_thread(engine.stop)
        await asyncio.sleep(2.0)
        await asyncio.to_thread(engine.start)
        assert await asyncio.gather(*jobs) == [[b"%d" % number] for number in range(12)]


def fill(path: Path) -> None:
    """Write until nothing more goes, to the last page."""
    with open(path, "ab", buffering=0) as file:
        for size in (8 << 20, 4096):
            with pytest.raises(OSError, match="No space"):
                while True:
                    file.write(b"\0" * size)


async def test_an_engine_without_room_is_our_fault_and_forgiven(
    engine: OwnEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "LAUNCH_PAUSE_S", 0.01)
    monkeypatch.setattr(pool_module, "RESTING", 1)  # two places for workers, which three failures must not use up
    async with SandboxPool(DockerEngine(image=SOURCE, client=engine.client()), 1, **CHILD) as pool:
        full = engine.home / "filler"
        await run(pool, "pass")
        try:
            fill(full)
            assert (await run(pool, "send(b'warm')"))[0] == [b"warm"]  # what runs already needs none
            (worker,) = pool._all
            await worker.channel.kill()
            await asyncio.to_thread(fill, full)  # what that one gave back too
            for _ in range(3):
                with pytest.raises(SandboxError, match="no space left"):
                    await run(pool, "pass")
        finally:
            full.unlink()
        assert (await run(pool, "send(b'again')"))[0] == [b"again"]


@pytest.mark.skipif(not os.path.exists("/usr/bin/crun"), reason="crun is not installed")
async def test_another_runtime_confines_as_well(engine: OwnEngine) -> None:
    docker = DockerEngine(image=SOURCE, runtime="crun", client=engine.client())
    async with SandboxPool(docker, 1, **CHILD) as pool:
        assert pool.describe()["runtime"] == "crun"
        container = next(iter(pool._all)).channel._container
        container.reload()
        assert container.attrs["HostConfig"]["Runtime"] == "crun"
        assert (await run(pool, "import os; send(b'%d' % (os.getuid() > 1 << 28))"))[0] == [b"1"]
        said, ending = await run(pool, "b = bytearray(b'x') * (300 << 20); send(b'held')", Limits(memory_mb=64))
        assert said == [] and (ending.end is End.MEMORY_LIMIT or ending.status)
        assert await pool.healthy()


async def test_a_runtime_that_the_engine_has_not_is_named(engine: OwnEngine) -> None:
    with pytest.raises(SandboxUnavailable, match="has no runtime kata"):
        await DockerEngine(image=SOURCE, runtime="kata", client=engine.client()).open()


async def test_no_session_outlives_all_its_limits(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that is heard, but never ends a session, must not hold the pool."""
    texts = bootstrap.sources()
    lenient = texts["supervisor"].replace("breach = job.breach(self.meter, now)", "breach = None")
    assert lenient != texts["supervisor"]
    monkeypatch.setitem(texts, "supervisor", lenient)
    monkeypatch.setattr(worker_module, "OVERDUE_S", 1.0)
    monkeypatch.setattr(worker_module, "WALL_PATIENCE", 1)
    async with pool_of() as pool:
        with pytest.raises(ContainerLost, match="long after all its limits"):
            await run(pool, "import time; time.sleep(100)", Limits(wall_s=0.5))
        assert (await run(pool, "send(b'next')"))[0] == [b"next"]


async def test_a_worker_that_grows_is_replaced(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = bootstrap.sources()
    leaky = texts["supervisor"].replace(
        "        self.job = None\n        self.flush()",
        "        self.leak = getattr(self, 'leak', b'') + bytes(bytearray(b'x') * (20 << 20))\n"
        "        self.job = None\n        self.flush()",
    )
    assert leaky != texts["supervisor"]
    monkeypatch.setitem(texts, "supervisor", leaky)
    async with pool_of() as pool:
        seen = []
        for _ in range(8):
            await run(pool, "pass")
            seen += [worker.channel.id for worker in pool._all]
        assert 2 <= len(set(seen)) <= 4, seen


async def test_a_worker_that_could_not_be_cleaned_is_replaced(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = bootstrap.sources()
    start = "    fine = True\n    for area in areas:"
    blind = texts["cleaner"].replace(start, start.replace("fine = True", "return False"))
    assert blind != texts["cleaner"]
    monkeypatch.setitem(texts, "cleaner", blind)
    async with pool_of() as pool:
        await run(pool, "pass")
        (first,) = pool._all
        await run(pool, "open('/work/job/left', 'w').write('x')")
        assert not first.fit
        assert (await run(pool, "import os; send(repr(os.listdir('.')).encode())"))[0] == [b"[]"]


async def test_two_losses_by_others_are_not_held_against_an_answer(pool_of: PoolOf) -> None:
    """As when an engine restarts: the second try meets a container that is about to die too."""
    async with pool_of() as pool:
        tries = 0

        async def attempt() -> list[bytes]:
            nonlocal tries
            tries += 1
            if tries < 3:
                async with pool.session(Role.ARENA, SMALL) as session:
                    await session.send(b"import time; time.sleep(100)")
                    (worker,) = pool._all
                    await asyncio.to_thread(worker.channel._container.kill)
                    await session.receive()
            return (await run(pool, "send(b'right')"))[0]

        assert await judged(pool, attempt) == [b"right"]


async def test_a_full_work_area_ends_with_its_session(pool_of: PoolOf) -> None:
    fill = """
import os
try:
    for n in range(100):
        os.makedirs(f"deep/{n}", exist_ok=True)
        with open(f"deep/{n}/f", "wb") as file: file.write(b"x" * (4 << 20))
except OSError as error: send(str(error.errno).encode())
"""
    async with pool_of() as pool:
        assert (await run(pool, fill, Limits(memory_mb=256)))[0] == [b"28"]
        (worker,) = pool._all
        assert (await run(pool, "open('f', 'wb').write(b'x' * (20 << 20)); send(b'room')"))[0] == [b"room"]
        assert [worker] == list(pool._all)


def test_a_harness_in_another_process_namespace_is_not_taken_for_dead() -> None:
    show = "from sandboxes.engines.owners import owner; print(owner())"
    import sys

    root = Path(__file__).resolve().parents[2]
    names = []
    for before in ([], ["unshare", "--pid", "--fork", "--mount-proc"]):
        done = subprocess.run(
            [*before, sys.executable, "-c", show],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        names.append(done.stdout.strip())
    here, elsewhere = names
    assert owners.is_dead(here) is True  # its process has ended
    assert owners.is_dead(elsewhere) is None  # nobody here can tell: it is left alone
    assert owners.is_dead(owners.owner()) is False
    world, pid, start = owners.owner().split("/")
    assert owners.is_dead(f"{world}/{pid}/{int(start) + 1}") is True  # its number was given to us since


async def test_remnants_of_harnesses_elsewhere_go_only_when_old(monkeypatch: pytest.MonkeyPatch) -> None:
    own = await engine_called("docker")
    labels = {docker_engine.LABEL: "arena", docker_engine.OWNER: "elsewhere:b:1/1/1"}
    container = own._client.containers.create(own.image, ["python3"], labels=labels)
    try:
        for age, there in ((3600.0, True), (-1.0, False)):
            monkeypatch.setattr(docker_engine, "REMNANT_S", age)
            other = DockerEngine(image=own.image)
            await other.open()
            await other.close()
            names = [c.id for c in own._client.containers.list(all=True, ignore_removed=True)]
            assert (container.id in names) is there
    finally:
        await asyncio.to_thread(own._remove, container)
        await own.close()


async def test_an_engine_that_stays_away_is_waited_for_only_so_long(
    engine: OwnEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "ENGINE_PATIENCE_S", 1.0)
    async with SandboxPool(DockerEngine(image=SOURCE, client=engine.client()), 1, **CHILD) as pool:
        engine.stop()
        try:
            with pytest.raises(SandboxError, match="does not answer"):
                async with asyncio.timeout(60):
                    await judged(pool, lambda: run(pool, "pass"))
        finally:
            engine.start()
        assert (await run(pool, "send(b'back')"))[0] == [b"back"]
