"""The parity table of docs/parity.md: what reference packages said of fixed completions, and what we say.

    python -m tests.parity.table > docs/parity.md

Every file of `recorded/` is judged anew by the suites' own verifiers. `--suite NAME` judges only some.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from ours import Judged, judge
from records import Disagreement, disagreements, read_all

HEAD = """# Parity with the reference packages

Made by `python -m tests.parity.table > docs/parity.md`; `tests/parity/records.py` says how verdicts are recorded, each
line with the command that made it. On the same completion (gold, mutated, wrong, malformed, with reasoning in tags) the
reference package gave a verdict, and so do we. Where they differ, the line is listed below, with whose fault it is.

"""


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", action="append", help="only this suite; repeatable")
    parser.add_argument("--sandbox", default="auto")
    given = parser.parse_args()
    records = [record for record in read_all() if not given.suite or record.suite.split(":")[0] in given.suite]
    judged = asyncio.run(judge(records, sandbox=given.sandbox))
    sys.stdout.write(table(judged, disagreements()))


def table(judged: Sequence[Judged], known: Sequence[Disagreement]) -> str:
    """The page, as Markdown."""
    rows: dict[tuple[str, str], list[Judged]] = {}
    for one in judged:
        rows.setdefault((one.record.suite, one.record.reference), []).append(one)
    there = [one for one in judged if one.verdict is not None]
    different = [one for one in there if not one.agrees]
    faults = Counter(fault_of(one, known) for one in different)
    text = HEAD
    text += f"{len(there):,} completions compared, {len(there) - len(different):,} verdicts equal. Of the others "
    text += ", ".join(f"{faults[name]} are {whose}" for name, whose in WHOSE.items()) + ".\n\n"
    text += "| suite | reference | completions | forms | right | wrong | equal | different |\n"
    text += "|---|---|--:|--:|--:|--:|--:|--:|\n"
    for (suite, reference), ones in sorted(rows.items()):
        if any(one.verdict is None for one in ones):
            text += f"| {suite} | {reference} | {len(ones)} | | | | no data at hand | |\n"
            continue
        right = sum(float(one.record.reference_verdict) > 0.5 for one in ones)
        equal = sum(one.agrees for one in ones)
        forms = len({one.record.form for one in ones})
        numbers = (len(ones), forms, right, len(ones) - right, equal, len(ones) - equal)
        text += f"| {suite} | {reference} | {' | '.join(map(str, numbers))} |\n"
    text += "\n## Every disagreement\n\n"
    if not different:
        return text + "None.\n"
    text += "| suite | item | form | reference says | we say | whose fault | why |\n|---|---|---|---|---|---|---|\n"
    for one in different:
        entry = next((entry for entry in known if entry.covers(one.record)), None)
        verdict, record = one.verdict, one.record
        assert verdict is not None
        ours = f"{verdict.outcome}" if not record.part else f"{one.ours:g}"
        why = entry.why if entry else "**not explained**"
        cells = (record.suite, record.item, record.form, f"{float(record.reference_verdict):g}", ours)
        text += f"| {' | '.join(cells)} | {entry.fault if entry else '?'} | {why} |\n"
    return text


WHOSE = {"reference": "the reference's fault", "data": "the data's", "ours": "ours", "?": "not explained"}


def fault_of(one: Judged, known: Sequence[Disagreement]) -> str:
    """Whose fault a disagreement is; `?` where nobody has said."""
    return next((entry.fault for entry in known if entry.covers(one.record)), "?")


if __name__ == "__main__":
    main()
