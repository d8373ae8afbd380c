"""Containers of an instance's own image: a repository with its environment, as SWE-bench ships one for each task.

Confined as the sandbox's own are (no network, no privileges, limits, labels by which orphans are found), and fresh for
each use. Unlike there, root inside may write the container's layer, since repository and environment live in it. The
image needs git and bash and nothing of ours. A command's exit status is the engine's word, whatever was printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import tarfile
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sandboxes.engines.docker import LABEL, MAX_PROCESSES, OWNER, connect, remove_orphans
from sandboxes.engines.owners import owner
from sandboxes.errors import ContainerLost, SandboxError, SandboxUnavailable
from sandboxes.limits import Limits
from sandboxes.repository import LARGEST_FILE
from sandboxes.sandbox import End

if TYPE_CHECKING:
    import docker

T = TypeVar("T")

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
"""What root inside needs to write a repository that the image gave to another user."""
LARGEST_OUTPUT = 64 << 20
LARGEST_WRITTEN = 1 << 30
"""Bytes of one file that a command may write."""
LARGEST_REPOSITORY = 512 << 20
KEPT_REPOSITORIES = 4
SPARE_S = 600
"""Seconds beyond its limit for which a container stays, should nobody be there any more to remove it."""
_TICK_S = 0.5
_MEASURED_FROM_S = 3.0
"""Seconds of a command after which its CPU time is asked for: each asking takes the engine a second."""
_GIT = {
    **{"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
    **{f"GIT_{who}_{what}": "nobody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
"""The repository may be another user's than root's, and root has no name."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a command.

    Attributes:
        end: Why it ended; `EXITED` means by itself.
        status: Exit status, where it ended by itself.
        output: What it printed, stdout and stderr as they came.
        cpu_s: CPU seconds of everything that ran in the container so far.
        wall_s: Seconds that it took.
    """

    end: End
    status: int
    output: bytes
    cpu_s: float
    wall_s: float

    @property
    def text(self) -> str:
        """The output, decoded with replacement."""
        return self.output.decode("utf-8", "replace")


class Instances:
    """Starts containers of instances' images, as many at a time as there are CPUs."""

    def __init__(self, client: Any = None) -> None:
        """Does not touch the engine yet.

        Args:
            client: A `docker.DockerClient`; made from the environment if not given.
        """
        self._client: docker.DockerClient | None = client
        self._opening = asyncio.Lock()
        slots = os.cpu_count() or 1
        self._room = asyncio.Semaphore(slots)
        self._threads = ThreadPoolExecutor(2 * slots + 2, thread_name_prefix="instances")
        self._repositories: OrderedDict[tuple[str, str], Mapping[str, str]] = OrderedDict()

    async def require(self, images: Collection[str]) -> None:
        """Do nothing where the engine has all these images.

        Raises:
            SandboxUnavailable: There is no engine, or it lacks some; names them.
        """
        await self._open()
        missing = await self._apart(lambda: [image for image in dict.fromkeys(images) if not self._has(image)])
        if missing:
            more = f" and {len(missing) - 3} others" if len(missing) > 3 else ""
            raise SandboxUnavailable(
                f"the Docker engine has no image {', '.join(missing[:3])}{more}",
                f"get it where a registry can be reached: `docker pull {missing[0]}`",
            )

    @contextlib.asynccontextmanager
    async def container(self, image: str, limits: Limits) -> AsyncIterator[InstanceContainer]:
        """A fresh container, removed afterwards.

        Raises:
            SandboxUnavailable: There is no engine, or it has no such image.
            SandboxError: It could not be started this time.
        """
        await self.require([image])
        async with self._room:
            made = InstanceContainer(self._need_client(), self._threads, limits)
            try:
                await made.start(image)
                yield made
            finally:
                await asyncio.shield(made.remove())

    async def repository(self, image: str, folder: str) -> Mapping[str, str]:
        """The tracked text files of an image's repository, path → content; without links and large files.

        Raises:
            SandboxUnavailable, SandboxError: As `container`; or there is no repository.
        """
        key = (image, folder)
        if key not in self._repositories:
            async with self.container(image, Limits(cpu_s=120, memory_mb=2048)) as container:
                listed = "set -o pipefail; git ls-files -z | tar --null --no-recursion -T - -cf - 2>/dev/null"
                ran = await container.run(["bash", "-c", listed], folder, most=LARGEST_REPOSITORY)
            if ran.end is not End.EXITED or ran.status != 0:
                raise SandboxError(f"{image} shows no repository in {folder} (status {ran.status}, {ran.end})")
            self._repositories[key] = _texts(ran.output)
            while len(self._repositories) > KEPT_REPOSITORIES:
                self._repositories.popitem(last=False)
        return self._repositories[key]

    def _has(self, image: str) -> bool:
        import docker.errors

        try:
            self._need_client().images.get(image)
        except docker.errors.ImageNotFound:
            return False
        return True

    def _need_client(self) -> docker.DockerClient:
        if self._client is None:
            raise SandboxError("the Docker engine was not opened")
        return self._client

    async def _open(self) -> None:
        async with self._opening:
            if self._client is None:
                client = await self._apart(connect)
                await self._apart(lambda: remove_orphans(client))
                self._client = client

    async def _apart(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class InstanceContainer:
    """One container. Its limits are of all its commands together."""

    def __init__(self, client: Any, threads: ThreadPoolExecutor, limits: Limits) -> None:
        self._client, self._threads, self._limits = client, threads, limits
        self._container: Any = None
        self._since = time.monotonic()
        self._cpu_s = 0.0

    async def start(self, image: str) -> None:
        """Create and start it.

        Raises:
            SandboxError: The engine would not.
        """
        options = create_options(image, self._limits)
        creation = asyncio.ensure_future(self._apart(lambda: self._client.containers.create(**options)))
        try:
            self._container = await asyncio.shield(creation)
            await self._apart(self._container.start)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                self._container = await creation  # the thread cannot be stopped: what it makes is removed
            raise
        except Exception as error:
            raise SandboxError(f"the Docker engine cannot start {image}: {str(error)[:500]}") from error
        self._since = time.monotonic()

    async def put(self, files: Mapping[str, bytes], folder: str) -> None:
        """Write files, root's, by their paths under a folder of the container.

        Raises:
            ContainerLost: It went away.
            ValueError: They cannot be written there, as where a folder would be a file.
        """
        import docker.errors

        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path, data in files.items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(data), 0o644
                archive.addfile(member, io.BytesIO(data))
        try:
            await self._apart(lambda: self._container.put_archive(folder, packed.getvalue()))
        except docker.errors.APIError as error:
            if error.status_code == 404 or not await self._is_there():
                raise ContainerLost(f"the container went away: {str(error)[:300]}") from error
            raise ValueError(str(error.explanation)[:300]) from error
        except Exception as error:
            raise ContainerLost(f"files cannot be put into the container: {str(error)[:300]}") from error

    async def run(
        self, command: Sequence[str], folder: str, *, most: int = LARGEST_OUTPUT, measured: bool = False
    ) -> Ran:
        """Run a command and wait for its end; one that meets a limit takes the container with it.

        Args:
            command: And its arguments.
            folder: Where it runs.
            most: Bytes that it may print.
            measured: Whether CPU time is asked for in the end, however short it was.

        Raises:
            ContainerLost: The container went away, not by its limits.
        """
        output = bytearray()
        running = asyncio.ensure_future(self._apart(lambda: self._execute(list(command), folder, output, most)))
        end: End | None = None
        begun = time.monotonic()
        try:
            while not (await asyncio.wait({running}, timeout=_TICK_S))[0]:
                end = await self._over(cpu=time.monotonic() - begun > _MEASURED_FROM_S)
                if end is not None:
                    await self._kill()
                    break
            status = await running
        except asyncio.CancelledError:
            await asyncio.shield(self._kill())
            await asyncio.wait({running})
            raise
        except Exception as error:
            if end is None:
                raise ContainerLost(f"the container went away: {str(error)[:300]}") from error
            status = None
        if end is None and len(output) > most:
            end = End.OVERSIZE
        if end is None and status is None and await self._is_there("OOMKilled"):
            end = End.MEMORY_LIMIT
        if end is None and status is None:
            raise ContainerLost("the container went away while a command ran")
        wall_s = time.monotonic() - begun
        if measured and end is None:
            end = await self._over(cpu=True)
        return Ran(end or End.EXITED, -9 if status is None else status, bytes(output[:most]), self._cpu_s, wall_s)

    async def remove(self) -> None:
        """Kill and remove it. Never raises."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(Exception):
                await self._apart(lambda: container.remove(force=True, v=True))

    async def _is_there(self, state: str = "Running") -> bool:
        def look() -> bool:
            self._container.reload()
            return bool(self._container.attrs["State"].get(state))

        try:
            return await self._apart(look)
        except Exception:  # the engine is gone, or the container
            return False

    async def _kill(self) -> None:
        with contextlib.suppress(Exception):
            await self._apart(self._container.kill)

    async def _over(self, *, cpu: bool) -> End | None:
        """Which limit is met; CPU time decides, the wall limit catches sleepers."""
        if cpu:
            with contextlib.suppress(Exception):  # of a container that has ended there is nothing to be known
                told = await self._apart(lambda: self._container.stats(stream=False))
                self._cpu_s = max(self._cpu_s, told["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9)
        if self._cpu_s > self._limits.cpu_s:
            return End.CPU_LIMIT
        return End.WALL_LIMIT if time.monotonic() - self._since > self._limits.wall_s else None

    def _execute(self, command: list[str], folder: str, output: bytearray, most: int) -> int | None:
        api = self._container.client.api
        made = api.exec_create(self._container.id, command, workdir=folder, user="0:0", environment=_GIT)
        for piece in api.exec_start(made["Id"], stream=True):
            output += piece
            if len(output) > most:
                self._container.kill()
                break
        status: int | None = api.exec_inspect(made["Id"])["ExitCode"]
        return status

    async def _apart(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def create_options(image: str, limits: Limits) -> dict[str, Any]:
    """How a container is confined: arguments of the SDK's `containers.create`. A test pins them by inspection."""
    from docker.types import Ulimit

    memory = f"{limits.memory_mb}m"
    return {
        "image": image,
        "command": ["sh", "-c", f"sleep {int(limits.wall_s) + SPARE_S}; :"],  # a shell, to reap whoever is left to it
        "entrypoint": [],
        "user": "0:0",
        "hostname": "instance",
        "labels": {LABEL: "instance", OWNER: owner()},
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "cap_add": list(CAPABILITIES),
        "security_opt": ["no-new-privileges"],
        "ipc_mode": "private",
        "pids_limit": 4 * MAX_PROCESSES,
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": int(1e9),
        "ulimits": [
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="fsize", soft=LARGEST_WRITTEN, hard=LARGEST_WRITTEN),
        ],
        "init": False,
        "log_config": {"type": "none", "config": {}},
        "detach": False,
    }


def _texts(packed: bytes) -> dict[str, str]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() and member.size <= LARGEST_FILE else None
            if file is not None:
                with contextlib.suppress(UnicodeDecodeError):
                    found[member.name] = file.read().decode("utf-8")
    return found
