"""Decoding on CPU in float32 by our own kernels: what `decode.Decoder` does, without its thousand operations a step.

`kernels/decode.c` says how. Here weights are laid in panels and pointers are handed over.

Shapes: B rows, T tokens a row, N = B·T, D hidden, H heads, K key-value heads, C head dimension, X experts a token,
E experts, F expert width, V vocabulary.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import Structure, c_double, c_int64, c_void_p
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from . import kernels
from .cache import KVCache
from .config import LayerType
from .decode import Decoder
from .decode_layer import packs
from .layer import DecoderLayer
from .model import Mellum
from .moe import SparseMlp


def decoder_for(model: Mellum, cache: KVCache) -> Decoder | CompiledDecoder:
    """The fastest decoder that there is for this model on this machine."""
    library = kernels.library() if packs(model) else None
    return Decoder(model, cache) if library is None else CompiledDecoder(model, cache, library)


class _Shape(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("hidden", "heads", "kv_heads", "head_dim", "top_k", "normalise", "threads")),
        ("eps", c_double),
    ]


_WEIGHTS = (
    *("input_norm", "qkv", "qkv_bias", "q_norm", "k_norm", "out", "out_bias"),
    *("post_norm", "router", "gate_up", "down"),
)


class _Layer(Structure):
    _fields_ = [
        *((name, c_void_p) for name in _WEIGHTS),
        ("experts", c_int64),
        ("width", c_int64),
        *((name, c_void_p) for name in ("keys", "values", "cos", "sin")),
        ("slots", c_int64),
        ("window", c_int64),
    ]


class _Scratch(Structure):
    _fields_ = [
        (name, c_void_p) for name in ("x", "h", "qkv", "attended", "act", "weights", "chosen", "order", "begins")
    ]


def _panels(weight: Tensor, width: int) -> Tensor:
    """[..., O, I] as [..., ceil(O / width), I, width], padded with zeros."""
    weight = weight.detach()
    *outer, outputs, inputs = weight.shape
    padded = F.pad(weight, (0, 0, 0, -outputs % width))
    return padded.reshape(*outer, -1, width, inputs).transpose(-1, -2).contiguous()


class CompiledDecoder:
    """Steps of a model over its cache. Weights must not change while it lives: they are copied."""

    def __init__(self, model: Mellum, cache: KVCache, library: ctypes.CDLL) -> None:
        self.model, self.cache, self.config = model, cache, model.config
        self._library = library
        self._width: int = library.panel_width()
        config = model.config
        self._shape = _Shape(
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            top_k=config.num_experts_per_tok,
            normalise=config.norm_topk_prob,
            eps=config.rms_norm_eps,
        )
        self._kept: list[Tensor] = []  # what the kernels point to
        self._kinds = list(config.attention_layers)
        modules = [cast(DecoderLayer, layer) for layer in model.layers]
        if model.mtp is not None:
            modules.append(cast(DecoderLayer, model.mtp.layers[0]))
            self._fc = _panels(model.mtp.fc.weight, self._width)
            self._mtp_norm = model.mtp.norm.weight.detach().contiguous()
        self._trunk = len(model.layers)
        self._layers = (_Layer * len(modules))(*(self._layer(module) for module in modules))
        self._norm = model.norm.weight.detach().contiguous()
        self._head = _panels((model.embed_tokens if model.lm_head is None else model.lm_head).weight, self._width)
        self._tables: dict[tuple[LayerType, int], tuple[Tensor, Tensor]] = {}
        self._bound: Tensor | None = None
        self._room = 0

    @torch.no_grad()
    def _layer(self, module: DecoderLayer) -> _Layer:
        attention, mlp = module.self_attn, module.mlp
        gate_up: Tensor = mlp.experts.gate_up_proj if isinstance(mlp, SparseMlp) else mlp.gate_up_proj.weight[None]
        down: Tensor = mlp.experts.down_proj if isinstance(mlp, SparseMlp) else mlp.down_proj.weight[None]
        # [E, 2F, D] and [E, D, F]; gate and up begin a panel each
        halves = gate_up.view(gate_up.shape[0], 2, -1, gate_up.shape[2])
        weights: dict[str, Tensor | None] = {
            "input_norm": module.input_layernorm.weight,
            "qkv": _panels(attention.qkv_proj.weight, self._width),
            "qkv_bias": attention.qkv_proj.bias,
            "q_norm": attention.q_norm.weight,
            "k_norm": attention.k_norm.weight,
            "out": _panels(attention.o_proj.weight, self._width),
            "out_bias": attention.o_proj.bias,
            "post_norm": module.post_attention_layernorm.weight,
            "router": mlp.gate.weight if isinstance(mlp, SparseMlp) else None,
            "gate_up": _panels(halves, self._width),
            "down": _panels(down, self._width),
        }
        pointers = {name: self._keep(weight) for name, weight in weights.items()}
        return _Layer(experts=down.shape[0], width=down.shape[2], **pointers)

    def _keep(self, weight: Tensor | None) -> int | None:
        if weight is None:
            return None
        self._kept.append(weight.detach().contiguous())
        return self._kept[-1].data_ptr()

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

    def _scratch(self, tokens: int) -> _Scratch:
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
            }
            self._buffers = {name: torch.empty(tokens, size) for name, size in floats.items()}
            self._buffers |= {name: torch.empty(tokens, each, dtype=torch.int64) for name in ("chosen", "order")}
            self._buffers["begins"] = torch.empty(experts + 1, dtype=torch.int64)
            self._pointers = _Scratch(**{name: buffer.data_ptr() for name, buffer in self._buffers.items()})
        self._shape.threads = torch.get_num_threads()
        return self._pointers

    def _run(self, first: int, count: int, norm: Tensor, positions: Sequence[int], length: int) -> Tensor:
        if self._bound is not self.cache.keys[0]:
            self._bind()
        rows = len(positions)
        out = torch.empty(rows, length, self.config.hidden_size)
        self._library.run_layers(
            ctypes.byref(self._shape),
            ctypes.byref(self._layers[first]),
            c_int64(count),
            c_void_p(norm.data_ptr()),
            c_int64(rows),
            c_int64(length),
            (c_int64 * rows)(*positions),
            ctypes.byref(self._pointers),
            c_void_p(out.data_ptr()),
        )
        return out

    def _product(self, matrix: Tensor, x: Tensor, outputs: int, out: Tensor) -> Tensor:
        """`out` [N, O] = x [N, I] · matrix."""
        self._shape.threads = torch.get_num_threads()
        self._library.product(
            ctypes.byref(self._shape),
            c_int64(x.shape[0]),
            c_void_p(matrix.data_ptr()),
            c_int64(x.shape[1]),
            c_int64(outputs),
            c_void_p(x.data_ptr()),
            c_void_p(out.data_ptr()),
        )
        return out

    @torch.inference_mode()
    def step(self, tokens: Tensor, positions: list[int]) -> Tensor:
        """As `Decoder.step`."""
        rows, length = tokens.shape
        self._scratch(rows * length)
        x = self._buffers["x"][: rows * length]
        torch.index_select(self.model.embed_tokens.weight, 0, tokens.reshape(-1), out=x)
        return self._run(0, self._trunk, self._norm, positions, length)

    @torch.inference_mode()
    def mtp_step(self, tokens: Tensor, hidden: Tensor, positions: list[int]) -> Tensor:
        """As `Decoder.mtp_step`."""
        head = self.model.mtp
        if head is None:
            raise ValueError("this model has no MTP head")
        rows, length = tokens.shape
        self._scratch(rows * length)
        embedded = F.embedding(tokens.reshape(-1), self.model.embed_tokens.weight)
        states = hidden.reshape(rows * length, -1)
        both = torch.cat((head.pre_fc_norm_embedding(embedded), head.pre_fc_norm_hidden(states)), -1)
        self._product(self._fc, both, self.config.hidden_size, self._buffers["x"])
        return self._run(self._trunk, 1, self._mtp_norm, positions, length)

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """As `Decoder.logits`."""
        states = hidden.flatten(0, -2).contiguous()
        vocabulary = self.config.vocab_size
        out = self._product(self._head, states, vocabulary, torch.empty(states.shape[0], vocabulary))
        return out.view(*hidden.shape[:-1], vocabulary)
