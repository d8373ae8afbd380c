"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from suites.sources import DataSource

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The mirror of benchmark files: MELLUM_DATA_DIR, else `shared/bench_data` beside the checkout."""
    path = Path(os.environ.get("MELLUM_DATA_DIR") or ROOT.parent / "shared" / "bench_data")
    if not (path / "MANIFEST.csv").is_file():
        pytest.fail(f"no benchmark data at {path}: point MELLUM_DATA_DIR at a mirror")
    os.environ["MELLUM_DATA_DIR"] = str(path)
    return path


@pytest.fixture(scope="session")
def bfcl_wheel() -> Path:
    """The wheel with BFCL's simulated APIs: out of the cache, else by pip; skipped, and said so, where pip has none."""
    from suites.tools.bfcl_package import WHEEL

    return _fetched(WHEEL)


@pytest.fixture(scope="session")
def bm25_wheel() -> Path:
    """The wheel that ranks a memory's keys, likewise."""
    from suites.tools.bfcl_package import BM25

    return _fetched(BM25)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sentence encoder of random weights; skipped, and said so, without the libraries that read it."""
    for package in ("sentence_transformers", "faiss"):
        pytest.importorskip(package, reason='needs pip install "mellum-eval[memory]"')
    from tiny_encoder import save_tiny_encoder

    return save_tiny_encoder(tmp_path_factory.mktemp("encoders") / "all-MiniLM-L6-v2")


@pytest.fixture
def encoder(
    tiny_encoder: Path, data_dir: Path, bfcl_wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The tiny encoder in the place of BFCL's, pinned and in the cache as that would be."""
    from suites.sources import DataSource
    from suites.tools import sentence_encoder

    data = tmp_path / "cache" / "mellum-eval" / "data"
    data.mkdir(parents=True)
    (data / "bfcl_eval").symlink_to(bfcl_wheel.parent)
    (data / "tiny").symlink_to(tiny_encoder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sentence_encoder, "_FOLDER", "tiny")
    paths = [path for path in sorted(tiny_encoder.rglob("*")) if path.is_file()]
    names = [path.relative_to(tiny_encoder).as_posix() for path in paths]
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    files = tuple(DataSource(f"tiny/{name}", sha256, "none", "") for name, sha256 in zip(names, sums, strict=True))
    assert names == sorted(source.file.partition("/")[2] for source in sentence_encoder.FILES)
    monkeypatch.setattr(sentence_encoder, "FILES", files)
    sentence_encoder._encoder.cache_clear()
    yield
    sentence_encoder._encoder.cache_clear()


@pytest.fixture(scope="session")
def codeshield_wheel() -> Path:
    """The wheel with CodeShield's rules, likewise."""
    from suites.safety.cyberseceval import RULES

    return _fetched(RULES)


def _fetched(source: DataSource) -> Path:
    from suites.sources import SourceMissing, fetch, find

    try:
        return find(source) or fetch(source)
    except SourceMissing as missing:
        pytest.skip(str(missing))
