"""Whole runs of `native:PATH` with a tiny checkpoint: generation, ranking, and going on after kills."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cli import call, start

# In base form quick_knowledge ranks its choices by their log-likelihood.
RUN = ("--base", "-s", "quick_code", "-s", "quick_math", "-s", "quick_knowledge", "--limit", "12", "--max-tokens", "24")
SAMPLED = ("--samples", "2", "--temperature", "0.8", "--batch-size", "4")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from mellum_model import Mellum, MellumConfig
    from mellum_model.chat import SPECIAL_TOKENS
    from mellum_model.tokenizer import Tokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = Tokenizer.train(["def add(a, b): return a + b"], 280, SPECIAL_TOKENS)
    config = replace(
        MellumConfig.nano(vocab_size=tokenizer.vocab_size),
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        max_position_embeddings=2048,
        initializer_range=0.3,
    )
    Mellum(config).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def scores(folder: Path) -> bytes:
    return (folder / "scores.json").read_bytes()


def test_speculative_runs_and_other_batches_score_the_same(checkpoint: Path, tmp_path: Path) -> None:
    for name, flags in (("plain", ("--batch-size", "1")), ("drafted", ("--speculative", "--batch-size", "8"))):
        done = call("run", f"native:{checkpoint}", *RUN, *flags, "--out", name, cwd=tmp_path, timeout=600)
        assert done.returncode == 0, done.stderr
    plain, drafted = (
        {(line["key"], line["sample"]): line["text"] for line in map(json.loads, path.read_text().splitlines())}
        for path in (tmp_path / name / "generations.jsonl" for name in ("plain", "drafted"))
    )
    assert plain == drafted and len(plain) == 36
    found = json.loads(scores(tmp_path / "plain"))["suites"]
    assert set(found) == {"quick_code", "quick_math", "quick_knowledge"}
    assert all(suite["n"] == 12 and suite["infra_error_rate"] == 0 for suite in found.values())
    assert found["quick_knowledge"]["unparsed_rate"] == 0  # a ranked choice is always one


def test_kill_9_of_a_native_run_and_going_on(checkpoint: Path, tmp_path: Path) -> None:
    whole = call("run", f"native:{checkpoint}", *RUN, *SAMPLED, "--out", "whole", cwd=tmp_path, timeout=600)
    assert whole.returncode == 0, whole.stderr
    first = start("run", f"native:{checkpoint}", *RUN, *SAMPLED, "--out", "killed", cwd=tmp_path)
    generations = tmp_path / "killed" / "generations.jsonl"
    deadline = time.monotonic() + 300
    while not generations.exists() or generations.read_bytes().count(b"\n") < 8:
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.communicate()
    kept = generations.read_bytes()
    last = call("run", "--resume", "--out", "killed", cwd=tmp_path, timeout=600)
    assert last.returncode == 0, last.stderr
    assert generations.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])  # finished answers stay as they were
    assert scores(tmp_path / "killed") == scores(tmp_path / "whole")
