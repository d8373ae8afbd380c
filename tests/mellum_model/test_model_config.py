"""Reading and writing `config.json`: both spellings, and the traps refused."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from small_models import CONFIGS, TINY

from mellum_model import ConfigError, MellumConfig


@pytest.mark.parametrize("name", CONFIGS)
def test_written_and_read_is_the_same(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    config.save(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = MellumConfig.load(tmp_path)
    assert back.to_hub() == config.to_hub()


def test_transformers_reads_and_writes_it(tmp_path: Path) -> None:
    from transformers import AutoConfig

    config = CONFIGS["mtp"]
    config.save(tmp_path)
    AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert MellumConfig.load(tmp_path).to_hub() == config.to_hub()


def test_both_spellings_and_their_contradiction() -> None:
    data = CONFIGS["mtp"].to_hub()
    data["num_experts"] = data.pop("num_local_experts")
    data["num_mtp_layers"] = data.pop("num_nextn_predict_layers")
    assert MellumConfig.from_hub(data).to_hub() == CONFIGS["mtp"].to_hub()
    with pytest.raises(ConfigError, match="num_experts 8 contradicts num_local_experts 9"):
        MellumConfig.from_hub({**data, "num_local_experts": 9})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_types": None}, "layer_types is missing: transformers takes every layer as full"),
        ({"rope_parameters": None}, "rope_parameters is missing: transformers takes theta 10,000"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1.0}}, "keyed by layer type"),
        ({"layer_types": ["full_attention"]}, "layer_types names 1 layers, num_hidden_layers is 4"),
        ({"layer_types": ["full_attention"] * 3 + ["linear_attention"]}, "'linear_attention' is not known"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"attention_dropout": 0.1}, "attention_dropout 0.1"),
        ({"model_type": "qwen3_moe"}, "model_type is 'qwen3_moe'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"num_key_value_heads": 3}, "no multiple of"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok 9 is above"),
        ({"hidden_size": "32"}, "hidden_size: expected a whole number"),
        ({"use_sliding_window": False}, "use_sliding_window false contradicts"),
        ({"num_nextn_predict_layers": 2}, "one MTP layer or none"),
        ({"num_local_experts": [8]}, r"num_experts: expected a whole number above 0, got \[8\]"),
        ({"layer_types": 4}, "layer_types: expected a list of names, one a layer, got 4"),
        ({"layer_types": "full_attention"}, "layer_types: expected a list of names"),
        ({"mlp_layer_types": 5}, "mlp_layer_types: expected a list of names"),
        ({"mtp_layer_types": 3}, "mtp_layer_types: expected a list of names"),
        ({"rms_norm_eps": "x"}, "rms_norm_eps: expected a number, 0 or more, got 'x'"),
        ({"rms_norm_eps": -1}, "rms_norm_eps: expected a number"),
        ({"norm_topk_prob": "yes"}, "norm_topk_prob: expected true or false, got 'yes'"),
        ({"eos_token_id": "x"}, "eos_token_id: 'x' is no id of a vocabulary of"),
        ({"eos_token_id": [0, 10**6]}, "eos_token_id: 1000000 is no id of a vocabulary of"),
    ],
)
def test_traps_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        MellumConfig.from_hub({**TINY.to_hub(), **change}, "here/config.json")
    assert str(caught.value).startswith("here/config.json: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_theta": None}, "rope_theta is missing"),
        ({"rope_theta": "big"}, "rope_theta: expected a number, got 'big'"),
        ({"rope_theta": float("nan")}, "rope_theta: expected a number, got nan"),
        ({"rope_theta": -5}, "rope_theta: -5 is no base of wavelengths"),
        ({"rope_theta": 1.0}, "rope_theta: 1 is no base of wavelengths"),
        ({"factor": None}, "factor is missing; yarn needs it"),
        ({"factor": "x"}, "factor: expected a number, got 'x'"),
        ({"factor": 0}, "factor: 0 extends no context"),
        ({"factor": 0.5}, "factor: 0.5 extends no context"),
        ({"original_max_position_embeddings": -16}, "original_max_position_embeddings: -16 is no length"),
        ({"beta_fast": 1, "beta_slow": 32}, "beta_slow 32 must be above 0 and below beta_fast 1"),
        ({"attention_factor": -1}, "attention_factor: -1 must be above 0"),
        ({"mscale": 1.0, "attention_factor": None}, "mscale is not known"),
    ],
)
def test_rope_values_that_nobody_means_are_refused(change: dict[str, Any], message: str) -> None:
    data = TINY.to_hub()
    data["rope_parameters"]["full_attention"].update(change)
    with pytest.raises(ConfigError, match=message) as caught:
        MellumConfig.from_hub(data, "here/config.json")
    assert str(caught.value).startswith("here/config.json: rope_parameters.full_attention.")
    assert "\n" not in str(caught.value)


def test_doubtful_settings_are_said_aloud() -> None:
    data = TINY.to_hub()
    data["rope_parameters"]["sliding_attention"]["rope_theta"] = 10_000
    with pytest.warns(UserWarning, match="theta 10,000 on sliding layers"):
        MellumConfig.from_hub(data)
    data = TINY.to_hub()
    data["max_position_embeddings"] *= 2
    with pytest.warns(UserWarning, match="makes 512, yet max_position_embeddings is 1,024"):
        MellumConfig.from_hub(data)
    with pytest.warns(UserWarning, match="keys without effect here: shared_expert_size"):
        MellumConfig.from_hub({**TINY.to_hub(), "shared_expert_size": 3})


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        MellumConfig.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config.json: not JSON"):
        MellumConfig.load(tmp_path)


def test_presets_are_the_published_model() -> None:
    long = MellumConfig.mellum2_12b()
    assert long.layer_types.count("full_attention") == 7 and long.layer_types[3] == "full_attention"
    assert long.full_rope.scaling == pytest.approx(1.2772588722239782, abs=1e-15)
    assert long.max_position_embeddings == 131_072 and long.sliding_rope.factor is None
    short = MellumConfig.mellum2_12b(long_context=False)
    assert short.max_position_embeddings == 8192 and short.full_rope.factor is None


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, mellum_model; from mellum_model import MellumConfig; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_config_json_is_plain_json(tmp_path: Path) -> None:
    TINY.save(tmp_path, dtype="bfloat16")
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
