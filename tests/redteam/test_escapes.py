"""Nothing gets out of a confinement, on either engine, whoever made its namespaces."""

from __future__ import annotations

import socket

import pytest
from engines import EVERY_ENGINE, scripted_pool

from sandboxes.check import Limits
from sandboxes.pool import SandboxPool
from sandboxes.sandbox import Ending, Role

from .escapes import ESCAPES, LOCAL_ESCAPES, program

LIMITS = Limits(cpu_s=20, wall_s=120, memory_mb=256)


async def attempt(pool: SandboxPool, body: str, *messages: bytes) -> tuple[bytes | None, Ending]:
    async with pool.session(Role.ARENA, LIMITS) as session:
        await session.send(program(body).encode())
        for message in messages:
            await session.send(message)
        answer = await session.receive()
        return answer, await session.finish()


@pytest.mark.parametrize("engine_name", EVERY_ENGINE)
async def test_nothing_gets_out(engine_name: str) -> None:
    attempts = ESCAPES if engine_name == "docker" else ESCAPES | LOCAL_ESCAPES
    wrong = {}
    with socket.socket(socket.AF_UNIX) as abstract, socket.create_server(("127.0.0.1", 0)) as server:
        abstract.bind("\0mellum-escape")
        abstract.listen()
        async with scripted_pool(engine_name) as pool:
            for name, body in attempts.items():
                messages = [b"mellum-escape", str(server.getsockname()[1]).encode()] if "sockets" in name else []
                answer, ending = await attempt(pool, body, *messages)
                if answer != b"[]":
                    wrong[name] = answer, ending
            (worker,) = pool._all
            assert worker.sessions == len(attempts), "an attempt took its worker down"
            assert await pool.healthy()
    assert not wrong


@pytest.mark.parametrize("engine_name", EVERY_ENGINE)
async def test_the_attempts_are_real(engine_name: str) -> None:
    """What an attempt reports when it succeeds is seen: else an empty list would prove nothing."""
    async with scripted_pool(engine_name) as pool:
        answer, _ = await attempt(pool, 'attempt("getpid", (39, 172))\nattempt_open("/dev/null")')
        assert answer == b"['getpid', '/dev/null']"


LEAVERS = {
    "sockets": """
        import time
        if os.fork() == 0:
            os.setsid()
            a = socket.socket(socket.AF_UNIX); a.bind(chr(0) + "left"); a.listen()
            b = socket.create_server(("127.0.0.1", 4242))
            time.sleep(600)
        time.sleep(0.2)
    """,
    "a stopped process with descriptors": """
        child = os.fork()
        if child == 0: os.kill(os.getpid(), signal.SIGSTOP)
        os.waitpid(child, os.WUNTRACED)
    """,
    "limits, mask and priority": """
        import resource
        os.umask(0o777); os.setpriority(os.PRIO_PROCESS, 0, 19)
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)); os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    """,
    "settings of the network": """
        for top, _, names in os.walk("/proc/sys/net"):
            for name in names: attempt_open(os.path.join(top, name), os.O_WRONLY)
    """,
    "locked files in flight": """
        import fcntl
        a, b = socket.socketpair()
        for i in range(50):
            f = open(f"/tmp/{i}", "w"); fcntl.flock(f, fcntl.LOCK_EX)
            socket.send_fds(a, [b"x"], [f.fileno()])
            os.unlink(f"/tmp/{i}")
            f.truncate(200000)
    """,
}

LOOK = """
    import resource
    for address, family in ((chr(0) + "left", socket.AF_UNIX), (("127.0.0.1", 4242), socket.AF_INET)):
        try:
            with socket.socket(family) as s: s.connect(address)
        except OSError: continue
        got.append(address)
    mask = os.umask(0); os.umask(mask)
    got.append([mask, os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_NOFILE)])
    got.append(sorted(os.sched_getaffinity(0)))
    got.append([(os.statvfs(a).f_bfree, os.statvfs(a).f_ffree) for a in ("/work", "/tmp", "/dev/shm")])
    got.append(len([p for p in os.listdir("/proc") if p.isdigit()]))
    got.append(sorted(os.listdir("/proc/sys/net/ipv4")) and open("/proc/sys/net/ipv4/ip_default_ttl").read())
"""


@pytest.mark.parametrize("engine_name", EVERY_ENGINE)
async def test_the_next_session_finds_all_as_it_was(engine_name: str) -> None:
    async with scripted_pool(engine_name) as pool:
        before, _ = await attempt(pool, LOOK)
        for name, body in LEAVERS.items():
            await attempt(pool, body)
            after, _ = await attempt(pool, LOOK)
            assert after == before, name
        assert len(pool._all) == 1
