"""Run directories to report on, written as a run writes them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mellum_eval.records import Generation, Judgement, Manifest, Metric, Scores, SuiteRecord, SuiteScores, Turn
from mellum_eval.statistics import mean_interval
from mellum_eval.store import RunStore

# Everything that a page, a table cell or a terminal might take for more than text.
HOSTILE = (
    "</script><script>window.pwned=1;alert(1)</script>",
    "<img src=x onerror='window.pwned=1;alert(2)'>",
    "\"'><svg onload=window.pwned=1>",
    "]]><!--<script>window.pwned=1//-->",
    "{{ 7*7 }}{% raw %}${alert(3)}",
    "javascript:alert(4) [x](javascript:alert(5)) ![i](https://evil.example/i.png) <https://evil.example>",
    '=HYPERLINK("https://evil.example","x")',
    "@import url(https://evil.example/a.css);</style><style>*{display:none}",
    "a\u202egnp.exe\u2066 \u2028 \u2029 \x00\x07\x1b[31m\x1b]8;;https://evil.example\x07 \x85 \ufeff \ud800 \U000e0041",
    "| a | b |\n|---|---|\n# head\n\n---\n\t- x",
)

SUITES = {
    "humaneval_plus": ("code", "pass@1", 164, None),
    "mbpp_plus": ("code", "pass@1", 378, None),
    "gsm8k": ("math", "accuracy", 400, None),
    "bfcl": ("tools", "accuracy", 300, None),
    "mmlu_redux": ("knowledge", "accuracy", 500, 20),
    "harm_rate": ("safety", "harmful", 100, None),
    "ifeval": ("chat", "prompt_strict", 200, None),
}
FAILURES = ["failed", "failed", "failed", "runtime_error", "timeout", "compile_error", "unparsed"]

MakeRun = Callable[..., Path]


def manifest(name: str, suites: list[str], **changes: Any) -> Manifest:
    whole: dict[str, Any] = {
        "created": "2026-11-23T18:00:00+00:00",
        "command": ["mellum-eval", "run", f"hf:{name}", "--suite", *suites],
        "spec": {"model": f"hf:{name}", "suites": suites, "limit": None},
        "model": {
            "scheme": "hf",
            "name": name,
            "sha256": "ab" * 32,
            "parameters": {"total": 12.15e9, "active": 2.44e9},
        },
        "suites": [
            SuiteRecord(
                name=suite,
                category=SUITES[suite][0],
                version="1",
                metric=SUITES[suite][1],
                lower_is_better=suite == "harm_rate",
                data={f"{suite}.jsonl.gz": "cd" * 32},
                sampling={"temperature": 0.0, "max_tokens": 1024, "samples": 1},
                problems=SUITES[suite][2],
            )
            for suite in suites
        ],
        "seeds": {"sampling": 0},
        "sandbox": {"engine": "docker", "image": "sha256:" + "ef" * 32, "limits": {"cpu_s": 10, "memory_mb": 512}},
        "versions": {"mellum-eval": "0.1.0", "python": "3.11.7"},
        "git": "0123456789abcdef",
        "host": {"cpu": 2, "platform": "Linux"},
    }
    return Manifest.model_validate({**whole, **changes})


def scores_of(judgements: list[Judgement]) -> Scores:
    """Scores as the pipeline makes them, for suites whose metric is the share of problems passed."""
    suites: dict[str, SuiteScores] = {}
    for suite in dict.fromkeys(j.suite for j in judgements):
        mine = [j for j in judgements if j.suite == suite]
        judged = [j for j in mine if j.score is not None]
        outcomes: dict[str, int] = {}
        for j in mine:
            outcomes[j.outcome] = outcomes.get(j.outcome, 0) + 1
        e = mean_interval([float(j.outcome == "passed") for j in judged], [j.cluster for j in judged])
        category, metric = SUITES.get(suite, ("code", "pass@1"))[:2]
        suites[suite] = SuiteScores(
            category=category,
            n=len(judged),
            metrics={metric: Metric(value=e.value, ci95=(e.lo, e.hi), stderr=e.stderr)},
            outcomes=outcomes,
            unparsed_rate=outcomes.get("unparsed", 0) / len(mine),
            infra_error_rate=outcomes.get("infra_error", 0) / len(mine),
            tokens={"completion": 240.0, "prompt": 120.0, "truncated": 0.02},
        )
    return Scores(suites=suites, partial=False)


def write(
    path: Path, man: Manifest, generations: list[Generation], judgements: list[Judgement], scores: Scores | None
) -> Path:
    with RunStore.create(path, man) as store:
        for generation in generations:
            store.add_generation(generation)
        for judgement in judgements:
            store.add_judgement(judgement)
        if scores is not None:
            store.write_scores(scores)
    return path


def run_maker(root: Path) -> MakeRun:
    """Makes runs of made-up models under `root`: `skill` is a model's chance to pass, difficulty is shared by all."""

    def make(
        name: str,
        *,
        skill: float = 0.6,
        seed: int = 0,
        suites: list[str] | None = None,
        directory: str | None = None,
        infra: int = 0,
        **changes: Any,
    ) -> Path:
        chosen = suites if suites is not None else list(SUITES)
        generations, judgements = [], []
        for suite in chosen:
            _, _, count, per_cluster = SUITES[suite]
            shared, own = random.Random(suite), random.Random(f"{suite}{seed}")
            for i in range(count):
                difficulty = shared.betavariate(0.8, 0.8)
                passed = own.random() < 0.3 * skill + 0.7 * (difficulty < skill)
                outcome = "infra_error" if i < infra else "passed" if passed else own.choice(FAILURES)
                cluster = f"c{i // per_cluster}" if per_cluster else None
                slot = {"key": f"{suite}{i:05d}", "suite": suite, "problem": f"{suite}/{i}", "sample": 0}
                generations.append(answer(slot, i, passed))
                judgements.append(verdict(slot, i, outcome, cluster))
        path = root / (directory or name.replace("/", "--"))
        return write(path, manifest(name, chosen, **changes), generations, judgements, scores_of(judgements))

    return make


def hostile_run(path: Path, passed: int = 1) -> Path:
    """A run whose every field that a model, a data set or an endpoint can fill holds everything hostile.

    Of its four answers the one with number `passed` passes.
    """
    bad = " ".join(HOSTILE)
    suite = f"suite {bad}"
    man = manifest("x", ["gsm8k"]).model_dump()
    # pydantic refuses lone surrogates where a plain string is declared, so a run cannot have them there
    plain = bad.encode("utf-8", "replace").decode("utf-8")
    suite = suite.encode("utf-8", "replace").decode("utf-8")
    names = {"name": suite, "category": plain, "version": plain, "metric": plain, "data": {plain: plain}}
    man["suites"] = [{**man["suites"][0], **names}]
    man |= {"created": plain, "command": [plain, plain], "git": plain, "versions": {plain: plain}}
    man |= {"spec": {plain: {bad: [bad]}}, "host": {plain: bad}, "sandbox": {plain: {"a": bad}}}
    man |= {"model": {"name": bad, plain: bad, "scheme": bad, "parameters": {"total": bad, "active": [bad]}}}
    generations, judgements = [], []
    outcomes = ["failed", "tampered", plain]
    outcomes.insert(passed, "passed")
    for i, outcome in enumerate(outcomes):
        slot: dict[str, Any] = {"key": f"{i}{plain}", "suite": suite, "problem": f"{plain}{i}", "sample": 0}
        generations.append(
            Generation(
                **slot,
                prompt={
                    "messages": [{"role": plain, "content": bad}, {"role": "user", "content": {bad: bad}}],
                    "tools": [bad],
                },
                text=plain,
                reasoning=plain,
                tool_calls=[{"name": bad, "arguments": {bad: bad}}],
                finish=plain,
                tokens={plain: 7},
                turns=[
                    Turn(text=plain, finish=plain, tool_calls=[{bad: bad}], messages=[{"role": bad, "content": bad}])
                ],
                answer=[{bad: bad}],
                error=plain,
            )
        )
        judgements.append(
            Judgement(
                **slot,
                cluster=plain,
                outcome=outcome,
                score=float(outcome == "passed"),
                message=plain,
                engine=plain,
                isolation=plain,
                parts={plain: 0.5},
                evidence={bad: {bad: [bad, 1, None]}},
            )
        )
    metric = Metric(value=0.25, ci95=(0.1, 0.6), stderr=0.2)
    scores = Scores(
        suites={
            suite: SuiteScores(
                category=plain,
                n=4,
                metrics={plain: metric, f"{plain}[x]": metric},
                outcomes={"failed": 1, "passed": 1, "tampered": 1, plain: 1},
                unparsed_rate=0.0,
                infra_error_rate=0.0,
                tokens={plain: 7.0},
            )
        },
        partial=False,
    )
    return write(path, Manifest.model_validate(man), generations, judgements, scores)


def answer(slot: dict[str, Any], i: int, passed: bool) -> Generation:
    code = f"def solve_{i}(x):\n    return x + {i if passed else i + 1}"
    return Generation(
        **slot,
        prompt={"messages": [{"role": "user", "content": f"Write solve_{i}(x), which returns x plus {i}."}]},
        text=f"<think>\nAdd {i}.\n</think>\n\nHere it is:\n\n```python\n{code}\n```",
        reasoning=f"\nAdd {i}.\n",
        finish="stop",
        tokens={"prompt": 40, "completion": 60, "reasoning": 12},
    )


def verdict(slot: dict[str, Any], i: int, outcome: str, cluster: str | None) -> Judgement:
    passed = outcome == "passed"
    return Judgement(
        **slot,
        cluster=cluster,
        outcome=outcome,
        score=None if outcome == "infra_error" else float(passed),
        tests_passed=7 if passed else 3,
        tests_total=7,
        message="" if passed else f"solve_{i}(1): expected {i + 1}, got {i + 2}",
        engine="docker",
        isolation="split",
        evidence={"extracted": f"def solve_{i}(x): ..."},
    )
