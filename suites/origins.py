"""Downloads from public origins: https, the Hugging Face hub, PyPI. Imported only when something must be fetched."""

from __future__ import annotations

import gzip
import importlib
import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

Converter = Callable[[Iterable[tuple[str, bytes]]], bytes]

_HUB = re.compile(r"hf(?P<model>-model)?:(?P<repo>[^@]+)@(?P<revision>[^/]+)/(?P<path>.+)")
_PYPI = re.compile(r"pypi:(?P<requirement>[^=]+==.+)")
_GZIP_MAGIC = b"\x1f\x8b"
LARGEST = 512 * 2**20
"""Bytes of one download at most: no benchmark file is near it, a mistaken address may be."""


class ClientMissing(Exception):
    """An origin is reached by a package that is not installed; the message names the origin."""


def download(origin: str, parts: Sequence[str] = (), convert: str = "") -> bytes:
    """The decompressed content of what is at an origin.

    Args:
        origin: As `DataSource.origin`.
        parts: As `DataSource.parts`.
        convert: As `DataSource.convert`.

    Raises:
        OSError: The origin could not be reached, or said no.
        ClientMissing: It needs a package that is not installed.
    """
    if not parts:
        return _unpacked(_one(origin))
    if not convert:
        raise ValueError(f"{origin}: an origin in parts needs a converter")
    module, _, function = convert.partition(":")
    converter = cast(Converter, getattr(importlib.import_module(module), function))
    return converter((part, _unpacked(_one(origin.replace("{}", part)))) for part in parts)


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data


def _one(origin: str) -> bytes:
    hub = _HUB.fullmatch(origin)
    if hub:
        return _from_hub(hub)
    package = _PYPI.fullmatch(origin)
    if package:
        return _from_pypi(package["requirement"])
    return _from_web(origin)


def _from_hub(hub: re.Match[str]) -> bytes:
    """One file of a data set's or a model's repository; the hub's own client knows endpoints, tokens and proxies."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ClientMissing("the Hugging Face hub, whose client is not installed") from error
    # What goes wrong is told by the error; its client would tell it on the terminal too, in words for its developers.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    kind = "model" if hub["model"] else "dataset"
    try:
        return Path(hf_hub_download(hub["repo"], hub["path"], repo_type=kind, revision=hub["revision"])).read_bytes()
    except ValueError as error:  # the client's own errors are OSErrors, but a bad name or an offline cache miss is not
        raise OSError(str(error)) from error


def _from_pypi(requirement: str) -> bytes:
    """The wheel itself, by pip, which knows the user's index and proxies. Nothing is installed, and nothing run."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        except subprocess.TimeoutExpired as error:
            raise OSError("pip took more than ten minutes") from error
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no wheel"]
            raise OSError(lines[-1][:300])
        return wheels[0].read_bytes()


def _from_web(address: str) -> bytes:
    import httpx

    received = bytearray()
    try:
        with httpx.stream("GET", address, follow_redirects=True, timeout=httpx.Timeout(60, connect=15)) as reply:
            reply.raise_for_status()
            for chunk in reply.iter_bytes():
                received += chunk
                if len(received) > LARGEST:
                    raise OSError(f"{address} is larger than {LARGEST} bytes")
    except httpx.HTTPError as error:
        raise OSError(str(error) or type(error).__name__) from error
    return bytes(received)
