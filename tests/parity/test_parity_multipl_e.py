"""MultiPL-E's recorded verdicts against ours: a share of each language whose image is at hand."""

from __future__ import annotations

import os

import pytest
from ours import judge
from records import Record, disagreements, read_all

from sandboxes.choose import open_sandbox
from sandboxes.errors import SandboxUnavailable
from sandboxes.languages import LANGUAGES
from suites.code.multipl_e import LANGUAGES as NAMES

RECORDS = [record for record in read_all() if record.suite.startswith("multipl_e:")]
RECORDED = sorted({record.suite.partition(":")[2] for record in RECORDS})
MOST = 7
"""Of a language; `python -m tests.parity.table --suite multipl_e --sandbox docker` judges all."""


def test_each_language_has_right_and_wrong_programs() -> None:
    assert sorted({"cpp", "cs", "java", "js", "php", "rs", "sh", "ts"}) == RECORDED
    for language in RECORDED:
        mine = [record for record in RECORDS if record.suite.endswith(f":{language}")]
        assert {record.reference_verdict for record in mine} == {True, False}, language
        assert {"gold", "wrong", "malformed", "half"} <= {record.form for record in mine}, language
    assert len(RECORDS) >= 300


def chosen(language: str) -> list[Record]:
    """One of each form."""
    found: dict[str, Record] = {}
    for record in RECORDS:
        if record.suite == f"multipl_e:{language}":
            found.setdefault(record.form, record)
    return list(found.values())[:MOST]


@pytest.mark.docker
@pytest.mark.timeout(900)
@pytest.mark.parametrize("language", RECORDED)
async def test_verdicts_are_the_references_but_for_those_listed(language: str, data_dir: object) -> None:
    try:
        async with await open_sandbox("docker", 1) as pool:
            await pool.require(LANGUAGES[NAMES[language]])
    except SandboxUnavailable as missing:
        if os.environ.get("MELLUM_REQUIRE_DOCKER") == "1":
            raise
        pytest.skip(str(missing))
    known = disagreements()
    judged = await judge(chosen(language), sandbox="docker", workers=1)
    for one in judged:
        listed = any(entry.covers(one.record) for entry in known)
        assert one.agrees is not listed, (one.record, one.verdict)
