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
from .config import LayerType, MellumConfig
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


def _filled_up(outputs: int, width: int) -> int:
    """Outputs with what fills the last panel up."""
    return -(-outputs // width) * width


def _panels(weight: Tensor, width: int) -> Tensor:
    """[..., O, I] as [..., ceil(O / width), I, width], padded with zeros."""
    weight = weight.detach()
    *outer, outputs, inputs = weight.shape
    filled = F.pad(weight, (0, 0, 0, _filled_up(outputs, width) - outputs))
    return filled.reshape(*outer, -1, width, inputs).transpose(-1, -2)


def _by_head(qkv: Tensor, config: MellumConfig) -> Tensor:
    """[(H + 2K)·C, …] as [K, (G + 2)·C, …]: each key-value head's queries, key and value together."""
    kv_heads, outer = config.num_key_value_heads, qkv.shape[1:]
    queries, both = config.num_attention_heads * config.head_dim, kv_heads * config.head_dim
    parts = qkv.detach()[:queries], qkv.detach()[queries : queries + both], qkv.detach()[queries + both :]
    return torch.cat([part.reshape(kv_heads, -1, *outer) for part in parts], 1)


def _fed(gate_up: Tensor, down: Tensor, width: int) -> Tensor:
    """[E, 2F, D] and [E, D, F] as [E, P = ceil(F / width), …]: panels of gate and up, and what of down meets them."""
    experts, double, hidden = gate_up.shape
    halves = _panels(gate_up.view(experts, 2, double // 2, hidden), width).transpose(1, 2)  # [E, P, 2, D, width]
    inputs = F.pad(down, (0, -down.shape[2] % width)).reshape(experts, hidden, -1, width).transpose(1, 2)
    return torch.cat((halves.flatten(2), _panels(inputs, width).flatten(2)), 2)


class _Weights:
    """A model's weights in panels, and what tells whether they are still the model's."""

    def __init__(self, model: Mellum, library: ctypes.CDLL) -> None:
        self._panel, self._lanes, self._config = library.panel_width(), library.lanes(), model.config
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
                fc=self._lay(_panels(mtp.fc.weight, self._panel)),
                norm=self._keep(mtp.norm.weight),
            )
        self.layers = (Layer * len(modules))(*(self._layer(module) for module in modules))
        self.norm = self._keep(model.norm.weight)
        self.embedding = self._keep(model.embed_tokens.weight)
        out = model.embed_tokens if model.lm_head is None else model.lm_head
        self.out = self._lay(_panels(out.weight, self._panel))

    def are_of(self, model: Mellum) -> bool:
        """Whether no weight of the model has been replaced or written to since."""
        return self._stamps is not None and self._stamps == _stamps(model)

    @torch.no_grad()
    def _layer(self, module: DecoderLayer) -> Layer:
        config, attention, mlp = self._config, module.self_attn, module.mlp
        gate_up: Tensor = mlp.experts.gate_up_proj if isinstance(mlp, SparseMlp) else mlp.gate_up_proj.weight[None]
        down: Tensor = mlp.experts.down_proj if isinstance(mlp, SparseMlp) else mlp.down_proj.weight[None]
        as_it_is: dict[str, Tensor | None] = {
            "input_norm": module.input_layernorm.weight,
            "q_norm": attention.q_norm.weight,
            "k_norm": attention.k_norm.weight,
            "out_bias": attention.o_proj.bias,
            "post_norm": module.post_attention_layernorm.weight,
        }
        bias = attention.qkv_proj.bias
        laid = {
            "qkv": _panels(_by_head(attention.qkv_proj.weight, config), self._panel),
            "qkv_bias": None if bias is None else _by_head(bias, config),
            "out": _panels(attention.o_proj.weight, self._panel),
            "router": _panels(mlp.gate.weight, self._lanes) if isinstance(mlp, SparseMlp) else None,
            "feed": _fed(gate_up.detach(), down.detach(), self._panel),
        }
        pointers = {name: self._keep(weight) for name, weight in as_it_is.items()}
        pointers |= {name: self._lay(weight) for name, weight in laid.items()}
        return Layer(experts=down.shape[0], width=down.shape[2], **pointers)

    def _keep(self, weight: Tensor | None) -> int | None:
        """A weight as it is."""
        if weight is None:
            return None
        self._kept.append(weight.detach().contiguous())
        return self._kept[-1].data_ptr()

    def _lay(self, weight: Tensor | None) -> int | None:
        """A copy that lies with the others."""
        return None if weight is None else self._keep(self._arena.copy(weight))


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
        _WEIGHTS_OF[model] = weights = _Weights(model, library)
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
        self._room = self._team = 0
        self._turns: dict[tuple[int, int], _Turn] = {}

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
        threads = self._shape.threads = torch.get_num_threads()
        if tokens > self._room or threads != self._team:
            self._room, self._team = max(tokens, self._room), threads
            config, shape = self.config, self._shape
            inner, each, panel = shape.heads * shape.head_dim, shape.top_k, self._library.panel_width()
            by_head = _filled_up(inner // shape.kv_heads + 2 * shape.head_dim, panel)
            across = _filled_up(config.hidden_size, panel)
            kept = max(self._room, self._library.alike())
            floats = {
                "x": (kept, config.hidden_size),
                "h": (kept, config.hidden_size),
                "pairs": (kept, 2 * config.hidden_size),
                "weights": (kept, each),
                "qkv": (self._room, shape.kv_heads * by_head),
                "attended": (self._room, inner),
                "looked": (threads * self._room, across),
                "fed": (threads * self._room, across),
                "tops": (threads, self._room),
            }
            integers = {"chosen": (kept, each), "order": (threads * self._room, each), "where": (threads, self._room)}
            self._buffers = {name: torch.empty(size) for name, size in floats.items()}
            self._buffers |= {name: torch.empty(size, dtype=torch.int64) for name, size in integers.items()}
            self._scratch = Scratch(**{name: buffer.data_ptr() for name, buffer in self._buffers.items()})
        if self._bound is not self.cache.keys[0]:
            self._bind()
        self._shape.first = first
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

    def draft(self, tokens: list[list[int]], states: Tensor, positions: list[int], first: int = 0) -> Tensor:
        """As `Decoder.draft`, on rows `first` … of the cache."""
        rows, (pairs, _held) = len(tokens), self._pairs(tokens, states)
        out = torch.empty(rows, self.config.hidden_size)
        scratch = self._prepared(rows * pairs.width, first)
        places = _integers(positions)
        pointer = c_void_p(out.data_ptr())
        self._library.run_head(*self._given, ctypes.byref(pairs), c_int64(rows), places, scratch, pointer)
        return out

    def logits(self, states: Tensor) -> Tensor:
        """As `Decoder.logits`."""
        states = states.contiguous()
        vocabulary = self.config.vocab_size
        out = torch.empty(*states.shape[:-1], _filled_up(vocabulary, self._library.panel_width()))
        self._shape.threads = torch.get_num_threads()
        count = c_int64(states.numel() // states.shape[-1])
        self._library.run_out(*self._given, count, c_void_p(states.data_ptr()), c_void_p(out.data_ptr()))
        return out[..., :vocabulary]

    def advance(
        self, tokens: list[list[int]], states: Tensor | None, positions: list[int], drafts: int
    ) -> tuple[list[list[int]], list[list[int]], Tensor]:
        """As `Decoder.advance`, in one call of the kernels; the states are overwritten by the call after the next."""
        rows, length = len(tokens), 1 + drafts
        turn = self._turns.get((rows, length))
        if turn is None:
            turn = self._turns[rows, length] = _Turn(rows, drafts, self.config.hidden_size)
        pairs, held = (_NO_PAIRS, None) if states is None else self._pairs(tokens, states)
        scratch = self._prepared(rows * max(length, pairs.width))
        after = turn.begin([given[-1] for given in tokens], positions)
        self._library.run_round(*self._given, turn.pointer, ctypes.byref(pairs), scratch)
        del held
        read, wanted = turn.tokens[:], turn.wanted[:]
        begins = range(0, rows * length, length)
        return (
            [read[begin + 1 : begin + length] for begin in begins],
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


_NO_PAIRS = Pairs(width=1)


class _Turn:
    """What a round of so many rows and drafts is told in: made once, because making it takes as long as a layer."""

    def __init__(self, rows: int, drafts: int, hidden: int) -> None:
        length = 1 + drafts
        self._length = length
        self._positions: Any = (c_int64 * rows)()
        self.tokens: Any = (c_int64 * (rows * length))()
        self.wanted: Any = (c_int64 * (rows * length))()
        self._states = torch.empty(2, rows, length, hidden)  # a round reads those of the one before
        self._drafted = torch.empty(rows, hidden)
        self._round = Round(
            rows=rows,
            drafts=drafts,
            positions=ctypes.addressof(self._positions),
            tokens=ctypes.addressof(self.tokens),
            wanted=ctypes.addressof(self.wanted),
            drafted=self._drafted.data_ptr(),
        )
        self._both = [(states, states.data_ptr()) for states in self._states.unbind(0)]
        self.pointer = ctypes.byref(self._round)

    def begin(self, following: list[int], positions: list[int]) -> Tensor:
        """Fill in each row's next token and its position; returned is where the states will be."""
        self._both.reverse()
        states, self._round.states = self._both[0]
        self._positions[:] = positions
        self.tokens[:: self._length] = following
        return states
