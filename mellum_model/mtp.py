"""The multi-token-prediction head: from the trunk's state at i and the token at i + 1, the token at i + 2.

Norm of the embedding, norm of the hidden state, side by side in that order, a linear map, one ordinary decoder
layer, a norm; embedding and output matrix are the trunk's. The hidden state is taken after the trunk's final norm:
the other reading never crashes, drafts only get worse.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import Layout
from .config import MellumConfig
from .layer import DecoderLayer
from .norm import Norm


class MtpHead(nn.Module):
    """One MTP layer. Rotary positions are those of the token that is read, i + 1."""

    def __init__(self, config: MellumConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.pre_fc_norm_embedding = Norm(hidden, eps=config.rms_norm_eps)
        self.pre_fc_norm_hidden = Norm(hidden, eps=config.rms_norm_eps)
        self.fc = nn.Linear(2 * hidden, hidden, bias=False)
        self.layers = nn.ModuleList([DecoderLayer(config, config.mtp_layer_type, "sparse")])
        self.norm = Norm(hidden, eps=config.rms_norm_eps)

    def forward(
        self,
        embedded: Tensor,
        hidden: Tensor,
        layout: Layout,
        kept: list[tuple[Tensor, Tensor]] | None = None,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the head.

        Args:
            embedded: [B, T, D] embedding of token i + 1.
            hidden: [B, T, D] the trunk's state at i, after its final norm.
            layout: Positions (of i + 1) and mask of the head's layer.
            kept: Takes the layer's keys and values where given.
            past: As in `Attention`.

        Returns:
            [B, T, D] after the norm, ready for the output matrix, and the router's logits.
        """
        x = self.fc(torch.cat((self.pre_fc_norm_embedding(embedded), self.pre_fc_norm_hidden(hidden)), -1))
        x, router_logits = self.layers[0](x, layout, kept, past)
        return self.norm(x), router_logits
