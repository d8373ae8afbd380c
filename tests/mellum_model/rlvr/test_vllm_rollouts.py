"""The real vLLM draws nano's rollouts: its log-probabilities are the trainer's, and stay so as the weights change.

Its build for CPUs packs weights into forms of its own when it loads them, and `reload_weights` leaves some of the old
ones behind; so here the server is restarted for each version.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from rlvr.toy import Evens, encode, recipe
from vllm_environment import free_port, serving_vllm, variables

from mellum_model import Mellum
from mellum_model.nano import checkpoint
from mellum_model.post_training.rlvr.loop import Parts, train_rlvr
from mellum_model.post_training.rlvr.vllm_sampler import VllmSampler
from mellum_model.tokenizer import Tokenizer
from mellum_model.training.ranks import Ranks

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]

SETTINGS: dict[str, Any] = {
    "steps": 2,
    "batch": {"prompts": 3, "group": 4},
    "rollouts": {"max_tokens": 24, "max_batch": 8, "staleness": 0, "temperature": 0.9},
    "algorithm": {"oversample": 1.0, "drop_even_groups": False, "over_cap": "keep", "concision": None},
    "schedule": {"kind": "constant", "peak": 2.0e-3},
    "validation": {"every_steps": 2, "tasks": 2},
}


def trained(directory: Path, *, follow: bool) -> list[dict[str, Any]]:
    """Two steps; where the server does not follow, it goes on with the weights that it had first."""
    directory.mkdir()
    settings, tokenizer = recipe(**SETTINGS), Tokenizer.load(checkpoint())
    model = Mellum.from_pretrained(checkpoint()).float().train()
    port, environment, pushed = free_port(), {**os.environ, **variables(), "VLLM_SERVER_DEV_MODE": "1"}, []
    with ExitStack() as running:

        def push(path: Path) -> None:
            pushed.append(path)
            if follow or len(pushed) == 1:
                running.close()
                mode = "--logprobs-mode=processed_logprobs"
                running.enter_context(serving_vllm(path, directory / "log", environment, mode, port=port))

        sampler = VllmSampler(
            model.config, settings.rollouts, tokenizer, directory / "served", server=f"http://127.0.0.1:{port}",
            dtype=torch.float32, push=push,
        )  # fmt: skip
        parts = Parts(model, None, sampler, {"evens": Evens()}, encode, lambda tokens: " ".join(map(str, tokens)))
        train_rlvr(parts, settings, directory, ranks=Ranks(rank=0, count=1, device="cpu", mesh=None))
    assert len(pushed) == 3
    found = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert any("draws from other weights" in line.get("message", "") for line in found) is not follow
    return [line for line in found if line["kind"] == "step"]


def test_its_rollouts_are_of_the_weights_that_were_handed_over(tmp_path: Path) -> None:
    first, second = trained(tmp_path / "followed", follow=True)
    for step in (first, second):
        assert step["rollouts"] == 12 and step["tokens_learnt"] > 100
        assert abs(step["mismatch_kl"]) < 1e-4 and step["ratio_max"] < 1.05 and step["masked_share"] == 0
    before, behind = trained(tmp_path / "left", follow=False)
    assert abs(before["mismatch_kl"]) < 1e-4
    assert behind["mismatch_kl"] > 100 * abs(second["mismatch_kl"]) and behind["ratio_max"] > 1.5
