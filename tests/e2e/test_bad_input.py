"""Whatever is wrong with what a user gives, one line names it and the exit code is the contract's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import call

RESUME = ("run", "--resume", "--out", "run")
GOOD = ("-s", "quick_tools", "--limit", "3")


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda path: (path / name).write_text(text) and None


def change(name: str, old: str, new: str) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        file = path / "run" / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return do


CASES: list[tuple[str, tuple[str, ...], int, str, Callable[[Path], None] | None]] = [
    ("unknown scheme", ("run", "gpt:x", *GOOD), 2, "unknown model scheme", None),
    ("no name", ("run", "mock:", *GOOD), 2, "names nothing after mock:", None),
    ("unknown mock", ("run", "mock:silver", *GOOD), 2, "silver", None),
    ("scheme of later", ("run", "vllm:x", *GOOD), 3, "vllm", None),
    ("unknown nano", ("run", "nano:huge", *GOOD), 2, "nano:instruct-sft and nano:thinking-sft", None),
    ("two models", ("run", "mock:gold", "mock:empty", *GOOD), 2, "one MODEL", None),
    ("number as model", ("run", "0.7", *GOOD), 2, "unknown model scheme in '0.7'", None),
    ("unknown suite", ("run", "mock:gold", "-s", "quick_tool"), 2, "did you mean quick_tools", None),
    ("unknown variant", ("run", "mock:gold", "-s", "bfcl:nope"), 2, "variant", None),
    ("bad flag value", ("run", "mock:gold", *GOOD, "--samples", "0"), 2, "--samples", None),
    ("flag no number", ("run", "mock:gold", *GOOD, "--samples", "x"), 2, "samples", None),
    ("bad temperature", ("run", "mock:gold", *GOOD, "--temperature", "hot"), 2, "--temperature: 'hot'", None),
    ("unknown flag", ("run", "mock:gold", "--suit", "x"), 2, "--suit", None),
    ("bad sandbox", ("run", "mock:gold", "--sandbox", "none"), 2, "none", None),
    ("bad JSON flag", ("run", "openai:m", "--extra-body", "{"), 2, "--extra-body: not JSON", None),
    ("config missing", ("run", "--config", "none.yaml"), 2, "none.yaml: No such file", None),
    ("config key", ("run", "--config", "c.yaml"), 2, "c.yaml: limt: no such key", write("c.yaml", "limt: 5")),
    ("config yaml", ("run", "--config", "c.yaml"), 2, "c.yaml:2: ", write("c.yaml", "a: 1\n]")),
    ("out is a file", ("run", "mock:gold", *GOOD, "--out", "f"), 2, "choose another --out", write("f", "")),
    ("out read-only", ("run", "mock:gold", *GOOD, "--out", "/proc/mellum"), 2, "choose another --out", None),
    ("out taken", ("run", "mock:gold", *GOOD, "--out", "run"), 2, "--resume", None),
    ("resume nothing", ("run", "--resume", "--out", "nowhere"), 2, "nowhere: not a run directory", None),
    ("resume where", ("run", "--resume"), 2, "--resume needs --out", None),
    ("resume other model", ("run", "mock:empty", "--resume", "--out", "run"), 2, "MODEL is not what", None),
    ("resume other limit", ("run", "--limit", "9", "--resume", "--out", "run"), 2, "limit is not what", None),
    ("resume other suite", ("run", "-s", "quick_safety", "--resume", "--out", "run"), 2, "suites is not what", None),
    ("altered manifest", RESUME, 2, "run.json: seeds", change("run.json", '"seeds"', '"x"')),
    ("altered spec", RESUME, 2, "spec.limit", change("run.json", '"limit": 3', '"limit": 0')),
    ("altered version", RESUME, 2, "version", change("run.json", '"version": "', '"version": "0')),
    ("altered generation", ("rescore", "run"), 2, "ns.jsonl:1", change("generations.jsonl", '"finish"', '"end"')),
    ("altered verdict", RESUME, 2, "verdicts.jsonl:1", change("verdicts.jsonl", '{"key"', '{"kay"')),
    ("rescore nothing", ("rescore", "nowhere"), 2, "nowhere: not a run directory", None),
    ("replay nothing", ("run", "replay:nowhere"), 2, "nowhere: not a run directory", None),
    ("compare with nothing", ("compare", "run", "nowhere"), 2, "nowhere: not a run directory", None),
    ("compare with itself", ("compare", "run", "./run"), 2, "given twice", None),
    ("compare argument", ("compare", "run"), 2, "RUN_B", None),
    ("endpoint nowhere", ("run", "openai:m@http://127.0.0.1:9", *GOOD), 3, "127.0.0.1:9/v1 does not answer", None),
    ("endpoint no address", ("run", "openai:m@localhost:8000", *GOOD), 2, "http://", None),
    ("hf nowhere", ("run", "hf:./nowhere", *GOOD), 2, "hf:./nowhere: no such directory", None),
    ("hf not a model", ("run", "hf:run", *GOOD), 2, "hf:run cannot be loaded", None),
    ("data missing", ("run", "mock:gold", "-s", "gsm8k"), 3, "gsm8k/test.jsonl.gz", None),
    ("report of nothing", ("report", "nowhere"), 2, "nowhere", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good")
    done = call("run", "mock:gold", *GOOD, "--out", "run", cwd=path)
    assert done.returncode == 0, done.stderr
    return path / "run"


@pytest.mark.parametrize(("arguments", "code", "part", "before"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_one_line_names_what_is_wrong(
    tmp_path: Path, a_run: Path, arguments: tuple[str, ...], code: int, part: str, before: Callable[[Path], None] | None
) -> None:
    shutil.copytree(a_run, tmp_path / "run")
    if before is not None:
        before(tmp_path)
    (tmp_path / "empty").mkdir()
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    contents = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    empty = str(tmp_path / "empty")
    done = call(*arguments, cwd=tmp_path, MELLUM_DATA_DIR=empty, XDG_CACHE_HOME=empty, HF_HUB_OFFLINE="1")
    lines = [line for line in done.stderr.splitlines() if "no model given" not in line]
    assert done.returncode == code, done.stderr
    assert len(lines) == 1 and lines[0].startswith("mellum-eval: "), done.stderr
    assert part in lines[0], lines[0]
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == files, "something was left behind"
    assert {path: path.read_bytes() for path in contents} == contents, "something was lost"


def test_what_a_suite_name_carries_to_the_terminal_is_shown_not_sent(tmp_path: Path) -> None:
    done = call("run", "mock:gold", "-s", "\x1b[2Jquick", cwd=tmp_path)
    assert done.returncode == 2 and "\x1b" not in done.stderr and "\\x1b[2J" in done.stderr


def test_a_traceback_is_there_for_who_wants_it(tmp_path: Path) -> None:
    done = call("run", "gpt:x", cwd=tmp_path, MELLUM_DEBUG="1")
    assert done.returncode == 2 and "Traceback" in done.stderr


def test_what_a_model_wrote_reaches_no_terminal_raw(tmp_path: Path, a_run: Path) -> None:
    shutil.copytree(a_run, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "generations.jsonl").read_text().splitlines()]
    for line in lines:
        line["text"] = '\x1b[31m\ud800 <tool_call>{"name": "\x1b]0;x\x07", "arguments": {}}</tool_call>'
        line["error"], line["finish"] = "\x1b[2J\ud800 gone", "error"
    (tmp_path / "run" / "generations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = call("rescore", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr and "\\x1b[2J\\ud800 gone" in done.stderr
