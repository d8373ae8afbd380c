"""Recipes: the built-in ones are what they claim, and a slip in a file is one line that names the field."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mellum_model.training.errors import RecipeError
from mellum_model.training.recipes import PretrainData, SftData, load_recipe, recipe_file


def variant(tmp_path: Path, change: object) -> Path:
    """The 12B recipe after `change(data)`."""
    data = yaml.safe_load(recipe_file("mellum2_12b").read_text("utf-8"))
    change(data)  # type: ignore[operator]
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(data), "utf-8")
    return path


def test_the_12b_recipe_carries_the_reports_numbers() -> None:
    recipe = load_recipe("mellum2_12b")
    stage = recipe.stage("pretrain")
    assert (stage.schedule.peak, stage.schedule.warmup_steps, stage.schedule.decay_steps) == (3e-4, 2000, 49_306)
    assert (stage.steps, stage.batch.tokens, stage.batch.ramp_from) == (323_459, 4096 * 8192, 2048 * 8192)
    assert (stage.optimiser.muon.momentum, stage.optimiser.muon.newton_schulz_steps) == (0.95, 5)
    assert (stage.optimiser.weight_decay, stage.optimiser.clip, stage.optimiser.adam.eps) == (0.1, 1.0, 1e-8)
    assert (stage.losses.mtp, stage.losses.balance, stage.losses.z) == (0.1, 1e-3, 1e-3)
    assert isinstance(stage.data, PretrainData)
    assert [phase.fim.rate for phase in stage.data.phases if phase.fim] == [0.5, 0.1, 0.5]
    assert [phase.mixture["code"] for phase in stage.data.phases] == [23, 42, 59]
    long = recipe.stage("long_context")
    assert (long.steps, long.schedule.decay_steps, long.schedule.peak, long.context_factor) == (3500, 500, 3e-5, 16)
    for name, form in (("sft_instruct", "instruct"), ("sft_thinking", "thinking")):
        sft = recipe.stage(name)
        assert isinstance(sft.data, SftData) and sft.data.form == form
        assert (sft.schedule.kind, sft.schedule.final, sft.losses.balance) == ("cosine", 3e-6, 1e-4)
    config = recipe.model.config()
    assert (config.num_mtp_layers, config.max_position_embeddings) == (1, 8192)


def test_nano_has_every_part_in_four_megabytes() -> None:
    from mellum_model.info import model_info

    recipe = load_recipe("nano")
    assert set(recipe.stages) == {"pretrain", "long_context", "sft_instruct", "sft_thinking"}
    info = model_info(recipe.model.config())
    assert 2 * sum(part.total for part in info.parts) < 4_000_000


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("stages.pretrain.optimiser.moun", {}, "stages.pretrain.optimiser.moun: no such field; did you mean muon?"),
        ("stages.pretrain.data.packing.metod", "x", "stages.pretrain.data.packing.metod: no such field; did you mean"),
        ("stages.pretrain.data.phases", [], "stages.pretrain.data.phases: "),
        ("stages.sft_instruct.data.fim", {}, "stages.sft_instruct.data.fim: no such field; "),
        ("stages.pretrain.schedule.kind", "wsd", "stages.pretrain.schedule.kind: "),
        ("stages.pretrain.steps", 0, "stages.pretrain.steps: "),
        ("stages.pretrain.tokens", 8192, "stages.pretrain: give exactly one of steps and tokens"),
        ("stages.pretrain.batch.tokens", 100, "batch.tokens 100 is no multiple of sequence_length 8192"),
        ("model.sizes.hidden", 12, "model.sizes.hidden: no such field; did you mean hidden_size?"),
        ("model.sizes.head_dim", 7, "head_dim 7"),
        ("stages.pretraining", {}, "stages.pretraining"),
        (
            "stages.pretrain.data.phases.0.mixture",
            {"webs": 1},
            "mixes 'webs', which is no source; did you mean web?",
        ),
    ],
)
def test_a_wrong_field_is_named_in_one_line(tmp_path: Path, place: str, value: object, message: str) -> None:
    def change(data: dict[str, object]) -> None:
        *path, last = place.split(".")
        inner: object = data
        for name in path:
            inner = inner[int(name)] if isinstance(inner, list) else inner.setdefault(name, {})  # type: ignore[attr-defined]
        inner[last] = value  # type: ignore[index]

    path = variant(tmp_path, change)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and message in text and "\n" not in text


def test_overrides_win_and_are_checked() -> None:
    assert load_recipe("nano", {"stages.pretrain.steps": 7}).stage("pretrain").steps == 7
    with pytest.raises(RecipeError, match=r"stages\.pretrain\.step: no such field; did you mean steps\?"):
        load_recipe("nano", {"stages.pretrain.step": 7})


def test_what_is_no_recipe_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe file, and built in are mellum2_12b, nano"):
        load_recipe("nanoo")
    (tmp_path / "bad.yaml").write_text("a: [", "utf-8")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(tmp_path / "bad.yaml")
    with pytest.raises(RecipeError, match="has no stage 'rlvr'; it has pretrain"):
        load_recipe("nano").stage("rlvr")
