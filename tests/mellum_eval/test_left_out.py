"""Groups, and suites whose data is not at hand: all are named, or left out and said so where scores are shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mellum_eval.cli import _run
from suites import registry
from suites.catalogue import GROUPS


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_group_s_members_are_suites(group: str) -> None:
    members = registry.expand([group])
    assert members and len(set(members)) == len(members)
    for member in members:
        registry.get(member)


def test_no_group_hides_a_suite() -> None:
    assert not {entry.name for entry in registry.entries()} & set(GROUPS)


@pytest.fixture
def half(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror with one of two suites' data, and nothing to fetch the other from."""
    mirror = tmp_path / "mirror"
    (mirror / "arc").mkdir(parents=True)
    for file in (data_dir / "arc").glob("*.gz"):
        shutil.copy(file, mirror / "arc")
    monkeypatch.setenv("MELLUM_DATA_DIR", str(mirror))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_what_is_missing_stops_a_run_and_all_of_it_is_named(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["run", "mock:gold", "-s", "arc", "-s", "mmlu", "-s", "hellaswag", "--limit", "2", "--out", str(half / "r")]
    assert _run(given) == 3
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "mmlu, hellaswag have no data here" in err and "--skip-missing" in err
    assert not (half / "r").exists()


def test_left_out_it_is_said_by_run_manifest_and_report(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = half / "r"
    given = ["run", "mock:gold", "-s", "arc", "-s", "mmlu", "--limit", "2", "--skip-missing", "--out", str(out)]
    assert _run(given) == 0
    assert "mmlu is left out: what it needs is not at hand" in capsys.readouterr().err
    assert json.loads((out / "run.json").read_text())["left_out"] == ["mmlu"]
    assert set(json.loads((out / "scores.json").read_text())["suites"]) == {"arc"}
    assert "mmlu" in (out / "report" / "report.md").read_text()


def test_with_nothing_left_there_is_no_run(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["run", "mock:gold", "-s", "mmlu", "--skip-missing", "--out", str(half / "r")]) == 3
    assert "mmlu" in capsys.readouterr().err


@pytest.mark.usefixtures("data_dir", "bfcl_wheel")
def test_what_lacks_a_key_is_left_out_of_a_group_and_named_alone_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SERPAPI_API_KEY", raising=False)
    monkeypatch.setitem(GROUPS, "two", ("bfcl:irrelevance", "bfcl_web_search"))
    out = tmp_path / "r"
    assert _run(["run", "mock:gold", "-s", "two", "--limit", "2", "--out", str(out)]) == 0
    assert "bfcl_web_search is left out: what it needs is not at hand" in capsys.readouterr().err
    assert json.loads((out / "run.json").read_text())["left_out"] == ["bfcl_web_search"]
    assert _run(["rescore", str(out)]) == 0
    assert set(json.loads((out / "scores.json").read_text())["suites"]) == {"bfcl:irrelevance"}
    capsys.readouterr()
    for names in (["bfcl_web_search"], ["bfcl:irrelevance", "bfcl_web_search"]):
        given = [part for name in names for part in ("-s", name)]
        assert _run(["run", "mock:gold", *given, "--limit", "2", "--out", str(tmp_path / "other")]) == 3
        assert "set SERPAPI_API_KEY" in capsys.readouterr().err
    monkeypatch.setitem(GROUPS, "one", ("bfcl_web_search",))
    assert _run(["run", "mock:gold", "-s", "one", "--out", str(tmp_path / "other")]) == 3
