"""Decoding on CPU in float32 by our own kernels: what `decode.Decoder` does, without its thousand operations a step.

`kernels/decode.c` says how. Here weights are laid in panels and pointers are handed over.

Shapes: B rows, T tokens a row, D hidden, H heads, K key-value heads, C head dimension, E experts, F expert width.
"""

from __future__ import annotations

import ctypes
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
from .huge_pages import Arena
from .kernels.structures import Head, Layer, Pairs, Round, Scratch, Shape
from .kernels.structures import Model as Parts
from .layer import DecoderLayer
from .model import Mellum
from .moe import SparseMlp
from .prefill import padded, whole

_SHORT = 1024
"""Tokens of prompts that the kernels read: of more, a matrix is read too often for want of room for the rows."""


def _panels(weight: Tensor, width: int) -> Tensor:
    """[..., O, I] as [..., ceil(O / width), I, width], padded with zeros."""
    weight = weight.detach()
    *outer, outputs, inputs = weight.shape
    padded = F.pad(weight, (0, 0, 0, -outputs % width))
    return padded.reshape(*outer, -1, width, inputs).transpose(-1, -2)


class _Weights:
    """A model's weights in panels, and what tells whether they are still the model's."""

    def __init__(self, model: Mellum, panel: int) -> None:
        self._panel = panel
        self._kept: list[Tensor] = []  # what the kernels point to
        self._arena = Arena()
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
        # [E, 2F, D] and [E, D, F]: an expert's panels of gate and up in turn, and all experts' first panel of down, …
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
            "gate_up": _panels(halves, self._panel).transpose(1, 2),
            "down": _panels(down, self._panel).transpose(0, 1),
        }
        pointers = {name: self._keep(weight) for name, weight in weights.items()}
        return Layer(experts=down.shape[0], width=down.shape[2], **pointers)

    def _keep(self, weight: Tensor | None) -> int | None:
        if weight is None:
            return None
        weight = weight.detach()
        self._kept.append(weight if weight.is_contiguous() else self._arena.copy(weight))
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
        self._parts = Parts(
            layers=self._layers,
            count=self._trunk,
            norm=weights.norm,
            embedding=weights.embedding,
            out=weights.out,
            vocabulary=config.vocab_size,
            head=weights.head or Head(),
        )
        self._given = ctypes.byref(self._parts), ctypes.byref(self._shape)
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

    def _prepared(self, tokens: int, first: int = 0) -> Any:
        """Buffers for a step of so many tokens, and all else that it needs; `first` is the first row of the cache."""
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
            self._scratch = Scratch(**{name: buffer.data_ptr() for name, buffer in self._buffers.items()})
        if self._bound is not self.cache.keys[0]:
            self._bind()
        self._shape.threads, self._shape.first = torch.get_num_threads(), first
        return ctypes.byref(self._scratch)

    @torch.inference_mode()
    def prompts(self, prompts: list[list[int]], first: int, *, draft: bool) -> Tensor:
        """As `Decoder.prompts`."""
        rows, counts = len(prompts), [len(prompt) for prompt in prompts]
        longest = max(counts)
        # What pads a row is overwritten before anything sees it, but not where it has gone round a ring.
        if rows * longest > _SHORT or longest > min(self.cache.slots(index) for index in range(len(self._kinds))):
            return whole(self.model, self.cache, prompts, first, draft=draft)
        states = self.step(padded(prompts), [0] * rows, first)
        if draft:  # a prompt of one token has no pair yet: what is put in its place, the first one is written over
            self.draft(
                [prompt[1:] or [0] for prompt in prompts], states, [max(count - 1, 1) for count in counts], first
            )
        return states[torch.arange(rows), torch.tensor(counts) - 1]

    @torch.inference_mode()
    def step(self, tokens: Tensor, positions: list[int], first: int = 0) -> Tensor:
        """As `Decoder.step`, on rows `first` … of the cache."""
        rows, length = tokens.shape
        tokens = tokens.contiguous()
        states = torch.empty(rows, length, self.config.hidden_size)
        scratch = self._prepared(rows * length, first)
        self._library.run_trunk(
            *self._given,
            c_void_p(tokens.data_ptr()),
            c_int64(rows),
            c_int64(length),
            _integers(positions),
            scratch,
            c_void_p(states.data_ptr()),
        )
        return states

    @torch.inference_mode()
    def draft(self, tokens: list[list[int]], states: Tensor, positions: list[int], first: int = 0) -> Tensor:
        """As `Decoder.draft`, on rows `first` … of the cache."""
        rows, (pairs, _held) = len(tokens), self._pairs(tokens, states)
        out = torch.empty(rows, self.config.hidden_size)
        scratch = self._prepared(rows * pairs.width, first)
        places = _integers(positions)
        pointer = c_void_p(out.data_ptr())
        self._library.run_head(*self._given, ctypes.byref(pairs), c_int64(rows), places, scratch, pointer)
        return out

    @torch.inference_mode()
    def logits(self, states: Tensor) -> Tensor:
        """As `Decoder.logits`."""
        states = states.contiguous()
        out = torch.empty(*states.shape[:-1], self.config.vocab_size)
        self._shape.threads = torch.get_num_threads()
        count = c_int64(states.numel() // states.shape[-1])
        self._library.run_out(*self._given, count, c_void_p(states.data_ptr()), c_void_p(out.data_ptr()))
        return out

    @torch.inference_mode()
    def advance(
        self, tokens: list[list[int]], states: Tensor | None, positions: list[int], drafts: int
    ) -> tuple[list[list[int]], list[list[int]], Tensor]:
        """As `Decoder.advance`, in one call of the kernels."""
        rows, length = len(tokens), 1 + drafts
        pairs, held = (Pairs(width=1), None) if states is None else self._pairs(tokens, states)
        scratch = self._prepared(rows * max(length, pairs.width))
        places, verified, wanted = _integers(positions), (c_int64 * (rows * length))(), (c_int64 * (rows * length))()
        for row, given in enumerate(tokens):
            verified[row * length] = given[-1]
        after, drafted = torch.empty(rows, length, self.config.hidden_size), torch.empty(rows, self.config.hidden_size)
        logits = torch.empty(rows * length, self.config.vocab_size)
        this = Round(
            rows=rows,
            drafts=drafts,
            positions=ctypes.addressof(places),
            tokens=ctypes.addressof(verified),
            wanted=ctypes.addressof(wanted),
            states=after.data_ptr(),
            logits=logits.data_ptr(),
            drafted=drafted.data_ptr(),
        )
        self._library.run_round(*self._given, ctypes.byref(this), ctypes.byref(pairs), scratch)
        del held
        begins = range(0, rows * length, length)
        return (
            [verified[begin + 1 : begin + length] for begin in begins],
            [wanted[begin : begin + length] for begin in begins],
            after,
        )

    def _pairs(self, tokens: list[list[int]], states: Tensor) -> tuple[Pairs, Any]:
        """What the MTP head is told, and what must live as long as that."""
        if self._weights.head is None:
            raise ValueError("this model has no MTP head")
        counts = [len(row) for row in tokens]
        width = max(counts)
        states = states.contiguous()
        flat = [token for row in tokens for token in (*row, *[0] * (width - len(row)))]
        held = states, _integers(counts), _integers(flat)
        pairs = Pairs(
            width=width,
            reach=states.shape[1],
            counts=ctypes.addressof(held[1]),
            tokens=ctypes.addressof(held[2]),
            states=states.data_ptr(),
        )
        return pairs, held


def _integers(values: list[int]) -> Any:
    return (c_int64 * len(values))(*values)
