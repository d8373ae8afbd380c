"""Every published cell, compared with a second copy and with the collected facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mellum_eval.errors import UserError
from reports.baselines import Baseline, available, load

# Typed again from the report's LaTeX source, in its order and with its names; the YAML was made from another copy.
BASE = """
HumanEval           & 41.5 & 45.1 & 55.5 & 57.3 & 50.0
HumanEval+          & 37.2 & 39.6 & 47.0 & 51.2 & 43.9
MBPP                & 62.4 & 50.6 & 63.6 & 67.0 & 52.2
MBPP+               & 61.4 & 52.9 & 64.0 & 64.5 & 55.0
MultiPL-E           & 21.0 & 10.0 & 19.2 & 26.0 & 12.1
CRUXEval-I          & 45.4 & 38.8 & 44.0 & 44.6 & 49.1
CRUXEval-O          & 43.9 & 36.6 & 42.9 & 43.5 & 43.2
MMLU                & 70.9 & 62.1 & 71.8 & 71.1 & 74.2
MMLU-Pro            & 59.3 & 34.5 & 48.6 & 51.5 & 52.4
BBH                 & 74.9 & 63.6 & 69.0 & 71.3 & 80.2
ARC-Challenge       & 53.5 & 53.6 & 51.3 & 51.2 & 54.9
HellaSwag           & 73.7 & 74.2 & 78.9 & 73.7 & 75.3
WinoGrande          & 65.5 & 69.5 & 73.3 & 71.2 & 70.8
TruthfulQA          & 44.5 & 47.0 & 56.4 & 53.5 & 52.1
GSM8K               & 81.7 & 73.5 & 81.9 & 82.0 & 80.1
MATH                & 10.0 & 18.7 & 24.6 & 27.7 & 25.3
GPQA Diamond        & 31.3 & 28.8 & 32.8 & 36.9 & 41.4
GPQA Main           & 35.0 & 27.9 & 34.2 & 36.8 & 40.2
"""
INSTRUCT = """
LiveCodeBench v6      & 30.9 & 37.2 & 51.0 & 63.7 & 28.2 & 42.4 & 28.1
EvalPlus              & 76.2 & 78.4 & 69.4 & 71.8 & 67.3 & 74.1 & 73.8
MultiPL-E             & 64.6 & 67.1 & 51.0 & 67.1 & 36.1 & 71.5 & 77.0
BFCL v4               & 31.8 & 44.2 & 52.0 & 60.6 & 19.8 & 38.8 & ---
BFCL v3               & 43.1 & 66.3 & 64.1 & 70.5 & 41.9 & 52.7 & ---
AIME                  & 29.9 & 41.7 & 38.3 & 58.3 & 40.0 & 33.3 &  0.0
GSM-Plus              & 73.0 & 80.5 & 85.2 & 87.9 & 85.8 & 86.6 & 50.4
MMLU-Redux            & 77.4 & 78.1 & 87.5 & 91.1 & 71.8 & 85.9 & 38.1
GPQA Diamond          & 38.9 & 40.9 & 76.8 & 79.8 & 40.9 & 58.6 & 20.2
IFEval                & 69.3 & 75.8 & 82.1 & 83.9 & 83.2 & 67.3 & 56.2
JetBrains pairwise    & 66.7 & 68.1 & 60.6 & 77.8 & 44.4 & 72.4 & 43.0
MixEval               & 62.9 & 62.2 & 65.9 & 71.1 & 59.4 & 71.2 & 37.2
BS-Bench              & 24.0 & 18.0 & 56.9 & 61.0 & 22.0 &  9.0 &  5.0
HarmBench             &  8.4 & 23.1 & 20.3 & 20.9 & 14.7 & 56.5 & 40.0
XSTest                & 78.3 & 81.2 & 93.2 & 91.2 & 91.2 & 96.8 & 86.3
"""
THINKING = """
LiveCodeBench v6      & 75.1 & 69.9 & 59.4 & 68.3 & 59.8 & 42.7
BFCL v4               & 38.8 & 45.6 & 42.9 & 42.7 & --- & 35.9
BFCL v3               & 60.5 & 69.4 & 73.9 & 68.5 & --- & 52.2
AIME                  & 20.0 & 58.4 & 68.3 & 73.4 & 61.7 & 38.3
GSM-Plus              & 62.6 & 87.0 & 89.3 & 90.7 & 88.1 & 86.5
MMLU-Redux            & 84.8 & 86.2 & 88.3 & 91.7 & 71.3 & 84.4
GPQA Diamond          & 39.9 & 57.6 & 76.8 & 81.3 & 29.3 & 46.0
IFEval                & 69.1 & 76.5 & 87.1 & 89.8 & 84.7 & 59.7
JetBrains pairwise    & 64.4 & 69.5 & 40.5 & 56.7 & 32.2 & 63.8
MixEval               & 63.4 & 66.9 & 71.9 & 76.0 & 67.0 & 70.8
BS-Bench              & 14.0 & 15.0 & 63.0 & 70.0 & 23.0 &  9.0
HarmBench             & 12.2 & 20.6 & 15.9 &  6.6 &  48.7 & 70.0
XSTest                & 90.8 & 89.6 & 96.8 & 97.6 &  93.2 & 96.8
"""
MELLUM = "Mellum2-12B-A2.5B"
COLUMNS = {
    "base": ["Base-Pretrain", "OLMo-3-7B", "Qwen2.5-7B", "Qwen3-4B-Base", "Qwen3.5-4B-Base"],
    "instruct": [
        "Instruct-SFT",
        "Instruct (RL)",
        "Qwen3.5-4B",
        "Qwen3.5-9B",
        "OLMo-3-7B",
        "Ministral-3-14B",
        "Seed-Coder-8B",
    ],
    "thinking": ["Thinking-SFT", "Thinking (RL)", "Qwen3.5-4B", "Qwen3.5-9B", "OLMo-3-7B", "Ministral-3-14B"],
}
RETYPED = {"base": BASE, "instruct": INSTRUCT, "thinking": THINKING}


def cells(baseline: Baseline, table_id: str) -> list[tuple[str, list[float | None]]]:
    table = next(table for table in baseline.tables if table.id == table_id)
    return [(baseline.benchmarks[key].name, list(row)) for key, row in table.rows.items()]


@pytest.mark.parametrize("table_id", ["base", "instruct", "thinking"])
def test_every_cell_equals_a_second_copy(table_id: str) -> None:
    baseline = load("mellum2-report")
    expected = []
    for line in RETYPED[table_id].strip().splitlines():
        name, *numbers = (part.strip() for part in line.split("&"))
        expected.append((name, [None if n == "---" else float(n) for n in numbers]))
    got = [(name.replace(" (7 languages)", ""), row) for name, row in cells(baseline, table_id)]
    assert got == expected
    table = next(table for table in baseline.tables if table.id == table_id)
    assert [baseline.models[key].name.removeprefix(f"{MELLUM} ") for key in table.columns] == COLUMNS[table_id]


@pytest.mark.parametrize(
    ("table_id", "heading"), [("base", "### 6.1 "), ("instruct", "### 6.2 "), ("thinking", "### 6.3 ")]
)
def test_every_cell_equals_the_collected_facts(data_dir: Path, table_id: str, heading: str) -> None:
    path = data_dir.parent / "mellum2_facts.md"
    if not path.is_file():
        pytest.skip(f"no {path.name} beside the benchmark data; the second copy above is compared in any case")
    lines = path.read_text("utf-8").split(heading)[1].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    expected = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        _, *numbers = (part.strip() for part in line.strip("|").split("|"))
        expected.append([None if n == "-" else float(n) for n in numbers])
    assert [row for _, row in cells(load("mellum2-report"), table_id)] == expected


def test_values_carry_source_parameters_and_direction() -> None:
    values = list(load("mellum2-report").values())
    assert len(values) == 18 * 5 + (15 * 7 - 2) + (13 * 6 - 2)
    assert all("2605.31268" in v.source and "tab:" in v.source for v in values)
    assert {v.benchmark.name for v in values if v.benchmark.lower_is_better} == {"HarmBench"}
    mellum = {(v.model.total, v.model.active) for v in values if v.model.name.startswith(MELLUM)}
    assert mellum == {(12.15, 2.44)}
    # all the models compared with are dense: every parameter is active
    assert all(v.model.total == v.model.active for v in values if not v.model.name.startswith(MELLUM))


def test_an_unknown_baseline_is_named_with_those_there_are() -> None:
    assert available() == ["mellum2-report"]
    with pytest.raises(UserError, match="no baseline named 'nope'; there are: mellum2-report"):
        load("nope")
    with pytest.raises(UserError, match="no baseline"):
        load("../baselines/mellum2-report")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": ("nobody",), "rows": {"gsm8k": (1.0,)}}, "no model 'nobody'"),
        ({"columns": ("qwen35_4b",), "rows": {"nothing": (1.0,)}}, "no benchmark 'nothing'"),
        ({"columns": ("qwen35_4b",), "rows": {"gsm8k": (1.0, 2.0)}}, "2 values for 1 models"),
        ({"columns": ("qwen35_4b",), "rows": {"gsm8k": (101.0,)}}, "no percentage"),
    ],
)
def test_a_table_that_does_not_hold_together_is_refused(change: dict[str, object], message: str) -> None:
    whole = load("mellum2-report").model_dump()
    whole["tables"] = [{**whole["tables"][0], **change}]
    with pytest.raises(ValueError, match=message):
        Baseline.model_validate(whole)
