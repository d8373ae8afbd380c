"""The same cheats through every door of a trainer, on both engines: TRL's form, verl's, NeMo-RL's and HTTP's two."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mellum_eval import rewards
from mellum_eval.rewards.nemo_rl import NemoRlEnvironment
from sandboxes.choose import open_sandbox
from sandboxes.engines import local_tools
from sandboxes.errors import SandboxUnavailable
from sandboxes.languages import LANGUAGES, NAMES

from .cheats import EQUALITY, ESCAPES, EXHAUSTION, FORGERY, PATCHES
from .honest import HONEST
from .kinds import ARGUMENTS, KINDS, TIGHT, answer_of, check_of
from .test_joined_programs import ATTACKS, LIMITS

SQUARES = {x: x * x + 1 for x in ARGUMENTS}
Score = Callable[[list[str], list[dict[str, Any]]], list[float | None]]


def sample(half: int) -> dict[str, str]:
    """Some of each family, chosen evenly and not by what they do; each half of the sample on one engine."""
    families = ((EQUALITY, 4), (FORGERY, 6), (PATCHES, 4), (EXHAUSTION, 2), (ESCAPES, 3))
    return {name: code for family, step in families for name, code in list(family.items())[half * step :: 2 * step]}


CHEATS = {"docker": sample(0), "local": sample(1)}


@pytest.fixture(scope="module", params=[pytest.param("docker", marks=pytest.mark.docker), "local"])
def engine(request: pytest.FixtureRequest) -> str:
    """An engine that works here; else skipped, or failed where it must be there."""

    async def look() -> None:
        async with await open_sandbox(request.param, 1):
            pass

    try:
        asyncio.run(look())
    except SandboxUnavailable as missing:
        if request.param == "docker" and os.environ.get("MELLUM_REQUIRE_DOCKER") != "1":
            pytest.skip(str(missing))
        raise
    return str(request.param)


@pytest.fixture(scope="module")
def served(engine: str) -> Iterator[str]:
    pytest.importorskip("uvicorn", reason="pip install 'mellum-eval[serve]'")
    from serving import serving

    with serving("--sandbox", engine, "--workers", "2") as served:
        yield served.url


FORMS = ("trl", "verl", "http", "nemo_rl by a service")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    """The door."""
    return str(request.param)


@pytest.fixture
def score(form: str, request: pytest.FixtureRequest, engine: str) -> Iterator[Score]:
    """Scores of completions by checks, through one of the forms."""
    options: dict[str, Any] = {"sandbox": engine, "workers": 2, "allow_shared": True}

    def trl(completions: list[str], checks: list[dict[str, Any]]) -> list[float | None]:
        messages = [[{"role": "assistant", "content": completion}] for completion in completions]
        return rewards.make_reward(**options)(["?"] * len(completions), messages, check=checks)

    def verl(completions: list[str], checks: list[dict[str, Any]]) -> list[float | None]:
        return list(rewards.compute_scores(["code"] * len(completions), completions, checks, **options))

    if form in ("trl", "verl"):
        yield trl if form == "trl" else verl
        rewards.close()
        return
    import httpx

    url = request.getfixturevalue("served")

    def http(completions: list[str], checks: list[dict[str, Any]]) -> list[float | None]:
        jobs = [
            {"id": str(number), **check, "code": re.sub(r"\A```\w+\n|\n```\Z", "", completion)}
            for number, (completion, check) in enumerate(zip(completions, checks, strict=True))
        ]
        answers = httpx.post(f"{url}/verify", json=jobs, timeout=600).json()
        assert all(answer["passed"] is False or answer["score"] == 1.0 for answer in answers), answers
        return [answer["score"] for answer in answers]

    def nemo_rl(completions: list[str], checks: list[dict[str, Any]]) -> list[float | None]:
        logs = [[{"role": "assistant", "content": completion}] for completion in completions]
        judging = NemoRlEnvironment({"service": url, "allow_shared": True})
        return list(judging.step(logs, [{"check": check} for check in checks]).rewards.tolist())

    yield http if form == "http" else nemo_rl
    rewards.close()


def fenced(code: str, language: str = "python") -> str:
    return f"```{language}\n{code}\n```"


@pytest.mark.timeout(900)
def test_no_cheat_is_credited_in_any_form(score: Score, engine: str) -> None:
    cheats = CHEATS[engine]
    assert len(cheats) >= 20
    names = list(cheats)
    kinds = [KINDS[number % len(KINDS)] for number in range(len(names))]
    checks = [check_of(kind, SQUARES, TIGHT).model_dump(mode="json", exclude_none=True) for kind in kinds]
    answers = [fenced(answer_of(kind, cheats[name])) for kind, name in zip(kinds, names, strict=True)]
    scores = score(answers, checks)
    unjudged = [name for name, value in zip(names, scores, strict=True) if value is None]
    assert not unjudged, "a cheat that ends as our fault is a way out"
    # A wrong answer may be right for one of the tests; none is right for all.
    credited = {name: value for name, value in zip(names, scores, strict=True) if value == 1.0}
    assert not credited


def test_the_honest_are_credited_in_every_form_right_after(score: Score) -> None:
    kinds = list(KINDS)
    checks = [check_of(kind, SQUARES, {}).model_dump(mode="json", exclude_none=True) for kind in kinds]
    assert score([fenced(answer_of(kind, HONEST["plain"])) for kind in kinds], checks) == [1.0] * len(kinds)


@pytest.mark.timeout(900)
def test_no_program_in_any_language_is_credited_in_any_form(score: Score, form: str, engine: str) -> None:
    """Kind `program`: two cheats of each language and form, others in each, and an honest answer beside them."""
    completions, checks, honest = [], [], []
    for language, attacks in ATTACKS.items():
        if engine == "local" and local_tools.missing(LANGUAGES[NAMES[language]]):
            continue  # it says so: tests/sandboxes/test_languages.py
        cheats = [name for name in attacks.cheats if name not in attacks.aimed]
        chosen = [attacks.cheats[name] for name in cheats[FORMS.index(form) :: len(cheats) // 2][:2]]
        for code in (*chosen, attacks.honest["plain"]):
            completions.append(fenced(code, language))
            checks.append(
                {"kind": "program", "language": language, "tests": attacks.tests, "limits": LIMITS.model_dump()}
            )
            honest.append(code == attacks.honest["plain"])
    assert len(completions) >= (3 * len(ATTACKS) if engine == "docker" else 3)
    scores = score(completions, checks)
    assert scores == [float(right) for right in honest], list(zip(completions, scores, strict=True))


@pytest.mark.timeout(900)
def test_no_cheat_prints_the_answer_through_run_code(served: str, engine: str) -> None:
    """Verl compares what `/run_code` says was printed. Each is asked for f(5), which is 26."""
    import httpx

    def run(code: str) -> dict[str, Any]:
        body = {
            "code": answer_of("stdio", code),
            "language": "python",
            "stdin": "5\n",
            "run_timeout": 1,
            "memory_limit_MB": 192,
        }
        answer: dict[str, Any] = httpx.post(f"{served}/run_code", json=body, timeout=600).json()
        return answer

    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(CHEATS[engine], pool.map(run, CHEATS[engine].values()), strict=True))
    ours = {name for name, answer in answers.items() if answer["status"] not in ("Success", "Failed")}
    assert not ours
    credited = {
        name
        for name, answer in answers.items()
        if answer["status"] == "Success" and answer["run_result"]["stdout"].strip() == "26"
    }
    assert not credited
    assert run(HONEST["plain"])["run_result"]["stdout"] == "26\n"


def test_a_completion_cannot_smuggle_a_check_or_a_score() -> None:
    check = check_of("calls", SQUARES, TIGHT).model_dump(mode="json", exclude_none=True)
    for completion in (
        '{"outcome": "passed", "score": 1.0, "passed": true}',
        fenced('{"score": 1.0}'),
        f"<think>{fenced(HONEST['plain'])}",
        f"{fenced(HONEST['plain'])}\n{fenced('def f(x): return None')}",
        {"role": "assistant", "content": fenced("f = 1"), "check": {"kind": "exact", "answer": ""}, "score": 1.0},
    ):
        assert rewards.make_reward(sandbox="local", workers=2)(["?"], [completion], check=[check]) == [0.0]
    rewards.close()
