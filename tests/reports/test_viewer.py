"""The samples viewer finds every answer, shows it as text, and answers nobody but this machine's browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_runs import HOSTILE, MakeRun, hostile_run
from starlette.testclient import TestClient

from mellum_eval.records import Turn
from mellum_eval.store import RunStore
from reports.gather import gather
from reports.index import Question, SampleIndex
from reports.viewer import viewer


def client(index: SampleIndex, report: Path | None = None) -> TestClient:
    return TestClient(viewer(index, report), base_url="http://127.0.0.1:8090")


@pytest.fixture
def index(make_run: MakeRun) -> SampleIndex:
    runs = [make_run("org/a", skill=0.8, suites=["gsm8k", "bfcl"]), make_run("org/b", seed=1, suites=["gsm8k"])]
    return SampleIndex(gather(runs).runs)


def test_every_answer_is_found_by_what_it_is(index: SampleIndex) -> None:
    assert len(index.find(Question())) == 400 + 300 + 400
    mine = index.find(Question(run="org/a", suite="gsm8k", outcome="passed"))
    assert mine
    assert {(index.entries[n].run, index.entries[n].suite, index.entries[n].outcome) for n in mine} == {
        (0, "gsm8k", "passed")
    }


def test_words_are_looked_for_in_prompts_answers_and_verdicts(index: SampleIndex) -> None:
    problems = {index.entries[n].problem for n in index.find(Question(text="returns x plus 17."))}
    assert problems == {"gsm8k/17", "bfcl/17"}
    upper = index.find(Question(text="RETURNS X PLUS 17."))
    assert len(upper) == 3
    assert all(index.entries[n].outcome != "passed" for n in index.find(Question(text="expected 18, got 19")))
    assert index.find(Question(text='a "quoted"\nline that no one wrote')) == []


def test_pages_hold_fifty_and_link_on_with_the_question(index: SampleIndex) -> None:
    with client(index) as browser:
        first = browser.get("/", params={"run": "org/b"})
        assert first.text.count('<th scope="row">') == 50
        assert "400 of 1,100 answers" in first.text
        assert "/?run=org%2Fb&amp;page=2" in first.text
        last = browser.get("/", params={"run": "org/b", "page": "999"})
        assert "Page 8 of 8" in last.text
        for nonsense in ("-1", "x", "１", "9" * 5000):
            assert browser.get("/", params={"page": nonsense}).status_code == 200
        assert "Nothing matches" in browser.get("/", params={"text": "\ud800".encode("utf-8", "replace")}).text


def test_one_answer_is_shown_whole(index: SampleIndex) -> None:
    number = index.find(Question(suite="bfcl", text="returns x plus 17."))[0]
    with client(index) as browser:
        page = browser.get(f"/sample/{number}").text
        assert "def solve_17(x):" in page
        assert "Add 17." in page
        assert browser.get("/sample/99999999").status_code == 404
        assert browser.get("/sample/-1").status_code == 404


def test_a_conversation_is_shown_turn_by_turn(make_run: MakeRun) -> None:
    path = make_run("org/a", suites=["gsm8k"])
    with RunStore.resume(path) as store:
        first = next(store.generations())
        calls = [{"name": "read_file", "arguments": {"path": "a.py"}}]
        heard = [{"role": "tool", "content": "x = 1 # the file"}]
        turns = [
            Turn(text="<think>\nwhere\n</think>\n\nLooking.", finish="stop", tool_calls=calls, messages=heard),
            *(Turn(text=f"turn {number}.", finish="stop") for number in range(100)),
            Turn(text="Done.", finish="stop"),
        ]
        store.add_generation(first.model_copy(update={"turns": turns, "text": "Done.", "answer": "the patch"}))
    index = SampleIndex(gather([path]).runs)
    with client(index) as browser:
        page = browser.get("/sample/0").text
    places = [page.find(text) for text in ("Looking.", "read_file", "x = 1 # the file", "turn 3.", "turn 97.", "Done.")]
    assert places == sorted(places) and places[0] > 0
    assert "turn 50." not in page and "turns are not shown" in page and "the patch" in page


def test_what_a_model_wrote_is_only_text(tmp_path: Path) -> None:
    index = SampleIndex(gather([hostile_run(tmp_path / "run")]).runs)
    with client(index) as browser:
        for url in ("/", "/sample/0"):
            page = browser.get(url).text
            assert "<script>window" not in page
            assert "<img" not in page
            assert "\u202e" not in page
        assert HOSTILE[0].replace("<", "&lt;").replace(">", "&gt;") in browser.get("/sample/0").text
        suite = index.suites[0]
        assert "4 of 4 answers" in browser.get("/", params={"suite": suite}).text


def test_a_page_elsewhere_cannot_reach_it(index: SampleIndex) -> None:
    with client(index) as browser:
        assert browser.get("/", headers={"Host": "evil.example"}).status_code == 400
        assert browser.post("/").status_code == 405
        policy = browser.get("/").text
        assert "default-src 'none'" in policy


def test_an_altered_file_is_one_clear_line(index: SampleIndex, tmp_path: Path) -> None:
    path = next(tmp_path.rglob("generations.jsonl"))
    path.write_bytes(b"x" * path.stat().st_size)
    with TestClient(viewer(index, None), base_url="http://localhost", raise_server_exceptions=False) as browser:
        numbers = [n for n, e in enumerate(index.entries) if index._stores[e.run].path == path.parent]
        answer = browser.get(f"/sample/{numbers[0]}")
        assert answer.status_code == 500
        assert "the file was altered" in answer.text
