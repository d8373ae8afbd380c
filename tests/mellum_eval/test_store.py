"""A run directory survives a kill at any byte, notices edits, and has one writer."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellum_eval import jsonl
from mellum_eval.errors import UserError
from mellum_eval.records import Generation, Judgement, Manifest
from mellum_eval.store import RunStore

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def manifest() -> Manifest:
    return Manifest(
        created="2026-01-01T00:00:00Z", command=[], spec={}, model={}, suites=[], seeds={}, sandbox={}, versions={},
        host={},
    )  # fmt: skip


def generation(number: int, text: str = "x", **kwargs: Any) -> Generation:
    return Generation(
        key=f"k{number}", suite="s", problem=f"p{number}", sample=0, prompt={}, text=text,
        **{"finish": "stop", **kwargs},
    )  # fmt: skip


def judgement(number: int, score: float = 1.0) -> Judgement:
    return Judgement(key=f"k{number}", suite="s", problem=f"p{number}", sample=0, outcome="passed", score=score)


def filled(path: Path, count: int = 3) -> None:
    with RunStore.create(path, manifest()) as store:
        for number in range(count):
            store.add_generation(generation(number, f"text {number}"))
            store.add_judgement(judgement(number))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    store = RunStore.open(tmp_path / "run")
    assert store.manifest == manifest()
    assert [g.text for g in store.generations()] == ["text 0", "text 1", "text 2"]
    assert [j.key for j in store.judgements()] == ["k0", "k1", "k2"]
    assert store.scores() is None


def test_a_later_record_of_a_slot_replaces_the_earlier(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    with RunStore.resume(tmp_path / "run") as store:
        store.add_generation(generation(1, "again"))
    assert {g.key: g.text for g in RunStore.open(tmp_path / "run").generations()} == {
        "k0": "text 0",
        "k1": "again",
        "k2": "text 2",
    }


@pytest.mark.parametrize("name", ["generations.jsonl", "verdicts.jsonl"])
def test_a_file_cut_at_any_byte_loses_only_the_line_that_was_cut(tmp_path: Path, name: str) -> None:
    filled(tmp_path / "run")
    path = tmp_path / "run" / name
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 0x0A]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        records = RunStore.open(tmp_path / "run")
        seen = list(records.generations() if name.startswith("gen") else records.judgements())
        assert len(seen) == sum(end <= length for end in ends)
        appender = jsonl.Appender(path)
        appender.append({"key": "new", "sample": 0})
        appender.close()
        lines = path.read_bytes().splitlines()
        assert len(lines) == len(seen) + 1
        assert b"".join(line + b"\n" for line in lines[:-1]) == whole[: ends[len(seen) - 1] if seen else 0]


def test_a_tail_of_zeros_after_a_power_failure_is_owed_again(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    path = tmp_path / "run" / "generations.jsonl"
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    with RunStore.resume(tmp_path / "run") as store:
        store.add_generation(generation(9))
    assert [g.key for g in RunStore.open(tmp_path / "run").generations()] == ["k0", "k1", "k2", "k9"]


def test_a_verdict_outlives_no_generation(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    path = tmp_path / "run" / "generations.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with RunStore.resume(tmp_path / "run") as store:
        store.add_generation(generation(2, "another text"))
    assert [j.key for j in RunStore.open(tmp_path / "run").judgements()] == ["k0", "k1"]


@pytest.mark.parametrize(
    ("name", "change", "part"),
    [
        ("generations.jsonl", lambda s: s.replace(b'"text"', b'"test"', 1), "generations.jsonl:1: text"),
        ("generations.jsonl", lambda s: s.replace(b'{"key":"k1"', b'{"key":"k1', 1), "generations.jsonl:2: not a JSON"),
        ("generations.jsonl", lambda s: s.replace(b'"key":"k1"', b'"key":1', 1), "generations.jsonl:2: no key"),
        ("verdicts.jsonl", lambda s: s.replace(b'"score":1.0', b'"score":"x"', 1), "verdicts.jsonl:1: score"),
        ("run.json", lambda s: s.replace(b'"seeds"', b'"seed"', 1), "run.json"),
        ("run.json", lambda s: s[:-5], "run.json: not JSON"),
        ("run.json", lambda s: b"[" * 100_000, "run.json: not JSON"),
    ],
)
def test_an_edit_is_noticed_and_named(tmp_path: Path, name: str, change: Any, part: str) -> None:
    filled(tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match="altered") as caught:
        store = RunStore.open(tmp_path / "run")
        list(store.generations())
        list(store.judgements())
    assert part in str(caught.value)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    with RunStore.resume(tmp_path / "run"), pytest.raises(UserError, match="another process"):
        RunStore.resume(tmp_path / "run")
    RunStore.resume(tmp_path / "run").close()


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    with pytest.raises(UserError, match="--resume"):
        RunStore.create(tmp_path / "run", manifest())
    assert len(list(RunStore.open(tmp_path / "run").generations())) == 3


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "run", Path("/proc/1/run")):
        with pytest.raises(UserError, match="choose another --out"):
            RunStore.create(place, manifest())
    with pytest.raises(UserError, match=r"no run\.json"):
        RunStore.open(tmp_path)


def test_a_disk_that_fills_up_in_the_middle_of_a_line_costs_that_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "run")
    real, room = os.write, [40]

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(fd, data[: room[0]])
        room[0] -= written
        return written

    with RunStore.resume(tmp_path / "run") as store:
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(UserError, match=r"No space left.*--resume"):
            store.add_generation(generation(7))
        monkeypatch.undo()
    with RunStore.resume(tmp_path / "run") as store:
        store.add_generation(generation(8))
    assert [g.key for g in RunStore.open(tmp_path / "run").generations()] == ["k0", "k1", "k2", "k8"]


def test_all_verdicts_are_replaced_at_once(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    with RunStore.resume(tmp_path / "run") as store:
        store.replace_judgements(iter([judgement(0, 0.0), judgement(1, 0.0)]))
        store.add_judgement(judgement(2, 0.5))
    assert [j.score for j in RunStore.open(tmp_path / "run").judgements()] == [0.0, 0.0, 0.5]


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_any_value_becomes_a_line_that_can_be_read(value: Any) -> None:
    import json

    line = jsonl.dumps(value)
    assert line.isascii() and "\n" not in line
    json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize("depth", [61, 900, 100_000])
def test_hostile_arguments_of_a_tool_call_are_storable(tmp_path: Path, depth: int) -> None:
    nested: Any = 1
    for _ in range(depth):
        nested = [nested]
    calls = [{"name": "f", "arguments": {"n": 10**6000, "x": float("nan"), "deep": nested}}]
    with RunStore.create(tmp_path / "run", manifest()) as store:
        record = Generation.model_construct(**{**generation(0, "\ud800\x00").model_dump(), "tool_calls": calls})
        store.add_generation(record)
    (back,) = RunStore.open(tmp_path / "run").generations()
    assert back.text == "\ud800\x00"
    assert back.tool_calls[0]["arguments"]["x"] == "nan"
