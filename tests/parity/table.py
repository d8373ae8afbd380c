"""The parity page, docs/parity.md: what reference packages said of fixed completions, and what we say.

    python -m tests.parity.table --write docs/parity.md

Every file of `recorded/` is judged anew by the suites' own verifiers, and the page is written only where those differ
that `disagreements.jsonl` names, and no others: so it says the same as records and list do, and a test can hold it to
them. `--suite NAME` judges only some, and prints.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from ours import judge
from records import Disagreement, Record, disagreements, read_all

HERE = Path(__file__).parent
HEAD = """# Parity with the reference packages

Written by `python -m tests.parity.table --write docs/parity.md`, which judges every recorded completion anew and writes
nothing where others than the listed ones differ. `tests/parity/records.py` says how verdicts are recorded, each line
with the command that made it; `tests/parity/disagreements.jsonl` is the list. On the same completion (gold, mutated,
wrong, malformed, with reasoning in tags) the reference package gave a verdict, and so do we.

"""


def main() -> None:
    """Judge, and print or write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", action="append", help="only this suite; repeatable")
    parser.add_argument("--sandbox", default="auto")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page where all is as listed")
    given = parser.parse_args()
    records = [record for record in read_all() if not given.suite or record.suite.split(":")[0] in given.suite]
    known = disagreements()
    judged = asyncio.run(judge(records, sandbox=given.sandbox))
    surprises = [one for one in judged if one.verdict is not None and one.agrees is bool(listed(one.record, known))]
    absent = sum(one.verdict is None for one in judged)
    for one in surprises:
        record = one.record
        sys.stderr.write(f"{record.suite} {record.item} {record.form}: {one.verdict}, recorded {record.line()}\n")
    sys.stderr.write(f"{len(judged)} judged, {len(surprises)} other than listed, {absent} without data\n")
    text = page(records, known)
    if given.write is None:
        sys.stdout.write(text)
    elif not (surprises or absent or given.suite):
        given.write.write_text(text, "utf-8")
    raise SystemExit(1 if surprises else 0)


def listed(record: Record, known: Sequence[Disagreement]) -> Disagreement | None:
    """Why a record is judged otherwise here, where it is."""
    return next((entry for entry in known if entry.covers(record)), None)


def page(records: Sequence[Record], known: Sequence[Disagreement]) -> str:
    """The page, as Markdown."""
    rows: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        rows.setdefault((record.suite, record.reference), []).append(record)
    different = [record for record in records if listed(record, known)]
    faults = Counter(entry.fault for record in records if (entry := listed(record, known)))
    text = HEAD
    items = len({(record.suite, record.item) for record in records})
    text += f"{len(records):,} completions of {items:,} items; {len(records) - len(different):,} verdicts are equal. "
    text += "Of the others " + ", ".join(f"{faults[name]} are {whose}" for name, whose in WHOSE.items()) + ".\n\n"
    text += "| suite | reference | items | completions | forms | right | wrong | equal | different |\n"
    text += "|---|---|--:|--:|--:|--:|--:|--:|--:|\n"
    for (suite, reference), ones in sorted(rows.items()):
        right = sum(float(one.reference_verdict) > 0.5 for one in ones)
        apart = sum(listed(one, known) is not None for one in ones)
        of_items, forms = len({one.item for one in ones}), len({one.form for one in ones})
        numbers = (of_items, len(ones), forms, right, len(ones) - right, len(ones) - apart, apart)
        text += f"| {suite} | {reference} | {' | '.join(map(str, numbers))} |\n"
    return text + _differences(different, known) + _elsewhere()


def _differences(different: Sequence[Record], known: Sequence[Disagreement]) -> str:
    text = "\n## Every disagreement\n\n"
    text += "| suite | form | reference | it says | items | whose fault | why |\n|---|---|---|---|---|---|---|\n"
    kinds: dict[tuple[str, str, str, float], list[Record]] = {}
    for record in different:
        kinds.setdefault((record.suite, record.form, record.reference, float(record.reference_verdict)), []).append(
            record
        )
    for (suite, form, reference, verdict), ones in sorted(kinds.items()):
        entry = listed(ones[0], known)
        assert entry is not None
        items = ", ".join(one.item.removeprefix(f"{suite.partition(':')[0]}/") for one in ones)
        said = "right" if verdict > 0.5 else "wrong"
        text += f"| {suite} | {form} | {reference} | {said} | {len(ones)}: {items} | {entry.fault} | {entry.why} |\n"
    return text


def _elsewhere() -> str:
    """What is recorded in other forms, each with the test that compares all of it."""
    bfcl = json.loads((HERE / "bfcl_expected.json").read_text())
    ifeval = json.loads((HERE / "ifeval_expected.json").read_text())
    evalplus = json.loads((HERE / "evalplus_verdicts.json").read_text())
    ranked_file = HERE / "lm_eval_ranked.json"
    ranked = json.loads(ranked_file.read_text())
    calls = sum(category["cases"] for category in bfcl["categories"].values())
    programs = sum(map(len, evalplus.values()))
    rows = [
        ("BFCL, ten categories", bfcl["reference"], f"{calls:,} lists of calls", "none differs", "test_parity_bfcl.py"),
        (
            "BFCL's memories", bfcl["reference"], "672 calls in 48 conversations", "none differs",
            "test_parity_bfcl_memory.py",
        ),
        (
            "BFCL's vector memory", bfcl["reference"],
            "conversations drawn anew by each run, 40 times up to three of 20 calls; once 118 calls on a full archive",
            "none differs", "test_parity_bfcl_vector.py",
        ),
        (
            "BFCL's 26 wordings of a prompt", bfcl["reference"], "5,200 prompts", "none differs",
            "test_parity_bfcl_wordings.py",
        ),
        (
            "IFEval", ifeval["reference"], f"{ifeval['instructions']:,} instructions, strict and loose",
            "one word count in Hindi; texts of no language", "test_parity_ifeval.py",
        ),
        (
            "HumanEval+, MBPP+", "evalplus 0.3.1", f"{programs:,} programs of {len(evalplus)} tasks",
            "none differs", "test_parity_evalplus.py",
        ),
        (
            "ARC, MMLU, HellaSwag (made rows)", ranked["reference"],
            f"log-likelihoods of {len(ranked['rows'])} items by one checkpoint, `hf:` and `native:`",
            "none: within 1e-4, the same choices", "test_parity_lm_eval_ranked.py",
        ),
    ]  # fmt: skip
    text = (
        "\n## Recorded in other forms\n\n| suite | reference | compared | different | test |\n|---|---|---|---|---|\n"
    )
    return text + "".join(f"| {' | '.join(row[:4])} | `tests/parity/{row[4]}` |\n" for row in rows)


WHOSE = {"reference": "the reference's fault", "data": "the data's", "ours": "ours"}


if __name__ == "__main__":
    main()
