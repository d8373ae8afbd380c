"""`mellum-eval report` at the command line: what it writes, says and ends with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mellum_eval.cli import main
from reports.build import FORMATS


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], list[str]]:
    with pytest.raises(SystemExit) as end:
        main(["report", *arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out.splitlines(), err.splitlines()


@pytest.fixture
def empty_run(tmp_path: Path) -> Path:
    """The least that is a run directory: begun, nothing answered yet."""
    from mellum_eval.records import Manifest
    from mellum_eval.store import RunStore

    manifest = Manifest(
        created="2026-11-23T18:00:00Z",
        command=["mellum-eval", "run"],
        spec={},
        model={"scheme": "mock", "name": "mixed"},
        suites=[],
        seeds={},
        sandbox={},
        versions={},
        host={},
    )
    with RunStore.create(tmp_path / "run", manifest):
        pass
    return tmp_path / "run"


def test_baselines_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "--baselines", "mellum2-report", "--out", str(tmp_path / "out"))
    assert (code, err) == (0, [])
    assert out == [str(tmp_path / "out" / f"report.{kind}") for kind in FORMATS]


def test_one_run_is_reported_into_its_own_directory(capsys: pytest.CaptureFixture[str], empty_run: Path) -> None:
    code, out, err = run(capsys, str(empty_run), "--format", "md,html", "--baselines", "mellum2-report")
    assert code == 0
    assert out == [str(empty_run / "report" / name) for name in ("report.html", "report.md")]
    assert len(err) == 1
    assert "the run has not ended" in err[0]
    assert "mock:mixed" in (empty_run / "report" / "report.html").read_text("utf-8")


def test_a_baseline_named_behind_another_option_value_is_understood(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "mellum2-report", "--format", "md")
    assert code == 0
    assert out == ["mellum-report/report.md"]


def test_a_foreign_directory_is_named_and_the_rest_reported(
    capsys: pytest.CaptureFixture[str], empty_run: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    code, out, err = run(capsys, str(foreign), str(empty_run), "--out", str(tmp_path / "out"))
    assert code == 2
    assert len(out) == 5
    assert any(str(foreign) in line and "not a run directory" in line for line in err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: not a run directory"),
        (["--baselines", "nope"], "no baseline named 'nope'; there are: mellum2-report"),
        (["--baselines", "mellum2-report", "--format", "pdf"], "no report format named 'pdf'"),
        ([], "nothing to report"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert message in err[0]
    assert list(tmp_path.iterdir()) == []


def test_help_needs_neither_the_template_engine_nor_numpy() -> None:
    code = (
        "import sys; from mellum_eval.cli import main\n"
        "try: main(['report', '--help'])\n"
        "except SystemExit: sys.exit(bool({'jinja2', 'numpy', 'scipy', 'yaml', 'reports.build'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
