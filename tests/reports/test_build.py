"""The files of a report: what they say, that they are whole, and that nothing hostile gets out of its place."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_runs import MakeRun, hostile_run

from mellum_eval.errors import UserError
from reports.baselines import load
from reports.build import FORMATS, ReportPaths, build_report


class Page(HTMLParser):
    """The elements of a page, as a browser's tokenizer sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements:
            self.inside.append((self.elements[-1][0], data))


def text_of(paths: ReportPaths, kind: str) -> str:
    path = paths.of(kind)
    assert path is not None
    return str(path.read_bytes().decode("utf-8"))


@pytest.fixture
def report(make_run: MakeRun, tmp_path: Path) -> ReportPaths:
    runs = [
        make_run("org/good", skill=0.9, seed=1, suites=["humaneval_plus", "mmlu_redux", "harm_rate"]),
        make_run("org/bad", skill=0.3, seed=2, suites=["humaneval_plus", "harm_rate"], infra=5),
    ]
    return build_report(runs, baselines=["mellum2-report"], out=tmp_path / "out")


def test_all_formats_are_written_and_the_same_again(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("a", suites=["gsm8k"]), make_run("b", suites=["gsm8k"])]
    one = build_report(runs, out=tmp_path / "one")
    two = build_report(runs, out=tmp_path / "two")
    assert [path.name for path in one.written] == [f"report.{kind}" for kind in FORMATS]
    assert [path.read_bytes() for path in one.written] == [path.read_bytes() for path in two.written]
    assert sorted(os.listdir(tmp_path / "one")) == sorted(path.name for path in one.written)
    assert not one.partial


def test_markdown_says_the_numbers_their_intervals_and_the_best(report: ReportPaths) -> None:
    data = json.loads(text_of(report, "json"))
    markdown = text_of(report, "md")
    good = next(run for run in data["measured"] if run["model"] == "org/good")
    metric = good["suites"]["humaneval_plus"]["metrics"]["pass@1"]
    lo, hi = (100 * end for end in metric["ci95"])
    assert f"**{100 * metric['value']:.1f}** (1) [{lo:.1f}, {hi:.1f}]" in markdown
    # harm_rate is lower-is-better: the run that passes less is the better one there
    row = next(line for line in markdown.split("### safety")[1].splitlines() if line.startswith("| org/bad"))
    assert "**" in row
    assert "harm\\_rate ↓" in markdown
    assert "not run" in next(line for line in markdown.split("### knowledge")[1].splitlines() if "org/bad" in line)
    assert "infra\\_error 10" in markdown


def test_csv_has_a_line_for_each_number(report: ReportPaths) -> None:
    lines = list(csv.DictReader(io.StringIO(text_of(report, "csv"))))
    measured = [line for line in lines if line["kind"] == "measured"]
    assert {(line["model"], line["suite"]) for line in measured} == {
        *(("org/good", suite) for suite in ("humaneval_plus", "mmlu_redux", "harm_rate")),
        *(("org/bad", suite) for suite in ("humaneval_plus", "harm_rate")),
    }
    for line in measured:
        assert float(line["ci95_lo"]) <= float(line["value"]) <= float(line["ci95_hi"])
        assert line["best_or_tied"] == ("" if line["suite"] == "mmlu_redux" else str(line["tier"] == "1"))
    published = [line for line in lines if line["kind"] == "published"]
    assert len(published) == sum(1 for _ in load("mellum2-report").values())
    assert all("arxiv.org/abs/2605.31268" in line["source"] and not line["ci95_lo"] for line in published)


def test_baselines_alone_reproduce_the_published_tables(tmp_path: Path) -> None:
    paths = build_report([], baselines=["mellum2-report"], out=tmp_path, formats=["md", "html"])
    markdown, page = text_of(paths, "md"), text_of(paths, "html")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in markdown.splitlines() if line.startswith("| ")]
    baseline = load("mellum2-report")
    for table in baseline.tables:
        for key, values in table.rows.items():
            benchmark = baseline.benchmarks[key]
            wanted = ["–" if value is None else f"{value:.1f}" for value in values]
            assert any(row[1:] == wanted for row in rows), benchmark.name
            cells = "".join(rf"<td[^>]*>(?:<span class=\"none\">)?{re.escape(w)}(?:</span>)?</td>" for w in wanted)
            assert re.search(cells, page), benchmark.name
    assert "HarmBench ↓" in markdown
    assert paths.of("csv") is None
    assert "Leaderboard" not in page


def test_published_rows_stand_apart_and_are_never_ranked(report: ReportPaths) -> None:
    page = text_of(report, "html")
    measured, *parts = page.split('<tbody class="published">')
    published = "".join(part.split("</tbody>")[0] for part in parts)
    assert "Qwen2.5-7B" in published
    assert "Qwen2.5-7B" not in measured
    assert "not measured here" in published
    assert 'class="tier"' not in published
    assert " best" not in re.sub(r"<title>.*?</title>", "", published)


@pytest.fixture
def with_overall(make_run: MakeRun, tmp_path: Path) -> Path:
    """A run with one whole score over several suites, one that lacks a category, and a hostile one."""
    path = make_run("org/tools", suites=["bfcl"])
    scores = json.loads((path / "scores.json").read_text())
    scores["overall"] = {
        "bfcl_multi_turn": {"value": 0.421, "ci95": [0.4, 0.442], "stderr": 0.01, "missing": []},
        "bfcl_v4_report": {"value": None, "ci95": None, "stderr": None, "missing": ["memory_kv", "<b>x"]},
    }
    (path / "scores.json").write_text(json.dumps(scores))
    return path


def test_scores_over_several_suites_are_shown_and_what_they_lack_is_named(with_overall: Path, tmp_path: Path) -> None:
    paths = build_report([with_overall], baselines=["mellum2-report"], out=tmp_path / "out")
    page = text_of(paths, "html").split('<h2 id="overall">')[1].split("</table>")[0]
    measured, published = page.split('<tbody class="published">', 1)
    assert '<span class="v">42.1</span><span class="ci">40.0 – 44.2</span>' in measured
    assert "not run: memory_kv, &lt;b&gt;x" in measured
    # The report's own figures for Mellum 2 Instruct, under the scores that weigh the same categories.
    assert re.search(r'<span class="v">66.3</span></td><td[^>]*><span class="v">44.2</span>', published)
    assert "not measured here" in published
    assert "| org/tools | 42.1 [40.0, 44.2] | not run: memory" in text_of(paths, "md")
    lines = list(csv.DictReader(io.StringIO(text_of(paths, "csv"))))
    assert [(line["suite"], line["value"]) for line in lines if line["category"] == "overall"] == [
        ("bfcl_multi_turn", "0.421")
    ]
    measured_json = json.loads(text_of(paths, "json"))["measured"][0]
    assert measured_json["overall"]["bfcl_v4_report"]["missing"][0] == "memory_kv"
    assert "42.1 {\\scriptsize [40.0--44.2]}" in text_of(paths, "tex")


def test_what_is_no_share_has_a_table_of_its_own(make_run: MakeRun, tmp_path: Path) -> None:
    path, other = make_run("org/reads", suites=["gsm8k"]), make_run("org/other", suites=["gsm8k"])
    scores = json.loads((path / "scores.json").read_text())
    scores["suites"]["gsm8k"]["measures"] = {"<b>perplexity": {"value": 12.25, "ci95": [11.5, 13.0], "stderr": 0.4}}
    (path / "scores.json").write_text(json.dumps(scores))
    paths = build_report([path, other], baselines=[], out=tmp_path / "out")
    page = text_of(paths, "html").split('<h2 id="measures">')[1].split("</table>")[0]
    assert '<span class="metric">&lt;b&gt;perplexity</span>' in page
    assert '<span class="v">12.25</span><span class="ci">11.5 – 13</span>' in page and page.count("not run") == 1
    assert "| org/reads | 12.25 [11.5, 13] |" in text_of(paths, "md")
    lines = [line for line in csv.DictReader(io.StringIO(text_of(paths, "csv"))) if line["category"] == "measure"]
    assert [(line["model"], line["value"]) for line in lines] == [("org/reads", "12.25")]
    scores["suites"]["gsm8k"]["measures"]["<b>perplexity"]["ci95"] = [13.0, 11.5]
    (path / "scores.json").write_text(json.dumps(scores))
    page = text_of(build_report([path, other], baselines=[], out=tmp_path / "out"), "html")
    assert "no number with its interval" in page and '<h2 id="measures">' not in page


@pytest.mark.parametrize(
    "altered",
    [
        {"value": 1.5, "ci95": [0.4, 1.6], "stderr": 0.01, "missing": []},
        {"value": 0.5, "ci95": [0.6, 0.7], "stderr": 0.01, "missing": []},
        {"value": 0.5, "ci95": None, "stderr": None, "missing": []},
        {"value": None, "ci95": None, "stderr": None, "missing": []},
    ],
)
def test_an_overall_score_that_can_be_none_is_left_out_and_said(
    with_overall: Path, tmp_path: Path, altered: dict[str, object]
) -> None:
    scores = json.loads((with_overall / "scores.json").read_text())
    scores["overall"]["bfcl_multi_turn"] = altered
    (with_overall / "scores.json").write_text(json.dumps(scores))
    paths = build_report([with_overall], out=tmp_path / "out")
    data = json.loads(text_of(paths, "json"))
    assert data["partial"]
    assert "overall.bfcl_multi_turn" in data["notices"][0]["text"]
    assert data["measured"][0]["overall"].keys() == {"bfcl_v4_report"}


def test_the_page_is_whole_and_fetches_nothing(report: ReportPaths) -> None:
    text = text_of(report, "html")
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 2
    assert tags.count("style") == 1
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") or name in ("src", "style", "srcdoc") for name in attributes), tag
        if "href" in attributes:
            assert tag in ("a", "use")
            assert str(attributes["href"]).startswith("#" if tag == "use" else ("#", "https://arxiv.org/"))
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for t, a in page.elements if t == "a" and str(a.get("href")).startswith("#")} <= set(ids)


def test_the_page_shows_partial_runs_and_goes_on(make_run: MakeRun, tmp_path: Path) -> None:
    sound, foreign = make_run("sound", suites=["gsm8k"]), tmp_path / "foreign"
    foreign.mkdir()
    paths = build_report([foreign, sound], out=tmp_path / "out")
    assert paths.partial
    assert any(notice.bad and str(foreign) in notice.text for notice in paths.notices)
    for kind in ("html", "md", "json"):
        text = text_of(paths, kind)
        assert "sound" in text
        assert "partial" in text
        assert "not a run directory" in text


def test_more_than_one_per_cent_infra_is_marked(report: ReportPaths) -> None:
    assert re.search(r'class="alarm">\s*3\.8<', text_of(report, "html"))


def test_samples_show_every_way_to_fail(report: ReportPaths) -> None:
    text = text_of(report, "html")
    found = re.search(r'id="samples-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    samples = json.loads(found[1])
    mine = [s for s in samples if s["run"] == "org/bad" and s["suite"] == "humaneval_plus"]
    assert {s["outcome"] for s in mine} >= {"failed", "timeout", "unparsed", "infra_error", "passed"}
    assert all("</think>" not in s["text"] and "Add" in s["reasoning"] for s in mine)
    assert all(s["prompt"][0]["text"].startswith("Write solve_") for s in mine)
    assert all(s["message"] for s in mine if s["outcome"] != "passed")


def test_nothing_hostile_gets_out_of_its_place(tmp_path: Path, make_run: MakeRun) -> None:
    paths = build_report([hostile_run(tmp_path / "run")], out=tmp_path / "out")
    assert not paths.notices
    for path in paths.written:
        text = path.read_bytes().decode("utf-8")
        seen = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}} - {"\n", "\r", "\t"}
        assert not seen, path.name
    text = text_of(paths, "html")
    ours = Page(text_of(build_report([make_run("a/b", suites=["gsm8k"])], out=tmp_path / "ours"), "html"))
    page = Page(text)
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in ours.elements}
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "{{ 7*7 }}" in text
    lines = text_of(paths, "md").splitlines()
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")]
    assert all(width in (4, 6) for width in widths)
    assert not any(re.search(r"(?<!\\)(<|\[(?!\d))|https?:", line) for line in lines)
    for row in csv.reader(io.StringIO(text_of(paths, "csv"))):
        assert len(row) == 19
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for cell in row)
    json.loads(text_of(paths, "json"))


def test_a_page_of_long_answers_stays_small(tmp_path: Path, make_run: MakeRun) -> None:
    paths = [make_run(f"model-{i}") for i in range(2)]
    for path in paths:
        lines = []
        for line in (path / "generations.jsonl").read_text("utf-8").splitlines():
            lines.append(json.dumps(json.loads(line) | {"text": "<" * 20_000, "reasoning": "&" * 20_000}))
        (path / "generations.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    made = build_report(paths, out=tmp_path / "out", formats=["html"])
    page = made.of("html")
    assert page is not None
    assert page.stat().st_size < 1_500_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formats": ["pdf"]}, "no report format named 'pdf'; there are: html, md, csv, json"),
        ({"baselines": ["nope"]}, "no baseline named 'nope'"),
        ({}, "nothing to report"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_report([], out=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UserError, match=r"/file: .*; choose another --out"):
        build_report([], baselines=["mellum2-report"], out=tmp_path / "file", formats=["md"])
