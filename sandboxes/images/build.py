"""Builds the sandbox image: from a registry by the Dockerfile, or from Debian packages where none can be reached.

Both ways end in one image with a `python3`, numpy where Python finds it, and math-verify with its dependencies in
`/opt/mellum/judge`, which only the judge's path names. Without a registry math-verify is copied from this process's own
installation; all of it is pure Python, which is checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from sandboxes.engines.docker import IMAGE, connect, family_image
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.images.families import context
from sandboxes.languages import Family

REGISTRY_BASE = "python:3.11-slim-bookworm"  # the default of the Dockerfile
DEBIAN_BASE = "mellum-eval/debian-python:bookworm"
SUITE = "bookworm"
PACKAGES = "python3,python3-numpy"
JUDGE_DIR = "opt/mellum/judge"
JUDGE_DISTRIBUTIONS = ("math-verify", "latex2sympy2_extended", "sympy", "mpmath", "antlr4-python3-runtime")
CONTENT_LABEL = "mellum-eval.content"
UNUSED = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale")
"""Of a Debian tree: half its size, and nothing that runs."""

_JUDGE_LAYER = f"""\
FROM {{base}}
COPY judge /{JUDGE_DIR}
RUN python3 -m compileall -q /{JUDGE_DIR}
CMD ["python3", "--version"]
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """What was built.

    Attributes:
        tag: The image's name.
        image_id: Its content address.
        base: What it was built on.
        content: sha256 over what we put on the base.
    """

    tag: str
    image_id: str
    base: str
    content: str


def build(
    *,
    from_debian: bool = False,
    base_image: str | None = None,
    tag: str = IMAGE,
    mirror: str | None = None,
    fresh: bool = False,
    say: Say = lambda line: None,
) -> Built:
    """Build the sandbox image.

    Args:
        from_debian: Make the base from Debian packages (needs root and `debootstrap`) instead of a registry's image.
        base_image: Take this local image as the base: any with `python3` (numpy in it is what candidates can import).
        tag: Name of the image.
        mirror: Where Debian's packages come from; debootstrap's own choice if not given.
        fresh: Make the Debian base again although there is one.
        say: Gets a line of progress now and then.

    Raises:
        SandboxUnavailable: No engine answers, or something else that is needed is missing; says what and its mend.
        SandboxError: The build failed; holds the last line of its log.
    """
    client = connect()
    try:
        if base_image is None and not from_debian:
            return _from_registry(client, tag, say)
        if base_image is None:
            base_image = _debian_base(client, mirror, fresh, say)
        return _on_base(client, base_image, tag, say)
    finally:
        client.close()


def build_family(
    family: Family,
    *,
    from_debian: bool = False,
    base_image: str | None = None,
    mirror: str | None = None,
    fresh: bool = False,
    say: Say = lambda line: None,
) -> Built:
    """Build the image of a family of languages, on the same base as the sandbox image.

    Its packages come from a Debian mirror over the network that the engine's host has, and some from npm.

    Args:
        family: Which.
        from_debian: As for `build`.
        base_image: As for `build`; must be Debian's bookworm.
        mirror: As for `build`.
        fresh: As for `build`.
        say: As for `build`.

    Raises:
        SandboxUnavailable: As `build`.
        SandboxError: As `build`.
    """
    if family == "python":
        return build(from_debian=from_debian, base_image=base_image, mirror=mirror, fresh=fresh, say=say)
    entries = context(family)
    client = connect()
    try:
        base = base_image or (_debian_base(client, mirror, fresh, say) if from_debian else REGISTRY_BASE)
        digest = hashlib.sha256(base.encode())
        for name, data in entries:
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
        return _built(
            client,
            _tar(entries),
            base,
            family_image(family),
            digest.hexdigest(),
            say,
            network="host",
            arguments={"BASE": base},
        )
    finally:
        client.close()


def _from_registry(client: Any, tag: str, say: Say) -> Built:
    dockerfile = files("sandboxes.images").joinpath("Dockerfile").read_bytes()
    arguments = {"JUDGE": f"math-verify[antlr4_13_2]=={version('math-verify')}"}
    content = hashlib.sha256(dockerfile + json.dumps(arguments).encode()).hexdigest()
    context = _tar([("Dockerfile", dockerfile)])
    try:
        return _built(
            client, context, "python:3.11-slim-bookworm", tag, content, say, network=None, arguments=arguments
        )
    except SandboxError as error:
        raise SandboxError(f"{error}; without a registry: `mellum-eval sandbox build --from-debian`") from error


def _on_base(client: Any, base: str, tag: str, say: Say) -> Built:
    import docker.errors

    try:
        base_id = client.images.get(base).id
    except docker.errors.ImageNotFound as error:
        raise SandboxUnavailable(
            f"the Docker engine has no image {base}", f"get it: `docker load` or `docker pull {base}`"
        ) from error
    entries = [("Dockerfile", _JUDGE_LAYER.format(base=base).encode())]
    entries += [(f"judge/{name}", path.read_bytes()) for name, path in judge_files()]
    digest = hashlib.sha256(str(base_id).encode())
    for name, data in entries:
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return _built(client, _tar(entries), base, tag, digest.hexdigest(), say, network="none", arguments={})


def judge_files() -> list[tuple[str, Path]]:
    """Name in the judge's directory, and path here, of everything that math-verify needs.

    Raises:
        SandboxUnavailable: One of the distributions is not installed here.
        SandboxError: One of them holds compiled code, which would not run in another Python.
    """
    found: dict[str, Path] = {}
    for name in JUDGE_DISTRIBUTIONS:
        try:
            installed: Distribution = distribution(name)
        except PackageNotFoundError as error:
            raise SandboxUnavailable(f"{name} is not installed here", f"install it: `pip install {name}`") from error
        for file in installed.files or []:
            parts = file.parts
            if ".." in parts or "__pycache__" in parts or "tests" in parts or file.suffix == ".pyc":
                continue
            if file.suffix in (".so", ".pyd"):
                raise SandboxError(f"{name} holds compiled code ({file}), which the judge's Python cannot load")
            if parts[0].endswith(".dist-info") and parts[-1] != "METADATA":
                continue  # RECORD and INSTALLER differ from one machine to the next
            path = Path(str(installed.locate_file(file)))
            if path.is_file():
                found[file.as_posix()] = path
    return sorted(found.items())


def _debian_base(client: Any, mirror: str | None, fresh: bool, say: Say) -> str:
    import docker.errors

    if not fresh:
        try:
            client.images.get(DEBIAN_BASE)
            say(f"base {DEBIAN_BASE} is there already (--fresh makes it again)")
            return DEBIAN_BASE
        except docker.errors.ImageNotFound:
            pass
    program = shutil.which("debootstrap", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        raise SandboxUnavailable("debootstrap is not installed", "install it: `apt install debootstrap`")
    with tempfile.TemporaryDirectory(prefix="mellum-debian-") as directory:
        tree = Path(directory) / "root"
        say(f"debootstrap {SUITE} with {PACKAGES}: about a minute")
        command = [
            program,
            "--variant=minbase",
            f"--include={PACKAGES}",
            SUITE,
            str(tree),
            *([mirror] if mirror else []),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            last = [line for line in done.stdout.splitlines() if line.strip()][-1:] or ["no output"]
            raise SandboxError(f"debootstrap failed ({done.returncode}): {last[0][:300]}")
        for name in UNUSED:
            shutil.rmtree(tree / name, ignore_errors=True)
        say(f"docker import {DEBIAN_BASE}")
        repository, _, suite = DEBIAN_BASE.partition(":")
        packed = subprocess.Popen(
            ["tar", "--numeric-owner", "--sort=name", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE
        )
        client.api.import_image_from_stream(_pieces(packed), repository=repository, tag=suite)
        if packed.wait() != 0:
            raise SandboxError("tar of the Debian tree failed")
    return DEBIAN_BASE


def _pieces(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    if process.stdout is not None:
        while piece := process.stdout.read(1 << 20):
            yield piece


def _tar(entries: list[tuple[str, bytes]]) -> IO[bytes]:
    """A build context with fixed times and owners, so that equal content is an equal layer."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(data))
    packed.seek(0)
    return packed


def _built(
    client: Any,
    context: IO[bytes],
    base: str,
    tag: str,
    content: str,
    say: Say,
    *,
    network: str | None,
    arguments: dict[str, str],
) -> Built:
    last = ""
    options = {"network_mode": network} if network else {}
    for event in client.api.build(
        fileobj=context,
        custom_context=True,
        tag=tag,
        rm=True,
        forcerm=True,
        decode=True,
        buildargs=arguments,
        labels={CONTENT_LABEL: content},
        **options,
    ):
        if "error" in event:
            raise SandboxError(f"the image build failed: {str(event['error']).strip()[:300]} (after: {last})")
        line = str(event.get("stream", "")).strip()
        if line:
            last = line[:200]
            say(last)
    image = client.images.get(tag)
    return Built(tag=tag, image_id=str(image.id), base=base, content=content)
