"""A changed repository cannot judge itself: whatever its files do, the judge decides, by tests it never saw."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from engines import engine_called

from sandboxes.check import RepositoryCheck, is_shared
from sandboxes.job import JobError, parse_job
from sandboxes.pool import SandboxPool
from sandboxes.repository import BadChange, changed, changes_in, is_path
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Verifiers
from suites.code.workspace import RepositoryWorkspace
from suites.conversation import GoOn, ModelTurn, Over

HIDDEN = """
import unittest


class Hidden(unittest.TestCase):
    def test_sum(self):
        self.assertEqual(add(2, 3), 5)

    def test_twice(self):
        self.assertEqual(twice([1, 2]), [2, 4])
        with self.assertRaises(ValueError):
            twice([])
"""
VISIBLE = "import unittest\nfrom calc.core import add\n\n\nclass T(unittest.TestCase):\n    def test_zero(self):\n"
VISIBLE += "        self.assertEqual(add(0, 0), 0)\n"
CHECK = RepositoryCheck(
    kind="repository",
    files={
        "calc/__init__.py": "",
        "calc/core.py": "def add(a, b):\n    return 0\n\n\ndef twice(xs):\n    return xs\n",
        "tests/__init__.py": "",
        "tests/test_core.py": VISIBLE,
    },
    read_only=["tests/"],
    exports={"add": "calc.core:add", "twice": "calc.core:twice"},
    test=HIDDEN,
)
RIGHT = """
def add(a, b):
    return a + b


def twice(xs):
    if not xs:
        raise ValueError
    return [x * 2 for x in xs]
"""
FORGED = """
class E:
    __hash__ = None

    def __eq__(self, other):
        return True


def add(a, b):
    return E()


twice = add
"""

CHEATS: dict[str, dict[str, str]] = {
    "exit": {"calc/core.py": "import sys\nsys.exit(0)\n"},
    "_exit": {"calc/__init__.py": "import os\nos._exit(0)\n"},
    "equal to all": {"calc/core.py": FORGED},
    "shadows unittest": {
        "unittest/__init__.py": "class TestCase:\n    def assertEqual(self, *a):\n        pass\n",
        "unittest.py": "raise SystemExit(0)\n",
    },
    "shadows json and builtins": {
        "json.py": "import os\nos._exit(0)\n",
        "builtins.py": "",
        "calc/core.py": "import json\n",
    },
    "sitecustomize": {"sitecustomize.py": "import os\nos._exit(0)\n", "usercustomize.py": "import os\nos._exit(0)\n"},
    "conftest": {"conftest.py": "import os\nos._exit(0)\n", "pytest.ini": "[pytest]\n"},
    "edits the tests": {"tests/test_core.py": "", "tests/hidden.py": "", "tests/__init__.py": "raise SystemExit(0)\n"},
    "patches the boundary": {
        "calc/core.py": "import sys\nfor name, module in list(sys.modules.items()):\n    if 'sandboxes' in name:\n"
        "        for key in list(vars(module)):\n            if callable(getattr(module, key)):\n"
        "                setattr(module, key, lambda *a, **k: True)\ndef add(a, b):\n    return 1\ntwice = add\n"
    },
    "looks for the expected values": {
        "calc/core.py": "import gc, inspect\ndef add(a, b):\n    for frame in inspect.stack():\n"
        "        found = frame.frame.f_locals.get('second') or frame.frame.f_globals.get('expected')\n"
        "        if found:\n            return found\n    for thing in gc.get_objects():\n"
        "        if isinstance(thing, str) and 'assertEqual(add' in thing:\n            return 5\n    return 0\n"
        "def twice(xs):\n    return add(xs, xs)\n"
    },
    "replaces the exports": {"calc/core.py": "import __main__\n__main__.reached = lambda *a: 5\n"},
}


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "local"])
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[SandboxPool]:
    """One worker of each role."""
    async with SandboxPool(await engine_called(request.param), 1) as made:
        yield made


async def judge(pool: SandboxPool, files: dict[str, str | None]) -> Verdict:
    async with Verifiers(sandbox=pool) as verifiers:
        return await verifiers.verify(CHECK, [{"path": path, "content": text} for path, text in files.items()])


def test_the_tests_only_call_and_are_kept_apart() -> None:
    assert not is_shared(CHECK)


async def test_right_changes_pass_and_no_cheat_does(pool: SandboxPool) -> None:
    right = await judge(pool, {"calc/core.py": "from calc.deep.more import add, twice\n", "calc/deep/more.py": RIGHT})
    assert right.passed and right.isolation == "split" and right.tests_total == 2, right
    assert (await judge(pool, {"calc/core.py": RIGHT, "calc/none.py": None})).passed
    assert (await judge(pool, {})).passed is False
    for name, files in CHEATS.items():
        verdict = await judge(pool, dict(files))
        assert verdict.passed is False, (name, verdict)
    assert (await judge(pool, {"calc/core.py": RIGHT})).passed, "a cheat left something behind"


PATHS = (
    "../x.py",
    "/etc/passwd",
    "a/../../x",
    "a//b",
    "a/./b",
    "",
    ".",
    "..",
    "a\0b",
    "a b",
    "a\\b",
    "~/x",
    "x" * 300,
    "a/",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_elsewhere_is_none(path: str) -> None:
    assert not is_path(path)
    with pytest.raises(BadChange):
        changes_in([{"path": path, "content": ""}])


NO_CHANGES: tuple[Any, ...] = (
    *("", "no json", "{}", "[1]", "[" * 100_000),
    [{"path": "a.py", "content": 3}],
    [{"path": "a.py", "content": "x" * 300_000}],
    [{"path": f"a{n}.py", "content": ""} for n in range(300)],
)


@pytest.mark.parametrize("answer", NO_CHANGES, ids=range(len(NO_CHANGES)))
async def test_what_is_no_list_of_changes_is_no_answer(answer: Any) -> None:
    with pytest.raises(BadChange):
        changes_in(answer)


def test_read_only_files_stay_and_a_file_is_no_folder() -> None:
    files = {"a/b.py": "1", "tests/t.py": "2"}
    assert changed(files, {"tests/t.py": None, "tests/new.py": "x", "c.py": "3"}, ["tests/"]) == {**files, "c.py": "3"}
    with pytest.raises(BadChange):
        changed(files, {"a": "x"}, [])


def test_a_job_is_read_from_json() -> None:
    fields = {"id": "1", **CHECK.model_dump(exclude={"language", "limits"})}
    assert parse_job({**fields, "completion": [{"path": "calc/core.py", "content": RIGHT}]}).check == CHECK
    for broken in ({"exports": {"add": "calc"}}, {"files": {"../x": ""}}, {"test": "x = 1"}):
        with pytest.raises(JobError):
            parse_job({**fields, "completion": "[]", **broken})


def call(name: str, **arguments: str) -> ModelTurn:
    return ModelTurn(f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>")


async def test_a_workspace_is_data_and_shows_nothing_hidden(pool: SandboxPool) -> None:
    space = RepositoryWorkspace(CHECK, pool)

    async def said(turn: ModelTurn) -> str:
        step = await space.step(turn)
        assert isinstance(step, GoOn)
        return "\n".join(message.content for message in step.messages)

    assert (await said(call("list_files"))).splitlines() == sorted(CHECK.files)
    assert await said(call("search", text="test_sum")) == "nothing found"
    for path in ("../../etc/passwd", "/etc/passwd", "tests/hidden.py"):
        assert (await said(call("read_file", path=path))).startswith("error: there is no file")
        assert (await said(call("write_file", path=path, content="x"))).startswith("error")
    assert "must not be changed" in await said(call("edit_file", path="tests/test_core.py", old="0, 0", new="1, 1"))
    assert "characters" in await said(call("write_file", path="big.py", content="x" * 300_000))
    assert "there is no tool" in await said(call("bash", command="ls"))
    assert "does not take" in await said(call("read_file", file="x"))
    assert "cannot be read" in await said(ModelTurn("<tool_call>{oops</tool_call>"))
    assert "OK" in await said(call("run_tests"))
    link = "import os\nos.symlink('/', 'root')\nprint(os.listdir('.'), os.path.exists('root/work/shared'))\n" + RIGHT
    assert "written" in await said(call("write_file", path="calc/core.py", content=link))
    assert "test_sum" not in await said(call("run_tests"))
    assert "written" in await said(call("write_file", path="calc/core.py", content="while True:\n    pass\n"))
    assert "CPU" in await said(call("run_tests"))
    await said(call("write_file", path="calc/core.py", content=RIGHT))
    end = await space.step(ModelTurn("Done."))
    assert end == Over([{"path": "calc/core.py", "content": RIGHT}])
    async with Verifiers(sandbox=pool) as verifiers:
        verdict = await verifiers.verify(CHECK, end.answer)
    assert verdict.outcome is Outcome.PASSED
