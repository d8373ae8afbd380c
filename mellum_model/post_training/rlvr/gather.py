"""One batch of rollouts: every group's answers are drawn, and each is sent to be judged the moment it ends.

Drawing does not wait for verdicts, unless an episode may have another turn: then what comes back may be a further
request. When all is drawn, the verdicts that are still out are left to whoever takes the batch. Rollouts of one group
that end with the same words at their first turn share one verdict.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from ...errors import PromptError
from ...training.errors import TrainingStopped
from .environment import Environment, Episode, Judged, Message, Reply, Task
from .mixture import Ask, seed_of
from .rollouts import Sampled, Sampler

Encode = Callable[[Sequence[Message], Sequence[Mapping[str, Any]]], list[int]]
"""A conversation, ending with the head of the model's turn, as ids."""
Decode = Callable[[Sequence[int]], str]


@dataclass(slots=True)
class Turn:
    """One answer of the model, with all that it saw before it: what is learnt from."""

    prompt: list[int]
    tokens: Sequence[int]
    logprobs: Sequence[float]


@dataclass(slots=True)
class Rollout:
    """One episode of one task."""

    domain: str
    task: Task
    group: int
    """Of the batch; rollouts of one group are compared."""
    turns: list[Turn] = field(default_factory=list)
    text: str = ""
    """Of the last answer."""
    cut: bool = False
    """Whether the last answer ended at the cap."""
    judged: Judged | None = None
    reward: float = 0.0
    """Shaped; what rollouts are compared by."""

    @property
    def tokens(self) -> int:
        """That the model wrote, over all turns."""
        return sum(len(turn.tokens) for turn in self.turns)


@dataclass(slots=True)
class Seconds:
    """Where a batch's time went."""

    drawing: float = 0.0
    """The sampler worked."""
    verdicts: float = 0.0
    """The sampler idled, because only a verdict could bring the next turn."""


class Gathered:
    """A batch that is drawn; some of its verdicts may be out."""

    def __init__(self, rollouts: list[Rollout], replies: SimpleQueue[tuple[int, Future[Reply]]], out: int) -> None:
        self.rollouts = rollouts
        self.seconds = Seconds()
        self.repeated = 0
        """Answers that another rollout of the group had given before, and whose verdict they share."""
        self._replies, self._out = replies, out

    def wait(self, stopping: Callable[[], bool] = lambda: False) -> float:
        """Wait for the verdicts that are out; the seconds that took.

        Raises:
            TrainingStopped: Judging has become impossible.
        """
        begin = time.perf_counter()
        while self._out and not stopping():
            try:
                number, future = self._replies.get(timeout=0.2)
            except Empty:
                continue
            self._out -= 1
            reply = reply_of(future)
            if not isinstance(reply, Judged):
                raise RuntimeError("an episode went on after its last turn")
            self.rollouts[number].judged = reply
        return time.perf_counter() - begin


def gather(
    sampler: Sampler,
    environments: Mapping[str, Environment],
    asks: Sequence[Ask],
    *,
    group: int,
    encode: Encode,
    decode: Decode,
    temperature: float,
    max_tokens: int,
    seed: str,
    stopping: Callable[[], bool] = lambda: False,
) -> Gathered:
    """Draw a batch.

    Args:
        sampler: Holds the weights to draw from.
        environments: By domain.
        asks: One a group.
        group: Rollouts of each.
        encode: For prompts.
        decode: For answers.
        temperature: To draw with.
        max_tokens: Of one turn.
        seed: Names this batch: with it, a rollout's group, place and turn are its seed.
        stopping: Whether to give up.

    Raises:
        TrainingStopped: Judging has become impossible.
    """
    begin = time.perf_counter()
    rollouts = [Rollout(ask.domain, ask.task, number) for number, ask in enumerate(asks) for _ in range(group)]
    episodes: list[Episode] = [environments[one.domain].begin(one.task) for one in rollouts]
    spoken: list[list[Message]] = [list(one.task.messages) for one in rollouts]
    replies: SimpleQueue[tuple[int, Future[Reply]]] = SimpleQueue()
    out = may_go_on = 0
    going: set[int] = set()
    judging: dict[tuple[int, str, str], Future[Reply]] = {}
    repeated = 0
    seconds = Seconds()

    def ask(number: int) -> None:
        nonlocal out
        one = rollouts[number]
        prompt = encode(spoken[number], one.task.tools)
        one.turns.append(Turn(prompt, [], []))
        own = seed_of(seed, one.group, number % group, len(one.turns))
        try:
            sampler.submit(number, prompt, seed=own, temperature=temperature, max_tokens=max_tokens)
        except PromptError as error:  # a long conversation has no room for another turn: that is the policy's doing
            one.turns.pop()
            one.judged = Judged(0.0, False, "unparsed", str(error))

    def ended(number: int, sampled: Sampled) -> None:
        nonlocal out, may_go_on, repeated
        one, turn = rollouts[number], rollouts[number].turns[-1]
        turn.tokens, turn.logprobs = sampled.tokens, sampled.logprobs
        one.text, one.cut = decode(sampled.tokens), sampled.finish == "length"
        spoken[number].append({"role": "assistant", "content": one.text})
        last = episodes[number].last
        if not last:
            going.add(number)
            may_go_on += 1
        same = (one.group, one.text, sampled.finish)
        future = judging.get(same) if last and len(one.turns) == 1 else None
        if future is not None:
            repeated += 1
        else:
            future = episodes[number].answer(one.text, sampled.finish)
            if last and len(one.turns) == 1:
                judging[same] = future
        out += 1
        future.add_done_callback(lambda done: replies.put((number, done)))

    def heard(number: int, future: Future[Reply]) -> None:
        nonlocal out, may_go_on
        out -= 1
        if number in going:
            going.remove(number)
            may_go_on -= 1
        reply = reply_of(future)
        if isinstance(reply, Judged):
            rollouts[number].judged = reply
        else:
            spoken[number] += reply.messages
            ask(number)

    for number in range(len(rollouts)):
        ask(number)
    while (sampler.busy or may_go_on) and not stopping():
        if sampler.busy:
            for number, sampled in sampler.poll():
                ended(number, sampled)
        else:
            waited = time.perf_counter()
            with contextlib.suppress(Empty):
                heard(*replies.get(timeout=0.2))
            seconds.verdicts += time.perf_counter() - waited
        while not replies.empty():
            heard(*replies.get())
    found = Gathered(rollouts, replies, out)
    found.repeated = repeated
    seconds.drawing = time.perf_counter() - begin - seconds.verdicts
    found.seconds = seconds
    return found


def reply_of(future: Future[Reply]) -> Reply:
    """What a future brought.

    Raises:
        TrainingStopped: It raised: judging has become impossible.
    """
    try:
        return future.result()
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise TrainingStopped(
            f"answers cannot be judged any more: {why}; mend that and continue with --resume"
        ) from None
