"""Recorded verdicts of reference packages against ours: all that text alone decides, and a share of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from ours import Judged, judge
from records import Disagreement, Record, disagreements, read, read_all, write
from table import page

RECORDS = read_all()
SHARE = 12
"""One in so many of the records that need the sandbox is judged here; `python -m tests.parity.table` judges all."""


@pytest.fixture(scope="module")
def known() -> list:
    return disagreements()


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    records = [
        Record("gsm8k", "gsm8k/1", "gold", "p 1 rule", True, "make it", completion="#### 3"),
        Record("x", "1", "ranked", "p 1", 0.25, "make it", completion={"loglikelihoods": [-1.5, -2.0]}, part="score"),
        Record("y", "2", "gold", "p 1", False, "c", completion_sha256="0" * 64, completions="m:f"),
    ]
    assert write(tmp_path / "a.jsonl", records) == 3
    assert list(read(tmp_path / "a.jsonl")) == records


@pytest.mark.parametrize(
    "line",
    [
        '{"suite": "a"}',
        "[]",
        '{"suite":"a","item":"b","form":"c","reference":"r","reference_verdict":true,"command":"x"}',
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=r"a\.jsonl:1: "):
        list(read(tmp_path / "a.jsonl"))


async def test_a_wrong_verdict_of_either_side_shows(data_dir: Path) -> None:
    check = {"kind": "choice", "answer": "A", "choices": 2}
    records = [
        Record("made", "1", form, "r", verdict, "c", completion="Answer: A", check=check)
        for form, verdict in (("same", True), ("other", False))
    ]
    same, other = await judge(records, sandbox="local", workers=1)
    assert (same.agrees, other.agrees) == (True, False)


def test_the_page_counts_items_agreements_and_faults() -> None:
    records = [Record("made", item, form, "r", form == "a", "c", completion="x") for item in "12" for form in "ab"]
    text = page(records, [Disagreement("made", "1", "b", "data", "so it is")])
    assert "| made | r | 2 | 4 | 2 | 2 | 2 | 3 | 1 |" in text
    assert "| made | b | r | wrong | 1: 1 | data | so it is |" in text
    assert "0 are the reference's fault, 1 are the data's, 0 are ours." in text


def test_the_page_is_up_to_date() -> None:
    written = (Path(__file__).parents[2] / "docs" / "parity.md").read_text("utf-8")
    assert written == page(RECORDS, disagreements()), "python -m tests.parity.table --write docs/parity.md"


async def test_every_disagreement_is_known_and_nothing_else(data_dir: Path, known: list) -> None:
    records = chosen()
    mended: list[Judged] = []
    wrong: list[Judged] = []
    for one in await judge(records, sandbox="local", workers=2):
        assert one.verdict is not None, one.record
        entry = next((entry for entry in known if entry.covers(one.record)), None)
        if entry is not None and one.agrees:
            mended.append(one)
        elif entry is None and not one.agrees:
            wrong.append(one)
    shown = [f"{o.record.suite} {o.record.item} {o.record.form}: {o.verdict}, {o.record}" for o in wrong[:10]]
    assert not wrong, f"{len(wrong)} of {len(records)} disagree\n" + "\n".join(shown)
    assert not mended, f"listed as disagreements, and agree: {[one.record.item for one in mended[:10]]}"


def test_lm_evals_record_covers_what_is_claimed() -> None:
    ours = [record for record in RECORDS if record.reference.startswith("lm-eval 0.4.13")]
    assert len(ours) > 5_000
    assert len({(record.suite, record.item) for record in ours}) > 1_200
    seen: dict[str, set[bool]] = {}
    for record in ours:
        seen.setdefault(record.reference, set()).add(float(record.reference_verdict) > 0.5)
    assert {reference for reference, verdicts in seen.items() if len(verdicts) < 2} == set()
    suites = "gsm8k math500 mmlu mmlu_pro arc bbh truthfulqa hellaswag winogrande"
    assert {record.suite.split(":")[0] for record in ours} == set(suites.split())


def chosen() -> list[Record]:
    cheap = {"gsm8k", "mmlu", "mmlu_pro", "mmlu_redux", "arc", "bbh", "truthfulqa", "hellaswag", "winogrande", "ifeval"}
    # test_parity_bfcl.py, as they need a wheel that may not be at hand; test_parity_multipl_e.py, as they need images.
    elsewhere = {"bfcl_multi_turn", "multipl_e"}
    names = [record.suite.split(":")[0] for record in RECORDS]
    return [
        record
        for n, (record, name) in enumerate(zip(RECORDS, names, strict=True))
        if name not in elsewhere and (name in cheap or n % SHARE == 0)
    ]
