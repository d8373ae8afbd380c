"""The socket that a supervisor offers is taken if it is that socket, and the pool works either way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from arena_jobs import SMALL, PoolOf, run

from sandboxes.engines import direct
from sandboxes.engines.stream import Demultiplexed
from sandboxes.errors import ContainerLost
from sandboxes.runtime import frames
from sandboxes.sandbox import Role

OFFERING = """
import os, socket, sys
ours, theirs = socket.socketpair()
print(theirs.fileno(), os.fstat(theirs.fileno()).st_ino, flush=True)
ours.sendall(ours.recv(100).upper())
sys.stdin.read()
"""


@pytest.fixture
def engine_name() -> str:
    return "docker"


@pytest.fixture
def offering() -> Iterator[tuple[int, list[int]]]:
    """A process that offers a socket, and where."""
    with subprocess.Popen([sys.executable, "-c", OFFERING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.pid, [int(word) for word in process.stdout.readline().split()]
        process.kill()


def test_what_is_offered_is_taken(offering: tuple[int, list[int]]) -> None:
    pid, door = offering
    taken = direct.take(pid, {"door": door})
    assert taken is not None and not os.get_inheritable(taken.fileno())
    with taken:
        taken.setblocking(True)
        taken.sendall(b"hello")
        assert taken.recv(100) == b"HELLO"


def test_what_is_not_what_was_offered_is_left_alone(offering: tuple[int, list[int]]) -> None:
    pid, (number, inode) = offering
    before = os.listdir("/proc/self/fd")
    assert direct.take(pid, {"door": [number, inode + 1]}) is None
    assert direct.take(pid, {"door": [0, inode]}) is None
    assert direct.take(pid, {"door": [200, inode]}) is None
    assert direct.take(os.getpid(), {"door": [number, inode]}) is None
    for hello in ({}, {"door": None}, {"door": [number]}, {"door": ["x", "y"]}):
        assert direct.take(pid, hello) is None
    assert direct.take(2**22 + 1, {"door": [number, inode]}) is None
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.docker
async def test_frames_pass_the_engine_by_where_its_process_may_be_traced(pool_of: PoolOf) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may take a descriptor of the engine's processes")
    async with pool_of() as pool:
        said, ending = await run(pool, "send(b'x' * 3_000_000)")
        assert said == [b"x" * 3_000_000] and ending.status == 0
        (worker,) = pool.standing()
        assert not isinstance(worker.channel._inflow, Demultiplexed)  # type: ignore[attr-defined]


@pytest.mark.docker
async def test_without_it_the_attached_stream_serves(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "take", lambda pid, hello: None)
    async with pool_of() as pool:
        for _ in range(3):
            said, ending = await run(pool, "send(b'x' * 3_000_000)")
            assert said == [b"x" * 3_000_000] and ending.status == 0
        (worker,) = pool.standing()
        assert worker.sessions == 3
        assert isinstance(worker.channel._inflow, Demultiplexed)  # type: ignore[attr-defined]


@pytest.mark.docker
async def test_last_words_are_told_though_they_come_by_the_engine(pool_of: PoolOf) -> None:
    async with pool_of() as pool, pool.session(Role.ARENA, SMALL) as session:
        await session.send(b"import time; time.sleep(100)")
        (worker,) = pool.standing()
        await worker.channel.send(frames.HEADER.pack(frames.DATA, 1, frames.WINDOW + 1))
        with pytest.raises(ContainerLost, match=f"frame of {frames.WINDOW + 1} bytes"):
            await session.receive()
