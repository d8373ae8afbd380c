"""TRL itself takes our reward functions: real GRPO steps of a tiny random model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import serving
from tiny_hf import save_tiny

from mellum_eval import rewards

pytest.importorskip("trl", reason="pip install trl")

SQUARE = {"kind": "calls", "entry_point": "f", "calls": [[3], [4]], "expected": [9, 16]}
RIGHT = "```python\ndef f(x): return x * x\n```"
HALF = "```python\ndef f(x): return 9\n```"


def over_http(url: str) -> Callable[..., list[float | None]]:
    """The reward function that a trainer without our package would write."""

    def verdict(prompts: list[Any], completions: list[str], check: list[str], **columns: Any) -> list[float | None]:
        jobs = []
        for number, (text, row) in enumerate(zip(completions, check, strict=True)):
            job = {"id": str(number), **json.loads(row)}
            answer = "completion" if job["kind"] == "choice" else "code"
            jobs.append({**job, answer: text.removeprefix("```python\n").removesuffix("\n```")})
        return [answer["score"] for answer in httpx.post(f"{url}/verify", json=jobs, timeout=60).json()]

    return verdict


@pytest.mark.timeout(600)
@pytest.mark.parametrize("form", ["sync", "async", "http"])
def test_grpo_steps_are_rewarded_by_verdicts(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    checkpoint = save_tiny(tmp_path / "tiny", chat=False)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.pad_token = tokenizer.eos_token
    checks: list[Any] = [SQUARE, {"kind": "choice", "answer": "B", "choices": 4}]
    data = Dataset.from_list([{"prompt": f"task {n}", "check": json.dumps(checks[n % 2])} for n in range(4)])
    ends = contextlib.ExitStack()
    reward: Any
    if form == "http":
        reward = over_http(ends.enter_context(serving()).url)
    else:
        make = rewards.make_reward if form == "sync" else rewards.make_reward_async
        reward = make(name="verdict", sandbox="local", workers=2)
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(checkpoint),
        reward_funcs=[reward],
        args=GRPOConfig(
            output_dir=str(tmp_path / "out"),
            per_device_train_batch_size=4,
            num_generations=2,
            max_completion_length=8,
            max_steps=2,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            learning_rate=0.1,
        ),
        train_dataset=data,
        processing_class=tokenizer,
    )
    # A random model writes no programs: what it would have to write is put in its mouth, all else is TRL's own.
    calculate = trainer._calculate_rewards
    seen: list[Any] = []

    def with_answers(inputs: Any, prompts: Any, completions: Any, ids: Any) -> Any:
        said = [RIGHT if number % 2 else HALF for number in range(len(completions))]
        said = [text if "calls" in row["check"] else "B" for row, text in zip(inputs, said, strict=True)]
        result = calculate(inputs, prompts, said, ids)
        seen.append((["calls" in row["check"] for row in inputs], result[:, 0].tolist()))
        return result

    monkeypatch.setattr(trainer, "_calculate_rewards", with_answers)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    with ends:
        trainer.train()
    logs = [entry for entry in trainer.state.log_history if "rewards/verdict/mean" in entry]
    assert len(logs) == 2
    assert logs[0].get("verdict/infra_error", 0.0 if form == "http" else None) == 0.0
    for is_code, scores in seen:
        expected = [(1.0 if n % 2 else 0.5) if code else 1.0 for n, code in enumerate(is_code)]
        assert scores == expected
    assert any(any(is_code) for is_code, _ in seen)
    assert any(not torch.equal(before[name], weight) for name, weight in trainer.model.named_parameters())
    rewards.close()
