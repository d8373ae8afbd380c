"""Log-likelihoods of given continuations, batched.

Choices of one token share their context's forward pass: a multiple-choice question costs one pass, not four.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from mellum_eval.backends.base import Completion, best_choice


def rank(
    model: Any, tokenizer: Any, questions: Sequence[Sequence[tuple[str, str]]], *, special: bool, limit: int
) -> list[Completion]:
    """Letters of the likeliest choices.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        questions: Context and choice, for each choice of each question.
        special: Whether the tokenizer adds special tokens (not to what a chat template wrote).
        limit: Tokens that the model takes; longer contexts lose their beginning.
    """
    # What is fed → the spans wanted of it: (question, choice, tokens of the choice).
    wanted: dict[tuple[int, ...], list[tuple[int, int, list[int]]]] = {}
    lengths = []
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    for number, pairs in enumerate(questions):
        starts = {context: tokenizer(context, add_special_tokens=special)["input_ids"] for context, _ in pairs}
        lengths.append(max(map(len, starts.values())))
        for index, (context, choice) in enumerate(pairs):
            whole = begun(starts[context], tokenizer(context + choice, add_special_tokens=special)["input_ids"], begin)
            shared = shared_prefix(starts[context], whole)
            span = whole[shared:]
            wanted.setdefault(tuple(whole[:-1][-limit:]), []).append((number, index, span))
    values = [[0.0] * len(pairs) for pairs in questions]
    inputs = sorted(wanted, key=len, reverse=True)
    most = max(len(span) for spans in wanted.values() for _, _, span in spans)
    for row, logprobs in zip(inputs, _last_logprobs(model, inputs, most), strict=True):
        for number, index, span in wanted[row]:
            positions = range(len(logprobs) - len(span), len(logprobs))
            values[number][index] = sum(
                float(logprobs[position, token]) for position, token in zip(positions, span, strict=True)
            )
    return [
        Completion(best_choice(row), tokens={"prompt": length, "completion": 0}, loglikelihoods=tuple(row))
        for row, length in zip(values, lengths, strict=True)
    ]


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
