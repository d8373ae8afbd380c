"""`mellum-eval train`: a recipe of files from the first step to a model, and what it says when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mellum_eval.cli import _run

SIZES = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "layer_types": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "sliding_window": 16,
    "max_position_embeddings": 64,
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe beside its data: pre-training, long context and SFT."""
    words = ["alpha", "beta", "gamma", "delta", "omega"]
    texts = [" ".join(words[(place * step) % 5] + str(place) for step in range(1, 12)) for place in range(200)]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    (tmp_path / "other.jsonl").write_text(
        "".join(json.dumps({"text": text + " end"}) + "\n" for text in texts), "utf-8"
    )
    chats = [
        [{"role": "user", "content": f"say {place}"}, {"role": "assistant", "content": f"it is {place}"}]
        for place in range(100)
    ]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats), "utf-8")
    filters = {"min_unique_tokens": 0, "decontaminate": False}
    documents = {
        "sources": {"text": {"kind": "jsonl", "path": "text.jsonl"}},
        "phases": [{"name": "only", "share": 1.0, "mixture": {"text": 1}, "fim": {"rate": 0.5}}],
        "filters": filters,
        "packing": {"buffer": 32},
    }
    held_out = {**documents, "sources": {"text": {"kind": "jsonl", "path": "other.jsonl"}}}
    data = {
        "name": "small",
        "model": {"preset": "nano", "sizes": SIZES},
        "defaults": {
            "sequence_length": 64,
            "batch": {"tokens": 256, "micro": 2},
            "optimiser": {"muon": {"dtype": "float32"}},
            "precision": {"dtype": "float32"},
            "schedule": {"kind": "whd", "peak": 1e-3},
        },
        "stages": {
            "pretrain": {
                "steps": 3,
                "data": documents,
                "checkpoints": {"every_steps": 2},
                "evaluation": {"every_steps": 2, "tokens": 128, "data": held_out},
            },
            "long_context": {
                "start_from": "pretrain",
                "context_factor": 2,
                "sequence_length": 128,
                "steps": 2,
                "data": documents,
            },
            "sft_instruct": {
                "start_from": "long_context",
                "steps": 2,
                "data": {"sources": {"chat": {"kind": "jsonl", "path": "chat.jsonl"}}, "filters": filters},
            },
        },
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(data), "utf-8")
    return path


def train(*arguments: str | Path) -> int:
    return _run(["train", *map(str, arguments)])


def test_stages_run_one_after_the_other_and_are_loaded_by_transformers(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert train("pretrain", "--recipe", recipe, "--out", out) == 0
    assert "3 steps, 768 tokens" in capsys.readouterr().out
    lines = [json.loads(line) for line in (out / "pretrain" / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "evaluation"] == [2, 3]
    manifest = json.loads((out / "pretrain" / "train.json").read_text("utf-8"))
    assert manifest["stage"] == "pretrain" and manifest["recipe"]["model"]["sizes"]["hidden_size"] == 16
    assert (out / "pretrain" / "data_audit.json").is_file()
    assert train("long-context", "--recipe", recipe, "--out", out) == 0
    assert train("sft", "--recipe", recipe, "--out", out) == 0
    from transformers import MellumForCausalLM

    from mellum_model import Mellum

    model = Mellum.from_pretrained(out / "sft_instruct" / "model")
    assert model.mtp is not None and model.config.max_position_embeddings == 128
    theirs = MellumForCausalLM.from_pretrained(out / "sft_instruct" / "model")
    assert theirs.config.rope_parameters["full_attention"]["factor"] == 2


def test_what_is_wrong_is_one_line_and_exit_2(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"

    def said(*arguments: str | Path) -> str:
        assert train(*arguments) == 2
        error = capsys.readouterr().err.strip().splitlines()
        return error[-1]

    assert "no model at" in said("sft", "--recipe", recipe, "--out", out)
    assert "stages.pretrain.bach: no such field; did you mean batch?" in said(
        "pretrain", "--recipe", recipe, "--set", "bach.micro=2"
    )
    assert "no such recipe file, and built in are" in said("pretrain", "--recipe", "mini")
    assert "expected FIELD=VALUE" in said("pretrain", "--recipe", recipe, "--set", "x")
    assert "--form chat: instruct and thinking" in said("sft", "--recipe", recipe, "--form", "chat")
    assert train("pretrain", "--recipe", recipe, "--out", out, "--steps", "1") == 0
    assert "holds a run already; --resume" in said("pretrain", "--recipe", recipe, "--out", out)


@pytest.mark.parametrize("damage", ["shard", "empty", "missing", "model", "disk"])
def test_what_breaks_under_way_names_its_file(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    out = tmp_path / "out"
    text = tmp_path / "text.jsonl"
    command: list[str | Path] = ["pretrain", "--recipe", recipe, "--out", out]
    if damage == "shard":
        lines = text.read_bytes().splitlines(keepends=True)
        text.write_bytes(b"".join([*lines[:100], b'{"text": "cut\n', *lines[100:]]))
        named = "text.jsonl"
    elif damage == "empty":
        text.write_bytes(b"")
        named = "text"
    elif damage == "missing":
        text.unlink()
        named = "text.jsonl"
    elif damage == "model":
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text("{}", "utf-8")
        command += ["--from", tmp_path / "model"]
        named = "config.json"
    else:
        out.write_text("a file where the directory should be", "utf-8")
        named = "out"
    assert train(*command) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert named in error[-1] and "Traceback" not in "".join(error)


def test_a_dry_run_counts_the_12b(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("pretrain", "--recipe", "mellum2_12b", "--dry-run", "--ranks", "256") == 0
    shown = capsys.readouterr().out
    assert "12,578,294,528 parameters (1 MTP layer)" in shown and "3,712 × 896 × 2,304" in shown
    assert "33,554,432   4,096 rows" in shown and "323,459" in shown


def test_an_export_that_fails_is_done_again_by_resume(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    def full(*args: object, **kwargs: object) -> None:
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(safetensors.torch, "save_file", full)
        assert train("pretrain", "--recipe", recipe, "--out", out, "--steps", "2") == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error and "export with --resume" in error
    assert not (out / "pretrain" / "model").exists()
    assert train("pretrain", "--recipe", recipe, "--out", out, "--steps", "2", "--resume") == 0
    assert (out / "pretrain" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("stage", [["long-context"], ["sft"], ["sft", "--form", "thinking"]])
def test_every_stage_of_the_12b_can_be_counted(stage: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert train(*stage, "--recipe", "mellum2_12b", "--dry-run", "--ranks", "64") == 0
    assert "context 131,072" in capsys.readouterr().out
