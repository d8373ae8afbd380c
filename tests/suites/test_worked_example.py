"""The suite that docs/suites.md shows how to add: it is what it says, and validates."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mellum_eval.cli import _run
from suites import registry
from suites.catalogue import Entry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "suites.md"


def test_the_worked_example_is_a_suite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = re.search(r"<!-- suite -->\n```python\n(.*?)```\n<!-- end -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    assert len(found[1].splitlines()) <= 36
    (tmp_path / "capitals_example.py").write_text(found[1], "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = Entry("capitals", "capitals_example:Capitals", "knowledge", "3 countries and their capitals")
    monkeypatch.setitem(registry._BY_NAME, "capitals", entry)
    assert _run(["suites", "validate", "capitals", "--sandbox", "local", "--workers", "1"]) == 0
    assert "capitals: gold 3/3, empty 0/3" in capsys.readouterr().out
    assert _run(["run", "mock:gold", "-s", "capitals", "--out", str(tmp_path / "run")]) == 0
