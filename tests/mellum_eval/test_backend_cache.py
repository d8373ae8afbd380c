"""What was answered once is not asked again, by anybody; what failed is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from mellum_eval.backends.base import BackendInfo, Completion, Failure, Reply, Request, concurrently
from mellum_eval.backends.cache import CachedBackend
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.spec import BackendOptions
from suites.problem import Message, Prompt
from suites.sampling import Sampling


class Counting:
    """Answers by number; number 3 fails the first time."""

    def __init__(self, name: str = "m", lost: bool = False) -> None:
        self.info = BackendInfo(name, True, {"scheme": "test", "name": name})
        self.asked: list[str] = []
        self.lost = lost

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        return concurrently(requests, 4, self._answer)

    loglikelihood = generate

    async def aclose(self) -> None:
        pass

    async def _answer(self, request: Request) -> Completion | Failure:
        await asyncio.sleep(0)
        self.asked.append(request.key)
        if self.lost:
            raise PrerequisiteMissing("gone", "mend it")
        if request.key == "k3" and self.asked.count("k3") == 1:
            return Failure("no")
        return Completion(f"\ud800 {request.key}", "hm", ({"name": "f", "arguments": {}},), "length", {"prompt": 1})


def request(number: int, **sampling: float) -> Request:
    prompt = Prompt(messages=(Message("user", f"question {number}"),))
    return Request(f"k{number}", "s", f"p{number}", 0, prompt, Sampling(**sampling))  # type: ignore[arg-type]


async def ask(
    path: Path, inner: Counting, *requests: Request, **options: object
) -> tuple[dict[str, Completion | Failure], int]:
    async def stream() -> AsyncIterator[Request]:
        for one in requests:
            yield one

    backend = CachedBackend(inner, path, BackendOptions.model_validate(options))
    try:
        return {r.key: reply async for r, reply in backend.generate(stream())}, backend.hits
    finally:
        await backend.aclose()


async def test_answers_are_kept_and_failures_are_not(tmp_path: Path) -> None:
    inner, wanted = Counting(), [request(number) for number in range(40)]
    first, hits = await ask(tmp_path / "new" / "dir", inner, *wanted)
    assert hits == 0 and isinstance(first["k3"], Failure) and len(first) == 40
    again, hits = await ask(tmp_path / "new" / "dir", inner, *wanted, concurrency=7)
    assert hits == 39 and inner.asked.count("k3") == 2 and len(inner.asked) == 41
    assert {k: v for k, v in again.items() if k != "k3"} == {k: v for k, v in first.items() if k != "k3"}


async def test_whatever_differs_is_another_question(tmp_path: Path) -> None:
    await ask(tmp_path, Counting(), request(1))
    for other, options in (
        (request(1, seed=1), {}),
        (request(1, temperature=0.5), {}),
        (request(1, max_tokens=7), {}),
        (request(2), {}),
        (request(1), {"extra_body": {"x": 1}}),
    ):
        assert (await ask(tmp_path, Counting(), other, **options))[1] == 0
    assert (await ask(tmp_path, Counting("other"), request(1)))[1] == 0
    assert (await ask(tmp_path, Counting(), request(1, samples=9)))[1] == 1


async def test_many_may_use_it_at_the_same_time(tmp_path: Path) -> None:
    wanted = [request(number) for number in range(10, 60)]
    runs = await asyncio.gather(*(ask(tmp_path, Counting(), *wanted) for _ in range(4)))
    assert all(replies == runs[0][0] for replies, _ in runs)


async def test_a_model_that_goes_away_is_heard_of_and_a_file_that_is_none_too(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteMissing, match="gone"):
        await ask(tmp_path, Counting(lost=True), *map(request, range(9)))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "completions.sqlite").write_text("no database at all, but some text" * 99)
    with pytest.raises(UserError, match="--cache"):
        await ask(tmp_path / "bad", Counting(), request(1))
