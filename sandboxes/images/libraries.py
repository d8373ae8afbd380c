"""Images with Python libraries on top of the sandbox image: for benchmarks whose programs import more than it has.

The libraries are pinned by a requirements file and installed here, by pip, for the image's Python; what runs in the
build is Debian's installer, over the network of the engine's host. One file a set in `requirements/`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.resources import files
from pathlib import Path

from sandboxes.engines.docker import IMAGE, connect
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.images.build import CONTENT_LABEL, Built, Say

PYTHON = (3, 11)
"""Of the sandbox image, both ways of building it."""
SITE = "usr/local/lib/python3.11/site-packages"
SETS = ("bigcodebench",)

PACKAGES = "python3-tk python3-distutils procps unzip"
"""What Debian leaves out of the standard library (turtle needs tkinter, tensorflow distutils), and tools that programs
or their tests call, as they do `python`."""

_DOCKERFILE = f"""\
FROM {{base}}
COPY install /usr/local/sbin/mellum-install
RUN sh /usr/local/sbin/mellum-install {PACKAGES} && ln -sf python3 /usr/bin/python
COPY site /{SITE}
"""


def image_of(name: str) -> str:
    """Tag of a set's image."""
    repository, _, version = IMAGE.partition(":")
    return f"{repository}-{name}:{version}"


def build_libraries(name: str, *, tag: str | None = None, say: Say = lambda line: None) -> Built:
    """Build a set's image on the sandbox image.

    Args:
        name: One of `SETS`.
        tag: Name of the image, if it is not to be `image_of(name)`.
        say: Gets a line of progress now and then.

    Raises:
        SandboxUnavailable: The sandbox image, an engine, or a pip of the right Python is missing; says its mend.
        SandboxError: pip or the build failed.
    """
    import docker.errors

    client = connect()
    try:
        try:
            base_id = str(client.images.get(IMAGE).id)
        except docker.errors.ImageNotFound as error:
            raise SandboxUnavailable(
                f"the Docker engine has no image {IMAGE} to build on", "build it: `mellum-eval sandbox build`"
            ) from error
        if sys.version_info[:2] != PYTHON or sys.platform != "linux":
            raise SandboxUnavailable(
                f"libraries for the image's Python {PYTHON[0]}.{PYTHON[1]} must be installed by that Python on Linux",
                "run this command in a virtual environment of it",
            )
        text = files("sandboxes.images").joinpath(f"requirements/{name}.txt").read_text("utf-8")
        content = hashlib.sha256(f"{base_id}\0{_DOCKERFILE}\0{text}".encode()).hexdigest()
        with tempfile.TemporaryDirectory(prefix="mellum-libraries-") as directory:
            context = Path(directory)
            _install(text, context / "site", say)
            (context / "Dockerfile").write_text(_DOCKERFILE.format(base=IMAGE), "utf-8")
            (context / "install").write_bytes(files("sandboxes.images").joinpath("install").read_bytes())
            return _build(client, context, tag or image_of(name), content, say)
    finally:
        client.close()


def _install(requirements: str, target: Path, say: Say) -> None:
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode != 0:
        uv = shutil.which("uv")
        if uv is None:
            raise SandboxUnavailable("this environment has no pip", "install it: `python -m ensurepip`")
        pip = [uv, "pip"]
    listed = target.with_name("requirements.txt")
    listed.write_text(requirements, "utf-8")
    say("pip installs the libraries: some minutes and gigabytes")
    _run([*pip, "install", "--quiet", "--target", str(target), "-r", str(listed)], "pip")
    # The image is read-only: what is not compiled now is compiled in every job.
    say("compiling them")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(target)], capture_output=True, check=False)


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if "ERROR" in line or "error" in line]
        raise SandboxError(f"{what} failed: {(errors or ['no output'])[0][:300]}")


def _build(client: object, context: Path, tag: str, content: str, say: Say) -> Built:
    """Send the context as a file: it is larger than memory should hold."""
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(context / "Dockerfile", "Dockerfile", filter=_as_root)
            tar.add(context / "install", "install", filter=_as_root)
            tar.add(context / "site", "site", filter=_as_root)
        packed.seek(0)
        last = ""
        for event in client.api.build(  # type: ignore[attr-defined]
            fileobj=packed,
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            decode=True,
            labels={CONTENT_LABEL: content},
            network_mode="host",
        ):
            if "error" in event:
                raise SandboxError(f"the image build failed: {str(event['error']).strip()[:300]} (after: {last})")
            last = str(event.get("stream", "")).strip()[:200] or last
            if last:
                say(last)
    image = client.images.get(tag)  # type: ignore[attr-defined]
    return Built(tag=tag, image_id=str(image.id), base=IMAGE, content=content)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
