"""Nothing of a job reaches the next one in the same worker: no file, process, IPC object or byte of memory."""

from __future__ import annotations

import asyncio
import json
import secrets
import time

import pytest
from arena_jobs import SMALL, PoolOf, run
from engines import processes_below

from sandboxes.pool import SandboxPool
from sandboxes.sandbox import End, Role

LOOK = """
import os, json
seen = []
for area in ("/work", "/tmp", "/dev/shm", "/dev/mqueue"):
    for top, dirs, names in os.walk(area, onerror=lambda e: seen.append(str(e)) if os.path.exists(area) else None):
        seen += [os.path.join(top, n) for n in dirs + names]
for kind in ("shm", "sem", "msg"):
    if os.path.exists("/proc/sysvipc/" + kind):
        seen += open("/proc/sysvipc/" + kind).read().splitlines()[1:]
processes = [open("/proc/" + p + "/stat").read() for p in os.listdir("/proc") if p.isdigit()]
send(json.dumps([[s for s in seen if s != "/work/job"], processes, os.getcwd()]).encode())
"""

LEAVERS = {
    "files": """
import os
for area in ("/work", "/work/job", "/tmp", "/dev/shm"):
    open(area + "/left", "w").write("x")
os.makedirs("/tmp/a/b/c"); open("/tmp/a/b/c/d", "w").close(); os.symlink("/etc", "/tmp/link"); os.mkfifo("/tmp/fifo")
""",
    "locked directories": """
import os
for area in ("/work", "/work/job", "/tmp", "/dev/shm"):
    d = area + "/outer"; os.makedirs(d + "/inner/most"); open(d + "/inner/most/f", "w").close()
    os.chmod(d + "/inner/most/f", 0); os.chmod(d + "/inner/most", 0); os.chmod(d + "/inner", 0); os.chmod(d, 0)
os.chmod("/work/job", 0)
""",
    "a deep tree": """
import os
os.chdir("/tmp")
for i in range(3000):
    os.mkdir("d"); os.chdir("d")
""",
    "many files": """
for i in range(5000): open("/tmp/%d" % i, "w").close()
""",
    "full areas": """
import os
for area in ("/work/job", "/tmp", "/dev/shm"):
    try:
        with open(area + "/full", "wb") as f:
            for _ in range(1000): f.write(b"x" * (1 << 20)); f.flush()
    except OSError: pass
    try:
        for i in range(100000): os.mkfifo(area + "/%d" % i)
    except OSError: pass
held = []
while True: held.append(bytearray(os.urandom(4096)) * 256)
""",
    "odd names": """
import os
for name in (b"\\xff\\xfe", b"new\\nline", b"x" * 255, b" ", b"-rf"):
    open(b"/tmp/" + name, "w").close(); os.mkdir(b"/work/" + name)
""",
    "a posix queue and shared memory": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o600, None)
fd = libc.shm_open(b"/left", os.O_CREAT | os.O_RDWR, 0o600)
os.ftruncate(fd, 4096)
""",
    "system v ipc": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.shmget(0x1234, 4096, 0o1666); libc.semget(0x1234, 1, 0o1666); libc.msgget(0x1234, 0o1666)
libc.shmget(0x1235, 4096, 0o1000)
""",
    "processes": """
import os, signal, time
for i in range(20):
    if os.fork() == 0:
        os.setsid()
        for s in (1, 2, 3, 13, 14, 15): signal.signal(s, signal.SIG_IGN)
        if i % 2: os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1000)
""",
    "a killer of everything": """
import os, signal, time
for i in range(10):
    if os.fork() == 0:
        while True:
            for p in os.listdir("/proc"):
                if p.isdigit() and int(p) != os.getpid():
                    try: os.kill(int(p), 9)
                    except OSError: pass
time.sleep(0.2)
""",
    "unreaped children": """
import os, time
for i in range(30):
    if os.fork() == 0: os._exit(0)
time.sleep(0.1)
""",
}


@pytest.mark.parametrize("what", LEAVERS)
async def test_leftovers_are_gone(pool_of: PoolOf, what: str) -> None:
    async with pool_of() as pool:
        fresh, _ = await run(pool, LOOK)
        await run(pool, LEAVERS[what])
        after, _ = await run(pool, LOOK)
        seen, processes, cwd = json.loads(after[0])
        assert (seen, cwd) == ([], "/work/job")
        # The supervisor, the zygote, the looker; in a pid namespace of its own the looker sees just its init.
        assert len(processes) == (2 if pool_has_one_id(pool) else 3), processes
        if pool.engine == "local":
            (worker,) = pool._all
            # The keeper, the supervisor, the zygote and, once it is forked, the child that waits for the next session.
            assert await asyncio.to_thread(settled, int(worker.channel.id), 4) == 4
        assert json.loads(fresh[0])[0] == []


def settled(pid: int, wanted: int) -> int:
    """Processes from that one down: once there are as many as wanted, and a moment later."""
    deadline = time.monotonic() + 10
    while len(processes_below(pid)) < wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    return len(processes_below(pid))


async def test_what_is_cleaned_needs_no_new_worker(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        await run(pool, "pass")
        (worker,) = pool._all
        for code in LEAVERS.values():
            await run(pool, code)
        assert set(pool._all) == {worker}


async def test_the_next_sessions_child_is_not_there_before_this_one_is_gone(pool_of: PoolOf) -> None:
    """It is forked ahead: no session may see it, and nothing that a session starts may live on to see it."""
    watch = """
import os, time
def others():
    return {int(p) for p in os.listdir("/proc") if p.isdigit()} - {1, os.getpid()}
before, mine = others(), {os.getpid()}
for _ in range(3):
    mine.add(os.fork())
    if 0 in mine:
        os.setsid()
        time.sleep(0.02)
        mine |= {p for p in others() if os.stat(f"/proc/{p}").st_uid == os.getuid()}
        while True:  # hunts whatever is new, also after the session's own process has ended
            for pid in others() - mine:
                for act in (lambda: os.kill(pid, 19), lambda: open(f"/proc/{pid}/mem", "rb")):
                    try: act()
                    except OSError: pass
send(b"%d" % len(before))
time.sleep(0.1)
"""
    async with pool_of() as pool:
        await run(pool, "pass")
        (worker,) = pool._all
        for _ in range(5):
            # The zygote; with one user id for all, none.
            assert (await run(pool, watch))[0] == [b"0" if pool_has_one_id(pool) else b"1"]
            assert (await run(pool, "send(b'next')"))[0] == [b"next"]
        assert set(pool._all) == {worker}


async def test_sessions_that_are_dropped_at_once_cost_no_worker(pool_of: PoolOf) -> None:
    """The order to begin may then find its child dead already."""
    async with pool_of() as pool:
        await run(pool, "pass")
        (worker,) = pool._all
        for _ in range(60):
            async with pool.session(Role.ARENA, SMALL):
                pass
        assert (await run(pool, "import os; send(b'%d' % os.getpid())"))[0]
        assert set(pool._all) == {worker} and worker.channel.alive


async def test_each_session_has_another_user_and_no_privilege(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        code = "import os; send(f'{os.getresuid()} {os.getresgid()} {os.getgroups()}'.encode())"
        said = [(await run(pool, code))[0][0] for _ in range(3)]
        status, _ = await run(pool, "send(open('/proc/self/status').read().encode())")
    for who in said:
        assert b"(0," not in who and who.endswith(b" []")
    fields = dict(line.split(":\t", 1) for line in status[0].decode().splitlines() if ":\t" in line)
    assert [int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [0, 0, 0, 0]
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    if pool.engine == "docker":
        assert len(set(said)) == 3


SCAN = """
import ctypes, os
needle = receive()[::-1]  # sent backwards: the needle itself is then nowhere but in this variable
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, so that the kernel lets us read ourselves
found = scanned = 0
with open("/proc/self/mem", "rb", 0) as memory:
    for line in open("/proc/self/maps"):
        span, mode = line.split()[:2]
        if "r" not in mode or "[v" in line:
            continue
        low, high = (int(x, 16) for x in span.split("-"))
        try:
            memory.seek(low); data = memory.read(high - low)
        except (OSError, ValueError):
            continue
        scanned += len(data)
        found += data.count(needle)
send(f"{found} {scanned}".encode())
"""


async def test_no_byte_of_an_earlier_job_is_in_memory(pool_of: PoolOf) -> None:
    secret = secrets.token_hex(20).encode()
    async with pool_of() as pool:
        for _ in range(3):
            async with pool.session(Role.ARENA, pool_limits()) as session:
                await session.send(b"copy = [receive() * 3 for _ in range(3)]; send(copy[0])")
                for _ in range(3):
                    await session.send(secret)
                assert await session.receive() == secret * 3
                await session.finish()

        async def scan(extra: bytes) -> tuple[int, int]:
            async with pool.session(Role.ARENA, pool_limits()) as session:
                await session.send(extra + SCAN.encode())
                await session.send(secret[::-1])
                answer = await session.receive()
                ending = await session.finish()
                assert answer is not None, ending
                found, scanned = map(int, answer.split())
                return found, scanned

        found, scanned = await scan(b"")
        assert scanned > 4 << 20, "the scan must have read the interpreter's memory to mean anything"
        assert found <= 2  # the needle in its variable, and the read buffer's view of it
        planted, _ = await scan(b"planted = [bytearray(b'%s') for _ in range(40)]\n" % secret)
        assert planted >= 40, "the scan must find what is there"


def pool_limits():
    from sandboxes.check import Limits

    return Limits(cpu_s=10, wall_s=60, memory_mb=256)


async def test_supervisor_and_zygote_are_out_of_reach(pool_of: PoolOf) -> None:
    probe = """
import os, signal
for pid in sorted(int(p) for p in os.listdir("/proc") if p.isdigit()):
    if pid == os.getpid(): continue
    for name in ("mem", "maps", "environ", "fd/0", "fd/1", "fd/2", "cwd/x", "root/x", "syscall", "stack"):
        try:
            os.stat(f"/proc/{pid}/{name}") if "/" in name else open(f"/proc/{pid}/{name}", "rb").read(1)
            send(f"{pid} {name}".encode())
        except OSError: pass
    try:
        os.kill(pid, signal.SIGSTOP); send(f"{pid} kill".encode())
    except OSError: pass
    try:
        open(f"/proc/{pid}/oom_score_adj", "w").write("1000"); send(f"{pid} oom".encode())
    except OSError: pass
for fd in range(3, 300):
    try: send(f"fd {fd} {os.readlink(f'/proc/self/fd/{fd}')}".encode()) if fd not in (inbox, outbox) else None
    except OSError: pass
for fd in range(5, 300):
    try: os.fstat(fd); send(f"open {fd}".encode())
    except OSError: pass
"""
    async with pool_of() as pool:
        reached, ending = await run(pool, probe)
        assert ending.end is End.EXITED
        # Without ids of their own, sessions see one process more: the init of their pid namespace, which ignores them.
        assert reached == ([b"1 kill"] if pool_has_one_id(pool) else [])
        assert (await run(pool, "send(b'next')"))[0] == [b"next"]


def pool_has_one_id(pool: SandboxPool) -> bool:
    (worker,) = pool._all
    return worker.channel.confinement.uid_count == 0
