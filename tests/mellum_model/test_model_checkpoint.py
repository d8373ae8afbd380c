"""Checkpoints there and back, and damaged ones named."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_models import CONFIGS, TINY, build, in_transformers, tokens

from mellum_model import CheckpointError, Mellum
from mellum_model.checkpoint import save
from mellum_model.conversion import convert


def same(left: Mellum, right: Mellum) -> None:
    theirs = dict(right.named_parameters())
    assert {name for name, _ in left.named_parameters()} == set(theirs)
    for name, parameter in left.named_parameters():
        assert torch.equal(parameter, theirs[name]), name


@pytest.mark.parametrize("name", ["mtp", "tied", "odd", "bias_dense_unnormalised"])
@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 40_000])
def test_there_and_back(name: str, shard_bytes: int, tmp_path: Path) -> None:
    model = build(CONFIGS[name])
    model.save_pretrained(tmp_path, max_shard_bytes=shard_bytes)
    same(model, Mellum.from_pretrained(tmp_path))
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard_bytes < 100_000)


@pytest.mark.parametrize("name", ["mixed_yarn", "tied", "bias_dense_unnormalised"])
def test_what_transformers_writes_is_read(name: str, tmp_path: Path) -> None:
    model = build(CONFIGS[name])
    theirs = in_transformers(model, tmp_path / "a")
    theirs.save_pretrained(tmp_path / "b", max_shard_size="100KB")
    back = Mellum.from_pretrained(tmp_path / "b")
    same(model, back)
    ids = tokens(model.config, 1, 20)
    with torch.no_grad():
        torch.testing.assert_close(back(ids), theirs(ids).logits, atol=1e-5, rtol=0)


def test_native_layout_is_the_map_itself(tmp_path: Path) -> None:
    model = build(CONFIGS["mtp"])
    model.save_pretrained(tmp_path / "hub")
    convert(tmp_path / "hub", tmp_path / "native", to="native")
    with safe_open(tmp_path / "native" / "model.safetensors", framework="pt") as file:
        assert "layers.0.mlp.experts.gate_up_proj" in file.keys()  # noqa: SIM118
    same(model, Mellum.from_pretrained(tmp_path / "native"))
    convert(tmp_path / "native", tmp_path / "again", to="hub")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("hub", "again"))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_convert_takes_tokenizer_files_along_and_refuses_itself(tmp_path: Path) -> None:
    build(TINY).save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "chat_template.jinja").write_text("x")
    convert(tmp_path / "a", tmp_path / "b", to="hub", dtype="bfloat16")
    assert (tmp_path / "b" / "chat_template.jinja").read_text() == "x"
    assert Mellum.from_pretrained(tmp_path / "b").dtype == torch.bfloat16
    assert json.loads((tmp_path / "b" / "config.json").read_text())["dtype"] == "bfloat16"
    with pytest.raises(CheckpointError, match="same directory"):
        convert(tmp_path / "a", tmp_path / "a", to="hub")


def test_mtp_is_loaded_where_it_is_and_wanted(tmp_path: Path) -> None:
    build(CONFIGS["mtp"]).save_pretrained(tmp_path / "with")
    assert Mellum.from_pretrained(tmp_path / "with").mtp is not None
    assert Mellum.from_pretrained(tmp_path / "with", mtp=False).mtp is None
    build(TINY).save_pretrained(tmp_path / "without")
    assert Mellum.from_pretrained(tmp_path / "without").mtp is None
    with pytest.raises(CheckpointError, match=r"no mtp\.\* keys"):
        Mellum.from_pretrained(tmp_path / "without", mtp=True)
    # Public checkpoints may announce a head that they do not hold.
    replace(TINY, num_mtp_layers=1).save(tmp_path / "without")
    assert Mellum.from_pretrained(tmp_path / "without").mtp is None


def test_saving_over_another_layout_leaves_no_stale_file(tmp_path: Path) -> None:
    build(TINY, seed=1).save_pretrained(tmp_path, max_shard_bytes=40_000)
    second = build(TINY, seed=2)
    second.save_pretrained(tmp_path)
    same(second, Mellum.from_pretrained(tmp_path))
    mapped = Mellum.from_pretrained(tmp_path)
    mapped.save_pretrained(tmp_path, max_shard_bytes=40_000)
    mapped.save_pretrained(tmp_path)
    same(second, mapped)
    same(second, Mellum.from_pretrained(tmp_path))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    build(TINY).save_pretrained(tmp_path)
    return tmp_path


def rewrite(directory: Path, change: dict[str, torch.Tensor | None]) -> None:
    tensors = load_file(directory / "model.safetensors")
    for key, value in change.items():
        if value is None:
            del tensors[key]
        else:
            tensors[key] = value
    save_file(tensors, directory / "model.safetensors")


def test_missing_and_unexpected_keys_are_named(saved: Path) -> None:
    key = "model.layers.2.mlp.experts.5.up_proj.weight"
    rewrite(saved, {key: None, "model.layers.9.extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=rf"missing: {key}; unexpected: model\.layers\.9\.extra"):
        Mellum.from_pretrained(saved)


def test_a_config_that_contradicts_the_weights_names_key_and_shapes(saved: Path) -> None:
    replace(TINY, moe_intermediate_size=25).save(saved)
    with pytest.raises(CheckpointError, match=r"has shape \[24, 32\], config\.json asks for \[25, 32\]"):
        Mellum.from_pretrained(saved)


def test_a_truncated_shard_is_named(saved: Path) -> None:
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated or damaged"):
        Mellum.from_pretrained(saved)


def test_unknown_dtypes_are_named(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="dtype 'float7' is not known; float32"):
        Mellum.from_pretrained(saved, dtype="float7")
    rewrite(saved, {"model.norm.weight": torch.zeros(32, dtype=torch.int8)})
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight has dtype I8"):
        Mellum.from_pretrained(saved)


def test_missing_files_and_bad_indexes_are_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor"):
        (tmp_path / "empty").mkdir()
        TINY.save(tmp_path / "empty")
        Mellum.from_pretrained(tmp_path / "empty")
    index = saved / "model.safetensors.index.json"
    for content, message in (
        ({"weight_map": {"a": "../model.safetensors"}}, "is no file name beside it"),
        ({"weight_map": {"a": "gone.safetensors"}}, "gone.safetensors: no such file"),
        ({"weight_map": {"a": "model.safetensors"}}, "a is not in it"),
        ([], "not an index"),
    ):
        index.write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=message):
            Mellum.from_pretrained(saved)


def test_half_precision_is_kept_or_converted(tmp_path: Path) -> None:
    model = build(TINY).to(torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(model, tmp_path)
        assert Mellum.from_pretrained(tmp_path).dtype == torch.bfloat16
        assert Mellum.from_pretrained(tmp_path, dtype="float32").dtype == torch.float32
