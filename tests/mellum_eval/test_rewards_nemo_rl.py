"""What NeMo-RL asks of an environment: the calls that its driver makes, as a real Ray actor.

NeMo-RL itself is not on PyPI and not installed here. The form is that of `nemo_rl/environments/interfaces.py` and
`calculate_rewards` of `nemo_rl/experience/rollouts.py` (Apache-2.0, main in 2026).
"""

from __future__ import annotations

import abc
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from ray_nodes import NODE, environment

from mellum_eval.rewards import NotJudged
from mellum_eval.rewards.nemo_rl import NemoRlEnvironment

SQUARE = {"kind": "calls", "entry_point": "f", "calls": [[3], [4]], "expected": [9, 16]}
LOCAL = {"sandbox": "local", "workers": 1}


def log(answer: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "Square it."}, {"role": "assistant", "content": answer, **more}]


RIGHT = log("```python\ndef f(x): return x * x\n```")
HALF = log("```python\ndef f(x): return 9\n```")


@pytest.fixture
def judging() -> Iterator[NemoRlEnvironment]:
    made = NemoRlEnvironment(LOCAL)
    yield made
    made.shutdown()


def test_a_step_is_what_the_driver_unpacks(judging: NemoRlEnvironment) -> None:
    import torch

    again = [*HALF, {"role": "environment", "content": "failed"}, *RIGHT]
    facts = [{"check": SQUARE}, {"ground_truth": json.dumps(SQUARE), "more": 1}, {"check": SQUARE}]
    tokens = log(RIGHT[-1]["content"], token_ids=torch.arange(3), generation_logprobs=torch.zeros(3))
    result = judging.step([tokens, HALF, again], facts)
    observations, metadata, stops, scores, ended, answers = result
    assert scores.dtype == torch.float32 and scores.tolist() == [1.0, 0.5, 1.0]
    assert ended.dtype == torch.bool and ended.tolist() == [True] * 3
    assert (metadata, stops, answers) == (facts, [None] * 3, None)
    assert observations == [{"role": "environment", "content": word} for word in ("passed", "failed", "passed")]
    assert result._fields == ("observations", "metadata", "next_stop_strings", "rewards", "terminateds", "answers")


def test_the_metrics_are_of_the_batch(judging: NemoRlEnvironment) -> None:
    import torch

    batch = {"rewards": torch.tensor([1.0, 0.5]), "is_end": torch.tensor([1.0, 0.0])}
    same, metrics = judging.global_post_process_and_metrics(batch)
    assert same is batch
    assert metrics == {"accuracy": 0.5, "reward": 0.75, "fraction_of_samples_properly_ended": 0.5}


def test_what_could_not_be_judged_is_raised(judging: NemoRlEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    from mellum_eval.rewards import nemo_rl
    from sandboxes.verdict import infra_error

    monkeypatch.setattr(nemo_rl.background, "wait", lambda options, work: [infra_error("the engine is gone")])
    with pytest.raises(NotJudged, match="row 0 could not be judged: the engine is gone"):
        judging.step([RIGHT], [{"check": SQUARE}])


def test_what_is_wrong_is_named(judging: NemoRlEnvironment) -> None:
    with pytest.raises(ValueError, match=r"row 1: metadata\.check: required"):
        judging.step([RIGHT, RIGHT], [{"check": SQUARE}, {}])
    with pytest.raises(ValueError, match=r"metadata: 1 are given for 2 conversations"):
        judging.step([RIGHT, RIGHT], [{"check": SQUARE}])
    with pytest.raises(ValueError, match=r"check\.entry_point: required"):
        judging.step([RIGHT], [{"check": {"kind": "calls", "calls": [], "expected": []}}])
    with pytest.raises(ValueError, match="allow_shared"):
        judging.step([RIGHT], [{"check": {"kind": "program", "tests": "assert f(3) == 9"}}])


def test_it_works_as_an_actor_beside_an_abstract_base(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="pip install 'mellum-eval[ray]'")
    for name, value in environment().items():
        monkeypatch.setitem(os.environ, name, value)

    class Interface(abc.ABC):
        """As NeMo-RL's base class: abstract in the two methods that are called."""

        @abc.abstractmethod
        def step(self, message_log_batch: Any, metadata: Any) -> Any: ...

        @abc.abstractmethod
        def global_post_process_and_metrics(self, batch: Any) -> Any: ...

    class Verified(NemoRlEnvironment, Interface):
        pass

    ray.init(**NODE, include_dashboard=False, log_to_driver=False)
    try:
        actor = ray.remote(Verified).remote(LOCAL)
        scores = ray.get(actor.step.remote([RIGHT, HALF], [{"check": SQUARE}] * 2))[3]
        ray.get(actor.shutdown.remote())
    finally:
        ray.shutdown()
    assert scores.tolist() == [1.0, 0.5]
