"""The local engine refuses what it cannot confine, says what it did, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arena_jobs import SCRIPTED, SMALL, run
from engines import LOCAL, processes_below, scripted_pool
from processes import alive

from sandboxes.check import Limits
from sandboxes.engines import local as local_module
from sandboxes.engines import local_cgroup, local_plan, local_seccomp
from sandboxes.engines.local import LocalEngine
from sandboxes.errors import ContainerLost, SandboxUnavailable
from sandboxes.pool import SandboxPool
from sandboxes.sandbox import End, Role

ROOT = Path(__file__).resolve().parents[2]
FORMS = list(LOCAL)[1:]


async def gone(pids: set[int], within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while alive(pids):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


# -- what it says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
async def test_the_manifest_says_how(form: str) -> None:
    async with scripted_pool(form) as pool:
        said = pool.describe()
    assert said["engine"] == pool.engine == "local"
    assert said["maker"] == LOCAL[form]["maker"]
    assert said["kernel"] == os.uname().release
    assert said["python"] == sys.version.split()[0]
    assert ("bubblewrap" in said["made_by"]) == ("bwrap" in form)
    assert ("pid namespace" in said["user_ids"]) == ("one-id" in form)
    polled = "by polling" in said["limits"]["memory"]
    assert polled or "by control groups" in said["limits"]["memory"]
    assert polled or LOCAL[form].get("cgroup", True)


async def test_without_bubblewrap_it_makes_the_namespaces_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module.shutil, "which", lambda name: None)
    async with SandboxPool(LocalEngine(), 1, children={r: "extra" for r in Role}, extra=SCRIPTED) as pool:
        assert pool.describe()["maker"] == "unshare"


async def test_a_bubblewrap_that_does_not_work_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no permissions >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(local_module.shutil, "which", lambda name: str(broken))
    async with SandboxPool(LocalEngine(), 1, children={r: "extra" for r in Role}, extra=SCRIPTED) as pool:
        assert pool.describe()["maker"] == "unshare"
    with pytest.raises(SandboxUnavailable, match="no permissions"):
        await LocalEngine(maker="bwrap").open()


async def test_the_judge_has_math_verify_and_the_arena_has_not() -> None:
    async with scripted_pool("local") as pool:
        code = (
            "import importlib.util as u; send(str([bool(u.find_spec(n)) for n in ('numpy', 'math_verify')]).encode())"
        )
        said, _ = await run(pool, code)
        assert said == [b"[True, False]"]
        async with pool.session(Role.JUDGE, SMALL) as session:
            await session.send(code.encode())
            assert await session.receive() == b"[True, True]"


# -- nothing runs unconfined ----------------------------------------------------------------------------------------

Weaken = Callable[[pytest.MonkeyPatch], None]


def _no_filter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(local_seccomp, "program", lambda machine, allow=frozenset(): bytes.fromhex("060000000000ff7f"))


def _more_of_the_host(patch: pytest.MonkeyPatch) -> None:
    real = local_plan.binds

    def binds(role: Role, python: str) -> Any:
        pairs, links, hidden = real(role, python)
        return [*pairs, ["/etc/hostname", "/etc/hostname"]], links, hidden

    patch.setattr(local_plan, "binds", binds)
    shown = [target for _, target in real(Role.ARENA, local_plan.interpreter())[0]]
    patch.setattr(local_module, "_shown", lambda: shown)


def _plan_with(change: Callable[[dict[str, Any]], object]) -> Weaken:
    def weaken(patch: pytest.MonkeyPatch) -> None:
        real = local_plan.plan

        def plan(*arguments: Any, **options: Any) -> dict[str, Any]:
            made = real(*arguments, **options)
            change(made)
            return made

        patch.setattr(local_plan, "plan", plan)

    return weaken


def _same_network(patch: pytest.MonkeyPatch) -> None:
    real = local_plan.bwrap_command
    patch.setattr(local_plan, "bwrap_command", lambda *a: [w for w in real(*a) if w != "--unshare-net"])


def _same_processes(patch: pytest.MonkeyPatch) -> None:
    real = local_plan.bwrap_command
    hidden = {"--unshare-pid", "--as-pid-1"}
    patch.setattr(local_plan, "bwrap_command", lambda *a: [w for w in real(*a) if w not in hidden])


WEAK: dict[str, tuple[Weaken, str]] = {
    "no filter": (_no_filter, "refused by the filter"),
    "more of the host": (_more_of_the_host, "/etc/hostname can be read"),
    "areas without a cap": (
        _plan_with(lambda p: p.update(areas=[(a, 0, 0) for a, _, _ in p["areas"]])),
        "no cap on its size",
    ),
    "the host's network": (_same_network, "net namespace is the host's"),
    "the host's processes": (_same_processes, "must be process 1"),
    "a writable root": (_plan_with(lambda p: p["areas"].append(("/opt", 1 << 20, 64))), "/opt can be written"),
}


@pytest.mark.parametrize("what", WEAK)
async def test_a_weak_confinement_is_refused(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    weaken, says = WEAK[what]
    monkeypatch.setattr(local_plan, "AREAS", list(local_plan.AREAS))
    engine = LocalEngine(maker="bwrap")
    weaken(monkeypatch)
    with pytest.raises(SandboxUnavailable, match=says):
        await engine.launch(Role.ARENA, 0, 64)
    assert engine.describe().get("maker") is None


# -- nothing is left ------------------------------------------------------------------------------------------------

HARNESS = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from arena_jobs import SCRIPTED
from engines import LOCAL
from sandboxes.check import Limits
from sandboxes.engines.local import LocalEngine
from sandboxes.pool import SandboxPool
from sandboxes.sandbox import Role
JOB = b'''
import os, time
for i in range(5):
    if os.fork() == 0:
        os.setsid()
        while True: time.sleep(100)
send(b"on")
while True: pass
'''
async def main():
    engine = LocalEngine(**LOCAL[{form!r}])
    async with SandboxPool(engine, 1, children={{r: "extra" for r in Role}}, extra=SCRIPTED) as pool:
        async with pool.session(Role.ARENA, Limits(cpu_s=100)) as session:
            await session.send(JOB)
            await session.receive()
            print("on", flush=True)
            await session.receive()
asyncio.run(main())
"""


@pytest.mark.parametrize("form", FORMS)
async def test_a_killed_harness_leaves_no_process(form: str) -> None:
    program = HARNESS.format(tests=str(ROOT / "tests"), form=form)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT, env=environment
    ) as harness:
        assert harness.stdout is not None
        assert await asyncio.to_thread(harness.stdout.readline) == b"on\n"
        started = processes_below(harness.pid)
        assert len(started) >= 9, "the harness, the keeper, supervisor, zygote, the job and its five"
        harness.kill()
    assert await gone(started)
    deadline = time.monotonic() + 15
    while groups_of(harness.pid):
        assert time.monotonic() < deadline, "a control group outlived its harness"
        await asyncio.sleep(0.1)


def groups_of(pid: int) -> list[Path]:
    parents = local_cgroup._candidates()
    return [group for found in parents for parent in found.values() for group in parent.glob(f"mellum-eval-{pid}-*")]


@pytest.mark.parametrize("form", FORMS)
async def test_closing_leaves_no_process(form: str) -> None:
    async with scripted_pool(form, workers=2) as pool:
        await asyncio.gather(*(run(pool, "pass") for _ in range(4)))
        started = set().union(*(processes_below(int(worker.channel.id)) for worker in pool._all))
        assert len(started) >= 3
    assert await gone(started)
    assert groups_of(os.getpid()) == []


@pytest.mark.skipif(not list(local_cgroup._candidates()), reason="no control group can be made here")
async def test_with_control_groups_the_kernel_counts_what_a_tick_cannot_see() -> None:
    burst = """
import os
for i in range(40):  # each alone is within its limit, and all are done before a tick
    if os.fork() == 0:
        b = bytearray(24 << 20)
        for at in range(0, len(b), 4096): b[at] = 1
        open("/dev/shm/" + str(i), "wb").write(bytes(300000))
        import time; time.sleep(0.5)
        os._exit(0)
for i in range(40): os.wait()
send(b"all of it")
"""
    async with scripted_pool("local-bwrap") as pool:
        assert "by control groups" in pool.describe()["limits"]["memory"]
        said, ending = await run(pool, burst, Limits(cpu_s=20, memory_mb=64))
        assert ending.end is End.MEMORY_LIMIT, (said, ending)
        said, ending = await run(pool, "b = bytearray(b'x') * (200 << 20); send(b'held')", Limits(memory_mb=512))
        assert said == [b"held"]
        said, _ = await run(pool, "import os; send(str(sorted(os.listdir('/sys/fs/cgroup'))).encode())")
        assert said[0] in (b"['cpuacct', 'memory']",) or b"memory.max" in said[0]


@pytest.mark.parametrize("form", FORMS)
async def test_a_killed_supervisor_is_lost_and_replaced(form: str) -> None:
    async with scripted_pool(form) as pool:
        async with pool.session(Role.ARENA, SMALL) as session:
            await session.send(b"import time; send(b'on'); time.sleep(100)")
            assert await session.receive() == b"on"
            (worker,) = pool._all
            started = processes_below(int(worker.channel.id))
            os.kill(int(worker.channel.id), signal.SIGKILL)
            with pytest.raises(ContainerLost):
                await session.receive()
        assert await gone(started)
        assert (await run(pool, "send(b'next')"))[0] == [b"next"]


async def test_confinements_outlive_the_thread_that_asked_for_them() -> None:
    """They are told to die with the thread that started them: that must not be one of an event loop's."""
    found: list[Any] = []

    async def launch() -> None:
        engine = LocalEngine()
        found.append(await engine.launch(Role.ARENA, 0, 64))

    thread = threading.Thread(target=lambda: asyncio.run(launch()))
    thread.start()
    await asyncio.to_thread(thread.join)
    (channel,) = found
    try:
        await asyncio.sleep(0.5)
        assert channel._process.poll() is None
    finally:
        channel._process.kill()
        channel._process.wait()


async def test_a_worker_starts_quickly() -> None:
    engine = LocalEngine()
    await engine.open()
    try:
        took = []
        for _ in range(3):
            began = time.monotonic()
            async with SandboxPool(engine, 1, children={r: "extra" for r in Role}, extra=SCRIPTED) as pool:
                took.append(time.monotonic() - began)
                assert pool.engine == "local"
        assert min(took) < 2.0  # 0.15 s on an idle machine; tests run on busy ones
    finally:
        await engine.close()
