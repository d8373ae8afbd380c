"""The local engine: the supervisor of the containers, confined by Linux namespaces alone. The embedded default.

A first command must work on a machine with only Python, but never unconfined: before anything runs, a session of its
own tries from inside what no candidate may do (`local_probe`), and if anything succeeds there is no sandbox. Bubblewrap
makes the namespaces where it is installed and works, since distributions that restrict user namespaces let it pass;
else we do, by the same system calls. Where no control group can be made (`local_cgroup`),
memory is limited by measuring, and `describe` says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sandboxes import bootstrap
from sandboxes.check import Limits
from sandboxes.engines import (
    local_cgroup,
    local_launch,
    local_mend,
    local_plan,
    local_probe,
    local_seccomp,
    local_tools,
)
from sandboxes.engines.base import Confinement
from sandboxes.engines.local_cgroup import Group, Groups
from sandboxes.engines.stream import TAIL, Inflow, StreamChannel
from sandboxes.errors import ContainerLost, SandboxError, SandboxUnavailable
from sandboxes.languages import Family, Language, mapped
from sandboxes.runtime import frames
from sandboxes.sandbox import Role
from sandboxes.worker import Worker

Maker = Literal["bwrap", "unshare"]
MAKERS: tuple[Maker, ...] = ("bwrap", "unshare")

MAX_PROCESSES = 128
GROUP_PROCESSES = MAX_PROCESSES + 32
OVERHEAD_MB = 112
"""What a control group gets beyond a session's memory: supervisor, zygote, and the tmpfs areas filled to the brim."""
PROBE_LIMITS = Limits(cpu_s=10, wall_s=60, memory_mb=128)
READY_S = 30.0


class LocalChannel(StreamChannel):
    """One confinement's stream and the process on the host that keeps it."""

    def __init__(
        self, engine: LocalEngine, process: subprocess.Popen[bytes], confinement: Confinement, group: Group | None
    ) -> None:
        super().__init__(Inflow(), confinement)
        self._engine = engine
        self._process = process
        self._group = group
        self._errors: asyncio.BaseTransport | None = None

    async def attach(self, stream: socket.socket) -> None:
        """Take over the harness's end of the stream, and the confinement's stderr."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._inflow, sock=stream)
        self._errors, _ = await loop.connect_read_pipe(lambda: _LastWords(self._inflow), self._process.stderr)

    @property
    def id(self) -> str:
        """Process id, on the host, of the process whose death is the confinement's."""
        return str(self._process.pid)

    async def set_memory(self, memory_mb: int) -> None:
        """Change the control group's limit; without one the supervisor measures, and there is nothing to set."""
        if self._group is not None:
            try:
                self._group.limit(memory_mb + OVERHEAD_MB, GROUP_PROCESSES)
            except OSError as error:
                raise ContainerLost(f"the memory limit cannot be set: {error}") from error

    async def kill(self) -> None:
        """Kill the keeper, and by its death everything inside."""
        if self._dead:
            return
        self._dead = True
        self._engine.forget(self)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._inflow.transport is not None:
            self._inflow.transport.abort()
        await asyncio.to_thread(self._process.wait)
        if self._group is not None:
            for _ in range(200):  # what is inside dies after its keeper, within milliseconds
                if self._group.remove():
                    break
                await asyncio.sleep(0.01)
        if self._errors is not None:
            self._errors.close()


class _LastWords(asyncio.Protocol):
    """Keeps the tail of stderr."""

    def __init__(self, inflow: Inflow) -> None:
        self._inflow = inflow

    def data_received(self, data: bytes) -> None:
        self._inflow.words = (self._inflow.words + data)[-TAIL:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._inflow.spoken.set()


class LocalEngine:
    """Starts confinements on this machine without any service."""

    name = "local"

    def __init__(self, *, maker: Maker | None = None, allow_range: bool = True, cgroup: bool = True) -> None:
        """Does nothing yet.

        Args:
            maker: Insist on bubblewrap or on our own system calls; the first that works if not given.
            cgroup: Use control groups where they can be had.
            allow_range: False gives each session a pid namespace instead of a user id, as where no range can be mapped.
        """
        self._maker = maker
        self._allow_range = allow_range
        self._cgroup = cgroup
        self._groups: Groups | None = None
        self._bwrap: str | None = None
        self._facts: dict[str, Any] = {}
        self._channels: set[LocalChannel] = set()
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Find out which maker works here, and check from inside that it confines.

        Raises:
            SandboxUnavailable: None does; says why and how to mend it.
        """
        async with self._lock:
            if self._facts:
                return
            local_mend.check_platform()
            groups = await asyncio.to_thread(local_cgroup.find) if self._cgroup else None
            reasons = []
            try:
                for maker in [self._maker] if self._maker else MAKERS:
                    self._bwrap = shutil.which("bwrap") if maker == "bwrap" else None
                    if maker == "bwrap" and self._bwrap is None:
                        reasons.append("bubblewrap is not installed")
                        continue
                    for self._groups in dict.fromkeys((groups, None)):
                        try:
                            self._facts = await self._probe(maker)
                            return
                        except SandboxUnavailable:
                            raise
                        except SandboxError as error:
                            reasons.append(f"by {maker}: {error}")
                reasons = list(dict.fromkeys(reasons))
                raise SandboxUnavailable(
                    f"the local sandbox cannot be set up ({'; '.join(reasons)})", local_mend.mend()
                )
            finally:
                if groups is not None and not (self._facts and self._groups is groups):
                    self._groups = None
                    await asyncio.to_thread(groups.close)

    async def _probe(self, maker: Maker) -> dict[str, Any]:
        """One session of the self-check.

        Raises:
            SandboxError: It did not come up, or something is not confined.
        """
        channel = await self._start(Role.ARENA, 0, PROBE_LIMITS.memory_mb)
        try:
            source = inspect.getsource(local_probe)
            await channel.send(bootstrap.shipment(Role.ARENA, channel.confinement, child="extra", extra=source))
            async with asyncio.timeout(READY_S):
                kind, _, length = frames.HEADER.unpack(await channel.receive(frames.HEADER.size))
                hello = json.loads(await channel.receive(length))
            if kind != frames.READY:
                raise SandboxError(f"its supervisor said {kind} instead of being ready")
            session = Worker(channel, Role.ARENA, 0, PROBE_LIMITS.memory_mb, READY_S).open(PROBE_LIMITS, 0)
            await session.send(json.dumps(_outside()).encode())
            answer = await session.receive()
            ending = await session.finish()
            if answer is None:
                raise SandboxError(
                    f"its self-check ended {ending.end} with status {ending.status}: {ending.stderr_tail}"
                )
            if wrong := json.loads(answer):
                raise SandboxError("its self-check failed: " + "; ".join(wrong))
        except TimeoutError as error:
            raise SandboxError(f"it did not get ready in {READY_S:g} s: {channel.diagnosis()}") from error
        finally:
            await channel.kill()
        return {
            "made_by": _version_of(self._bwrap) if self._bwrap else "unshare(2)",
            "maker": maker,
            "kernel": platform.release(),
            "python": hello["python"],
            "user_ids": _users(self._allow_range),
        }

    async def require(self, language: Language) -> None:
        """Raises SandboxUnavailable where this host lacks a tool of the language."""
        await asyncio.to_thread(local_tools.require, language)

    async def launch(self, role: Role, worker: int, memory_mb: int, family: Family = "python") -> LocalChannel:
        """Start one confinement."""
        await self.open()
        return await self._start(role, worker, memory_mb, family)

    async def _start(self, role: Role, worker: int, memory_mb: int, family: Family = "python") -> LocalChannel:
        tools = local_tools.of(family)
        machine = platform.machine()
        ids = local_plan.choose_ids(worker * len(Role) + list(Role).index(role), allow_range=self._allow_range)
        strict = local_seccomp.program(machine)
        lenient = local_seccomp.program(machine, allow=local_seccomp.JOB_NAMESPACE_CALLS)
        try:
            group = self._groups.make(memory_mb + OVERHEAD_MB, GROUP_PROCESSES) if self._groups else None
        except OSError as error:
            raise SandboxError(f"no control group can be made: {error}") from error
        plan = local_plan.plan(
            role,
            ids,
            bwrap=self._bwrap,
            seccomp=strict if ids.uid_count else lenient,
            command=bootstrap.command(),
            environment=bootstrap.ENVIRONMENT,
            group=group,
            tools=tools,
        )
        confinement = Confinement(
            uid_base=ids.uid_base,
            uid_count=ids.uid_count,
            areas=tuple(path for path, _, _ in local_plan.AREAS),
            paths=(local_plan.PACKAGE_HOME,),
            search=tools.search,
            cgroup=group is not None,
            max_processes=MAX_PROCESSES + local_plan.processes_counted_with_ours(ids),
            mapped=mapped(family),
            seccomp="" if ids.uid_count else strict.hex(),
        )
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [plan["python"], "-I", "-S", "-B", local_launch.__file__, "confine", json.dumps(plan)]
        try:
            process = await asyncio.wrap_future(_spawner(os.getpid()).submit(_spawn, command, theirs))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        channel = LocalChannel(self, process, confinement, group)
        self._channels.add(channel)
        await channel.attach(ours)
        return channel

    def forget(self, channel: LocalChannel) -> None:
        """A channel was killed."""
        self._channels.discard(channel)

    def describe(self) -> Mapping[str, Any]:
        """How sessions are confined here."""
        memory = "by polling the process tree, and RLIMIT_DATA for each process; no control group"
        if self._groups is not None:
            memory = f"by control groups (version {self._groups.version}), and RLIMIT_DATA for each process"
        return {
            "engine": self.name,
            **self._facts,
            "runtime_sha256": bootstrap.runtime_sha256(),
            "limits": {
                "memory": memory,
                "processes": MAX_PROCESSES,
                "areas_mb": {path: size >> 20 for path, size, _ in local_plan.AREAS},
                "network": "none",
                "read_only_root": True,
            },
        }

    async def close(self) -> None:
        """Kill every confinement that is still there."""
        await asyncio.gather(*(channel.kill() for channel in list(self._channels)))
        if self._groups is not None:
            await asyncio.to_thread(self._groups.close)
            self._groups = None


@cache
def _spawner(pid: int) -> ThreadPoolExecutor:
    """The thread that starts confinements, one for each process, since a fork loses it.

    Confinements die with the *thread* that started them (PR_SET_PDEATHSIG), so it must live as long as this process,
    unlike the threads that event loops come and go in.
    """
    return ThreadPoolExecutor(1, thread_name_prefix=f"local-sandbox-{pid}")


def _spawn(command: list[str], stream: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=stream.fileno(),
        stdout=stream.fileno(),
        stderr=subprocess.PIPE,
        cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        start_new_session=True,  # ^C is for the harness, which then ends these in order
    )


def _outside() -> dict[str, Any]:
    """What the self-check must know of the host to tell that it is not there."""
    shown = [*_shown(), local_cgroup.INSIDE]
    project = str(Path(__file__).resolve().parent.parent.parent)
    private = ["/etc/shadow", "/etc/hostname", "/home", "/var", "/sys", project, os.getcwd(), os.path.expanduser("~")]
    return {
        "paths": sorted({path for start in private for path in _not_shown(start, shown)}),
        "namespaces": {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in local_probe.NAMESPACES},
        "areas": local_plan.AREAS,
    }


def _shown() -> list[str]:
    return [target for _, target in local_plan.binds(Role.ARENA, local_plan.interpreter())[0]]


def _not_shown(path: str, shown: list[str]) -> list[str]:
    """That path, or if something is shown from below it (a Python in the user's home), what is beside that."""
    if any(path == target or path.startswith(target + "/") for target in shown):
        return []
    if not any(target.startswith(path.rstrip("/") + "/") for target in shown):
        return [path]
    try:
        names = sorted(os.listdir(path))[:100]
    except OSError:
        return []
    ours = {"/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/tmp", "/work"}
    children = [os.path.join(path, name) for name in names]
    return [found for child in children if child not in ours for found in _not_shown(child, shown)]


def _users(allow_range: bool) -> str:
    ids = local_plan.choose_ids(0, allow_range=allow_range)
    if ids.mode == "single":
        return "one for all sessions, each in a pid namespace of its own"
    return "one for each session, " + ("from /etc/subuid" if ids.outer else "mapped by root")


def _version_of(bwrap: str) -> str:
    try:
        text = subprocess.run([bwrap, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except OSError:
        text = ""
    return text.strip() or f"bubblewrap ({bwrap})"
