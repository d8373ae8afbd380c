"""One decoder layer: norm, attention, add; norm, experts, add."""

from __future__ import annotations

from torch import Tensor, nn

from .attention import Attention, Layout
from .config import LayerType, MellumConfig, MlpType
from .moe import DenseMlp, SparseMlp
from .norm import Norm


class DecoderLayer(nn.Module):
    """A layer of the trunk, and of the MTP head."""

    def __init__(self, config: MellumConfig, layer_type: LayerType, mlp_type: MlpType) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = Attention(config, layer_type)
        self.post_attention_layernorm = Norm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp: SparseMlp | DenseMlp = SparseMlp(config) if mlp_type == "sparse" else DenseMlp(config)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        kept: list[tuple[Tensor, Tensor]] | None = None,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Run the layer.

        Args:
            x: [B, T, D].
            layout: Positions and mask of this layer's type.
            kept: Takes the layer's keys and values where given.
            past: As in `Attention`.

        Returns:
            [B, T, D], and the router's logits [B·T, E] (None in a dense layer).
        """
        x = x + self.self_attn(self.input_layernorm(x), layout, kept, past)
        fed, router_logits = self.mlp(self.post_attention_layernorm(x))
        return x + fed, router_logits
