"""The Mellum 2 model: embedding, decoder layers, norm, output matrix, MTP head.

Shapes: B batch, T time, D hidden, V vocabulary, E experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from . import losses
from .attention import Layout
from .checkpoint import load, save
from .config import LayerType, MellumConfig
from .errors import ConfigError, PromptError
from .layer import DecoderLayer
from .moe import Experts, Router
from .mtp import MtpHead
from .norm import Norm
from .rope import Rope


@dataclass(frozen=True, slots=True)
class TrunkOutput:
    """What the layers give."""

    hidden: Tensor
    """[B, T, D] after the final norm."""
    router_logits: list[Tensor]
    """float32 [B·T, E] of each sparse layer."""


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How the parts add up. The MTP weight is Mellum 2's."""

    balance: float = 0.0
    balance_form: Literal["pooled", "global"] = "global"
    """Pooled over layers as `transformers` does, or per layer over the global batch as Megatron does."""
    z: float = 0.0
    mtp: float = 0.1


@dataclass(frozen=True, slots=True)
class TrainingLoss:
    """The loss and its unweighted parts (detached)."""

    total: Tensor
    next_token: Tensor
    balance: Tensor | None = None
    z: Tensor | None = None
    mtp: Tensor | None = None
    mtp_agreement: Tensor | None = None
    """Share of positions where the MTP head's best token is the label: the acceptance to expect of it as a draft."""


@dataclass(frozen=True, slots=True)
class TokenScores:
    """How probable some tokens are, for a policy's loss."""

    logprobs: Tensor
    """float32 [N]."""
    entropy: Tensor
    """float32 [N] of what each was chosen from, in nats; no gradient goes through."""
    router_logits: list[Tensor]
    """float32 [B·T, E] of each sparse layer."""


class Mellum(nn.Module):
    """A Mellum 2 language model.

    `model(input_ids)` gives logits. Parameters are left uninitialised on the meta device; `init_weights` draws them.
    """

    def __init__(
        self, config: MellumConfig, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.config = config
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype or before)
        try:
            with torch.device(device or "cpu"):
                self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
                self.layers = nn.ModuleList(
                    DecoderLayer(config, layer_type, mlp_type)
                    for layer_type, mlp_type in zip(config.layer_types, config.mlp_types, strict=True)
                )
                self.norm = Norm(config.hidden_size, eps=config.rms_norm_eps)
                tied = config.tie_word_embeddings
                self.lm_head = None if tied else nn.Linear(config.hidden_size, config.vocab_size, bias=False)
                self.mtp = MtpHead(config) if config.num_mtp_layers else None
        finally:
            torch.set_default_dtype(before)
        self.ropes: dict[LayerType, Rope] = {
            kind: Rope(config.rope(kind), config.head_dim) for kind in sorted(set(config.attention_layers))
        }
        if self.device.type != "meta":
            self.init_weights()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.embed_tokens.weight.dtype

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Normal with the config's spread for matrices, ones for norms, zeros for biases."""
        for module in self.modules():
            if isinstance(module, Norm):
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Linear | nn.Embedding | Router | Experts):
                for name, parameter in module.named_parameters(recurse=False):
                    if name == "bias":
                        nn.init.zeros_(parameter)
                    else:
                        parameter.normal_(0.0, self.config.initializer_range, generator=generator)

    def layouts(self, positions: Tensor, packed: bool, shift: int = 0) -> dict[LayerType, Layout]:
        """Rotary tables and masks for each layer type, from positions [B or 1, T]."""
        starts = None
        if packed:  # a token at position p of its document stands p places after the document's first
            starts = torch.arange(positions.shape[1], device=positions.device) - positions
        found: dict[LayerType, Layout] = {}
        for kind, rope in self.ropes.items():
            cos, sin = rope.tables(positions + shift, self.dtype)
            found[kind] = Layout(cos[:, :, None], sin[:, :, None], self.config.window(kind), starts)
        return found

    def trunk(
        self,
        input_ids: Tensor,
        positions: Tensor | None = None,
        kept: list[tuple[Tensor, Tensor]] | None = None,
    ) -> TrunkOutput:
        """Everything up to the output matrix.

        Args:
            input_ids: [B, T].
            positions: [B, T] for packed rows: they start again at 0 with each document, and no document sees another.
            kept: Takes the keys and values of each layer, [B, T, K, C] each.

        Raises:
            PromptError: The sequence is longer than the context.
        """
        if input_ids.shape[1] > self.config.max_position_embeddings:
            raise PromptError(
                f"sequence of {input_ids.shape[1]} tokens is longer than the context of "
                f"{self.config.max_position_embeddings} (max_position_embeddings)"
            )
        packed = positions is not None
        if positions is None:
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        layouts = self.layouts(positions, packed)
        x: Tensor = self.embed_tokens(input_ids)
        collected: list[Tensor] = []
        for layer, kind in zip(self.layers, self.config.layer_types, strict=True):
            x, router_logits = layer(x, layouts[kind], kept)
            if router_logits is not None:
                collected.append(router_logits)
        return TrunkOutput(self.norm(x), collected)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., D]."""
        return F.linear(hidden, self.embed_tokens.weight) if self.lm_head is None else self.lm_head(hidden)

    def forward(self, input_ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """Logits [B, T, V] of token ids [B, T]; `positions` as in `trunk`."""
        return self.head(self.trunk(input_ids, positions).hidden)

    def mtp_hidden(
        self,
        input_ids: Tensor,
        hidden: Tensor,
        positions: Tensor | None = None,
        kept: list[tuple[Tensor, Tensor]] | None = None,
    ) -> TrunkOutput:
        """The MTP head over whole sequences.

        Args:
            input_ids: [B, T].
            hidden: [B, T, D] of `trunk` for the same tokens.
            positions: As in `trunk`.
            kept: As in `trunk`.

        Returns:
            [B, T - 1, D]: row i has read tokens up to i + 1 and stands for token i + 2.
        """
        if self.mtp is None:
            raise ConfigError("this model has no MTP head (num_mtp_layers is 0)")
        packed = positions is not None
        if positions is None:
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        layout = self.layouts(positions[:, :-1], packed, shift=1)[self.config.mtp_layer_type]
        out, router_logits = self.mtp(self.embed_tokens(input_ids[:, 1:]), hidden[:, :-1], layout, kept)
        return TrunkOutput(out, [router_logits])

    def mtp_logits(self, input_ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """[B, T - 1, V]: row i stands for token i + 2."""
        hidden = self.trunk(input_ids, positions).hidden
        return self.head(self.mtp_hidden(input_ids, hidden, positions).hidden)

    def loss(
        self,
        input_ids: Tensor,
        labels: Tensor,
        positions: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        weights: LossWeights = LossWeights(),
    ) -> TrainingLoss:
        """Training loss.

        Args:
            input_ids: [B, T].
            labels: [B, T], not shifted: usually `input_ids` itself; -100 where nothing is to be learnt.
            positions: As in `trunk`. What lies beyond a document's end is not learnt from within it.
            mask: [B, T], 0 at padding: left out of the router's losses.
            weights: How the parts add up.
        """
        out = self.trunk(input_ids, positions)
        next_token = losses.next_token_loss(self.head(out.hidden), _within_documents(labels, positions, 1))
        total = next_token
        balance = z = mtp = agreement = None
        if self.mtp is not None and weights.mtp and input_ids.shape[1] > 2:
            logits = self.head(self.mtp_hidden(input_ids, out.hidden, positions).hidden)
            targets = _within_documents(labels, positions, 2)
            mtp = losses.next_token_loss(logits, targets, ahead=2)
            total = total + weights.mtp * mtp
            with torch.no_grad():
                right = logits[:, :-1].argmax(-1) == targets[:, 2:]
                agreement = right.sum() / (targets[:, 2:] != losses.IGNORED).sum().clamp(min=1)
        if weights.balance and out.router_logits:
            pooled = weights.balance_form == "pooled"
            form = losses.pooled_balance_loss if pooled else losses.global_balance_loss
            balance = form(out.router_logits, self.config.num_experts_per_tok, mask)
            total = total + weights.balance * balance
        if weights.z and out.router_logits:
            z = losses.router_z_loss(out.router_logits, mask)
            total = total + weights.z * z
        return TrainingLoss(
            total,
            next_token.detach(),
            None if balance is None else balance.detach(),
            None if z is None else z.detach(),
            None if mtp is None else mtp.detach(),
            agreement,
        )

    def token_scores(
        self, input_ids: Tensor, wanted: Tensor, *, temperature: float = 1.0, together: int = 4096
    ) -> TokenScores:
        """How probable some tokens of whole sequences are, given all before them.

        Args:
            input_ids: [B, T], padded on the right.
            wanted: bool [B, T], N of them; never a row's first.
            temperature: Logits are divided by it.
            together: Tokens whose logits are held at a time; what is more is computed again in the backward pass.
        """
        out = self.trunk(input_ids)
        chosen = wanted[:, 1:]
        hidden, targets = out.hidden[:, :-1][chosen], input_ids[:, 1:][chosen]

        def score(hidden_ND: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
            logprobs_NV = (self.head(hidden_ND).float() / temperature).log_softmax(-1)
            with torch.no_grad():
                entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(-1)
            return -F.nll_loss(logprobs_NV, targets_N, reduction="none"), entropy_N

        if hidden.shape[0] <= together:
            return TokenScores(*score(hidden, targets), out.router_logits)
        pieces = [
            checkpoint(score, *part, use_reentrant=False)
            for part in zip(torch.split(hidden, together), torch.split(targets, together), strict=True)
        ]
        logprobs, entropy = (torch.cat(column) for column in zip(*pieces, strict=True))
        return TokenScores(logprobs, entropy, out.router_logits)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str | None = None,
        mtp: bool | None = None,
    ) -> Self:
        """Load a checkpoint directory of the hub's layout or our own; see `checkpoint.load`."""
        return load(cls, path, device=device, dtype=dtype, mtp=mtp)

    def save_pretrained(self, path: str | Path, *, max_shard_bytes: int = 5_000_000_000) -> None:
        """Write what `transformers.MellumForCausalLM.from_pretrained` loads; see `checkpoint.save`."""
        save(self, path, max_shard_bytes=max_shard_bytes)


def _within_documents(labels: Tensor, positions: Tensor | None, ahead: int) -> Tensor:
    """The labels, ignored where the token `ahead` places before them is of another document."""
    if positions is None:
        return labels
    kept = labels.clone()
    kept[:, ahead:].masked_fill_(positions[:, ahead:] != positions[:, :-ahead] + ahead, losses.IGNORED)
    return kept
