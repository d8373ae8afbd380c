"""Generation in one call: a batch of prompts in, results in the same order out, or news as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .engine import Engine
from .errors import ModelError, PromptError
from .model import Mellum
from .requests import Delta, Generated, TextCodec
from .sampling import Sampling

Prompts = Tensor | str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]


def _listed(prompts: Any) -> list[list[int] | str]:
    """Prompts as a list, from any of the forms that are taken."""
    if isinstance(prompts, Tensor):
        prompts = prompts.tolist()
    if isinstance(prompts, str):
        return [prompts]
    rows = list(prompts)
    if rows and all(isinstance(row, int) for row in rows):
        rows = [rows]
    return [row if isinstance(row, str) else [int(token) for token in row] for row in rows]


def _settings(sampling: Sampling | Sequence[Sampling] | None, count: int, options: dict[str, Any]) -> list[Sampling]:
    if sampling is not None and options:
        raise ModelError(f"give either sampling or {', '.join(options)}, not both")
    if unknown := set(options) - set(Sampling.names()):
        raise ModelError(f"unknown option {', '.join(sorted(unknown))}; there are {', '.join(Sampling.names())}")
    if sampling is None:
        sampling = Sampling(**options)
    if isinstance(sampling, Sampling):
        return [sampling] * count
    if len(sampling) != count:
        raise ModelError(f"{len(sampling)} settings for {count} prompts")
    return list(sampling)


def stream(
    model: Mellum,
    prompts: Prompts,
    sampling: Sampling | Sequence[Sampling] | None = None,
    *,
    tokenizer: TextCodec | None = None,
    max_batch: int = 32,
    speculative: bool = False,
    draft_length: int = 1,
    **options: Any,
) -> Iterator[Delta]:
    """As `generate`, but yields news of each prompt as it comes."""
    listed = _listed(prompts)
    engine = Engine(model, tokenizer=tokenizer, max_batch=max_batch, speculative=speculative, draft_length=draft_length)
    for prompt, setting in zip(listed, _settings(sampling, len(listed), options), strict=True):
        engine.submit(prompt, setting)
    while engine.busy:
        yield from engine.step()


def generate(
    model: Mellum,
    prompts: Prompts,
    sampling: Sampling | Sequence[Sampling] | None = None,
    *,
    tokenizer: TextCodec | None = None,
    max_batch: int = 32,
    speculative: bool = False,
    draft_length: int = 1,
    **options: Any,
) -> list[Generated]:
    """Generate, batched and cached.

    Args:
        model: The model.
        prompts: Token ids (a list a prompt, or a tensor [B, T]) or, with a tokenizer, texts; one prompt alone is taken
            for a batch of one.
        sampling: For all prompts or one a prompt; or give its fields as keywords (`max_new_tokens=64, temperature=1`).
            Greedy unless told otherwise.
        tokenizer: Gives results their text.
        max_batch: Rows decoded together; more prompts wait their turn.
        speculative: Draft with the MTP head: the same tokens under greedy decoding, the same distribution otherwise.
        draft_length: Tokens drafted a step.
        **options: Fields of `Sampling`.

    Returns:
        One result a prompt, in the order of the prompts.

    Raises:
        ModelError: Settings out of range, or speculation without an MTP head.
        PromptError: A prompt that is empty, too long, or not of this vocabulary; its number is named.
    """
    listed = _listed(prompts)
    results: dict[int, Generated] = {}
    news = stream(
        model,
        listed,  # type: ignore[arg-type]
        sampling,
        tokenizer=tokenizer,
        max_batch=max_batch,
        speculative=speculative,
        draft_length=draft_length,
        **options,
    )
    for delta in news:
        if delta.result is not None:
            results[delta.index] = delta.result
    return [results[index] for index in range(len(listed))]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable a continuation is."""

    logprob: float
    """Natural logarithm of its probability after its context."""
    greedy: bool
    """Whether it is what greedy decoding gives."""
    token_logprobs: list[float]


@torch.inference_mode()
def loglikelihood(
    model: Mellum, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, batch_tokens: int = 8192
) -> list[Likelihood]:
    """Log-probabilities of continuations, each after its context.

    Args:
        model: The model.
        pairs: Token ids of context (not empty) and continuation (may be empty: probability 1).
        batch_tokens: Tokens computed together, padding included.

    Raises:
        PromptError: An empty context, or a pair of which more than the context length is read; its number is named.
    """
    room = model.config.max_position_embeddings
    for number, (context, continuation) in enumerate(pairs):
        if not context:
            raise PromptError(f"pair {number} has an empty context; begin with the end-of-text token")
        if len(context) + max(len(continuation) - 1, 0) > room:  # the last token is never an input
            raise PromptError(f"pair {number} has {len(context) + len(continuation)} tokens; the context is {room}")
    # The last token of a pair is never an input: choices of one token after the same context are one computation.
    wanted: dict[tuple[int, ...], list[int]] = {}
    for number, (context, continuation) in enumerate(pairs):
        wanted.setdefault((*context, *continuation[:-1]), []).append(number)
    inputs = sorted(wanted, key=len, reverse=True)
    results: dict[int, Likelihood] = {}
    while inputs:
        longest = len(inputs[0])
        size = max(1, batch_tokens // longest)
        batch, inputs = inputs[:size], inputs[size:]
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in batch], device=model.device)
        hidden = model.trunk(ids).hidden
        for index, row in enumerate(batch):
            begin = min(len(pairs[number][0]) for number in wanted[row]) - 1
            scores = model.head(hidden[index, begin : len(row)]).float().log_softmax(-1)
            for number in wanted[row]:
                context, continuation = pairs[number]
                own = scores[len(context) - 1 - begin :][: len(continuation)]
                tokens = torch.tensor(list(continuation), dtype=torch.long, device=model.device)
                chosen = own.gather(1, tokens[:, None])[:, 0].tolist()
                results[number] = Likelihood(sum(chosen), bool((own.argmax(-1) == tokens).all()), chosen)
    return [results[number] for number in range(len(pairs))]
