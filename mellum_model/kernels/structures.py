"""What `decode.c` is told in: its structures, field by field."""

from __future__ import annotations

from ctypes import POINTER, Structure, c_double, c_int64, c_void_p


class Shape(Structure):
    """Sizes that all layers share, and how many threads to use."""

    _fields_ = [
        *(
            (name, c_int64)
            for name in ("hidden", "heads", "kv_heads", "head_dim", "top_k", "normalise", "threads", "first")
        ),
        ("eps", c_double),
    ]


_WEIGHTS = (
    *("input_norm", "q_norm", "k_norm", "out", "out_bias", "post_norm"),
    *("qkv", "qkv_bias", "router", "feed"),
)


class Layer(Structure):
    """A layer's weights, cache and rotary tables."""

    _fields_ = [
        *((name, c_void_p) for name in _WEIGHTS),
        ("experts", c_int64),
        ("width", c_int64),
        *((name, c_void_p) for name in ("keys", "values", "cos", "sin")),
        ("slots", c_int64),
        ("window", c_int64),
    ]


class Head(Structure):
    """The MTP head's weights beside its layer."""

    _fields_ = [(name, c_void_p) for name in ("token_norm", "state_norm", "fc", "norm")]


class Model(Structure):
    """The trunk's layers, the MTP head's after them, and what comes before and after."""

    _fields_ = [
        ("layers", POINTER(Layer)),
        ("count", c_int64),
        *((name, c_void_p) for name in ("norm", "embedding", "out")),
        ("vocabulary", c_int64),
        ("head", Head),
    ]


class Round(Structure):
    """A step of greedy decoding."""

    _fields_ = [
        ("rows", c_int64),
        ("drafts", c_int64),
        *((name, c_void_p) for name in ("positions", "tokens", "wanted", "states", "drafted")),
    ]


class Pairs(Structure):
    """What the MTP head has not read yet."""

    _fields_ = [
        ("width", c_int64),
        ("reach", c_int64),
        *((name, c_void_p) for name in ("counts", "tokens", "states")),
    ]


class Scratch(Structure):
    """Buffers of a step."""

    _fields_ = [
        (name, c_void_p)
        for name in (
            *("x", "h", "pairs", "chosen", "weights", "order"),
            *("qkv", "attended", "looked", "fed", "tops", "where"),
        )
    ]
