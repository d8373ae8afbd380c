from __future__ import annotations

import gzip
import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from suites import origins, sources
from suites.knowledge import mmlu_redux
from suites.sources import (
    DataSource,
    SourceAltered,
    SourceMissing,
    fetch,
    find,
    read_archive,
    read_csv,
    read_jsonl,
    resolve,
    sum_of,
    verify,
)

ROWS = [{"id": 1, "text": "a line\u2028 that is one"}, {"id": 2, "text": "ünï"}]
CONTENT = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
PACKED = gzip.compress(CONTENT, mtime=0)


def source(origin: str = "https://localhost:1/nowhere", file: str = "toy/rows.jsonl.gz") -> DataSource:
    """Pinned by the sums of what a mirror and an origin hold; the mirror's packing is another one."""
    mirrored = gzip.compress(CONTENT, compresslevel=1, mtime=0)
    return DataSource(
        file=file,
        sha256=hashlib.sha256(mirrored).hexdigest(),
        content_sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="MIT",
        origin=origin,
    )


class Handler(BaseHTTPRequestHandler):
    served: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/rows.jsonl")
            self.end_headers()
            return
        body = self.served.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(
        Handler, "served", {"/rows.jsonl": CONTENT, "/rows.jsonl.gz": PACKED, "/altered": CONTENT + b"\n"}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No mirror, and a cache of the test's own."""
    monkeypatch.delenv("MELLUM_DATA_DIR", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "mirror"
    (root / "toy").mkdir(parents=True)
    (root / "toy" / "rows.jsonl.gz").write_bytes(gzip.compress(CONTENT, compresslevel=1, mtime=0))
    monkeypatch.setenv("MELLUM_DATA_DIR", str(root))
    return root


def test_the_mirror_is_read_without_any_network(mirror: Path) -> None:
    assert list(read_jsonl(source())) == ROWS


def test_a_mirror_that_packs_differently_is_good_by_its_content(mirror: Path) -> None:
    (mirror / "toy" / "rows.jsonl.gz").write_bytes(gzip.compress(CONTENT, compresslevel=9, mtime=7))
    assert list(read_jsonl(source())) == ROWS


@pytest.mark.parametrize(
    "bad",
    [gzip.compress(CONTENT + b" ", mtime=0), b"not gzip", PACKED[:-9], b""],
    ids=["other content", "not gzip", "cut short", "empty"],
)
def test_an_altered_file_is_named_with_both_sums(mirror: Path, bad: bytes) -> None:
    path = mirror / "toy" / "rows.jsonl.gz"
    path.write_bytes(bad)
    with pytest.raises(SourceAltered) as caught:
        next(read_jsonl(source()))
    line = str(caught.value)
    assert str(path) in line
    assert source().content_sha256 in line
    assert line.count("\n") == 0


def test_a_file_altered_after_it_was_checked_is_noticed(mirror: Path) -> None:
    path = mirror / "toy" / "rows.jsonl.gz"
    verify(source(), path)
    path.write_bytes(gzip.compress(CONTENT + b"more"))
    with pytest.raises(SourceAltered):
        resolve(source())


def test_a_mirror_without_the_file_is_missing_data_not_a_download(mirror: Path, web: str) -> None:
    absent = source(f"{web}/rows.jsonl", "toy/other.jsonl.gz")
    with pytest.raises(SourceMissing, match=r"toy/other\.jsonl\.gz.*MELLUM_DATA_DIR.*mellum-eval data fetch toy"):
        resolve(absent)


def test_offline_names_the_source_and_both_mends(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceMissing) as caught:
        resolve(source())
    assert "toy/rows.jsonl.gz" in caught.value.what
    assert "mellum-eval data fetch toy" in caught.value.mend
    assert "MELLUM_DATA_DIR" in caught.value.mend
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceMissing, match="HF_HUB_OFFLINE is set"):
        resolve(source())


@pytest.mark.parametrize("path", ["/rows.jsonl", "/rows.jsonl.gz", "/moved"])
def test_an_origin_is_fetched_into_the_cache_however_it_packs(web: str, path: str) -> None:
    wanted = source(web + path)
    assert find(wanted) is None
    assert list(read_jsonl(wanted)) == ROWS
    cached = find(wanted)
    assert cached is not None
    assert list(cached.parent.iterdir()) == [cached]
    assert gzip.decompress(cached.read_bytes()) == CONTENT


@pytest.mark.parametrize(("path", "error"), [("/altered", SourceAltered), ("/absent", SourceMissing)])
def test_a_bad_origin_leaves_nothing_behind(web: str, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        fetch(source(web + path))
    assert find(source()) is None
    assert not [path for path in (sources.cache_root() / "data").rglob("*") if path.is_file()]


def test_a_huge_download_is_broken_off(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "LARGEST", 10)
    with pytest.raises(SourceMissing, match="larger than 10 bytes"):
        fetch(source(f"{web}/rows.jsonl"))


def test_the_hub_is_asked_for_the_pinned_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hf_hub_download(repo: str, path: str, *, repo_type: str, revision: str) -> str:
        asked.append((repo, path, repo_type, revision))
        (tmp_path / "hub.jsonl").write_bytes(CONTENT)
        return str(tmp_path / "hub.jsonl")

    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", SimpleNamespace(hf_hub_download=hf_hub_download))
    fetched = fetch(source("hf:someone/toy@abc123/data/rows.jsonl"))
    assert asked == [("someone/toy", "data/rows.jsonl", "dataset", "abc123")]
    assert gzip.decompress(fetched.read_bytes()) == CONTENT
    fetch(source("hf-model:someone/toy@abc123/1_Pooling/config.json"))
    assert asked[1:] == [("someone/toy", "1_Pooling/config.json", "model", "abc123")]


def test_without_the_hub_client_its_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(SourceMissing, match=r"mellum-eval\[data\]"):
        fetch(source("hf:someone/toy@abc123/data/rows.jsonl"))


def test_mmlu_redux_is_rebuilt_from_its_tables_byte_for_byte(
    data_dir: Path, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror's rows, written as the origin's tables (with a column more), must come back as the mirror's file."""
    import csv
    import io

    monkeypatch.setenv("MELLUM_DATA_DIR", str(data_dir))
    rows = list(read_jsonl(mmlu_redux.ROWS))
    kept = ["question", "choices", "groundtruth_answer", "error_type"]
    for subject in mmlu_redux.ROWS.parts:
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, [*kept, "some_model"])
        writer.writeheader()
        writer.writerows(
            {key: row[key] for key in kept} | {"some_model": "A"} for row in rows if row["subject"] == subject
        )
        Handler.served[f"/{subject}.csv"] = table.getvalue().encode()
    monkeypatch.delenv("MELLUM_DATA_DIR")
    fetched = fetch(replace(mmlu_redux.ROWS, origin=web + "/{}.csv"))
    assert hashlib.sha256(gzip.decompress(fetched.read_bytes())).hexdigest() == mmlu_redux.ROWS.content_sha256


def test_csv_cells_keep_their_line_breaks(mirror: Path) -> None:
    content = b'id,text\r\n1,"two\nlines"\r\n'
    (mirror / "toy" / "t.csv").write_bytes(content)
    plain = DataSource("toy/t.csv", hashlib.sha256(content).hexdigest(), "MIT", "https://localhost:1/")
    assert list(read_csv(plain)) == [{"id": "1", "text": "two\nlines"}]


def test_what_nobody_has_seen_is_held_to_its_first_fetch(web: str) -> None:
    unseen = DataSource("toy/unseen.jsonl", "", "MIT", f"{web}/rows.jsonl")
    assert sum_of(unseen) == ""
    path = fetch(unseen)
    assert sum_of(unseen) == hashlib.sha256(CONTENT).hexdigest()
    assert list(read_jsonl(unseen)) == ROWS
    path.write_bytes(CONTENT + b"\n")
    with pytest.raises(SourceAltered, match=hashlib.sha256(CONTENT).hexdigest()):
        resolve(unseen)


def test_a_wheel_that_pip_has_not_is_missing_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    wheel = DataSource("toy/toy.whl", "0" * 64, "MIT", "pypi:no-such-package-of-ours==1")
    with pytest.raises(SourceMissing, match="No matching distribution found for no-such-package-of-ours==1"):
        fetch(wheel)


def test_texts_of_an_archive_are_read_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "toy" / "toy.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("toy/a.py", "raise SystemExit  # ünread")
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path))
    wheel = DataSource("toy/toy.whl", hashlib.sha256(path.read_bytes()).hexdigest(), "MIT", "pypi:toy==1")
    assert read_archive(wheel, ["toy/a.py"]) == {"toy/a.py": "raise SystemExit  # ünread"}
    with pytest.raises(KeyError):
        read_archive(wheel, ["toy/b.py"])
