"""The Docker engine: hardened, long-lived containers that hold a supervisor and nothing else of ours.

The container's stdin and stdout, attached before it starts, are the channel, or bring a shorter one (`direct`).
`stdin_once` closes its stdin when we are gone, however we went, upon which the supervisor exits and Docker removes the
container; what a crash of the engine leaves nevertheless is found by its labels at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sandboxes import bootstrap
from sandboxes.engines import direct
from sandboxes.engines.base import Confinement
from sandboxes.engines.owners import age_s, is_dead, owner
from sandboxes.engines.stream import Demultiplexed, Inflow, StreamChannel
from sandboxes.errors import ContainerLost, EngineAway, SandboxError, SandboxUnavailable
from sandboxes.languages import COMPILED, Family, Language, mapped, titles
from sandboxes.sandbox import Role

if TYPE_CHECKING:
    import docker

IMAGE = "mellum-eval/sandbox:0.1"
LABEL = "mellum-eval.sandbox"
OWNER = "mellum-eval.owner"

REMNANT_S = 3600.0
"""Age from which a container that does not run, of a harness that cannot be looked up, is nobody's."""

OVERHEAD_MB = 112
"""What the control group gets beyond a session's memory: supervisor, zygote, and the tmpfs areas filled to the brim."""
AREAS_MB = {"/work": 48, "/tmp": 16, "/dev/shm": 16}
AREA_INODES = 8192
MAX_PROCESSES = 128
UIDS_PER_WORKER = 32
CPUS = 2.0

NUMPY_PATHS = ("/usr/local/lib/python3.11/site-packages", "/usr/lib/python3/dist-packages")
JUDGE_PATHS = ("/opt/mellum/judge",)


@lru_cache(maxsize=1)
def _uid_block(pid: int) -> int:
    """This process's users. A forked child draws its own: its workers run beside its parent's."""
    return secrets.randbelow(65536)


def family_image(family: Family) -> str:
    """Tag of a family's image."""
    name, _, version = IMAGE.partition(":")
    return IMAGE if family == "python" else f"{name}-{family}:{version}"


def uid_base(role: Role, worker: int) -> int:
    """Users of a worker, apart from those of all other workers of this machine's harnesses.

    The kernel counts a user's processes across containers, so two workers must not share one. Harnesses are kept apart
    by chance, one in 65,536: where that fails, a fork bomb in one costs the other a failed fork, no more.
    """
    slot = worker * len(Role) + list(Role).index(role)
    return (1 << 28) + _uid_block(os.getpid()) * 8192 + (slot * UIDS_PER_WORKER) % 8192


def connect() -> docker.DockerClient:
    """A client of the engine that the environment names.

    Raises:
        SandboxUnavailable: None answers.
    """
    try:
        import docker

        client = docker.from_env(timeout=120)
        client.ping()
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise SandboxUnavailable(
            f"no Docker engine answers ({reason})",
            "start one (`systemctl start docker`), install it (`apt install docker.io`), or use `--sandbox local`",
        ) from error
    return client


def remove_orphans(client: docker.DockerClient) -> None:
    """Remove the containers that dead harnesses left."""
    for container in client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        dead = is_dead(container.labels.get(OWNER, ""))
        if dead is None:
            # Another machine's, or another container's process. What runs ends by itself with its harness (its
            # stdin closes); what does not run, long after it was made, is a remnant.
            dead = container.status != "running" and age_s(container.attrs["Created"]) > REMNANT_S
        if dead:
            with contextlib.suppress(Exception):
                container.remove(force=True)


def _named(error: Exception) -> SandboxError:
    """What a failed launch means: nobody answered, or the engine said no."""
    import requests

    if isinstance(error, (ConnectionError, requests.ConnectionError, requests.Timeout)):
        return EngineAway(f"the Docker engine does not answer: {str(error)[:500]}")
    return SandboxError(f"the Docker engine cannot start a sandbox: {str(error)[:500]}")


class DockerChannel(StreamChannel):
    """One container's stream."""

    def __init__(self, engine: DockerEngine, container: Any, inflow: Demultiplexed, confinement: Confinement) -> None:
        super().__init__(inflow, confinement)
        self._attached = inflow
        self._engine = engine
        self._container = container

    @property
    def id(self) -> str:
        """The container's short id."""
        return str(self._container.short_id)

    @property
    def alive(self) -> bool:
        """Whether the engine holds the container, and the supervisor its socket."""
        return super().alive and self._attached.alive

    async def ready(self, hello: Mapping[str, Any]) -> None:
        """Leave the engine's relays, but for stderr, for the supervisor's own socket, where that may be had."""
        door = await asyncio.to_thread(self._door, hello)
        if door is not None:
            attached = self._attached
            _, self._inflow = await asyncio.get_running_loop().create_connection(lambda: Inflow(attached), sock=door)

    def _door(self, hello: Mapping[str, Any]) -> socket.socket | None:
        try:
            self._container.reload()
        except Exception:  # the container or its engine is gone, which the attached stream will say better
            return None
        return direct.take(int(self._container.attrs["State"]["Pid"]), hello)

    async def set_memory(self, memory_mb: int) -> None:
        """Update the container's control group."""
        limit = f"{memory_mb + OVERHEAD_MB}m"
        try:
            await asyncio.to_thread(self._container.update, mem_limit=limit, memswap_limit=limit)
        except Exception as error:
            raise ContainerLost(f"the memory limit cannot be set: {error}") from error

    async def kill(self) -> None:
        """Remove the container."""
        if self._dead:
            return
        self._dead = True
        for inflow in (self._inflow, self._attached):
            if inflow.transport is not None:
                inflow.transport.abort()
        await self._engine.remove(self._container)


class DockerEngine:
    """Starts containers; see `create_options` for how they are confined."""

    name = "docker"

    def __init__(
        self, *, image: str = IMAGE, runtime: str | None = None, cpus: float = CPUS, client: Any = None
    ) -> None:
        """Does not touch the engine yet.

        Args:
            image: Tag or id of the sandbox image.
            runtime: Another OCI runtime that the engine knows, such as `runsc` or `crun`.
            cpus: CPUs that one container may use.
            client: A `docker.DockerClient`; made from the environment if not given.
        """
        self.image = image
        self.runtime = runtime
        self.cpus = min(cpus, float(os.cpu_count() or 1))
        self._client: docker.DockerClient | None = client
        self._facts: dict[str, Any] = {}
        self._images: dict[Family, str] = {}
        self._containers: set[Any] = set()
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Find the engine and the image, and remove what dead harnesses left.

        Raises:
            SandboxUnavailable: No engine answers, or it has no sandbox image.
        """
        async with self._lock:
            if not self._facts:
                self._facts = await asyncio.to_thread(self._connect)

    def _connect(self) -> dict[str, Any]:
        import docker.errors

        if self._client is None:
            self._client = connect()
        version = self._client.version()
        try:
            image = self._client.images.get(self.image)
        except docker.errors.ImageNotFound as error:
            raise SandboxUnavailable(
                f"the Docker engine has no image {self.image}",
                "build it: `mellum-eval sandbox build` (without a registry: `mellum-eval sandbox build --from-debian`)",
            ) from error
        if self.runtime is not None and self.runtime not in self._client.info().get("Runtimes", {}):
            raise SandboxUnavailable(
                f"the Docker engine has no runtime {self.runtime}",
                f"install it and name it to the engine (`dockerd --add-runtime {self.runtime}=PATH`, "
                "or `runtimes` in /etc/docker/daemon.json)",
            )
        remove_orphans(self._client)
        return {
            "engine_version": version.get("Version"),
            "kernel": version.get("KernelVersion"),
            "image": self.image,
            "image_id": image.id,
            "image_digests": image.attrs.get("RepoDigests") or [],
        }

    def _need_client(self) -> docker.DockerClient:
        if self._client is None:
            raise SandboxError("the Docker engine was not opened")
        return self._client

    def create_options(self, role: Role, memory_mb: int, family: Family = "python") -> dict[str, Any]:
        """How a container is confined: arguments of the SDK's `containers.create`. A test pins them by inspection."""
        from docker.types import Ulimit

        memory = f"{memory_mb + OVERHEAD_MB}m"
        tmpfs = "rw,nosuid,nodev,{},mode=1777,size={}m,nr_inodes={}"
        # A compiled program is a file that is run; elsewhere noexec costs nothing, though an interpreter is as good.
        runs = {"/work"} if family in COMPILED else set[str]()
        return {
            "image": self.image_of(family),
            "command": bootstrap.command(),
            "entrypoint": [],
            "environment": bootstrap.ENVIRONMENT,
            "working_dir": "/",
            "user": "0:0",
            "hostname": "sandbox",
            "labels": {LABEL: str(role), OWNER: owner()},
            "network_mode": "none",
            "read_only": True,
            "tmpfs": {
                path: tmpfs.format("exec" if path in runs else "noexec", size, AREA_INODES)
                for path, size in AREAS_MB.items()
            },
            "cap_drop": ["ALL"],
            "cap_add": ["SETUID", "SETGID", "KILL"],
            "security_opt": ["no-new-privileges"],
            "ipc_mode": "private",
            "pids_limit": MAX_PROCESSES + 32,
            "mem_limit": memory,
            "memswap_limit": memory,
            "mem_swappiness": None,
            "nano_cpus": int(self.cpus * 1e9),
            "ulimits": [
                Ulimit(name="nofile", soft=256, hard=256),
                Ulimit(name="core", soft=0, hard=0),
                Ulimit(name="memlock", soft=65536, hard=65536),
            ],
            "init": False,
            "runtime": self.runtime,
            "log_config": {"type": "none", "config": {}},
            "auto_remove": True,
            "stdin_open": True,
            "tty": False,
            "detach": False,
        }

    async def launch(self, role: Role, worker: int, memory_mb: int, family: Family = "python") -> DockerChannel:
        """Create, attach, start."""
        await self.open()
        creation = asyncio.create_task(asyncio.to_thread(self._create, role, memory_mb, family))
        try:
            container, stream = await asyncio.shield(creation)
        except asyncio.CancelledError:
            # The thread cannot be stopped: take what it makes and remove it.
            with contextlib.suppress(Exception):
                container, stream = await creation
                stream.close()
                await self.remove(container)
            raise
        except SandboxError:
            raise
        except Exception as error:
            raise _named(error) from error
        _, inflow = await asyncio.get_running_loop().create_connection(Demultiplexed, sock=stream)
        confinement = Confinement(
            uid_base=uid_base(role, worker),
            uid_count=UIDS_PER_WORKER,
            paths=NUMPY_PATHS + (JUDGE_PATHS if role is Role.JUDGE else ()),
            cgroup=self.runtime in (None, "runc", "crun"),
            max_processes=MAX_PROCESSES,
            mapped=mapped(family),
        )
        return DockerChannel(self, container, inflow, confinement)

    async def require(self, language: Language) -> None:
        """Raises SandboxUnavailable where the image with the language's tools is not there."""
        await self.open()
        await asyncio.to_thread(self.image_of, language.family)

    def image_of(self, family: Family) -> str:
        """The family's image: its id, found once, so that what was compiled in it runs in the same one.

        Raises:
            SandboxUnavailable: It is not there.
        """
        found = self._images.get(family)
        if found is None:
            import docker.errors

            tag = self.image if family == "python" else family_image(family)
            try:
                found = str(self._need_client().images.get(tag).id)
            except docker.errors.ImageNotFound as error:
                raise SandboxUnavailable(
                    f"the Docker engine has no image {tag} for {titles(family)}",
                    f"build it: `mellum-eval sandbox build --from-debian --family {family}`",
                ) from error
            self._images[family] = found
        return found

    def _create(self, role: Role, memory_mb: int, family: Family = "python") -> tuple[Any, socket.socket]:
        client = self._need_client()
        container = client.containers.create(**self.create_options(role, memory_mb, family))
        self._containers.add(container)
        try:
            parameters = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            attached = client.api.attach_socket(str(container.id), params=parameters)
            raw = getattr(attached, "_sock", attached)
            if type(raw) is not socket.socket:
                raise SandboxError(
                    "DOCKER_HOST is spoken to through TLS or SSH; the sandbox needs a local socket or plain TCP"
                )
            stream = socket.socket(fileno=os.dup(raw.fileno()))
            stream.setblocking(False)
            attached.close()
            container.start()
        except BaseException:
            self._remove(container)
            raise
        return container, stream

    async def remove(self, container: Any) -> None:
        """Kill and remove one; never raises."""
        await asyncio.to_thread(self._remove, container)

    def _remove(self, container: Any) -> None:
        with contextlib.suppress(Exception):
            container.remove(force=True)
        self._containers.discard(container)

    def describe(self) -> Mapping[str, Any]:
        """Engine, image and limits."""
        return {
            "engine": self.name,
            **self._facts,
            "runtime": self.runtime or "default",
            "runtime_sha256": bootstrap.runtime_sha256(),
            "limits": {
                "cpus": self.cpus,
                "processes": MAX_PROCESSES,
                "overhead_mb": OVERHEAD_MB,
                "areas_mb": AREAS_MB,
                "network": "none",
                "read_only_root": True,
            },
        }

    async def close(self) -> None:
        """Remove every container that is still there."""
        await asyncio.gather(*(self.remove(container) for container in list(self._containers)))
        if self._client is not None:
            self._client.close()
