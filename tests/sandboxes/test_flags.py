"""How a container is confined, read back from the engine: a flag lost in a refactoring fails here."""

from __future__ import annotations

import pytest
from arena_jobs import PoolOf, run

from sandboxes.engines import docker as docker_engine
from sandboxes.engines import owners
from sandboxes.sandbox import Role


@pytest.fixture
def engine_name() -> str:
    return "docker"


@pytest.mark.docker
async def test_flags_are_what_they_must_be(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        await run(pool, "pass")
        (worker,) = pool._all
        container = worker.channel._container
        container.reload()
        host, config = container.attrs["HostConfig"], container.attrs["Config"]
        network = container.attrs["NetworkSettings"]
    assert host["NetworkMode"] == "none"
    assert list(network["Networks"]) == ["none"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert sorted(host["CapAdd"]) == ["KILL", "SETGID", "SETUID"]
    assert host["SecurityOpt"] == ["no-new-privileges"]  # and so the default seccomp profile
    assert host["Privileged"] is False
    assert host["PidMode"] == "" and host["IpcMode"] == "private" and host["UTSMode"] == ""
    assert host["Memory"] == host["MemorySwap"] == (worker.memory_mb + docker_engine.OVERHEAD_MB) << 20
    assert host["OomKillDisable"] in (None, False)
    assert host["PidsLimit"] == docker_engine.MAX_PROCESSES + 32
    assert 0 < host["NanoCpus"] <= 2_000_000_000
    assert {u["Name"]: (u["Soft"], u["Hard"]) for u in host["Ulimits"]} == {
        "nofile": (256, 256),
        "core": (0, 0),
        "memlock": (65536, 65536),
    }
    assert set(host["Tmpfs"]) == {"/work", "/tmp", "/dev/shm"}
    for options in host["Tmpfs"].values():
        assert {"nosuid", "nodev", "noexec", "mode=1777"} <= set(options.split(","))
        assert "size=" in options and "nr_inodes=" in options
    assert not host["Binds"] and not host.get("Mounts") and not host["VolumesFrom"] and not host["Devices"]
    assert host["AutoRemove"] is True
    assert host["RestartPolicy"]["Name"] in ("", "no")
    assert not host["Init"]
    assert config["User"] == "0:0"
    assert config["OpenStdin"] is True and config["StdinOnce"] is True and config["Tty"] is False
    assert config["Labels"][docker_engine.LABEL] == "arena"
    assert config["Labels"][docker_engine.OWNER] == owners.owner()


@pytest.mark.docker
async def test_the_mounts_inside_agree(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        said, _ = await run(pool, "send(open('/proc/self/mountinfo').read().encode())")
    writable = {}
    for line in said[0].decode().splitlines():
        fields = line.split()
        if fields[5].startswith("rw"):
            writable[fields[4]] = set(fields[5].split(","))
    areas = {"/work", "/tmp", "/dev/shm", "/dev/mqueue"}
    kernel = {"/proc", "/dev", "/dev/pts", "/dev/mqueue"}
    assert {p for p in writable if not p.startswith(("/proc/", "/sys"))} <= areas | kernel
    for area in ("/work", "/tmp", "/dev/shm"):
        assert {"nosuid", "nodev", "noexec"} <= writable[area]


@pytest.mark.docker
async def test_no_network_no_new_namespace_no_ptrace(pool_of: PoolOf) -> None:
    probe = """
import ctypes, socket, os
libc = ctypes.CDLL(None, use_errno=True)
out = []
try:
    socket.create_connection(("192.0.2.1", 80), 2); out.append("network")
except OSError: pass
if libc.unshare(0x10000000) == 0: out.append("user namespace")
if libc.ptrace(16, 1, 0, 0) == 0: out.append("ptrace")
if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0: out.append("mount")
if libc.setuid(0) == 0: out.append("root")
for path in ("/x", "/etc/x", "/dev/x", "/usr/x", "/var/tmp/x", "/run/x", "/sys/x", "/proc/sys/kernel/hostname"):
    try: open(path, "w").write("x"); out.append(path)
    except OSError: pass
send(repr(out).encode())
"""
    async with pool_of() as pool:
        said, ending = await run(pool, probe)
        assert said == [b"[]"], ending


@pytest.mark.docker
async def test_arena_and_judge_are_different_containers_with_different_paths(pool_of: PoolOf) -> None:
    from arena_jobs import SMALL

    paths = {}
    async with pool_of() as pool:
        for role in Role:
            async with pool.session(role, SMALL) as session:
                await session.send(b"import sys, socket; send(' '.join(sys.path).encode())")
                paths[role] = (await session.receive() or b"").decode().split()
                await session.finish()
        assert len({w.channel.id for w in pool._all}) == 2
    assert "/opt/mellum/judge" in paths[Role.JUDGE]
    assert "/opt/mellum/judge" not in paths[Role.ARENA]


def test_workers_of_a_machine_share_no_user() -> None:
    bases = [docker_engine.uid_base(role, worker) for role in Role for worker in range(120)]
    assert len(set(bases)) == len(bases)
    assert all(b - a >= docker_engine.UIDS_PER_WORKER for a, b in zip(sorted(bases), sorted(bases)[1:], strict=False))
    assert max(bases) < 2**31
