"""Suites whose prompts are made to a length, fitted to a model: to its context, and in its own tokens.

What does not fit the context is not run and is named, in the run's directory too: it is no score of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mellum_eval.backends.base import Backend, CountsTokens
from mellum_eval.backends.replay import ReplayBackend
from mellum_eval.errors import UserError
from mellum_eval.spec import RunSpec
from suites.problem import Problem
from suites.suite import Suite


@dataclass(frozen=True, slots=True)
class Fitted:
    """What of the loaded suites a model is asked.

    Attributes:
        loaded: Suites with their problems.
        counted: Full names of those whose prompts' lengths the model's tokenizer counted.
        too_long: Those that do not fit the model's context.
        notices: Lines for the user.
    """

    loaded: list[tuple[Suite, list[Problem]]]
    counted: frozenset[str]
    too_long: tuple[str, ...]
    notices: tuple[str, ...]


async def fit(spec: RunSpec, loaded: Sequence[tuple[Suite, list[Problem]]], backend: Backend) -> Fitted:
    """Leave out what is too long, and make the rest anew by the model's tokenizer where it has one at hand.

    Raises:
        UserError: Nothing is left, or the lengths were counted by a model that is only replayed.
    """
    context, thinking = backend.info.context, spec.backend.thinking_budget or 0
    kept: list[tuple[Suite, list[Problem]]] = []
    counted, too_long, estimated = list[str](), dict[str, int](), list[str]()
    for suite, problems in loaded:
        tokens = suite.tokens()
        if tokens is None:
            kept.append((suite, problems))
        elif context is not None and tokens + thinking > context:
            too_long[suite.full_name] = tokens + thinking
        else:
            anew = await _counted(suite, problems, backend)
            kept.append((suite, problems if anew is None else anew))
            (estimated if anew is None else counted).append(suite.full_name)
    if not kept:
        raise UserError(f"no suite fits the model's context of {context:,} tokens; choose shorter ones")
    notices = []
    if too_long:
        named = ", ".join(f"{name} ({needed:,} tokens)" for name, needed in too_long.items())
        notices.append(f"not run, for they do not fit the model's context of {context:,} tokens: {named}")
    if estimated:
        notices.append(
            f"{backend.info.name} counts no tokens: lengths are estimates ({len(estimated)} suites)"
            + ("" if context else "; its context is not known either, so nothing is left out (--context N tells it)")
        )
    return Fitted(kept, frozenset(counted), tuple(too_long), tuple(notices))


async def _counted(suite: Suite, problems: Sequence[Problem], backend: Backend) -> list[Problem] | None:
    if isinstance(backend, ReplayBackend) and suite.full_name in backend.counted:
        raise UserError(
            f"the prompts of {suite.full_name} were made by {backend.info.name}'s tokenizer, which a replay has not; "
            "`mellum-eval rescore` judges the run's own answers anew"
        )
    if not isinstance(backend, CountsTokens) or await backend.count_tokens("?") is None:
        return None

    async def count(text: str) -> int:
        tokens = await backend.count_tokens(text)
        if tokens is None:
            raise UserError(f"{backend.info.name} no longer counts tokens, which {suite.full_name} needs; try again")
        return tokens

    return list(await suite.sized(count, wanted={problem.id for problem in problems}))
