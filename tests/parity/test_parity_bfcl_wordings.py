"""BFCL's 5,200 prompts of format sensitivity against the reference's own, to the letter."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from suites.tools.bfcl_format_sensitivity import WORDINGS, BfclFormatSensitivity

SUMS = Path(__file__).with_name("bfcl_wordings.json")


@pytest.mark.usefixtures("data_dir", "bfcl_wheel")
def test_prompts_are_the_references_to_the_letter() -> None:
    suite = BfclFormatSensitivity()
    made = {wording.name: hashlib.sha256() for wording in WORDINGS}
    for problem in suite.problems():
        asked = [[turn.role, turn.content] for turn in suite.render(problem, chat=True).messages]
        made[problem.metadata["wording"]].update(json.dumps([problem.id, asked]).encode())
    assert {name: found.hexdigest() for name, found in made.items()} == json.loads(SUMS.read_text())
