"""`mellum-eval model info|convert|generate`."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_models import CONFIGS, build

from mellum_eval.cli import main
from mellum_eval.cli.native import open_native
from mellum_eval.errors import UserError
from mellum_eval.spec import BackendOptions
from mellum_model import generate
from mellum_model.chat import SPECIAL_TOKENS
from mellum_model.tokenizer import Tokenizer


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["model", *arguments])
    return int(end.value.code or 0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tokenizer = Tokenizer.train(["def add(a, b): return a + b"], 290, SPECIAL_TOKENS)
    model = build(replace(CONFIGS["mtp"], vocab_size=tokenizer.vocab_size, initializer_range=0.3))
    model.save_pretrained(tmp_path / "model")
    tokenizer.save(tmp_path / "model")
    return tmp_path / "model"


def test_info_of_the_published_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "mellum2-12b", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == 12_149_923_072 and found["kv_bytes"] == 1_923_088_384
    assert run("info", "mellum2-12b", "--context", "8192") == 0
    assert "12,149,923,072" in capsys.readouterr().out


def test_convert_there_and_back(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", str(checkpoint), str(tmp_path / "native"), "--to", "native") == 0
    assert run("convert", str(tmp_path / "native"), str(tmp_path / "hub"), "--to", "hub") == 0
    assert "hub layout" in capsys.readouterr().out
    weights = "model.safetensors"
    assert (tmp_path / "hub" / weights).read_bytes() == (checkpoint / weights).read_bytes()
    assert (tmp_path / "hub" / "tokenizer.json").is_file()


@pytest.mark.parametrize("flags", [(), ("--speculative",), ("--chat",)])
def test_generate_writes_the_text(checkpoint: Path, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    from mellum_model import Mellum

    assert run("generate", str(checkpoint), "-p", "add(1, 2)", "--max-new-tokens", "9", *flags) == 0
    prompt = "<|im_start|>user\nadd(1, 2)<|im_end|>\n<|im_start|>assistant\n" if "--chat" in flags else "add(1, 2)"
    tokenizer = Tokenizer.load(checkpoint)
    model = Mellum.from_pretrained(checkpoint)
    expected = generate(model, prompt, max_new_tokens=9, tokenizer=tokenizer)[0].text
    captured = capsys.readouterr()
    assert captured.out == f"{expected}\n" and "tokens" in captured.err


def test_bad_input_is_one_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"x")
    for arguments, message in (
        (("info", str(tmp_path / "gone")), "no such file"),
        (("generate", str(checkpoint), "-p", "x"), "truncated or damaged"),
        (("convert", str(checkpoint), str(checkpoint), "--to", "hub"), "same directory"),
        (("generate", str(checkpoint), "-p", "x", "--top-p", "0"), "top_p: 0.0 is out of range"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_what_is_no_checkpoint_is_called_so(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each in one line that names the file, by `info`, `generate` and a run's backend alike."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    shutil.copytree(checkpoint, tmp_path / "untold")
    (tmp_path / "untold" / "tokenizer.json").unlink()
    shutil.copytree(checkpoint, tmp_path / "ends")
    (tmp_path / "ends" / "generation_config.json").write_text('{"eos_token_id": "x"}')
    shutil.copytree(checkpoint, tmp_path / "listed")
    (tmp_path / "listed" / "tokenizer_config.json").write_text("[]")
    for name, message in (
        ("gone", "gone: no such file"),
        ("empty", "empty/config.json: no such file"),
        ("text", "text: not JSON"),
        ("untold", "untold/tokenizer.json: no such file; the checkpoint has no tokenizer"),
        ("listed", "listed/tokenizer_config.json: expected a JSON object"),
        ("ends", "ends/generation_config.json: eos_token_id: 'x' is no token id"),
    ):
        path = str(tmp_path / name)
        if name != "ends":  # which only runs read
            assert run("generate", path, "-p", "x") == 2
            error = capsys.readouterr().err
            assert message in error and error.count("\n") == 1
        with pytest.raises(UserError, match=re.escape(message)) as caught:
            asyncio.run(open_native(path, BackendOptions()))
        assert "\n" not in str(caught.value)


def test_info_holds_the_weights_headers_against_the_configuration(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    for change, message in (
        ({"hidden_size": 64}, "has shape [283, 32], config.json asks for [283, 64]"),
        ({"num_local_experts": 4}, "keys do not fit config.json; unexpected: model.layers.0.mlp.experts.4.down_proj"),
        ({"tie_word_embeddings": True}, "lm_head.weight is not model.embed_tokens.weight, though config.json has tie"),
    ):
        (checkpoint / "config.json").write_text(json.dumps({**config, **change}))
        assert run("info", str(checkpoint)) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    (checkpoint / "model.safetensors").unlink()  # a configuration alone may be asked about
    assert run("info", str(checkpoint)) == 0
    config["rope_parameters"]["sliding_attention"]["rope_theta"] = 10_000
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert run("info", str(checkpoint)) == 0
    warned = capsys.readouterr().err
    assert warned.startswith("mellum-eval: warning: ") and warned.count("\n") == 1


def test_nano_names_the_bundled_model_here_as_in_run(capsys: pytest.CaptureFixture[str]) -> None:
    from mellum_model.nano import checkpoint as bundled

    assert run("info", "nano", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert run("info", str(bundled()), "--json") == 0
    assert json.loads(capsys.readouterr().out) == found
    assert run("info", "mellum-18m", "--json") == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 17_863_936
    assert run("generate", "nano", "--chat", "-p", "What is 2 + 3?", "--max-new-tokens", "24") == 0
    assert capsys.readouterr().out.strip()
    assert run("info", "nano:huge") == 2
    assert (
        "the bundled models are nano, nano:base, nano:thinking, nano:instruct-sft and nano:thinking-sft"
        in capsys.readouterr().err
    )
