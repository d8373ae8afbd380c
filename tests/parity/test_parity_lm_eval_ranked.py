"""One checkpoint through lm-eval's `hf` model (recorded) and through ours: the same log-likelihoods and choices."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lm_eval_cases import hellaswag_rows

from mellum_eval.backends.base import Backend, Completion, Request
from mellum_eval.backends.hf_ranking import begun
from mellum_eval.backends.registry import open_backend
from mellum_eval.cli.native import provide_native
from mellum_eval.spec import BackendOptions
from mellum_model.nano import checkpoint
from sandboxes.verifiers.choice import ChoiceVerifier
from suites import registry
from suites.knowledge import hellaswag
from suites.problem import Problem
from suites.sampling import Sampling
from suites.suite import Suite

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("lm_eval_ranked.json").read_text())
CLOSE = 1e-4


def problems(name: str) -> tuple[Suite, dict[str, Problem]]:
    suite = registry.get(name)
    made_up = [hellaswag.problem_of(row) for row in hellaswag_rows(30)]
    made = made_up if name == "hellaswag" else suite.problems()
    return suite, {problem.id: problem for problem in made}


def test_a_text_that_stands_alone_is_judged_from_its_first_token() -> None:
    assert begun([], [5, 6], 0) == [0, 5, 6]
    assert begun([], [0, 5], 0) == [0, 5], "a choice that begins with it already"
    assert begun([7], [7, 5], 0) == [7, 5]
    assert begun([], [5, 6], None) == [5, 6]


@pytest.mark.parametrize("scheme", ["hf", "native"])
async def test_the_same_checkpoint_gives_the_same_choices(scheme: str, data_dir: Path) -> None:
    weights = checkpoint("base") / "model.safetensors"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != RECORDED["weights_sha256"]:
        pytest.fail(f"another checkpoint is bundled now: {RECORDED['command']}")
    provide_native()
    options = BackendOptions(base=True, dtype="float32", device="cpu")
    backend: Backend = await open_backend(f"{scheme}:{checkpoint('base')}", options)
    known = {name: problems(name) for name in {row["suite"] for row in RECORDED["rows"]}}

    async def requests() -> AsyncIterator[Request]:
        for number, row in enumerate(RECORDED["rows"]):
            suite, by_id = known[row["suite"]]
            problem = by_id[row["item"]]
            prompt = suite.render(problem, chat=False)
            yield Request(str(number), row["suite"], problem.id, 0, prompt, Sampling())

    verifier = ChoiceVerifier()
    seen: Counter[tuple[str, str, float]] = Counter()
    try:
        async for request, reply in backend.loglikelihood(requests()):
            assert isinstance(reply, Completion), reply
            row = RECORDED["rows"][int(request.key)]
            assert reply.loglikelihoods == pytest.approx(row["loglikelihoods"], abs=CLOSE), row
            check = known[row["suite"]][1][row["item"]].check
            verdict = await verifier.verify(check, tuple(reply.loglikelihoods))  # type: ignore[arg-type]
            ours = {"acc": verdict.score, **verdict.parts}
            for metric in {"acc", "acc_norm"} & set(row):
                assert ours[metric] == row[metric], row
                seen[row["suite"], metric, row[metric]] += 1
    finally:
        await backend.aclose()
    assert sum(number for (_, metric, _), number in seen.items() if metric == "acc") == len(RECORDED["rows"]) > 90
    # Right and wrong choices of each kind, so that agreement means something.
    assert len(seen) == 2 * len({(suite, metric) for suite, metric, _ in seen})
