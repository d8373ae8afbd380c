"""One layer's weights as decoding uses them: as they are, or on CPU in float32 copied into a handier form.

Both forms do the same three things; attention itself, which needs the cache, is the decoder's.

Shapes: N tokens, D hidden, H heads, K key-value heads, C head dimension, X experts a token.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import MellumConfig
from .few_rows import ExpertTables, Matrix
from .layer import DecoderLayer
from .model import Mellum
from .moe import SparseMlp, choose, grouped_experts, sorted_experts

PACKED_BYTES = 4 * 2**30
"""Weights up to which a second copy is made. Beyond that, memory is dearer than time."""


class Rms:
    """x / √(‖x‖² + D·eps): an RMS norm that leaves √D and the weights to whoever comes next.

    Three small operations, where torch's own on CPU is a dozen.
    """

    def __init__(self, size: int, eps: float) -> None:
        self.gain: float = size**0.5
        self._floor = torch.tensor((size * eps) ** 0.5)

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise [..., D]."""
        return x / self.length(x)

    def length(self, x: Tensor) -> Tensor:
        """What `x` is divided by, [..., 1]."""
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return torch.hypot(norm, self._floor)


class LayerForm(Protocol):
    """What decoding asks of a layer."""

    def qkv(self, x_ND: Tensor) -> Tensor:
        """Norm and projection: [N, (H + 2K)·C]."""
        ...

    def joined(self, x_ND: Tensor, attended: Tensor) -> Tensor:
        """The residual stream after attention, whose heads [N, H·C] are given."""
        ...

    def fed(self, x_ND: Tensor) -> Tensor:
        """The residual stream after the feed-forward part."""
        ...


class PlainLayer:
    """The model's own weights: for CUDA, half precision and models too large to copy."""

    def __init__(self, module: DecoderLayer, config: MellumConfig) -> None:
        self.module = module
        self.top_k, self.normalise = config.num_experts_per_tok, config.norm_topk_prob
        if isinstance(module.mlp, SparseMlp):
            experts = module.mlp.experts
            self.gate_up_t = experts.gate_up_proj.detach().transpose(1, 2).unbind(0)
            self.down_t = experts.down_proj.detach().transpose(1, 2).unbind(0)

    def qkv(self, x_ND: Tensor) -> Tensor:
        """See `LayerForm`."""
        result: Tensor = self.module.self_attn.qkv_proj(self.module.input_layernorm(x_ND))
        return result

    def joined(self, x_ND: Tensor, attended: Tensor) -> Tensor:
        """See `LayerForm`."""
        result: Tensor = x_ND + self.module.self_attn.o_proj(attended)
        return result

    def fed(self, x_ND: Tensor) -> Tensor:
        """See `LayerForm`."""
        h_ND = self.module.post_attention_layernorm(x_ND)
        mlp = self.module.mlp
        if not isinstance(mlp, SparseMlp):
            dense: Tensor = mlp(h_ND)[0]
            return x_ND + dense
        logits = F.linear(h_ND.float(), mlp.gate.weight.float())
        weights, experts = choose(logits, self.top_k, self.normalise)
        if x_ND.is_cuda:
            own = mlp.experts
            return x_ND + grouped_experts(h_ND, experts, weights, own.gate_up_proj, own.down_proj)
        return x_ND + sorted_experts(h_ND, experts, weights, self.gate_up_t, self.down_t)[0]


class PackedLayer:
    """Copies of the weights that a few rows are multiplied with fastest, a dense one with its norm's weights within."""

    def __init__(self, module: DecoderLayer, config: MellumConfig) -> None:
        self.top_k, self.normalise = config.num_experts_per_tok, config.norm_topk_prob
        self.norm = Rms(config.hidden_size, config.rms_norm_eps)
        attention = module.self_attn
        before, after = module.input_layernorm.weight.detach(), module.post_attention_layernorm.weight.detach()
        self._qkv = Matrix(attention.qkv_proj.weight, scale_D=before * self.norm.gain, bias_O=attention.qkv_proj.bias)
        self._out = Matrix(attention.o_proj.weight, bias_O=attention.o_proj.bias)
        self._scale_D = scale = after * self.norm.gain
        self._dense: tuple[Matrix, Matrix] | None = None
        if isinstance(module.mlp, SparseMlp):
            self.router_DE = module.mlp.gate.weight.detach().t().contiguous()
            self.experts = ExpertTables(module.mlp.experts)
        else:
            mlp = module.mlp
            self._dense = Matrix(mlp.gate_up_proj.weight, scale_D=scale), Matrix(mlp.down_proj.weight)

    def qkv(self, x_ND: Tensor) -> Tensor:
        """See `LayerForm`."""
        return self._qkv(self.norm(x_ND))

    def joined(self, x_ND: Tensor, attended: Tensor) -> Tensor:
        """See `LayerForm`."""
        return self._out(attended, x_ND)

    def fed(self, x_ND: Tensor) -> Tensor:
        """See `LayerForm`."""
        if self._dense is not None:
            gate_up, down = self._dense
            gate, up = gate_up(self.norm(x_ND)).chunk(2, -1)
            return down(F.silu(gate).mul_(up), x_ND)
        # The division also makes the copy of each row that each of its experts is given.
        length = self.norm.length(x_ND)[:, None].expand(-1, self.top_k, 1)
        h_NXD = (x_ND * self._scale_D)[:, None] / length
        weights, experts = choose(torch.mm(h_NXD[:, 0], self.router_DE), self.top_k, self.normalise)
        return self.experts(h_NXD, weights, experts, x_ND)


def packs(model: Mellum) -> bool:
    """Whether a model is decoded from copies of its weights."""
    if model.device.type != "cpu" or model.dtype != torch.float32:
        return False
    return sum(parameter.nbytes for parameter in model.parameters()) <= PACKED_BYTES
