"""One sample's conversation: each turn of the model's is a request of its own, all of them together are one record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mellum_eval.backends.base import Completion, Failure, Request
from mellum_eval.plan import message_record, prompt_record, seed_of
from mellum_eval.records import Generation, Turn
from sandboxes.errors import SandboxError
from sandboxes.extract import split
from suites.conversation import Conversation, GoOn, ModelTurn, grown
from suites.problem import Problem
from suites.sampling import Sampling
from suites.suite import Suite


class Dialogue:
    """Relays between a model and a `Conversation`. What fails on the way is nobody's zero: the sample is owed again."""

    def __init__(
        self, suite: Suite, problem: Problem, conversation: Conversation, first: Request, sampling: Sampling
    ) -> None:
        """Begin.

        Args:
            suite: Whose problem it is.
            problem: With the check that judges.
            conversation: What answers the model; closed by `aclose`.
            first: The request of the first turn.
            sampling: Of the suite: seeds of later turns derive from it.
        """
        self._suite, self._problem, self._conversation = suite, problem, conversation
        self._first = self._request = first
        self._sampling = sampling
        self._turns: list[Turn] = []

    async def take(self, reply: Completion | Failure) -> Request | Generation:
        """The model's next turn to be asked for, or the record of the whole conversation."""
        number = len(self._turns) + 1
        if isinstance(reply, Failure):
            return self._failed(f"turn {number}: {reply.message}")
        said = model_turn(reply)
        turn = Turn(
            text=reply.text,
            reasoning=reply.reasoning,
            tool_calls=[dict(call) for call in reply.tool_calls],
            finish=reply.finish,
            tokens=dict(reply.tokens),
            latency_s=round(reply.latency_s, 6),
        )
        try:
            step = await self._conversation.step(said)
        except SandboxError as error:
            self._turns.append(turn)
            return self._failed(f"turn {number} could not be run: {error}")
        except Exception as error:
            # A suite's own defect must not end the run, and must not be the model's zero either.
            self._turns.append(turn)
            return self._failed(f"{self._suite.full_name}: step() raised {type(error).__name__}: {error}")
        if isinstance(step, GoOn):
            heard = [message_record(message) for message in step.messages]
            offered = None if step.tools is None else [dict(tool) for tool in step.tools]
            self._turns.append(turn.model_copy(update={"messages": heard, "tools": offered}))
            return self._next(said, step)
        self._turns.append(turn)
        return self._record(
            text=reply.text,
            reasoning=reply.reasoning,
            tool_calls=turn.tool_calls,
            finish=reply.finish,
            tokens=self._tokens(),
            latency_s=round(sum(turn.latency_s for turn in self._turns), 6),
            answer=step.answer,
        )

    async def aclose(self) -> None:
        """Let go of the conversation."""
        await self._conversation.aclose()

    def _next(self, said: ModelTurn, step: GoOn) -> Request:
        turn = len(self._turns)
        gold, calls = gold_turn(self._suite, self._problem, turn)
        first = self._first
        self._request = replace(
            self._request,
            prompt=grown(self._request.prompt, said, step),
            sampling=replace(self._sampling, seed=seed_of(self._sampling, first.problem, first.sample, turn)),
            turn=turn,
            gold=gold,
            gold_calls=calls,
        )
        return self._request

    def _tokens(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for turn in self._turns:
            for name, number in turn.tokens.items():
                total[name] = total.get(name, 0) + number
        return total

    def _failed(self, message: str) -> Generation:
        return self._record(text="", finish="error", error=message)

    def _record(self, **fields: Any) -> Generation:
        first = self._first
        return Generation(
            key=first.key,
            suite=first.suite,
            problem=first.problem,
            sample=first.sample,
            prompt=prompt_record(first.prompt),
            turns=self._turns,
            **fields,
        )


def model_turn(reply: Completion) -> ModelTurn:
    """What a conversation is told of a completion: its text without the reasoning."""
    said = split(reply.text, reply.reasoning)
    answer = said.answer or ""
    return ModelTurn(answer.lstrip("\n") if said.reasoning else answer, reply.tool_calls, reply.finish)


def gold_turn(suite: Suite, problem: Problem, turn: int) -> tuple[str | None, tuple[Any, ...]]:
    """Text and calls of one turn of the right answer, for mock models; None and none where there is none."""
    if not suite.converses() or problem.gold is None:
        return (problem.gold if turn == 0 else None), ()
    script = suite.script(problem, problem.gold)
    return (script[turn].text, tuple(script[turn].tool_calls)) if turn < len(script) else ("", ())
