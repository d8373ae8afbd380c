"""Suites whose data no mirror here has: on rows made for the test in the data sets' own form, and exit 3 without."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sandboxes.check import ExactCheck, MathCheck
from suites import registry
from suites.knowledge import gpqa, hellaswag, mmlu_pro, winogrande
from suites.knowledge.arc import plain_rows
from suites.math import aime, gsm_plus, hendrycks_math
from suites.sources import DataSource, SourceMissing

HUB_ONLY = ("gsm_plus", "hendrycks_math", "aime:2026", "aime:report", "gpqa", "gpqa:main", "hellaswag", "winogrande")

SWAG = {
    "ind": 24,
    "activity_label": "Roof shingle removal",
    "ctx_a": "A man is sitting on a roof.",
    "ctx_b": "he",
    "label": 3,
    "endings": [
        "is using wrap.",
        "is [header] ripping  tiles.",
        "holds a cube. [title] Then",
        "starts pulling up roofing.",
    ],
    "source_id": "activitynet~v_-JhWjGDPHMY",
}
GRANDE = {
    "qID": "3QHITW7OYO7Q6B6ISU2UMJB84ZLAQE-2",
    "sentence": "Ian ate Dennis's menudo because _ despised eating intestine.",
    "option1": "Ian",
    "option2": "Dennis",
    "answer": "2",
}


@pytest.mark.parametrize("name", HUB_ONLY)
def test_without_data_the_source_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    suite = registry.get(name)
    with pytest.raises(SourceMissing, match=suite.data()[0].file.split("/")[0]):
        suite.problems()


def test_hellaswag_cleans_and_ranks_endings() -> None:
    problem = hellaswag.problem_of(SWAG)
    prompt = registry.get("hellaswag").render(problem, chat=False)
    assert prompt.text == "Roof shingle removal: A man is sitting on a roof. He"
    assert prompt.choices == (
        " is using wrap.",
        " is ripping tiles.",
        " holds a cube.. Then",
        " starts pulling up roofing.",
    )
    assert problem.gold == "Answer: D"
    chat = registry.get("hellaswag").render(problem, chat=True)
    assert "D. starts pulling up roofing." in chat.messages[0].content


def test_winogrande_ranks_one_ending_after_two_beginnings() -> None:
    problem = winogrande.problem_of(GRANDE)
    prompt = registry.get("winogrande").render(problem, chat=False)
    assert prompt.ranked("unused") == (
        ("Ian ate Dennis's menudo because Ian", " despised eating intestine."),
        ("Ian ate Dennis's menudo because Dennis", " despised eating intestine."),
    )
    assert (problem.gold, problem.cluster) == ("Answer: B", "3QHITW7OYO7Q6B6ISU2UMJB84ZLAQE")


def pinned(module: Any, name: str, source: DataSource, data: bytes, root: Path, patch: pytest.MonkeyPatch) -> None:
    path = root / source.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    patch.setenv("MELLUM_DATA_DIR", str(root))
    patch.setattr(module, name, replace(source, sha256=sha256(data).hexdigest()))


def test_winogrande_reads_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("winogrande_1.1/dev.jsonl", json.dumps(GRANDE) + "\n")
    pinned(winogrande, "ARCHIVE", winogrande.ARCHIVE, archive.getvalue(), tmp_path, monkeypatch)
    assert [problem.id for problem in registry.get("winogrande").problems()] == [GRANDE["qID"]]


def test_math_reads_its_archive_in_order_and_shows_train_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        for path in (*hendrycks_math.SHOTS, *(f"MATH/test/algebra/{number}.json" for number in (10, 2))):
            row = {
                "problem": f"What is {path}?",
                "solution": "So $\\boxed{\\frac{1}{2}}$.",
                "type": "Algebra",
                "level": "1",
            }
            data = json.dumps(row).encode()
            member = tarfile.TarInfo(path)
            member.size = len(data)
            files.addfile(member, io.BytesIO(data))
    pinned(hendrycks_math, "ARCHIVE", hendrycks_math.ARCHIVE, archive.getvalue(), tmp_path, monkeypatch)
    hendrycks_math._shots.cache_clear()
    suite = registry.get("hendrycks_math")
    problems = suite.problems()
    assert [problem.id for problem in problems] == ["test/algebra/2.json", "test/algebra/10.json"]
    assert problems[0].check == MathCheck(kind="math", answer="\\frac{1}{2}")
    text = str(suite.render(problems[0], chat=False).text)
    assert text.count("Problem:") == 5
    assert "train/algebra/1.json" in text
    hendrycks_math._shots.cache_clear()


def test_aime_2026_is_read_from_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    out = io.BytesIO()
    rows = {"problem_idx": [1, 2], "problem": ["One?", "Two?"], "answer": [277, 62]}
    parquet.write_table(pyarrow.table(rows), out)
    data = out.getvalue()
    source = replace(aime.YEARS["2026"], sha256=sha256(data).hexdigest())
    monkeypatch.setitem(aime.YEARS, "2026", source)
    (tmp_path / "aime").mkdir()
    (tmp_path / source.file).write_bytes(data)
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path))
    problems = registry.get("aime:2026").problems()
    assert [(problem.id, problem.ask) for problem in problems] == [("aime2026/1", "One?"), ("aime2026/2", "Two?")]
    assert problems[0].check == MathCheck(kind="math", answer="277")


def test_gsm_plus_knows_questions_without_an_answer() -> None:
    row = {
        "question": " How many? ",
        "answer": "1,250",
        "perturbation_type": "numerical substitution",
        "seed_question": "q",
    }
    assert gsm_plus.problem_of(0, row).check == MathCheck(kind="math", answer="1250")
    none = gsm_plus.problem_of(1, row | {"answer": "None", "perturbation_type": "critical thinking"})
    assert isinstance(none.check, ExactCheck)
    assert none.metadata["answerable"] is False
    assert none.gold == "The answer is $\\boxed{None}$."


def test_gpqa_shuffles_by_record_and_keeps_the_right_answer() -> None:
    row = {
        "Record ID": "rec06pnAkLOr2t2mp",
        "Question": "Which?",
        "Correct Answer": "right\n",
        **{f"Incorrect Answer {number}": f"wrong {number}" for number in (1, 2, 3)},
        "High-level domain": "Physics",
        "Subdomain": "Optics",
    }
    letters = set()
    for number in range(40):
        problem = gpqa.problem_of(row | {"Record ID": f"rec{number}"})
        letter = str(problem.gold).removeprefix("Answer: ")
        assert f"{letter}. right" in problem.ask.splitlines()
        letters.add(letter)
    assert letters == set("ABCD")
    assert gpqa.problem_of(row) == gpqa.problem_of(row)


def test_converters_drop_what_hosts_added() -> None:
    hub = {"id": "1", "question": "Q?", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "A", "response": "x"}
    official = {
        "id": "1",
        "question": {"stem": "Q?", "choices": [{"text": "a", "label": "A", "para": "x"}]},
        "answerKey": "A",
    }
    assert plain_rows([("t", json.dumps(hub).encode())]) == plain_rows([("t", json.dumps(official).encode())])
    dump = io.BytesIO()
    row = {
        "question_id": 1,
        "question": "Q",
        "options": ["a"],
        "answer": "A",
        "answer_index": 0,
        "category": "law",
        "src": "s",
    }
    with zipfile.ZipFile(dump, "w") as files:
        files.writestr("a/law.json", json.dumps([row | {"pred": "B", "model_outputs": "x"}]))
    assert json.loads(mmlu_pro.rows_of_dump([("z", dump.getvalue())])) == row
