"""Decoding on CPU in float32 by our own kernels: what `decode.Decoder` does, without its thousand operations a step.

`kernels/decode.c` says how. Here weights are laid in panels and pointers are handed over.

Shapes: B rows, T tokens a row, N = B·T, D hidden, H heads, K key-value heads, C head dimension, X experts a token,
E experts, F expert width, V vocabulary.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int64, c_void_p
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from . import kernels
from .cache import KVCache
from .config import LayerType
from .decode import Decoder
from .decode_layer import packs
from .kernels.structures import Head, Layer, Scratch, Shape
from .layer import DecoderLayer
from .model import Mellum
from .moe import SparseMlp


def _panels(weight: Tensor, width: int) -> Tensor:
    """[..., O, I] as [..., ceil(O / width), I, width], padded with zeros."""
    weight = weight.detach()
    *outer, outputs, inputs = weight.shape
    padded = F.pad(weight, (0, 0, 0, -outputs % width))
    return padded.reshape(*outer, -1, width, inputs).transpose(-1, -2).contiguous()


class _Weights:
    """A model's weights in panels, and what tells whether they are still the model's."""

    def __init__(self, model: Mellum, panel: int) -> None:
        self._panel = panel
        self._kept: list[Tensor] = []  # what the kernels point to
        # Kept alive, so that no other tensor can come to lie where one of them lay.
        self._copied = [parameter.detach() for parameter in model.parameters()]
        self._stamps = _stamps(model)
        modules = [cast(DecoderLayer, layer) for layer in model.layers]
        self.head: Head | None = None
        if model.mtp is not None:
            mtp = model.mtp
            modules.append(cast(DecoderLayer, mtp.layers[0]))
            self.head = Head(
                token_norm=self._keep(mtp.pre_fc_norm_embedding.weight),
                state_norm=self._keep(mtp.pre_fc_norm_hidden.weight),
                fc=self._keep(_panels(mtp.fc.weight, panel)),
                norm=self._keep(mtp.norm.weight),
            )
        self.layers = (Layer * len(modules))(*(self._layer(module) for module in modules))
        self.norm = self._keep(model.norm.weight)
        self.embedding = self._keep(model.embed_tokens.weight)
        self.out = self._keep(_panels((model.embed_tokens if model.lm_head is None else model.lm_head).weight, panel))

    def are_of(self, model: Mellum) -> bool:
        """Whether no weight of the model has been replaced or written to since."""
        return self._stamps is not None and self._stamps == _stamps(model)

    @torch.no_grad()
    def _layer(self, module: DecoderLayer) -> Layer:
        attention, mlp = module.self_attn, module.mlp
        gate_up: Tensor = mlp.experts.gate_up_proj if isinstance(mlp, SparseMlp) else mlp.gate_up_proj.weight[None]
        down: Tensor = mlp.experts.down_proj if isinstance(mlp, SparseMlp) else mlp.down_proj.weight[None]
        # [E, 2F, D] and [E, D, F]; gate and up begin a panel each
        halves = gate_up.view(gate_up.shape[0], 2, -1, gate_up.shape[2])
        weights: dict[str, Tensor | None] = {
            "input_norm": module.input_layernorm.weight,
            "qkv": _panels(attention.qkv_proj.weight, self._panel),
            "qkv_bias": attention.qkv_proj.bias,
            "q_norm": attention.q_norm.weight,
            "k_norm": attention.k_norm.weight,
            "out": _panels(attention.o_proj.weight, self._panel),
            "out_bias": attention.o_proj.bias,
            "post_norm": module.post_attention_layernorm.weight,
            "router": mlp.gate.weight if isinstance(mlp, SparseMlp) else None,
            "gate_up": _panels(halves, self._panel),
            "down": _panels(down, self._panel),
        }
        pointers = {name: self._keep(weight) for name, weight in weights.items()}
        return Layer(experts=down.shape[0], width=down.shape[2], **pointers)

    def _keep(self, weight: Tensor | None) -> int | None:
        if weight is None:
            return None
        self._kept.append(weight.detach().contiguous())
        return self._kept[-1].data_ptr()


_WEIGHTS_OF: WeakKeyDictionary[Mellum, _Weights] = WeakKeyDictionary()


def _stamps(model: Mellum) -> list[tuple[int, int]] | None:
    """Where each weight lies and how often it was written to; None where torch does not count that."""
    parameters = list(model.parameters())
    if any(parameter.is_inference() for parameter in parameters):
        return None
    return [(parameter.data_ptr(), parameter._version) for parameter in parameters]


def decoder_for(model: Mellum, cache: KVCache) -> Decoder | CompiledDecoder:
    """The fastest decoder that there is for this model on this machine."""
    library = kernels.library() if packs(model) else None
    if library is None:
        _WEIGHTS_OF.pop(model, None)
        return Decoder(model, cache)
    # Putting the weights in panels takes as long as some dozen steps, and there is an engine for each call of generate.
    weights = _WEIGHTS_OF.get(model)
    if weights is None or not weights.are_of(model):
        _WEIGHTS_OF[model] = weights = _Weights(model, library.panel_width())
    return CompiledDecoder(model, cache, library, weights)


class CompiledDecoder:
    """Steps of a model over its cache. Weights must not change while it lives: they are copied."""

    def __init__(self, model: Mellum, cache: KVCache, library: ctypes.CDLL, weights: _Weights) -> None:
        self.model, self.cache, self.config = model, cache, model.config
        self._library, self._weights = library, weights
        config = model.config
        self._shape = Shape(
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            top_k=config.num_experts_per_tok,
            normalise=config.norm_topk_prob,
            eps=config.rms_norm_eps,
        )
        self._kinds = list(config.attention_layers)
        self._trunk = len(model.layers)
        self._layers = type(weights.layers).from_buffer_copy(weights.layers)  # each decoder has a cache of its own
        self._tables: dict[tuple[LayerType, int], tuple[Tensor, Tensor]] = {}
        self._bound: Tensor | None = None
        self._room = 0

    def _bind(self) -> None:
        """Point the layers at the cache and at rotary tables for all of it."""
        cache, trunk = self.cache, self._trunk
        self._tables = {}
        for index, kind in enumerate(self._kinds):
            shift = int(index >= trunk)  # rotary position less cache index: the MTP head's positions are the next ones
            if (kind, shift) not in self._tables:
                positions = torch.arange(cache.tokens) + shift
                self._tables[kind, shift] = self.model.ropes[kind].tables(positions, torch.float32)
            cos, sin = self._tables[kind, shift]
            layer = self._layers[index]
            layer.keys, layer.values = cache.keys[index].data_ptr(), cache.values[index].data_ptr()
            layer.cos, layer.sin = cos.data_ptr(), sin.data_ptr()
            layer.slots, layer.window = cache.slots(index), self.config.window(kind) or 0
        self._bound = cache.keys[0]

    def _scratch(self, tokens: int) -> Scratch:
        """Buffers for so many tokens."""
        if tokens > self._room:
            self._room = tokens
            config, shape = self.config, self._shape
            inner, each = shape.heads * shape.head_dim, shape.top_k
            width = max(layer.width for layer in self._layers)
            experts = max(layer.experts for layer in self._layers)
            floats = {
                "x": config.hidden_size,
                "h": config.hidden_size,
                "qkv": inner + 2 * shape.kv_heads * shape.head_dim,
                "attended": inner,
                "act": each * width,
                "weights": each,
                "pairs": 2 * config.hidden_size,
            }
            self._buffers = {name: torch.empty(tokens, size) for name, size in floats.items()}
            self._buffers |= {name: torch.empty(tokens, each, dtype=torch.int64) for name in ("chosen", "order")}
            self._buffers["begins"] = torch.empty(experts + 1, dtype=torch.int64)
            self._pointers = Scratch(**{name: buffer.data_ptr() for name, buffer in self._buffers.items()})
        self._shape.threads = torch.get_num_threads()
        return self._pointers

    def _prepared(self, tokens: Tensor, positions: Sequence[int]) -> tuple[Any, ...]:
        """What both kinds of steps end with: rows, length, positions, buffers and where the result goes."""
        rows, length = tokens.shape
        pointers = self._scratch(rows * length)
        if self._bound is not self.cache.keys[0]:
            self._bind()
        places = (c_int64 * rows)(*positions)
        return c_int64(rows), c_int64(length), places, ctypes.byref(pointers)

    @torch.inference_mode()
    def step(self, tokens: Tensor, positions: list[int]) -> Tensor:
        """As `Decoder.step`."""
        tokens = tokens.contiguous()
        rest = self._prepared(tokens, positions)
        out = torch.empty(*tokens.shape, self.config.hidden_size)
        self._library.run_trunk(
            ctypes.byref(self._shape),
            self._layers,
            c_int64(self._trunk),
            c_void_p(self._weights.norm),
            c_void_p(self._weights.embedding),
            c_void_p(tokens.data_ptr()),
            *rest,
            c_void_p(out.data_ptr()),
        )
        return out

    @torch.inference_mode()
    def mtp_step(self, tokens: Tensor, hidden: Tensor, positions: list[int]) -> Tensor:
        """As `Decoder.mtp_step`."""
        if self._weights.head is None:
            raise ValueError("this model has no MTP head")
        tokens, hidden = tokens.contiguous(), hidden.contiguous()
        rest = self._prepared(tokens, positions)
        out = torch.empty(*tokens.shape, self.config.hidden_size)
        self._library.run_head(
            ctypes.byref(self._shape),
            ctypes.byref(self._weights.head),
            ctypes.byref(self._layers[self._trunk]),
            c_void_p(self._weights.embedding),
            c_void_p(tokens.data_ptr()),
            c_void_p(hidden.data_ptr()),
            *rest,
            c_void_p(out.data_ptr()),
        )
        return out

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """As `Decoder.logits`."""
        out = torch.empty(*hidden.shape[:-1], self.config.vocab_size)
        hidden = hidden.contiguous()
        self._library.product(*self._product(hidden, out))
        return out

    @torch.inference_mode()
    def best(self, hidden: Tensor) -> list[list[int]]:
        """As `Decoder.best`."""
        rows, length, _ = hidden.shape
        out = torch.empty(rows * length, self.config.vocab_size)
        found = (c_int64 * (rows * length))()
        hidden = hidden.contiguous()
        self._library.best(*self._product(hidden, out), found)
        return [found[begin : begin + length] for begin in range(0, rows * length, length)]

    def _product(self, hidden: Tensor, out: Tensor) -> tuple[Any, ...]:
        """Arguments of a product with the output matrix. The caller holds both tensors."""
        self._shape.threads = torch.get_num_threads()
        return (
            ctypes.byref(self._shape),
            c_int64(hidden.numel() // hidden.shape[-1]),
            c_void_p(self._weights.out),
            c_int64(hidden.shape[-1]),
            c_int64(self.config.vocab_size),
            c_void_p(hidden.data_ptr()),
            c_void_p(out.data_ptr()),
        )
