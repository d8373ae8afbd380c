"""`data contamination`: what was planted is found and named with its line, what is nearly the same is not."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mellum_eval.cli import _run
from mellum_model.training.data.decontaminate import COMMON, Contamination, SuiteIndex
from mellum_model.training.data.sources import JsonLines, TextBlocks
from suites import registry

CLEAN = "The river runs past the old mill and nobody asks it for a number on any day of the week at all."
SUITES = ("-s", "gsm8k", "-s", "quick_math", "-s", "ruler_niah_single_1")


def problem(suite: str, number: int) -> Any:
    return registry.get(suite).problems()[number]


def lines(*texts: str) -> str:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


def asked(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, dict[str, Any]]:
    code = _run(["data", "contamination", *given, *SUITES, "--json"])
    return code, json.loads(capsys.readouterr().out)


def found(report: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    return {one["suite"]: one["examples"] for one in report["suites"] if one["hit"]}


@pytest.fixture
def planted(data_dir: Path) -> str:
    return problem("gsm8k", 7).ask


def packed(path: Path, text: str) -> Path:
    data = text.encode()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zst":
        pyarrow = pytest.importorskip("pyarrow")
        with pyarrow.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(data)
    else:
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "c.jsonl.zst", "c.txt", "c.md.gz", "c.txt.zst"])
def test_a_planted_problem_is_found_in_every_kind_of_file(
    planted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    rows = [CLEAN] * 40 + [f"Solve this! {planted.upper()} Quickly."] + [CLEAN] * 40
    text = lines(*rows) if "jsonl" in name else "\n".join(rows)
    code, report = asked(capsys, str(packed(tmp_path / name, text)))
    (example,) = found(report)["gsm8k"]
    where = f"{tmp_path / name}:" + ("41" if "jsonl" in name else "1-81")
    assert (code, report["contaminated"]) == (1, True)
    assert example == {"problem": problem("gsm8k", 7).id, "where": where}
    assert set(found(report)) == {"gsm8k"}
    (row,) = (one for one in report["suites"] if one["suite"] == "gsm8k")
    assert (row["hit"], row["problems"]) == (1, 1319) and row["share"] == pytest.approx(1 / 1319)


def test_parquet_of_any_columns(planted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"n": 1, "turns": [{"said": CLEAN}]}, {"n": 2, "turns": [{"said": "Hm."}, {"said": planted}]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "c.parquet")
    code, report = asked(capsys, str(tmp_path))
    assert code == 1 and found(report)["gsm8k"][0]["where"] == f"{tmp_path / 'c.parquet'}: row 2"


def near_misses() -> dict[str, Callable[[], str]]:
    def ruler() -> str:
        return registry.get("ruler_niah_single_1").problems()[4].ask

    return {
        "the words around it": lambda: " ".join(problem("gsm8k", 7).ask.split()[:11]) + " and so on",
        "every eighth word another": lambda: " ".join(
            "something" if at % 8 == 7 else word for at, word in enumerate(problem("gsm8k", 7).ask.split())
        ),
        "other numbers": lambda: problem("quick_math:full", 3).ask.replace("1", "3").replace("2", "5"),
        "the haystack without its needle": lambda: "\n".join(
            line for line in ruler().splitlines() if "One of the special" not in line
        ),
        "a train instance": lambda: type(registry.get("quick_math")).instances("train", 50, 9)[11].ask,  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("which", near_misses())
def test_a_near_miss_is_clean(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str) -> None:
    (tmp_path / "c.jsonl").write_text(lines(CLEAN, near_misses()[which]()), "utf-8")
    code, report = asked(capsys, str(tmp_path / "c.jsonl"))
    assert (code, found(report), report["records"]) == (0, {}, 2)


def test_generated_problems_are_found_by_instance(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sums, needle = problem("quick_math:full", 3), problem("ruler_niah_single_1:8k", 4)
    named = {"messages": [{"role": "user", "content": "x"}], "instances": [problem("quick_math", 5).id]}
    text = lines(f"User: {sums.ask}\nAssistant:", needle.ask) + json.dumps(named) + "\n"
    (tmp_path / "c.jsonl").write_text(text, "utf-8")
    _, report = asked(capsys, str(tmp_path / "c.jsonl"), "--examples", "9")
    assert [one["where"].rpartition(":")[2] for one in found(report)["quick_math"]] == ["1", "3"]
    assert [one["problem"] for one in found(report)["quick_math"]] == [sums.id, problem("quick_math", 5).id]
    # The same instance is asked at six lengths.
    assert {one["problem"].split("/")[-1] for one in found(report)["ruler_niah_single_1"]} == {"4"}


def test_the_table_names_what_was_not_checked(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = ("gsm8k", "gpqa", "quick_math")
    entries = tuple(entry for entry in registry.entries() if entry.name in shown)
    monkeypatch.setattr(registry, "entries", lambda: entries)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "c.jsonl").write_text(lines(CLEAN, problem("gsm8k", 1).ask), "utf-8")
    assert _run(["data", "contamination", str(tmp_path / "c.jsonl")]) == 1
    out = capsys.readouterr().out
    assert "not checked, for lack of data: gpqa" in out and "2 records: contaminated" in out
    assert f"gsm8k: {problem('gsm8k', 1).id} is in {tmp_path / 'c.jsonl'}:2" in out
    assert _run(["data", "contamination", str(tmp_path / "c.jsonl"), "-s", "gpqa"]) == 3
    assert "gpqa" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("c.jsonl", b'{"text": "a"}\n{"text": ', (), "c.jsonl:2: not a JSON object"),
        ("c.jsonl", b'{"body": "a"}\n', ("--field", "text"), "c.jsonl:1: no text in field 'text' (it has body)"),
        ("c.jsonl.gz", b"no gzip", (), "c.jsonl.gz: Not a gzipped file"),
        ("c.txt.gz", gzip.compress(b"x" * 99_999)[:-20], (), "c.txt.gz: Compressed file ended"),
        ("c.parquet", b"PAR1", (), "c.parquet: cannot be read as Parquet"),
        ("c.bin", b"?", (), "c.bin: of no known kind"),
        ("c.jsonl", b"{}", ("-s", "gsm9k"), "did you mean gsm8k"),
        ("c.jsonl", b"{}", ("--ngram", "1"), "--ngram"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert _run(["data", "contamination", str(tmp_path / name), "-s", "quick_math", *options]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1


def test_a_corpus_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["data", "contamination", str(tmp_path / "no.jsonl"), "-s", "quick_math"]) == 2
    assert "no.jsonl: no such file" in capsys.readouterr().err
    assert _run(["data", "contamination", str(tmp_path), "-s", "quick_math"]) == 2
    assert "no JSONL, Parquet or text file" in capsys.readouterr().err


def test_a_suite_s_way_of_asking_is_no_copy_of_its_problems() -> None:
    asks = "Answer the question below with one of the letters that stand before the four choices"
    of = {f"p{number}": [f"{asks}: {number} unlike {'abcdefghijklmnop'[number]}"] for number in range(COMMON + 3)}
    few = {"only": ["A question that stands in one problem and in no other of all the suites there are here"]}
    contamination = Contamination(SuiteIndex(written={"many": of, "few": few}), 13)
    assert contamination.hits({"text": asks}, "text") == set()
    assert contamination.found_in({"text": asks}, "text") == "many"  # training drops it all the same
    assert contamination.hits({"text": few["only"][0]}, "text") == {("few", "only")}
    assert contamination.checkable() == {("few", "only"), *(("many", problem) for problem in of)}


def test_a_problem_of_several_suites_is_found_in_all_of_them() -> None:
    text = "Return the first of all the numbers in this list that is larger than its neighbour"
    index = SuiteIndex(written={"a": {"1": [text]}, "b": {"7": [text]}})
    assert Contamination(index, 13).hits({"text": f"x {text} y"}, "text") == {("a", "1"), ("b", "7")}


def test_text_passes_through_in_blocks_that_overlap(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    with path.open("w", encoding="utf-8") as file:
        for number in range(400_000):
            file.write(f"line {number} of a long file that says nothing\n")
        file.write("x" * 3_000_000)
    tracemalloc.start()
    seen, ends = 0, list[str]()
    for record, _ in TextBlocks([path]).read({}):
        text = record.data["text"]
        first, last = map(int, record.where.rpartition(":")[2].split("-"))
        if seen and text[:5] == "line ":
            assert first <= int(ends[-1])  # begins with lines of the block before
        ends.append(str(last))
        seen += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen > 200 and ends[-1] == "400001" and peak < 2_000_000


def test_a_packed_source_goes_on_from_any_record(tmp_path: Path) -> None:
    text = lines(*(f"{number} {CLEAN}" for number in range(50)))
    for name in ("c.jsonl", "c.jsonl.gz", "c.jsonl.zst"):
        source = JsonLines([packed(tmp_path / name, text)])
        read = list(source.read({}))
        assert [record.data["text"].split()[0] for record, _ in read] == [str(number) for number in range(50)]
        assert list(source.read(read[19][1])) == read[20:]
    blocks = TextBlocks([packed(tmp_path / "c.txt.gz", "\n".join(text.splitlines() * 200))])
    read = list(blocks.read({}))
    assert len(read) > 3 and list(blocks.read(read[1][1])) == read[2:]
