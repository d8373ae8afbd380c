"""Tasks of reasoning-gym (PyPI `reasoning-gym`), an optional source of environments: generated, with verifiers.

Its scoring is Python of the package's own over text; nothing that a model wrote is run. Problems are drawn by seed, and
the validation side has seeds of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mellum_eval.errors import PrerequisiteMissing
from mellum_model.post_training.rlvr.environment import Episode, Judged, Reply, Split, Task
from sandboxes.extract import split as split_reasoning

_HOW = "\n\nEnd your reply with the answer alone on the last line."


class ReasoningGym:
    """One of its data sets. Options: `dataset` (required), `size`, `validation`, `seed`, `config` (its own)."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Draw both sides.

        Raises:
            ValueError: An option is unknown or wrong.
            PrerequisiteMissing: The package is not installed.
        """
        try:
            import reasoning_gym
        except ImportError as error:
            raise PrerequisiteMissing("reasoning-gym is not installed", "pip install reasoning-gym") from error
        unknown = sorted(set(given) - {"dataset", "size", "validation", "seed", "config"})
        if unknown:
            raise ValueError(f"no such option: {', '.join(unknown)}; there are dataset, size, validation, seed, config")
        name = given.get("dataset")
        if not isinstance(name, str):
            raise ValueError("dataset: the name of one is needed, such as chain_sum")
        config, seed = dict(given.get("config", {})), int(given.get("seed", 0))
        sizes: dict[Split, int] = {
            "train": int(given.get("size", 2000)),
            "validation": int(given.get("validation", 200)),
        }
        try:
            self._sets = {
                side: reasoning_gym.create_dataset(name, size=size, seed=2 * seed + (side == "validation"), **config)
                for side, size in sizes.items()
            }
        except (TypeError, ValueError, AssertionError) as error:
            raise ValueError(f"dataset: {name}: {' '.join(str(error).split())}") from None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reasoning-gym")

    def tasks(self, split: Split) -> Sequence[Task]:
        """All of a side."""
        return [
            Task(f"{split}/{number}", ({"role": "user", "content": entry["question"] + _HOW},))
            for number, entry in enumerate(self._sets[split])
        ]

    def begin(self, task: Task) -> Episode:
        """One answer, and its score."""
        side, _, number = task.id.partition("/")
        data = self._sets["validation" if side == "validation" else "train"]
        return _Answer(self._pool, data, data[int(number)])


class _Answer:
    last = True

    def __init__(self, pool: ThreadPoolExecutor, data: Any, entry: Mapping[str, Any]) -> None:
        self._pool, self._data, self._entry = pool, data, entry

    def answer(self, text: str, finish: str) -> Future[Reply]:
        return self._pool.submit(self._score, text)

    def _score(self, text: str) -> Reply:
        said = split_reasoning(text, None).answer
        if said is None or not said.strip():
            return Judged(0.0, False, "unparsed", "there is no answer after the reasoning")
        line = said.strip().splitlines()[-1].strip()
        score = min(1.0, max(0.0, float(self._data.score_answer(answer=line, entry=self._entry))))
        return Judged(score, score >= 1.0, "passed" if score >= 1.0 else "failed")
