"""Every claim of the threat model names tests, and every test it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
LINK = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def named_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def claims() -> list[str]:
    """The rows of the tables of what is stopped, without their heads."""
    section = TEXT.split("## What each layer stops")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [row for row in rows if not row.startswith(("| attack", "|---"))]


def test_every_claim_names_a_test() -> None:
    assert len(claims()) > 20
    assert not [row for row in claims() if not LINK.search(row)]


def test_every_named_test_exists() -> None:
    links = LINK.findall(TEXT)
    missing = [f"{path}::{name}" for path, name in links if not (ROOT / path).exists() or name not in named_in(path)]
    assert not missing
    loose = [path for path in re.findall(r"`(tests/[^`]*)`", TEXT) if "::" not in path and not (ROOT / path).exists()]
    assert not loose
