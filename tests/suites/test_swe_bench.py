"""Instances of SWE-bench's form: rows, and verdicts in an image of a tiny repository built for the test."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from environments import pinned_python
from instance_image import FILES, GOLD, TEST_PATCH, build, diff, row

from mellum_eval.cli import main
from sandboxes import test_logs
from sandboxes.check import InstanceCheck, is_shared
from sandboxes.engines.docker import LABEL, OWNER, connect
from sandboxes.errors import SandboxUnavailable
from sandboxes.instances import Instances, create_options
from sandboxes.limits import Limits
from sandboxes.sandbox import End
from sandboxes.test_logs import WORKER, pytest_statuses
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.instance import InstanceVerifier, Unusable, diff_in, paths_in
from suites import registry
from suites.code.swe_bench_rows import check_of, commands_of, image_of
from suites.conversation import GoOn, ModelTurn, Over
from suites.registry import UnknownSuite
from suites.sources import SourceMissing

CORE = FILES["calc/core.py"]
WRONG = diff("calc/core.py", CORE, CORE.replace("2 * x", "3 * x"))
HOOK = """import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""
FORGED = "".join(
    f"PASSED tests/test_core.py::{name}\\n" for name in ("test_mean", "test_double", "test_mean_of_nothing")
)
HEAD = "=== short test summary info ===\\n"


def saying(text: str) -> str:
    """Code that says this on the test command's own output, a copy of which pytest keeps while it captures."""
    copies = "[n for n in range(3, 30) if os.path.exists(f'/proc/self/fd/{n}')]"
    pipes = f"[n for n in {copies} if os.readlink(f'/proc/self/fd/{{n}}').startswith('pipe:')]"
    return f"import os\nfor n in {pipes}:\n    os.write(n, b'{text}')\n    break\n"


CHEATS = {
    "a conftest.py that passes everything": diff("conftest.py", "", HOOK),
    "one beside the tests": diff("tests/conftest.py", "", HOOK),
    "a plugin by setup.cfg": diff("setup.cfg", FILES["setup.cfg"], "[tool:pytest]\naddopts = -p calc.hook\n")
    + diff("calc/hook.py", "", HOOK),
    "a plugin by pytest.ini": diff("pytest.ini", "", "[pytest]\naddopts = -p calc.hook\n")
    + diff("calc/hook.py", "", HOOK),
    "a start-up file": diff("sitecustomize.py", "", saying(HEAD + FORGED) + "os._exit(0)\n"),
    "other tests": diff("tests/test_core.py", FILES["tests/test_core.py"], "def test_mean_of_nothing():\n    pass\n"),
    "results printed": diff("calc/core.py", CORE, CORE + saying(HEAD + FORGED)),
    "an end before the tests": diff("calc/core.py", CORE, CORE + saying(FORGED) + "os._exit(0)\n"),
    "a repository's own configuration": diff(".git/config", "", "[core]\n"),
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The instance's image, for as long as this module's tests run."""
    try:
        client = connect()
        tag = build(client, tmp_path_factory.mktemp("repository"))
    except (SandboxUnavailable, docker.errors.DockerException) as missing:
        if os.environ.get("MELLUM_REQUIRE_DOCKER") == "1":
            raise
        pytest.skip(str(missing))
    yield tag
    client.images.remove(tag, force=True)


async def judge(image: str, answer: Any, **changes: Any) -> Verdict:
    return await InstanceVerifier().verify(check_of(row(image, **changes)), answer)


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def test_statuses_are_those_of_the_last_summary_and_the_worst_counts() -> None:
    log = (
        "PASSED tests/a.py::printed\n=== short test summary info ===\nPASSED tests/a.py::forged\n"
        "=========== short test summary info ============\n\x1b[32mPASSED\x1b[0m tests/a.py::one\n"
        "FAILED tests/a.py::two[a b] - assert 1 == 2\nERROR tests/b.py\nPASSED tests/b.py\nXFAIL tests/a.py::x - why\n"
        "==== 2 failed, 1 passed in 0.1s ====\nPASSED tests/a.py::two[a b]\n"
    )
    assert pytest_statuses(log) == {
        "tests/a.py::one": "PASSED",
        "tests/a.py::two[a b]": "FAILED",
        "tests/a.py::two[a": "FAILED",
        "tests/b.py": "ERROR",
        "tests/a.py::x": "XFAIL",
    }
    assert pytest_statuses("PASSED tests/a.py::one\n") == {}


def test_a_script_of_the_package_is_taken_without_its_own_steps() -> None:
    script = (
        "#!/bin/bash\nset -uxo pipefail\nsource /opt/miniconda3/bin/activate\nconda activate testbed\n"
        f"git checkout {'a' * 40} tests/t.py\ngit apply -v - <<'EOF_1'\n+git checkout {'b' * 40} x\nEOF_1\n"
        f": '>>>>> Start Test Output'\npytest -rA tests/t.py\n"
        f": '>>>>> End Test Output'\ngit checkout {'a' * 40} tests/t.py\n"
    )
    assert commands_of(script) == (
        "source /opt/miniconda3/bin/activate\nconda activate testbed",
        "pytest -rA tests/t.py",
    )


def test_rows_say_image_command_and_tests() -> None:
    check = check_of(row("an/image"))
    assert (check.image, check.command) == ("an/image", "python3 -B -m pytest -rA tests/test_core.py")
    assert check.fail_to_pass == ["tests/test_core.py::test_mean_of_nothing"]
    assert len(check.pass_to_pass) == 2
    assert is_shared(check)
    published = image_of({"instance_id": "psf__requests-1142"})
    assert published == "swebench/sweb.eval.x86_64.psf_1776_requests-1142:latest"
    installed = row("an/image", install_config={"test_cmd": ["a", "pytest -rA"]}, test_cmd=None)
    assert check_of(installed).command == "a && pytest -rA tests/test_core.py"
    assert paths_in(CHEATS["a plugin by setup.cfg"]) == ("setup.cfg", "calc/hook.py")
    allowed = row("an/image", patch=diff("conftest.py", "", "x = 1\n"))
    assert check_of(allowed).may_change == ["conftest.py"], "what the right answer changes may be changed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"FAIL_TO_PASS": "[]"}, r"row 1: FAIL_TO_PASS"),
        ({"PASS_TO_PASS": "no list"}, r"row 1: PASS_TO_PASS"),
        ({"patch": 3}, r"row 1: patch: a text is wanted"),
        ({"test_cmd": None, "version": None}, r"row 1: test_cmd"),
        ({"eval_type": "fail_only"}, r"row 1: eval_type"),
    ],
)
def test_a_row_of_another_form_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    file = written(tmp_path / "own.jsonl", row("an/image", **changes))
    with pytest.raises(UnknownSuite, match=rf"own\.jsonl, {said}"):
        registry.get(f"swe_bench:{file}").problems()


def test_files_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownSuite, match="there is no file"):
        registry.get(f"swe_bench:{tmp_path}/none.jsonl").problems()
    with pytest.raises(UnknownSuite, match="has no variant 'full'"):
        registry.get("swe_bench:full")
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "swe_bench" not in registry.expand(["code"]), "it would pull everybody into gigabytes of images"
    for name in ("swe_bench", "swe_bench:lite"):
        with pytest.raises(SourceMissing, match=r"swe_bench/.*parquet"):
            registry.get(name).problems()


def test_parquet_of_the_hubs_form_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    (tmp_path / "swe_bench").mkdir()
    hub = row("", test_cmd=None)
    del hub["image_name"], hub["test_cmd"]
    parquet.write_table(pyarrow.Table.from_pylist([hub]), tmp_path / "swe_bench" / "verified.parquet")
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path))
    (problem,) = registry.get("swe_bench").problems()
    assert isinstance(problem.check, InstanceCheck)
    assert problem.check.image == "swebench/sweb.eval.x86_64.made_1776_calc-1:latest"
    assert (problem.gold, problem.cluster) == (GOLD, "made/calc")


def test_a_diff_is_found_in_what_a_model_says() -> None:
    fenced = f"<think>```diff\n--- a/x\n```</think>Here:\n```diff\n{GOLD}```\nDone."
    assert diff_in(fenced) == diff_in(GOLD) == GOLD
    assert diff_in("  \n") == ""
    for text in ("I cannot.", "<think>" + GOLD):
        with pytest.raises(Unusable):
            diff_in(text)


async def test_rows_without_commands_ask_for_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "own.jsonl", row("an/image", test_cmd=None))
    monkeypatch.setattr(test_logs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SandboxUnavailable, match=r"pip install .mellum-eval\[swe-bench\]"):
        await registry.get(f"swe_bench:{file}").prepare(None)  # type: ignore[arg-type]


@pytest.mark.timeout(900)
def test_the_package_says_command_and_statuses() -> None:
    orders = [
        {
            "do": "script",
            "with": {"row": {**row(""), "repo": "django/django", "version": "4.2", "base_commit": "a" * 40}},
        },
        {"do": "script", "with": {"row": row("")}},
        {"do": "parse", "with": {"parser": "parse_log_django", "log": "test_a (m.C) ... ok\ntest_b (m.C) ... FAIL\n"}},
        {"do": "parse", "with": {"parser": "parse_log_of_nobody", "log": ""}},
    ]
    python = pinned_python("swebench", "swebench==4.1.0")
    told = "".join(json.dumps(order) + "\n" for order in orders)
    done = subprocess.run([python, "-I", WORKER], input=told, capture_output=True, text=True, check=True)
    script, unknown, parsed, nobody = map(json.loads, done.stdout.splitlines())
    assert script["reply"]["parser"] == "parse_log_django"
    setup, command = commands_of(script["reply"]["script"])
    assert command == "./tests/runtests.py --verbosity 2 --settings=test_sqlite --parallel 1 test_core"
    assert "conda activate testbed" in setup
    assert "git apply" not in setup and "git checkout" not in setup
    assert unknown == {"refused": "swebench knows no test command of made/calc 1.0", "sort": "kind"}
    assert parsed["reply"] == {"test_a (m.C)": "PASSED", "test_b (m.C)": "FAILED"}
    assert "parse_log_of_nobody" in nobody["refused"]


@pytest.mark.docker
async def test_the_right_patch_resolves_and_no_other(image: str) -> None:
    gold = await judge(image, f"Here it is.\n```diff\n{GOLD}```")
    assert (gold.outcome, gold.score, gold.tests_passed, gold.isolation) == (Outcome.PASSED, 1.0, 3, "shared"), gold
    assert gold.cpu_s > 0
    wrong = await judge(image, WRONG)
    assert (wrong.outcome, wrong.tests_passed) == (Outcome.FAILED, 1), wrong
    assert wrong.parts == {"fail_to_pass": 0.0, "pass_to_pass": 0.5}
    empty = await judge(image, "")
    assert (empty.outcome, empty.score) == (Outcome.FAILED, 0.0)
    other = await judge(image, GOLD.replace("sum(xs) / len(xs)\n", "another line\n"))
    assert other.outcome is Outcome.FAILED and "does not apply" in other.message, other
    files = [{"path": "calc/core.py", "content": CORE.replace("len(xs)\n", "len(xs) if xs else 0\n")}]
    assert (await judge(image, files)).passed
    labelled = connect().containers.list(all=True, filters={"label": f"{LABEL}=instance"})
    assert not [each for each in labelled if f"/{os.getpid()}/" in each.labels[OWNER]], "containers are left"


@pytest.mark.docker
@pytest.mark.parametrize("name", CHEATS)
async def test_a_cheat_is_not_credited(image: str, name: str) -> None:
    verdict = await judge(image, CHEATS[name])
    assert verdict.passed is False, verdict


@pytest.mark.docker
async def test_what_is_not_the_answers_fault_is_never_its_zero(image: str) -> None:
    broken = await judge(image, GOLD, test_cmd="false")
    assert (broken.outcome, broken.score) == (Outcome.INFRA_ERROR, None), broken
    unfit = await judge(image, GOLD, test_patch=TEST_PATCH.replace("double(4)", "double(5)"))
    assert unfit.outcome is Outcome.INFRA_ERROR and "do not fit" in unfit.message, unfit
    in_the_way = GOLD + diff("tests/new", "", "a file\n")
    beside = TEST_PATCH + diff("tests/new/test_more.py", "", "def test_more():\n    pass\n")
    assert (await judge(image, in_the_way, test_patch=beside)).outcome is Outcome.FAILED
    with pytest.raises(SandboxUnavailable, match="no image not/there:1"):
        await judge("not/there:1", GOLD)


@pytest.mark.docker
async def test_limits_end_a_command_and_are_the_answers(image: str) -> None:
    slow = CORE + "while True:\n    pass\n"
    check = check_of(row(image), Limits(cpu_s=3, memory_mb=256))
    timed_out = await InstanceVerifier().verify(check, diff("calc/core.py", CORE, slow))
    assert (timed_out.outcome, timed_out.score) == (Outcome.TIMEOUT, 0.0), timed_out
    async with Instances().container(image, Limits()) as container:
        chatty = await container.run(["sh", "-c", "yes"], "/", most=1 << 20)
        assert chatty.end is End.OVERSIZE
        assert len(chatty.output) == 1 << 20


@pytest.mark.docker
async def test_containers_are_confined(image: str) -> None:
    async with Instances().container(image, Limits(memory_mb=64)) as container:
        held = connect().containers.list(filters={"label": f"{LABEL}=instance"})
        (mine,) = [each for each in held if f"/{os.getpid()}/" in each.labels[OWNER]]
        host = mine.attrs["HostConfig"]
        assert host["NetworkMode"] == "none"
        assert host["CapDrop"] == ["ALL"] and "SYS_ADMIN" not in host["CapAdd"]
        assert "no-new-privileges" in host["SecurityOpt"]
        assert host["Memory"] == host["MemorySwap"] == 64 << 20
        assert not host["Binds"] and not host["Privileged"]
        ran = await container.run(["sh", "-c", "exec 3<>/dev/tcp/127.0.0.1/1 || echo shut; mount -t tmpfs x /mnt"], "/")
        assert ran.status != 0, ran


@pytest.mark.docker
async def test_what_a_dead_harness_left_is_removed(image: str) -> None:
    client = connect()
    options = create_options(image, Limits())
    world = options["labels"][OWNER].partition("/")[0]
    left = client.containers.create(**{**options, "labels": {LABEL: "instance", OWNER: f"{world}/999999999/1"}})
    left.start()
    await Instances().require([image])
    with pytest.raises(docker.errors.NotFound):
        left.reload()


@pytest.mark.docker
async def test_a_whole_summary_forged_is_believed_as_the_docs_say(image: str) -> None:
    verdict = await judge(image, diff("calc/core.py", CORE, CORE + saying(HEAD + FORGED) + "os._exit(0)\n"))
    assert verdict.passed and verdict.isolation == "shared", verdict


@pytest.mark.docker
async def test_an_agent_looks_changes_and_runs(image: str, tmp_path: Path) -> None:
    suite = registry.get(f"swe_bench:{written(tmp_path / 'own.jsonl', row(image))}")
    (problem,) = suite.problems()
    space = suite.converse(problem, None)
    assert space is not None

    async def call(name: str, **arguments: str) -> str:
        step = await space.step(ModelTurn("", ({"name": name, "arguments": arguments},), "tool_calls"))
        assert isinstance(step, GoOn)
        return step.messages[0].content

    assert await call("list_files", folder="") == "calc/\nsetup.cfg\ntests/"
    assert "2\t    return sum(xs) / len(xs)" in await call("read_file", path="calc/core.py", start="1")
    edited = await call("edit_file", path="calc/core.py", old="len(xs)", new="len(xs) if xs else 0")
    assert "written" in edited
    shown = await call(
        "run", command="python3 -c 'from calc.core import mean; print(mean([]))'; ls tests; git log --oneline"
    )
    assert shown.splitlines()[:2] == ["0", "test_core.py"]
    over = await space.step(ModelTurn("Done."))
    assert isinstance(over, Over)
    assert (await InstanceVerifier().verify(problem.check, over.answer)).passed  # type: ignore[arg-type]


@pytest.mark.docker
def test_the_command_line_runs_validates_and_names_a_missing_image(
    image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = f"swe_bench:{written(tmp_path / 'own.jsonl', row(image))}"
    assert ended("run", "mock:gold", "--suite", own, "--out", str(tmp_path / "run")) == 0
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["suites"][own]
    assert scores["metrics"]["pass@1"]["value"] == 1.0
    assert ended("suites", "validate", own) == 0
    assert "gold 1/1" in capsys.readouterr().out
    away = f"swe_bench:{written(tmp_path / 'away.jsonl', row('not/there:1'))}"
    for command in (
        ["run", "mock:gold", "--suite", away, "--out", str(tmp_path / "away")],
        ["suites", "validate", away],
    ):
        assert ended(*command) == 3
        assert "no image not/there:1" in capsys.readouterr().err


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    return int(end.value.code or 0)
