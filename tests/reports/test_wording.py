"""Runs that were not asked in the same words, or by the same chat template, are named by `compare` and by a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_runs import MakeRun

from mellum_eval.cli import _run
from reports.gather import gather


def edit(path: Path, template: str = "", **suites: dict[str, str]) -> Path:
    """Write sums into a run's manifest: the chat template's, and fields of each suite's record."""
    data = json.loads((path / "run.json").read_text("utf-8"))
    if template:
        data["model"]["chat_template_sha256"] = template
    for record in data["suites"]:
        record.update(suites.get(record["name"], {}))
    (path / "run.json").write_text(json.dumps(data), "utf-8")
    return path


def sums(prompts: str, first: str = "1" * 64) -> dict[str, str]:
    return {"prompts_sha256": prompts * 64, "first_prompt_sha256": first}


def notices(*paths: Path) -> list[str]:
    found = gather(list(paths)).notices
    assert not any(notice.bad for notice in found)
    return [notice.text for notice in found]


def test_one_notice_names_all_suites_that_differ_between_the_same_runs(make_run: MakeRun) -> None:
    a = edit(make_run("a", suites=["gsm8k", "ifeval", "bfcl"]), gsm8k=sums("a"), ifeval=sums("a"), bfcl=sums("c"))
    b = edit(make_run("b", suites=["gsm8k", "ifeval", "bfcl"]), gsm8k=sums("b"), ifeval=sums("b"), bfcl=sums("c"))
    (notice,) = notices(a, b)
    assert notice.startswith("suites gsm8k, ifeval: a and b were asked in different words")
    assert "aaaaaaaaaaaa and bbbbbbbbbbbb" in notice
    assert len(gather([a, b]).runs[0].suites) == 3


def test_the_same_words_and_older_runs_are_not_spoken_of(make_run: MakeRun) -> None:
    a, b, old = (make_run(name, suites=["gsm8k"]) for name in ("a", "b", "old"))
    assert notices(edit(a, gsm8k=sums("a")), edit(b, gsm8k=sums("a")), old) == []


def test_where_the_limits_differ_the_first_prompt_decides(make_run: MakeRun) -> None:
    a, b = (make_run(name, suites=["gsm8k"]) for name in ("a", "b"))
    edit(a, gsm8k=sums("a"))
    edit(b, gsm8k={**sums("b"), "problems": 5})  # type: ignore[dict-item]
    assert notices(a, b) == []
    edit(b, gsm8k=sums("b", first="2" * 64))
    assert len(notices(a, b)) == 1


def test_one_model_with_two_chat_templates_is_named(make_run: MakeRun) -> None:
    a, b = (edit(make_run(name, suites=["gsm8k"]), template=name * 64) for name in ("a", "b"))
    (notice,) = notices(a, b)
    assert notice == "a and b are one model with different chat templates (sha256 aaaaaaaaaaaa and bbbbbbbbbbbb)"
    data = json.loads((b / "run.json").read_text("utf-8"))
    data["model"]["sha256"] = "cd" * 32
    (b / "run.json").write_text(json.dumps(data), "utf-8")
    assert notices(a, b) == []


def test_a_run_stores_the_sums_and_compare_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["-s", "quick_safety", "-s", "quick_tools"]
    for name, more in (("chat", []), ("again", []), ("base", ["--base"])):
        assert _run(["run", "mock:gold", *given, *more, "--out", str(tmp_path / name)]) == 0
    assert _run(["run", "mock:gold", *given, "--limit", "3", "--out", str(tmp_path / "few")]) == 0
    records = {
        name: json.loads((tmp_path / name / "run.json").read_text("utf-8"))["suites"][0]
        for name in ("chat", "again", "base", "few")
    }
    assert all(len(record["prompts_sha256"]) == 64 for record in records.values())
    assert len({record["prompts_sha256"] for record in records.values()}) == 3
    assert records["chat"]["prompts_sha256"] == records["again"]["prompts_sha256"]
    assert records["few"]["first_prompt_sha256"] == records["chat"]["first_prompt_sha256"]
    capsys.readouterr()
    for other, said in (("again", False), ("few", False), ("base", True)):
        assert _run(["compare", str(tmp_path / "chat"), str(tmp_path / other)]) == 0
        assert ("asked in different words" in capsys.readouterr().err) is said
    assert _run(["report", str(tmp_path / "chat"), str(tmp_path / "base"), "--out", str(tmp_path / "out")]) == 0
    assert "asked in different words" in (tmp_path / "out" / "report.md").read_text("utf-8")
