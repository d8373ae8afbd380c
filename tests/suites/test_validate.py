"""Validation finds what is wrong, and the verbs say it with the contract's exit codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from mellum_eval.cli import main
from sandboxes.check import Answer, Check, ExactCheck, ProgramCheck
from sandboxes.engines import local_tools
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.languages import Language
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import require_languages
from suites import registry
from suites.catalogue import BRIDGES
from suites.problem import Problem
from suites.suite import Suite
from suites.validate import missing_data, validate

NO_SANDBOX: Sandbox = None  # type: ignore[assignment]


class Toy(Suite):
    """Four problems: good gold, bad gold, bad gold that is known, no gold and empty right."""

    name = "toy"
    category = "chat"
    version = "1"
    summary = "a toy"
    wrong_gold = {"c": "a misprint"}  # noqa: RUF012

    def problems(self) -> Sequence[Problem]:
        gold = {"a": "right", "b": "wrong", "c": "wrong", "d": None}
        check = ExactCheck(kind="exact", answer="right")
        return [Problem(id=name, ask=name, check=check, gold=answer) for name, answer in gold.items()]

    def empty_is_right(self, problem: Problem) -> bool:
        return problem.id == "d"


async def only_right(check: Check, answer: Answer) -> Verdict:
    right = answer == "right"
    return Verdict(Outcome.PASSED if right else Outcome.FAILED, float(right), message="no")


async def test_every_finding_is_named_and_known_faults_are_not() -> None:
    seen: list[tuple[int, int]] = []
    result = await validate(Toy(), NO_SANDBOX, only_right, progress=lambda done, total: seen.append((done, total)))
    assert (result.problems, result.with_gold, result.gold_passed, result.empty_passed) == (4, 3, 1, 0)
    assert result.empty_right == 1
    assert result.known == {"c": "a misprint"}
    assert [(finding.problem, finding.answer) for finding in result.findings] == [("b", "gold"), ("d", "empty")]
    assert "b: gold answer should pass, but is failed (no)" in map(str, result.findings)
    assert not result.ok
    assert seen[-1] == (7, 7)


class WithWrong(Toy):
    """Two problems with an answer that the data knows to be wrong; the tests let one of them pass."""

    right_wrong = {"a": "tests too few"}  # noqa: RUF012

    def problems(self) -> Sequence[Problem]:
        check = ExactCheck(kind="exact", answer="right")
        return [
            Problem(id="a", ask="a", check=check, gold="right", wrong=("right",)),
            Problem(id="b", ask="b", check=check, gold="right", wrong=("wrong", "right")),
        ]


async def test_answers_that_are_known_to_be_wrong_must_not_pass() -> None:
    result = await validate(WithWrong(), NO_SANDBOX, only_right)
    assert (result.with_wrong, result.wrong_passed, result.let_pass) == (3, 2, {"a": "tests too few"})
    wrong = [finding for finding in result.findings if finding.answer == "wrong"]
    assert [(finding.problem, finding.expected) for finding in wrong] == [("b", "fail")]


class PassesEmpty(Toy):
    """Without wrong answers in the data, an empty one that passes is the known one."""

    right_wrong = {"a": "its tests call nothing", "b": "nor do these, it says"}  # noqa: RUF012
    wrong_gold = {}  # noqa: RUF012

    def problems(self) -> Sequence[Problem]:
        return [Problem(id=name, ask=name, check=ExactCheck(kind="exact", answer=name)) for name in "abc"]


async def test_an_empty_answer_that_is_known_to_pass_must_pass() -> None:
    async def nothing_called(check: Check, answer: Answer) -> Verdict:
        passes = isinstance(check, ExactCheck) and check.answer in "ac"
        return Verdict(Outcome.PASSED if passes else Outcome.FAILED, float(passes))

    result = await validate(PassesEmpty(), NO_SANDBOX, nothing_called)
    assert result.let_pass == PassesEmpty.right_wrong
    assert [(finding.problem, finding.expected) for finding in result.findings] == [("b", "pass"), ("c", "fail")]


async def test_a_verifier_that_passes_everything_is_found_out() -> None:
    async def everything(check: Check, answer: Answer) -> Verdict:
        return Verdict(Outcome.PASSED, 1.0)

    result = await validate(Toy(), NO_SANDBOX, everything)
    assert [(f.problem, f.answer) for f in result.findings] == [
        ("a", "empty"),
        ("b", "empty"),
        ("c", "empty"),
        ("c", "gold"),
    ]


async def test_what_could_not_be_judged_is_no_pass() -> None:
    async def broken(check: Check, answer: Answer) -> Verdict:
        return Verdict(Outcome.INFRA_ERROR, None, message="lost")

    result = await validate(Toy(), NO_SANDBOX, broken)
    assert len(result.findings) == 7


async def test_what_could_not_be_judged_at_first_is_judged_again() -> None:
    seen: dict[tuple[str, str], int] = {}

    async def shaky(check: Check, answer: Answer) -> Verdict:
        key = (str(check), str(answer))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 1:
            return Verdict(Outcome.INFRA_ERROR, None, message="lost")
        return await only_right(check, answer)

    result = await validate(Toy(), NO_SANDBOX, shaky, at_once=1)
    assert [(finding.problem, finding.answer) for finding in result.findings] == [("b", "gold"), ("d", "empty")]


def test_a_suite_whose_checks_cannot_be_made_is_a_finding_and_the_others_are_validated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Suite, sandbox: Sandbox, **given: object) -> Sequence[Problem]:
        raise SandboxError("the machine stood still")

    monkeypatch.setattr(type(registry.get("quick_safety")), "prepare", broken)
    code, out, _ = run(capsys, "suites", "validate", "quick_safety", "quick_chat", "--sandbox", "local")
    assert code == 1 and "quick_chat: gold 40/40, empty 0/40" in out
    assert "quick_safety: FAILED, its checks could not be made: the machine stood still" in out


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path / "mirror"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_list_names_every_suite_once(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "suites", "list", "--json")
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["name"] for row in rows] == [entry.name for entry in (*registry.entries(), *BRIDGES.values())]
    code, out, _ = run(capsys, "suites", "list")
    assert all(entry.summary in out for entry in registry.entries())


def test_show_shows_a_prompt_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "suites", "show", "quick_tools", "-n", "2")
    assert code == 0
    assert out.count("--- quick_tools/") == 2
    assert '"name"' in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["suites", "show", "nothing"], 2, "unknown suite 'nothing'"),
        (["suites", "validate", "gsm8"], 2, "did you mean gsm8k"),
        (["suites", "validate", "--sandbox", "none", "quick_math"], 2, "--sandbox"),
        (["suites", "validate", "gsm8k"], 3, "mellum-eval data fetch gsm8k"),
        (["suites", "show", "gsm8k"], 3, "mellum-eval data fetch gsm8k"),
        (["suites", "validate", "multipl_e:rb"], 3, "no sandbox image has the tools of 'rb'; choose from multipl_e:"),
        (["run", "mock:perfect", "-s", "multipl_e:scala"], 3, "no sandbox image has the tools of 'scala'"),
        (["data", "verify", "gsm8k"], 3, "mellum-eval data fetch gsm8k"),
        (["data", "verify", "gsm9k"], 2, "did you mean gsm8k"),
        (["data", "fetch"], 2, "--all"),
    ],
)
def test_errors_are_one_line_with_the_contracts_code(
    no_data: None, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    got, _, err = run(capsys, *arguments)
    assert got == code
    assert said in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("verb", [["suites", "validate"], ["run", "mock:perfect", "--suite"]])
def test_a_language_without_its_tools_is_one_line_before_anything_is_asked(
    verb: list[str],
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local_tools, "missing", lambda language: list(language.commands))
    code, out, err = run(capsys, *verb, "multipl_e:cs", "--sandbox", "local")
    assert (code, out) == (3, "")
    (line,) = [line for line in err.splitlines() if "C#" in line]
    assert "mellum-eval sandbox build --from-debian --family dotnet" in line
    assert not list(tmp_path.iterdir())


async def test_every_language_that_is_missing_is_named_at_once() -> None:
    class NoTools:
        async def require(self, language: Language) -> None:
            if language.name != "go":
                raise SandboxUnavailable(f"no tools for {language.title}", f"build {language.family}")

    checks = [
        ProgramCheck(kind="program", language=language, tests="x")
        for language in ("java", "go", "kotlin", "php", "python", "java")
    ]
    with pytest.raises(SandboxUnavailable) as caught:
        await require_languages(NoTools(), [ExactCheck(kind="exact", answer="x"), *checks])  # type: ignore[arg-type]
    assert str(caught.value) == (
        "no tools for Java, and no tools for Kotlin, and no tools for PHP; build jvm; build php"
    )


def test_validate_without_names_lists_what_has_no_data(
    no_data: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Generated and bundled suites have their data always.
    entries = [entry for entry in registry.entries() if registry.get(entry.name).sources]
    monkeypatch.setattr(registry, "entries", lambda: tuple(entries))
    code, out, _ = run(capsys, "suites", "validate")
    assert code == 0
    assert len(out.splitlines()) == len(entries)
    for entry in entries:
        judged = registry.get(entry.name).needs_judge
        assert f"{entry.name}: {'only a judge model grades it' if judged else 'no data at hand'}" in out


def test_data_says_where_files_are_and_whether_they_are_the_pinned_ones(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror" / "gsm8k"
    mirror.mkdir(parents=True)
    for name in ("test.jsonl.gz", "train.jsonl.gz"):
        (mirror / name).write_bytes((data_dir / "gsm8k" / name).read_bytes())
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path / "mirror"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, out, _ = run(capsys, "data", "status", "gsm8k", "xstest")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["mirror", "mirror", "missing"]
    assert "MIT" in out
    assert "CC-BY-4.0" in out
    assert run(capsys, "data", "verify", "gsm8k")[0] == 0
    (mirror / "test.jsonl.gz").write_bytes(b"altered")
    code, out, err = run(capsys, "data", "verify", "gsm8k")
    assert code == 2
    assert "ALTERED  gsm8k/test.jsonl.gz" in out
    assert "sha256" in err
    assert run(capsys, "suites", "show", "gsm8k")[0] == 2


def test_a_suite_without_its_files_says_which(no_data: None) -> None:
    assert missing_data(registry.get("bfcl:irrelevance")) == ("bfcl_v4/BFCL_v4_irrelevance.json",)
    assert missing_data(registry.get("quick_math")) == ()


def test_folders_of_the_mirror_are_names_for_data_too(no_data: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "status", "bfcl_v4")
    named = (source for entry in registry.entries() for source in registry.get(entry.name).sources)
    files = {source.file for source in named if source.file.startswith("bfcl_v4/")}
    assert code == 0
    assert len(out.splitlines()) == len(files) > len(registry.get("bfcl").sources)
