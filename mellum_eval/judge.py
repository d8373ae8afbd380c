"""The judge model of `--judge`: an OpenAI-compatible endpoint, and a cache of what it replied.

A reply is kept under the hash of the whole request (model, address, prompt with its rubric's wording, sampling, and
the number of the try), so that judging a run again asks nothing twice and gives the same verdicts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mellum_eval.backends.base import Backend, Completion, Request
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.jsonl import write_atomically
from mellum_eval.spec import BackendOptions, RunSpec
from sandboxes.check import Answer, Check
from sandboxes.extract import split
from sandboxes.verdict import Verdict
from sandboxes.verifiers import JUDGED_HERE
from sandboxes.verifiers.judging import RUBRICS, JudgeFailed
from sandboxes.verify import Judges, Verifiers
from suites.problem import Message, Prompt
from suites.sampling import Sampling
from suites.sources import cache_root
from suites.suite import Suite

SCHEME = "openai:"
SAMPLING = Sampling(temperature=0.0, max_tokens=4096)
"""Room for a judge that reasons before it decides."""


class EndpointJudge:
    """Asks one endpoint."""

    def __init__(self, backend: Backend, cache: Path) -> None:
        """Take a backend that is open.

        Args:
            backend: Closed by `aclose`.
            cache: Folder of the replies.
        """
        self._backend, self._cache = backend, cache
        self.asked = self.remembered = 0

    @classmethod
    async def open(cls, address: str, options: BackendOptions, cache: Path | None = None) -> EndpointJudge:
        """Reach for the endpoint.

        Args:
            address: `openai:MODEL@URL`.
            options: Concurrency, timeouts, where the key is.
            cache: Folder of the replies; in the user's cache if not given.

        Raises:
            UserError: The address is none.
            PrerequisiteMissing: It does not answer.
        """
        from mellum_eval.backends.openai import OpenAIBackend

        if not address.startswith(SCHEME):
            raise UserError(f"--judge: {address!r} is not of the form openai:MODEL@URL")
        backend = await OpenAIBackend.open(address.removeprefix(SCHEME), options)
        return cls(backend, cache or cache_root() / "judge")

    @property
    def name(self) -> str:
        """The model's."""
        return self._backend.info.name

    def identity(self) -> dict[str, Any]:
        """For the manifest: which model, and the versions of what it is asked."""
        rubrics = {name: rubric.version for name, rubric in RUBRICS.items()}
        return {**self._backend.info.identity, "rubrics": rubrics, "max_tokens": SAMPLING.max_tokens}

    async def ask(self, prompt: str, attempt: int) -> str:
        """The judge's reply without its reasoning; see `JudgeModel`."""
        key = {**self._backend.info.identity, "prompt": prompt, "attempt": attempt}
        key |= {"temperature": SAMPLING.temperature, "max_tokens": SAMPLING.max_tokens}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
        path = self._cache / digest[:2] / f"{digest}.json"
        reply = _remembered(path)
        if reply is None:
            reply = await self._fresh(digest, prompt, attempt)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps({"request": key, "reply": reply}, ensure_ascii=True, default=str) + "\n")
            self.asked += 1
        else:
            self.remembered += 1
        return reply

    async def aclose(self) -> None:
        """Close the connections."""
        await self._backend.aclose()

    async def _fresh(self, digest: str, prompt: str, attempt: int) -> str:
        sampling = Sampling(SAMPLING.temperature, max_tokens=SAMPLING.max_tokens, seed=attempt)
        request = Request(digest[:32], "judge", "judge", attempt, Prompt((Message("user", prompt),)), sampling)

        async def one() -> AsyncIterator[Request]:
            yield request

        stream = self._backend.generate(one())
        try:
            async for _, reply in stream:
                if isinstance(reply, Completion):
                    return split(reply.text, reply.reasoning).answer or ""
                raise JudgeFailed(f"the judge {self.name}: {reply.message}")
        except PrerequisiteMissing as gone:
            raise JudgeFailed(f"the judge {self.name}: {gone.what}") from None
        finally:
            await stream.aclose()
        raise JudgeFailed(f"the judge {self.name} gave no reply")


def require_judge(spec: RunSpec, suites: Sequence[Suite]) -> None:
    """See that there is a judge model where only one can grade.

    Raises:
        PrerequisiteMissing: There is none; names the suites.
    """
    needing = [suite.full_name for suite in suites if suite.needs_judge]
    if needing and spec.judge is None:
        raise PrerequisiteMissing(
            f"{', '.join(needing)} can only be graded by a judge model, and none is named",
            "add --judge openai:MODEL@URL",
        )


@asynccontextmanager
async def opened(spec: RunSpec) -> AsyncIterator[EndpointJudge | None]:
    """The judge model while the run needs it, if one is named."""
    if spec.judge is None:
        yield None
        return
    changes = {"api_key_env": spec.judge_api_key_env, "base": False, "extra_body": {}, "thinking_budget": None}
    options = spec.backend.model_copy(update=changes)
    judge = await EndpointJudge.open(spec.judge, options)
    try:
        yield judge
    finally:
        await judge.aclose()


def identity_of(judge: EndpointJudge | None) -> dict[str, Any]:
    """The manifest's `judge`; empty where rules decide."""
    return {} if judge is None else judge.identity()


class JudgesApart:
    """Verifiers of a cluster, but for what can be judged only here, where the judge model or an opened task is."""

    def __init__(self, here: Verifiers, there: Judges) -> None:
        self._here, self._there = here, there

    async def verify(self, check: Check, answer: Answer) -> Verdict:
        """The verdict of whoever decides this kind."""
        return await (self._here if check.kind in JUDGED_HERE else self._there).verify(check, answer)


def _remembered(path: Path) -> str | None:
    try:
        reply = json.loads(path.read_text("utf-8"))["reply"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return reply if isinstance(reply, str) else None
