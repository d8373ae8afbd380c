"""A spec is checked before anything starts, and what is wrong with it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mellum_eval.errors import UserError
from mellum_eval.spec import RunSpec, make_spec


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, "utf-8")
    return path


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "model: mock:gold\nsuites: [gsm8k, bfcl:simple_python]\nlimit: 7\ntemperature: [0, 1e-1]\n"
        "backend:\n  concurrency: 3\n  extra_body: {a: {b: 1}}\n",
    )
    spec = make_spec({"limit": 9, "samples": None, "suites": (), "backend.retries": 1}, path)
    assert (spec.model, spec.suites, spec.limit, spec.samples) == (
        "mock:gold",
        ("gsm8k", "bfcl:simple_python"),
        9,
        None,
    )
    assert spec.temperature == (0.0, 0.1)
    assert (spec.backend.concurrency, spec.backend.retries, spec.backend.extra_body) == (3, 1, {"a": {"b": 1}})
    assert make_spec({}, config(tmp_path, "# nothing\n")) == RunSpec() == make_spec({})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("limit: many", "config.yaml: limit: "),
        ("limit: 0", "config.yaml: limit: "),
        ("limt: 5", "config.yaml: limt: no such key; did you mean limit?"),
        ("backend: {concurency: 5}", "config.yaml: backend.concurency: no such key; did you mean concurrency?"),
        ("backend: 5", "config.yaml: backend: "),
        ("temperature: [0, 11]", "config.yaml: temperature.1: "),
        ("temperature: [1, 1]", "config.yaml: temperature: the same value is given twice"),
        ("temperature: [.nan]", "config.yaml: temperature.0: "),
        ("limit: 1\nlimit: 2", "config.yaml:2: 'limit' is given twice"),
        ("limit: [1", "config.yaml:1: "),
        ("a: b: c", "config.yaml:1: "),
        ("!!python/object/apply:os.system [id]", "config.yaml:1: "),
        ("- 1", "config.yaml: a mapping"),
        ("[" * 5000, "config.yaml"),
        ("sandbox: none", "config.yaml: sandbox: "),
    ],
)
def test_a_bad_file_is_named_with_its_key_or_line(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(UserError) as caught:
        make_spec({}, config(tmp_path, text))
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ({"limit": 0}, "--limit: "),
        ({"temperature": (-1.0,)}, "--temperature: "),
        ({"backend.concurrency": 0}, "--concurrency: "),
        ({"max_infra_rate": 2.0}, "--max-infra-rate: "),
        ({"seed": -1}, "--seed: "),
    ],
)
def test_a_bad_flag_is_named_as_a_flag(tmp_path: Path, flags: dict[str, Any], part: str) -> None:
    for path in (None, config(tmp_path, "limit: 3")):
        with pytest.raises(UserError) as caught:
            make_spec(flags, path)
        assert str(caught.value).startswith(part)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, part in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(UserError, match=part):
            make_spec({}, path)
    (tmp_path / "latin.yaml").write_bytes(b"model: \xe9")
    with pytest.raises(UserError, match="not UTF-8"):
        make_spec({}, tmp_path / "latin.yaml")
