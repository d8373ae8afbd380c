"""Continuous batching: requests wait, join the batch as soon as a row is free, and leave it when they end.

Rows 0 … n - 1 of the cache are those in use: the last row moves into a freed one, so every product is over live rows
only. `step` does one unit of work (admit and decode, or draft and verify) and says what came of it; nothing here
knows of threads or asyncio.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from .cache import KVCache
from .compiled import decoder_for
from .config import MellumConfig
from .errors import ModelError, PromptError
from .model import Mellum
from .prefill import CHUNK, prefill
from .requests import Delta, Generated, Row, TextCodec, ThinkTags, think_tags
from .sampling import Sampling, distribution, draw, greedy_outcome, sampled_outcome
from .text import TextStream


class Engine:
    """Generation for many requests at once."""

    def __init__(
        self,
        model: Mellum,
        *,
        tokenizer: TextCodec | None = None,
        max_batch: int = 32,
        speculative: bool = False,
        draft_length: int = 1,
        prefill_tokens: int = 8192,
        think: ThinkTags | None = None,
    ) -> None:
        """Prepare.

        Args:
            model: Its weights must not change while the engine lives: some are copied into a handier form.
            tokenizer: For text prompts, text results and stop strings.
            max_batch: Rows decoded together.
            speculative: Draft with the MTP head.
            draft_length: Tokens drafted a step; beyond the first the head reads its own output.
            prefill_tokens: Prompt tokens computed together, padding included; a longer prompt goes in chunks.
            think: Ids of `<think>` and `</think>`; asked of the tokenizer where not given.

        Raises:
            ModelError: Speculation without an MTP head, or settings out of range.
        """
        if max_batch < 1 or draft_length < 1:
            raise ModelError(f"max_batch {max_batch} and draft_length {draft_length} must be at least 1")
        if speculative and model.mtp is None:
            raise ModelError("speculative decoding needs an MTP head, and this model has none (num_mtp_layers is 0)")
        self.model, self.tokenizer, self.max_batch = model, tokenizer, max_batch
        self.drafts = draft_length if speculative else 0
        self.prefill_tokens = prefill_tokens
        self.think = think or think_tags(tokenizer)
        config: MellumConfig = model.config
        self.config = config
        # A ring must survive what is written ahead and taken back: the drafts, and the head's own run ahead of them.
        slack = 2 * (self.drafts + 1) if self.drafts else 0
        self.cache = KVCache(config, slack=slack, device=model.device, dtype=model.dtype)
        self.decoder = decoder_for(model, self.cache)
        self.waiting: deque[Row] = deque()
        self.rows: list[Row] = []
        self._verified: tuple[list[Row], Tensor] | None = None
        """Rows of the last verification and their states [B, k + 1, D]."""
        self._submitted = 0
        self._deltas: list[Delta] = []

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        return bool(self.rows or self.waiting)

    def submit(self, prompt: Sequence[int] | str, sampling: Sampling = Sampling()) -> int:  # noqa: B008 (frozen)
        """Queue a request.

        Returns:
            Its number, counted from 0.

        Raises:
            PromptError: The prompt is empty, longer than the context, or holds ids that do not exist.
        """
        number = self._submitted
        if isinstance(prompt, str):
            if self.tokenizer is None:
                raise PromptError(f"prompt {number} is text, and there is no tokenizer")
            prompt = self.tokenizer.encode(prompt)
        ids = [int(token) for token in prompt]
        room = self.config.max_position_embeddings
        if not ids:
            raise PromptError(f"prompt {number} is empty")
        if len(ids) >= room:
            raise PromptError(
                f"prompt {number} has {len(ids)} tokens; the context is {room} (max_position_embeddings) and must "
                "leave room for one more"
            )
        if wrong := [token for token in ids if not 0 <= token < self.config.vocab_size]:
            raise PromptError(f"prompt {number} holds token {wrong[0]}; the vocabulary has {self.config.vocab_size}")
        if sampling.stop and self.tokenizer is None:
            raise PromptError(f"prompt {number} has stop strings, and there is no tokenizer")
        if sampling.thinking_budget is not None and self.think is None:
            raise PromptError(f"prompt {number} has a thinking_budget, and no ids of <think> and </think> are known")
        ends = set(sampling.stop_token_ids) | (set() if sampling.ignore_eos else set(self.config.eos_token_ids))
        open_since = self._open_since(ids)
        logprobs = None if sampling.logprobs is None else list[float]()
        top = list[dict[int, float]]() if sampling.logprobs else None
        self.waiting.append(
            Row(
                index=number,
                prompt=ids,
                sampling=sampling,
                rng=random.Random(sampling.seed),
                limit=min(sampling.max_new_tokens, room - len(ids)),
                out=Generated([], prompt_tokens=len(ids), logprobs=logprobs, top_logprobs=top),
                text=None if self.tokenizer is None else TextStream(self.tokenizer.decode, sampling.stop),
                ends=frozenset(ends),
                thinking=open_since is not None,
                thought=open_since or 0,
            )
        )
        self._submitted += 1
        return number

    @torch.inference_mode()
    def cancel(self, index: int) -> None:
        """Drop a request; nothing more is heard of it."""
        self.waiting = deque(row for row in self.waiting if row.index != index)
        for row in self.rows:
            if row.index == index:
                row.done = True
        self._retire()

    @torch.inference_mode()
    def step(self) -> list[Delta]:
        """Admit what fits, then produce at least one token for each row."""
        self._deltas = []
        self._admit()
        if self.rows:
            if self.drafts:
                self._speculate()
            else:
                self._decode()
            self._retire()
        return self._deltas

    def _open_since(self, ids: list[int]) -> int | None:
        """Tokens since a `<think>` that the prompt leaves open."""
        if self.think is None:
            return None
        for back, token in enumerate(reversed(ids)):
            if token == self.think.end:
                return None
            if token == self.think.begin:
                return back
        return None

    # -- prompts ------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        while self.waiting and len(self.rows) < self.max_batch:
            group: list[Row] = []
            longest = 0
            while self.waiting and len(self.rows) + len(group) < self.max_batch:
                longest = max(longest, len(self.waiting[0].prompt))
                if group and longest * (len(group) + 1) > self.prefill_tokens:
                    break
                group.append(self.waiting.popleft())
            self._prefill(group)
            self._retire()

    def _prefill(self, group: list[Row]) -> None:
        """Run whole prompts, fill the cache, choose each one's first token."""
        lengths = [len(row.prompt) for row in group]
        self._reserve(len(self.rows) + len(group), max(lengths))
        if max(lengths) > self.prefill_tokens:  # then it is alone
            (row,) = group
            last = prefill(
                self.model,
                self.cache,
                len(self.rows),
                row.prompt,
                draft=self.drafts > 0,
                chunk=min(CHUNK, self.prefill_tokens),
            )[None]
        else:
            last = self._whole(group, lengths)
        logits = self.model.head(last)
        chosen = self._choose(logits, group)
        self.rows.extend(group)
        for index, row in enumerate(group):
            row.position = len(row.prompt)
            row.states = last[index : index + 1]
            self._commit(row, [chosen[index]], logits[index : index + 1])

    def _whole(self, group: list[Row], lengths: list[int]) -> Tensor:
        """Prompts in one piece: the state [B, D] of each one's last token."""
        longest = max(lengths)
        places = list(range(len(self.rows), len(self.rows) + len(group)))
        ids = torch.tensor([row.prompt + [0] * (longest - len(row.prompt)) for row in group], device=self.model.device)
        kept: list[tuple[Tensor, Tensor]] = []
        hidden = self.model.trunk(ids, kept=kept).hidden
        self.cache.fill(places, lengths, kept)
        if self.drafts and longest > 1:
            kept = []
            self.model.mtp_hidden(ids, hidden, kept=kept)
            self.cache.fill(places, [length - 1 for length in lengths], kept, first_layer=self.config.num_hidden_layers)
        return hidden[torch.arange(len(group)), [length - 1 for length in lengths]]

    def _reserve(self, rows: int, tokens: int) -> None:
        if rows > self.cache.rows:
            rows = min(self.max_batch, max(rows, min(2 * self.cache.rows, rows + 16)))
        self.cache.reserve(rows, tokens + 2 * (self.drafts + 1))

    # -- tokens -------------------------------------------------------------------------------------------------

    def _choose(self, logits: Tensor, rows: list[Row]) -> list[int]:
        """The next token of each row, from logits [B, V]."""
        if all(row.sampling.greedy for row in rows):
            greedy: list[int] = logits.argmax(-1).tolist()
            return greedy
        probabilities = distribution(logits, [row.sampling for row in rows])
        drawn: list[int] = draw(probabilities, [row.rng.random() for row in rows]).tolist()
        return drawn

    def _decode(self) -> None:
        positions = [row.position for row in self.rows]
        self._reserve(len(self.rows), max(positions) + 1)
        tokens = torch.tensor([[row.pending] for row in self.rows], device=self.model.device)
        hidden = self.decoder.step(tokens, positions)
        if self._only_best():
            for row, chosen in zip(self.rows, self.decoder.best(hidden), strict=True):
                row.position += 1
                self._commit(row, chosen, None)
            return
        logits = self.decoder.logits(hidden[:, 0])
        for index, (row, token) in enumerate(zip(self.rows, self._choose(logits, self.rows), strict=True)):
            row.position += 1
            self._commit(row, [token], logits[index : index + 1])

    def _only_best(self) -> bool:
        """Whether all that is asked of the rows' logits is which one is largest."""
        return all(row.sampling.greedy and row.out.logprobs is None for row in self.rows)

    def _speculate(self) -> None:
        """Draft, verify all drafts in one step, keep the accepted ones and the token after them."""
        rows = self.rows
        only_best = self._only_best()
        proposed, draft_probabilities = self._draft()
        positions = [row.position for row in rows]
        self._reserve(len(rows), max(positions) + 1 + self.drafts)
        tokens = [[row.pending, *drafted] for row, drafted in zip(rows, proposed, strict=True)]
        hidden = self.decoder.step(torch.tensor(tokens, device=self.model.device), positions)  # [B, k + 1, D]
        logits = None if only_best else self.decoder.logits(hidden)
        if draft_probabilities is None:
            wanted: list[list[int]] = self.decoder.best(hidden) if logits is None else logits.argmax(-1).tolist()
            outcomes = [greedy_outcome(drafted, best) for drafted, best in zip(proposed, wanted, strict=True)]
        else:
            assert logits is not None  # drawn from: not only the best are asked for
            flat = [row.sampling for row in rows for _ in range(self.drafts + 1)]
            target = distribution(logits.flatten(0, 1), flat).view(logits.shape)
            outcomes = [
                sampled_outcome(row.rng, proposed[index], target[index], draft_probabilities[index])
                for index, row in enumerate(rows)
            ]
        self._verified = (list(rows), hidden)
        for index, row in enumerate(rows):
            row.out.drafted += self.drafts
            row.out.accepted += len(outcomes[index]) - 1
            row.states = hidden[index]
            row.position += self._commit(row, outcomes[index], None if logits is None else logits[index])

    def _draft(self) -> tuple[list[list[int]], Tensor | None]:
        """What the MTP head proposes, k tokens a row, and what they were drawn from, [B, k, V] (None if greedy)."""
        rows, device = self.rows, self.model.device
        greedy = all(row.sampling.greedy for row in rows)
        settings = [row.sampling for row in rows]
        pairs = [len(row.follow) for row in rows]
        width = max(pairs)
        starts = [row.position - count for row, count in zip(rows, pairs, strict=True)]
        self._reserve(len(rows), max(starts) + width + self.drafts)
        tokens = torch.tensor([row.follow + [0] * (width - len(row.follow)) for row in rows], device=device)
        hidden = self.decoder.mtp_step(tokens, self._states(pairs, width), starts)
        if width > 1:
            last = [index * width + count - 1 for index, count in enumerate(pairs)]
            hidden = hidden.flatten(0, 1).index_select(0, torch.tensor(last, device=device))[:, None]  # [B, 1, D]
        found: list[list[int]] = [[] for _ in rows]
        drawn_from: list[Tensor] = []
        for ahead in range(self.drafts):
            if ahead:
                at = [row.position + ahead - 1 for row in rows]
                tokens = torch.tensor([drafted[-1:] for drafted in found], device=device)
                hidden = self.decoder.mtp_step(tokens, hidden, at)
            if greedy:
                best = self.decoder.best(hidden)
            else:
                probabilities = distribution(self.decoder.logits(hidden[:, 0]), settings)
                drawn_from.append(probabilities)
                best = draw(probabilities, [row.rng.random() for row in rows])[:, None].tolist()
            for drafted, token in zip(found, best, strict=True):
                drafted += token
        return found, None if greedy else torch.stack(drawn_from, 1)

    def _states(self, pairs: list[int], width: int) -> Tensor:
        """The states that the MTP head has not read yet, [B, width, D]; what is beyond a row's own is never used."""
        if self._verified is not None and self._verified[0] == self.rows:  # the usual case: nobody came or went
            return self._verified[1][:, :width]
        return torch.stack([_padded(row.states, count, width) for row, count in zip(self.rows, pairs, strict=True)])

    def _commit(self, row: Row, tokens: list[int], logits: Tensor | None) -> int:
        """Append chosen tokens, until one of them ends the row or the thinking budget puts another in its place.

        Args:
            row: The row.
            tokens: Chosen in this order.
            logits: [m, V], m ≥ len(tokens): what each was chosen from; None where no log-probabilities are asked for.

        Returns:
            How many were kept.
        """
        kept: list[int] = []
        out = row.out
        for token in tokens:
            forced = self._forced(row)
            token = token if forced is None else forced
            kept.append(token)
            out.tokens.append(token)
            if out.logprobs is not None and logits is not None:
                self._log(row, token, logits[len(kept) - 1])
            if self.think is not None:
                row.thought += row.thinking
                row.thinking = token == self.think.begin or (row.thinking and token != self.think.end)
            if token in row.ends or (row.text is not None and row.text.push(token)):
                row.done, out.finish = True, "stop"
            elif len(out.tokens) >= row.limit:
                row.done, out.finish = True, "length"
            if row.done or forced is not None:
                break
        row.pending, row.follow = kept[-1], kept
        shown = ""
        if row.text is not None:
            shown = row.text.take(final=row.done)
            if row.done:
                out.text = row.text.text
        self._deltas.append(Delta(row.index, kept, shown, out if row.done else None))
        return len(kept)

    def _forced(self, row: Row) -> int | None:
        budget = row.sampling.thinking_budget
        if self.think is None or budget is None or not row.thinking or row.thought < budget:
            return None
        return self.think.end

    def _log(self, row: Row, token: int, logits: Tensor) -> None:
        logits = logits.float()
        if row.sampling.tempered_logprobs and not row.sampling.greedy:
            logits = logits / row.sampling.temperature
        scores = logits.log_softmax(-1)
        if row.out.logprobs is not None:
            row.out.logprobs.append(float(scores[token]))
        if row.out.top_logprobs is not None and row.sampling.logprobs:
            best = scores.topk(min(row.sampling.logprobs, scores.numel()))
            row.out.top_logprobs.append(dict(zip(best.indices.tolist(), best.values.tolist(), strict=True)))

    def _retire(self) -> None:
        """Free the rows that are done: the last row moves into the gap."""
        place = 0
        while place < len(self.rows):
            if not self.rows[place].done:
                place += 1
                continue
            last = self.rows.pop()
            if place < len(self.rows):
                self.cache.move(len(self.rows), place, last.position)
                self.rows[place] = last


def _padded(states: Tensor | None, count: int, width: int) -> Tensor:
    if states is None:
        raise RuntimeError("a row was decoded before its prompt")
    if states.shape[0] >= width:
        return states[:width]  # rows beyond `count` are never read
    return torch.cat((states[:count], states.new_zeros(width - count, states.shape[1])))
