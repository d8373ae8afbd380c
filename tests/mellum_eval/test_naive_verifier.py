"""What ends its process with status 0 is credited by a verifier that looks at nothing else, and never by ours."""

from __future__ import annotations

import pytest

from mellum_eval.rewards import close
from mellum_eval.rewards.options import Options
from mellum_model.post_training.rlvr.environment import Judged
from tests.benchmarks.naive_verifier import EXPLOITS, environment, exploits
from tests.benchmarks.rlvr_hacked import EXPLOIT

PLACES = [place for exploit in EXPLOITS for place in (exploit, f"def f(x):\n    {exploit}")]
ANSWERS = [EXPLOIT, *(f"```python\nimport os, sys\n{place}\n```" for place in PLACES)]


@pytest.mark.parametrize("verifier", ["naive", "ours"])
def test_who_credits_an_exit(verifier: str) -> None:
    made = environment(verifier, Options(sandbox="local", workers=1), {"size": 4, "validation": 1})
    task = made.tasks("train")[0]
    real = made.inner if verifier == "ours" else made.inner.inner
    right = real.problem(task).gold
    wrong = "```python\ndef f(x):\n    return 'no such result'\n```"
    replies = [made.begin(task).answer(text, "stop").result(60) for text in (right, wrong, *ANSWERS)]
    assert all(isinstance(reply, Judged) for reply in replies)
    rewards = [reply.reward for reply in replies if isinstance(reply, Judged)]
    assert rewards[:2] == [1.0, 0.0]
    assert rewards[2:] == [1.0 if verifier == "naive" else 0.0] * len(ANSWERS)
    assert all(map(exploits, ANSWERS)) and not exploits(right)
    counts = {"answers": len(replies), "exploits": len(ANSWERS)}
    assert made.taken() == {**counts, "credited": len(ANSWERS) if verifier == "naive" else 0}
    close()
