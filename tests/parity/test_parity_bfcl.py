"""Our AST rule and our state checker against the stored verdicts of bfcl-eval 2026.3.23 (made by make_bfcl*.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bfcl_cases import CATEGORIES, MUTATIONS, REWRITTEN, SYNTAX, cases
from ours import judge
from records import RECORDED, disagreements, read

from sandboxes.check import ToolCallCheck
from sandboxes.verifiers.tool_call import ToolCallVerifier

EXPECTED = json.loads(Path(__file__).with_name("bfcl_expected.json").read_text())


@pytest.mark.parametrize("category", CATEGORIES)
async def test_every_verdict_agrees(category: str, data_dir: Path) -> None:
    stored = EXPECTED["categories"][category]
    bits = f"{int(stored['valid_hex'], 16):b}"[1:]
    assert len(bits) == stored["cases"]
    verifier = ToolCallVerifier()
    wrong = []
    kinds = [*MUTATIONS, *(REWRITTEN if category in SYNTAX else ())]
    passed = dict.fromkeys(kinds, 0)
    for bit, case in zip(bits, cases(data_dir, category), strict=True):
        check = ToolCallCheck.model_validate(
            {
                "kind": "tool_call",
                "tools": case.tools,
                "answer": case.possible,
                "syntax": SYNTAX.get(category, "python"),
            }
        )
        calls = [{"name": name, "arguments": arguments} for call in case.calls for name, arguments in call.items()]
        verdict = await verifier.verify(check, calls)
        passed[case.mutation] += verdict.passed is True
        if verdict.passed is not (bit == "1"):
            wrong.append(f"{case.id}/{case.mutation}: ours {verdict.outcome} ({verdict.message}), reference {bit}")
    assert not wrong, f"{len(wrong)} of {len(bits)} disagree\n" + "\n".join(wrong[:20])
    assert passed["gold"] > 0.9 * stored["cases"] / len(kinds)
    assert passed["renamed"] == passed["extra"] == passed["twice"] == 0


async def test_every_conversation_is_judged_as_recorded(data_dir: Path, bfcl_wheel: Path) -> None:
    """A share of them; `python -m tests.parity.table --suite bfcl_multi_turn` judges all 800."""
    records = list(read(RECORDED / "bfcl_multi_turn.jsonl"))
    assert len(records) == 800
    known = disagreements()
    wrong, forms = [], set()
    for one in await judge(records[:: len(records) // 70], sandbox="local", workers=2):
        assert one.verdict is not None
        forms.add((one.record.form, one.record.reference_verdict))
        if not (one.agrees or any(entry.covers(one.record) for entry in known)):
            wrong.append(f"{one.record.item} {one.record.form}: {one.verdict.message}, reference {one.record}")
    assert not wrong, "\n".join(wrong)
    assert len(forms) > 15
