"""`mellum-eval model info|convert|generate`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_models import CONFIGS, build

from mellum_eval.cli import main
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
    assert "the bundled models are nano, nano:base and nano:thinking" in capsys.readouterr().err
