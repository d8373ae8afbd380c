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
        self._verified: tuple[list[Row], Tensor] = [], torch.empty(0)
        """Rows of the last step and their states [B, k + 1, D]."""
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
                only_best=sampling.greedy and sampling.logprobs is None,
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

    def step(self) -> list[Delta]:
        """Admit what fits, then produce at least one token for each row."""
        self._deltas = []
        if self.waiting:
            self._admit()
        if self.rows:
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

    @torch.inference_mode()
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
            last = self.decoder.prompts([row.prompt for row in group], len(self.rows), draft=self.drafts > 0)
        logits = self.model.head(last)
        chosen = self._choose(logits, group)
        self.rows.extend(group)
        for index, row in enumerate(group):
            row.position = len(row.prompt)
            row.states = last[index : index + 1]
            self._commit(row, [chosen[index]], logits[index : index + 1])

    def _reserve(self, rows: int, tokens: int) -> None:
        tokens += 2 * (self.drafts + 1)
        if rows <= self.cache.rows and tokens <= self.cache.tokens:
            return
        if rows > self.cache.rows:
            rows = min(self.max_batch, max(rows, min(2 * self.cache.rows, rows + 16)))
        with torch.inference_mode():
            self.cache.reserve(rows, tokens)

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
        """The next token of each row; with drafts, all verified in one step, those that stand and one more."""
        rows, drafts = self.rows, self.drafts
        follow, positions = [row.follow for row in rows], [row.position for row in rows]
        self._reserve(len(rows), max(positions) + 1 + drafts)
        states = self._unread() if drafts else None
        logits: Tensor | None = None
        # Of the best alone nothing is torch's own, and entering inference mode would take as long as a layer.
        if all(row.only_best for row in rows):
            proposed, wanted, states = self.decoder.advance(follow, states, positions, drafts)
            outcomes = [greedy_outcome(drafted, best) for drafted, best in zip(proposed, wanted, strict=True)]
        else:
            states, logits, outcomes = self._sampled(follow, states, positions)
        self._verified = rows.copy(), states
        for index, (row, outcome) in enumerate(zip(rows, outcomes, strict=True)):
            row.out.drafted += drafts
            row.out.accepted += len(outcome) - 1
            row.position += self._commit(row, outcome, None if logits is None else logits[index])

    @torch.inference_mode()
    def _sampled(
        self, follow: list[list[int]], states: Tensor | None, positions: list[int]
    ) -> tuple[Tensor, Tensor, list[list[int]]]:
        """States [B, k + 1, D] and logits [B, k + 1, V] of what follows and is drafted, and what stands of it."""
        proposed, drawn_from = self._draft(follow, states, positions)
        read = [[given[-1], *drafted] for given, drafted in zip(follow, proposed, strict=True)]
        verified = self.decoder.step(torch.tensor(read, device=self.model.device), positions)
        logits = self.decoder.logits(verified)
        return verified, logits, self._outcomes(proposed, drawn_from, logits)

    def _draft(
        self, follow: list[list[int]], states: Tensor | None, positions: list[int]
    ) -> tuple[list[list[int]], list[Tensor]]:
        """What the MTP head proposes, k tokens a row, and what each was drawn from, k times [B, V] (none if greedy)."""
        settings = [row.sampling for row in self.rows]
        greedy = all(setting.greedy for setting in settings)
        found: list[list[int]] = [[] for _ in self.rows]
        drawn_from: list[Tensor] = []
        for ahead in range(self.drafts):
            assert states is not None  # as there are drafts
            drafted = self.decoder.draft(follow, states, [position + ahead for position in positions])
            logits = self.decoder.logits(drafted)
            if greedy:
                chosen = logits.argmax(-1)
            else:
                drawn_from.append(distribution(logits, settings))
                chosen = draw(drawn_from[-1], [row.rng.random() for row in self.rows])
            follow, states = chosen[:, None].tolist(), drafted[:, None]
            for row, token in zip(found, follow, strict=True):
                row += token
        return found, drawn_from

    def _outcomes(self, proposed: list[list[int]], drawn_from: list[Tensor], logits: Tensor) -> list[list[int]]:
        """What stands of each row's drafts, and the token after it, from logits [B, k + 1, V]."""
        if not self.drafts:
            return [[token] for token in self._choose(logits[:, 0], self.rows)]
        if not drawn_from:
            wanted: list[list[int]] = logits.argmax(-1).tolist()
            return [greedy_outcome(drafted, best) for drafted, best in zip(proposed, wanted, strict=True)]
        flat = [row.sampling for row in self.rows for _ in range(self.drafts + 1)]
        target = distribution(logits.flatten(0, 1), flat).view(logits.shape)
        draft = torch.stack(drawn_from, 1)
        return [
            sampled_outcome(row.rng, proposed[index], target[index], draft[index])
            for index, row in enumerate(self.rows)
        ]

    def _unread(self) -> Tensor:
        """The states that the MTP head has not read yet, [B, k + 1, D]; what is beyond a row's own is never used."""
        verified, states = self._verified
        if verified == self.rows:  # the usual case: nobody came or went
            return states
        old = dict(zip(verified, states, strict=True))
        return torch.stack([_padded(old.get(row, row.states), self.drafts + 1) for row in self.rows])

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
            forced = self._forced(row) if row.thinking else None
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
        row.follow = kept
        shown = ""
        if row.text is not None:
            shown = row.text.take(final=row.done)
            if row.done:
                out.text = row.text.text
        self._deltas.append(Delta(row.index, kept, shown, out if row.done else None))
        return len(kept)

    def _forced(self, row: Row) -> int | None:
        budget = row.sampling.thinking_budget
        if self.think is None or budget is None or row.thought < budget:
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
                with torch.inference_mode():
                    self.cache.move(len(self.rows), place, last.position)
                self.rows[place] = last


def _padded(states: Tensor | None, length: int) -> Tensor:
    if states is None:
        raise RuntimeError("a row was decoded before its prompt")
    return torch.cat((states, states.new_zeros(length - states.shape[0], states.shape[1])))
