"""The arrows between the rooms point one way, and heavy imports stay inside the verbs that need them."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("mellum_eval", "mellum_model", "suites", "sandboxes", "reports")
ALLOWED = {
    "sandboxes": set(),
    "suites": {"sandboxes"},
    "mellum_model": set(),
    "reports": {"mellum_eval"},
    "mellum_eval": {"suites", "sandboxes"},
}
# `terminal` holds the one function that makes hostile text visible, `jsonl` the one that replaces a file whole:
# a second of either in `reports` would be a second place to err.
REPORTS_MAY_SEE = (
    "mellum_eval.records",
    "mellum_eval.store",
    "mellum_eval.statistics",
    "mellum_eval.errors",
    "mellum_eval.terminal",
    "mellum_eval.jsonl",
    "mellum_eval.__version__",
)


def imports_of(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    package = path.relative_to(ROOT).parent.parts
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join((*above, *filter(None, (node.module,))))
            found.update(f"{start}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_one_way(room: str) -> None:
    wrong = []
    for path in (ROOT / room).rglob("*.py"):
        inside_cli = path.is_relative_to(ROOT / "mellum_eval" / "cli")
        for name in imports_of(path):
            other = name.split(".")[0]
            if other == room or other not in ROOMS:
                continue
            if not inside_cli and other not in ALLOWED[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if room == "reports" and not name.startswith(REPORTS_MAY_SEE):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}: reports reads run directories")
    assert not wrong, "\n".join(wrong)


def test_nothing_but_the_command_line_imports_it() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if not path.is_relative_to(ROOT / "mellum_eval" / "cli") and path.name != "__main__.py"
        for name in imports_of(path)
        if name.startswith("mellum_eval.cli")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ROOMS)
def test_no_files_import_each_other(room: str) -> None:
    """Neither straight nor by others, at the top, inside functions or for types alone."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / room).rglob("*.py")
    }
    order = TopologicalSorter[str]()
    for name, path in files.items():
        # `from a import b` is of the file a.b where there is one, else of a name in a.
        named = {one if one in files else one.rpartition(".")[0] for one in imports_of(path)}
        order.add(name, *(named & files.keys()) - {name})
    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
