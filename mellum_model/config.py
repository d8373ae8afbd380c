"""What a Mellum 2 model is made of, and the hub's `config.json` in both spellings.

Two defaults of `transformers` silently make another model: `layer_types` absent means full attention in every layer,
`rope_parameters` absent means theta 10,000 on sliding layers. Both are refused here instead of being guessed.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from .errors import ConfigError
from .rope_config import RopeConfig

LayerType = Literal["sliding_attention", "full_attention"]
MlpType = Literal["sparse", "dense"]
SLIDING: LayerType = "sliding_attention"
FULL: LayerType = "full_attention"
_PLAIN = RopeConfig()
_EXTENDED = RopeConfig(factor=16.0, original_max_position_embeddings=8192)

# Keys that other software writes and that change nothing in what is computed here.
_INERT = frozenset(
    {
        "architectures", "model_type", "transformers_version", "torch_dtype", "dtype", "use_cache",
        "output_router_logits", "bos_token_id", "eos_token_id", "pad_token_id", "use_sliding_window",
        "return_dict", "output_hidden_states", "output_attentions", "chunk_size_feed_forward",
        "is_encoder_decoder", "is_decoder", "id2label", "label2id", "problem_type", "_name_or_path", "auto_map",
        "max_window_layers", "mlp_only_layers", "decoder_sparse_step", "attn_implementation",
        "num_nextn_predict_layers", "num_local_experts", "per_layer_config", "rope_parameters",
        "mtp_layer_types", "mtp_mlp_layer_types", "hidden_act", "attention_dropout",
    }
)  # fmt: skip


def layer_pattern(num_layers: int, period: int = 4) -> tuple[LayerType, ...]:
    """Sliding layers with every `period`-th full: S,S,S,F,… for 4."""
    return tuple(FULL if (index + 1) % period == 0 else SLIDING for index in range(num_layers))


@dataclass(frozen=True, slots=True, kw_only=True)
class MellumConfig:
    """Sizes and choices of one model; names are the hub's. Defaults are Mellum 2's own, 128K form."""

    vocab_size: int = 98_304
    hidden_size: int = 2304
    num_hidden_layers: int = 28
    num_attention_heads: int = 32
    num_key_value_heads: int = 4
    head_dim: int = 128
    intermediate_size: int = 7168
    """Width of dense layers; Mellum 2 has none."""
    num_experts: int = 64
    num_experts_per_tok: int = 8
    moe_intermediate_size: int = 896
    norm_topk_prob: bool = True
    layer_types: tuple[LayerType, ...] = layer_pattern(28)
    mlp_layer_types: tuple[MlpType, ...] | None = None
    """None: every layer is sparse."""
    sliding_window: int = 1024
    """A query at position p sees p - sliding_window + 1 … p."""
    max_position_embeddings: int = 131_072
    full_rope: RopeConfig = _EXTENDED
    sliding_rope: RopeConfig = _PLAIN
    attention_bias: bool = False
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False
    router_aux_loss_coef: float = 0.001
    num_mtp_layers: int = 0
    """0 or 1; the public checkpoints hold none."""
    mtp_layer_type: LayerType = SLIDING
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()
    """Generation ends on any of them. Mellum 2's are 0 (end of text) and 28 (end of turn)."""
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        positive = (
            "vocab_size hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim num_experts "
            "num_experts_per_tok moe_intermediate_size sliding_window max_position_embeddings intermediate_size"
        )
        for name in positive.split():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name}: expected a whole number above 0, got {value!r}")
        self._check_choices()
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"num_attention_heads {self.num_attention_heads} is no multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        if self.head_dim % 2:
            raise ConfigError(f"head_dim {self.head_dim}: the rotary embedding needs an even one")
        if self.num_experts_per_tok > self.num_experts:
            raise ConfigError(f"num_experts_per_tok {self.num_experts_per_tok} is above num_experts {self.num_experts}")
        for key, kinds, known in (
            ("layer_types", self.layer_types, (SLIDING, FULL)),
            ("mlp_layer_types", self.mlp_types, ("sparse", "dense")),
        ):
            if len(kinds) != self.num_hidden_layers:
                raise ConfigError(f"{key} names {len(kinds)} layers, num_hidden_layers is {self.num_hidden_layers}")
            if wrong := [kind for kind in kinds if kind not in known]:
                raise ConfigError(f"{key}: {wrong[0]!r} is not known; {' and '.join(known)} are")
        if self.num_mtp_layers not in (0, 1):
            raise ConfigError(f"num_mtp_layers {self.num_mtp_layers}: Mellum has one MTP layer or none")
        if self.mtp_layer_type not in (SLIDING, FULL):
            raise ConfigError(f"mtp_layer_types: {self.mtp_layer_type!r} is not known")

    def _check_choices(self) -> None:
        """Numbers that are not sizes, switches and token ids."""
        for name in ("rms_norm_eps", "initializer_range", "router_aux_loss_coef"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
                raise ConfigError(f"{name}: expected a number, 0 or more, got {value!r}")
        for name in ("norm_topk_prob", "attention_bias", "tie_word_embeddings"):
            if not isinstance(value := getattr(self, name), bool):
                raise ConfigError(f"{name}: expected true or false, got {value!r}")
        ids = [("eos_token_id", token) for token in self.eos_token_ids]
        ids += [(name, getattr(self, name)) for name in ("bos_token_id", "pad_token_id")]
        for name, token in ids:
            if token is None and name != "eos_token_id":
                continue
            if not isinstance(token, int) or isinstance(token, bool) or not -1 <= token < self.vocab_size:
                raise ConfigError(f"{name}: {token!r} is no id of a vocabulary of {self.vocab_size} (vocab_size)")

    @property
    def mlp_types(self) -> tuple[MlpType, ...]:
        """One entry a layer."""
        if self.mlp_layer_types is not None:
            return self.mlp_layer_types
        sparse: MlpType = "sparse"
        return (sparse,) * self.num_hidden_layers

    def rope(self, layer_type: LayerType) -> RopeConfig:
        """The rotary embedding of a layer type."""
        return self.full_rope if layer_type == FULL else self.sliding_rope

    def window(self, layer_type: LayerType) -> int | None:
        """How many tokens a query sees, itself included; None is all."""
        return None if layer_type == FULL else self.sliding_window

    @property
    def attention_layers(self) -> tuple[LayerType, ...]:
        """Layer types with the MTP layer, where there is one, as the last."""
        return self.layer_types + (self.mtp_layer_type,) * self.num_mtp_layers

    def extended(self, factor: float) -> MellumConfig:
        """The same model with its context times `factor`: YaRN on full layers only."""
        rope = RopeConfig(
            theta=self.full_rope.theta, factor=factor, original_max_position_embeddings=self.max_position_embeddings
        )
        return replace(self, max_position_embeddings=int(self.max_position_embeddings * factor), full_rope=rope)

    @classmethod
    def mellum2_12b(cls, *, long_context: bool = True) -> MellumConfig:
        """Mellum2-12B-A2.5B: 131,072 positions, or Base-Pretrain's 8,192 without YaRN."""
        base = cls(
            max_position_embeddings=8192, full_rope=RopeConfig(), bos_token_id=0, eos_token_ids=(0, 28), pad_token_id=0
        )
        return base.extended(16.0) if long_context else base

    @classmethod
    def nano(cls, *, vocab_size: int = 4096, long_context: bool = False) -> MellumConfig:
        """A Mellum 2 of every part in 18 M parameters and an MTP layer: 512 positions, or 8,192 with YaRN."""
        base = cls(
            vocab_size=vocab_size,
            hidden_size=256,
            num_hidden_layers=8,
            num_attention_heads=8,
            num_key_value_heads=4,
            head_dim=64,
            intermediate_size=512,
            num_experts=16,
            num_experts_per_tok=4,
            moe_intermediate_size=128,
            layer_types=layer_pattern(8),
            sliding_window=128,
            max_position_embeddings=512,
            full_rope=RopeConfig(),
            num_mtp_layers=1,
        )
        return base.extended(16.0) if long_context else base

    @classmethod
    def from_hub(cls, data: Mapping[str, Any], where: str = "config.json") -> MellumConfig:
        """Read the hub's configuration.

        Args:
            data: The parsed JSON object; `num_experts` or `num_local_experts`, `num_mtp_layers` or
                `num_nextn_predict_layers`.
            where: The file, for messages.

        Raises:
            ConfigError: A key is missing, contradicts another, or asks for what Mellum does not have.
        """
        if data.get("model_type", "mellum") != "mellum":
            raise ConfigError(f"{where}: model_type is {data['model_type']!r}, not 'mellum'")
        if data.get("quantization_config"):
            raise ConfigError(f"{where}: quantization_config: quantised checkpoints cannot be read")
        _refuse_other_models(data, where)
        known = {field.name for field in fields(cls)}
        used: dict[str, Any] = {key: data[key] for key in known if data.get(key) is not None}
        for ours, theirs in (("num_experts", "num_local_experts"), ("num_mtp_layers", "num_nextn_predict_layers")):
            both = [data[key] for key in (ours, theirs) if data.get(key) is not None]
            if len(both) == 2 and both[0] != both[1]:
                raise ConfigError(f"{where}: {ours} {data[ours]} contradicts {theirs} {data[theirs]}")
            if both:
                used[ours] = both[0]
        if data.get("layer_types") is None:
            raise ConfigError(
                f"{where}: layer_types is missing: transformers takes every layer as full attention then; "
                "write Mellum 2's sliding, sliding, sliding, full pattern out"
            )
        for key in ("layer_types", "mlp_layer_types"):
            if data.get(key) is not None:
                used[key] = _listed(data, key, where)
        used.update(_ropes(data.get("rope_parameters"), used["layer_types"], where))
        used["num_mtp_layers"] = used.get("num_mtp_layers", 0)
        if kinds := _listed(data, "mtp_layer_types", where):
            used["mtp_layer_type"] = kinds[0]
        if any(kind != "sparse" for kind in _listed(data, "mtp_mlp_layer_types", where)):
            raise ConfigError(f"{where}: mtp_mlp_layer_types: only 'sparse' is known")
        eos = data.get("eos_token_id")
        used["eos_token_ids"] = () if eos is None else tuple(eos) if isinstance(eos, list) else (eos,)
        alien = sorted(set(data) - known - _INERT)
        if alien:
            warnings.warn(f"{where}: keys without effect here: {', '.join(alien)}", stacklevel=2)
        try:
            config = cls(**used)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        before, factor = config.full_rope.original_max_position_embeddings, config.full_rope.factor
        if before and factor and before * factor != config.max_position_embeddings:
            warnings.warn(
                f"{where}: YaRN's factor {factor:g} of {before:,} tokens makes {before * factor:,.0f}, yet "
                f"max_position_embeddings is {config.max_position_embeddings:,}",
                stacklevel=2,
            )
        return config

    def to_hub(self) -> dict[str, Any]:
        """The object of `config.json` as `transformers` writes and reads it."""
        own = {"full_rope", "sliding_rope", "eos_token_ids", "mtp_layer_type", "num_experts", "num_mtp_layers"}
        data: dict[str, Any] = {"architectures": ["MellumForCausalLM"], "model_type": "mellum", "hidden_act": "silu"}
        data.update({field.name: getattr(self, field.name) for field in fields(self) if field.name not in own})
        data["layer_types"] = list(self.layer_types)
        data["mlp_layer_types"] = list(self.mlp_types)
        data["attention_dropout"] = 0.0
        data["num_local_experts"] = self.num_experts
        data["rope_parameters"] = {FULL: self.full_rope.to_hub(), SLIDING: self.sliding_rope.to_hub()}
        eos = self.eos_token_ids
        data["eos_token_id"] = None if not eos else eos[0] if len(eos) == 1 else list(eos)
        if self.num_mtp_layers:
            data["num_nextn_predict_layers"] = self.num_mtp_layers
            data["mtp_layer_types"] = [self.mtp_layer_type]
            data["mtp_mlp_layer_types"] = ["sparse"]
        return data

    @classmethod
    def load(cls, path: str | Path) -> MellumConfig:
        """Read `config.json`, or the one in a directory."""
        file = Path(path)
        file = file / "config.json" if file.is_dir() else file
        try:
            data = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{file}: no such file") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: not JSON: {error}") from None
        if not isinstance(data, dict):
            raise ConfigError(f"{file}: expected a JSON object")
        return cls.from_hub(data, str(file))

    def save(self, directory: str | Path, dtype: str = "float32") -> None:
        """Write `config.json` into a directory."""
        text = json.dumps({**self.to_hub(), "dtype": dtype}, indent=2, sort_keys=True)
        Path(directory, "config.json").write_text(text + "\n", "utf-8")


def _listed(data: Mapping[str, Any], key: str, where: str) -> tuple[Any, ...]:
    """The words of a list that may be absent."""
    value = data.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(kind, str) for kind in value):
        raise ConfigError(f"{where}: {key}: expected a list of names, one a layer, got {value!r}")
    return tuple(value)


def _refuse_other_models(data: Mapping[str, Any], where: str) -> None:
    """Settings whose effect is not computed here: better refused than ignored."""
    if data.get("hidden_act", "silu") != "silu":
        raise ConfigError(f"{where}: hidden_act {data['hidden_act']!r}: Mellum's is 'silu'")
    if data.get("attention_dropout"):
        raise ConfigError(f"{where}: attention_dropout {data['attention_dropout']}: Mellum has none")
    if data.get("rope_scaling"):
        raise ConfigError(f"{where}: rope_scaling is the old form; write rope_parameters by layer type")
    if data.get("use_sliding_window") is False and SLIDING in (data.get("layer_types") or ()):
        raise ConfigError(f"{where}: use_sliding_window false contradicts the sliding layers of layer_types")


def _ropes(parameters: object, layer_types: tuple[str, ...], where: str) -> dict[str, RopeConfig]:
    """`full_rope` and `sliding_rope` of `rope_parameters`; a type that no layer has may be absent."""
    if parameters is None:
        raise ConfigError(
            f"{where}: rope_parameters is missing: transformers takes theta 10,000 for sliding layers then, Mellum 2 "
            "has 500,000; write it out by layer type"
        )
    if not isinstance(parameters, Mapping) or "rope_theta" in parameters or "rope_type" in parameters:
        raise ConfigError(f"{where}: rope_parameters must be keyed by layer type ({FULL}, {SLIDING})")
    found: dict[str, RopeConfig] = {}
    for layer_type, field in ((FULL, "full_rope"), (SLIDING, "sliding_rope")):
        if parameters.get(layer_type) is not None:
            found[field] = RopeConfig.from_hub(parameters[layer_type], f"{where}: rope_parameters.{layer_type}")
        elif layer_type in layer_types:
            raise ConfigError(f"{where}: rope_parameters.{layer_type} is missing, yet layer_types has such layers")
        elif field == "full_rope":
            found[field] = RopeConfig()
    if SLIDING in layer_types and found["sliding_rope"].theta == 10_000.0:
        warnings.warn(
            f"{where}: theta 10,000 on sliding layers is the default of transformers; Mellum 2 has 500,000",
            stacklevel=3,
        )
    if SLIDING in layer_types and found["sliding_rope"].factor is not None:
        warnings.warn(f"{where}: YaRN on sliding layers; Mellum 2 has it on full layers only", stacklevel=3)
    return found
