"""Log-likelihoods of given continuations, batched.

Choices of one token share their context's forward pass: a multiple-choice question costs one pass, not four.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from mellum_eval.backends.base import Completion, best_choice

LOGITS = 1 << 28
"""Logits of one batch at most: a gigabyte in float32."""


def rank(
    model: Any, tokenizer: Any, questions: Sequence[Sequence[tuple[str, str]]], *, special: bool, limit: int
) -> list[Completion]:
    """Letters of the likeliest choices.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        questions: Context and choice, for each choice of each question.
        special: Whether the tokenizer adds special tokens (not to what a chat template wrote).
        limit: Tokens that the model takes; longer contexts lose their beginning, longer choices are windows.
    """
    # What is fed → the spans wanted of it: (question, choice, tokens of the choice, or some of them).
    wanted: dict[tuple[int, ...], list[tuple[int, int, list[int]]]] = {}
    lengths = []
    config = model.config.get_text_config()
    named = [getattr(who, f"{end}_token_id", None) for who in (tokenizer, config) for end in ("bos", "eos")]
    begin = next((number for number in named if isinstance(number, int)), None)
    for number, pairs in enumerate(questions):
        starts = {context: tokenizer(context, add_special_tokens=special)["input_ids"] for context, _ in pairs}
        lengths.append(max(map(len, starts.values())))
        for index, (context, choice) in enumerate(pairs):
            whole = begun(starts[context], tokenizer(context + choice, add_special_tokens=special)["input_ids"], begin)
            shared = shared_prefix(starts[context], whole)
            for given, span in windows(whole, shared, limit):
                wanted.setdefault(tuple(given), []).append((number, index, list(span)))
    values = [[0.0] * len(pairs) for pairs in questions]
    greedy = [[True] * len(pairs) for pairs in questions]
    inputs = sorted(wanted, key=len, reverse=True)
    while inputs:
        most = max(len(span) for _, _, span in wanted[inputs[0]])
        rows = max(1, LOGITS // (most * config.vocab_size))
        batch, inputs = inputs[:rows], inputs[rows:]
        most = max(len(span) for row in batch for _, _, span in wanted[row])
        for row, logprobs in zip(batch, _last_logprobs(model, batch, most), strict=True):
            for number, index, span in wanted[row]:
                own = logprobs[len(logprobs) - len(span) :]
                chosen = [float(own[position, token]) for position, token in enumerate(span)]
                values[number][index] += sum(chosen)
                greedy[number][index] &= own.argmax(-1).tolist() == span
    return [
        Completion(
            best_choice(row),
            tokens={"prompt": length, "completion": 0},
            loglikelihoods=tuple(row),
            greedy=tuple(best),
        )
        for row, best, length in zip(values, greedy, lengths, strict=True)
    ]


def windows(whole: Sequence[int], shared: int, limit: int) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """What is fed, and the tokens whose probabilities are read off its end, until all after `shared` have been.

    A choice that the model cannot take whole is read in windows of `limit` tokens that do not overlap, each with what
    stands before it as far as there is room: so does lm-evaluation-harness with whole texts (`loglikelihood_rolling`).
    """
    begin = shared
    while begin < len(whole):
        end = min(begin + limit, len(whole))
        yield whole[max(0, end - 1 - limit) : end - 1], whole[begin:end]
        begin = end


def begun(start: Sequence[int], whole: Sequence[int], beginning: int | None) -> list[int]:
    """The tokens of context and choice, after the beginning of text where there is no context.

    So a text that stands alone is judged from its first token on, as lm-evaluation-harness does.
    """
    return list(whole) if start or beginning is None or whole[:1] == [beginning] else [beginning, *whole]


def shared_prefix(context: Sequence[int], whole: Sequence[int]) -> int:
    """Tokens before the choice: where the seam falls inside a token, that token belongs to the choice."""
    shared = 0
    for a, b in zip(context, whole[:-1], strict=False):
        if a != b:
            break
        shared += 1
    return max(shared, 1)


def _last_logprobs(model: Any, inputs: Sequence[tuple[int, ...]], count: int) -> Any:
    """Log-probabilities [rows, count, vocabulary] of the tokens after each of the last `count` positions, float32."""
    import torch

    longest = max(map(len, inputs))
    ids = torch.zeros((len(inputs), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(inputs):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        mask[row, longest - len(tokens) :] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    fields = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    fields = {name: tensor.to(model.device) for name, tensor in fields.items()}
    # All positions' logits of a long batch would be gigabytes; only the last ones are read.
    few = {"logits_to_keep": count} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    with torch.inference_mode():
        logits = model(**fields, **few, use_cache=False).logits[:, -count:]
        return torch.log_softmax(logits.float(), dim=-1).cpu()
