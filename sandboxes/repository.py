"""Small repositories as data: paths that stay inside, changes to files, and a program that brings them to life."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LONGEST_PATH = 200
LARGEST_FILE = 200_000
MOST_FILES = 200
REACHED = "reached"
"""The one name by which tests reach a repository: tests that use several names of a candidate cannot be split."""
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*|\.[A-Za-z0-9_][A-Za-z0-9_.+-]*")


class BadChange(ValueError):
    """A change that no repository can take; says which and why."""


def is_path(path: str) -> bool:
    """Whether this is a plain relative path: no `..`, no root, no empty part, only letters, digits, -, _, . and +."""
    return 0 < len(path) <= LONGEST_PATH and all(_PART.fullmatch(part) for part in path.split("/"))


def is_under(path: str, places: Iterable[str]) -> bool:
    """Whether a path is one of these files, or in one of these folders (which end in `/`)."""
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


def changes_in(answer: Any) -> dict[str, str | None]:
    """Path → new content, or None where the file goes.

    Raises:
        BadChange: It is no list of changes.
    """
    value: Any = answer
    if isinstance(answer, str):
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            raise BadChange("the answer is no JSON list of changes") from None
    if not isinstance(value, (list, tuple)):
        raise BadChange("the answer is no list of changes")
    if len(value) > MOST_FILES:
        raise BadChange(f"more than {MOST_FILES} changes")
    found: dict[str, str | None] = {}
    for entry in value:
        path, content = (entry.get("path"), entry.get("content")) if isinstance(entry, dict) else (None, None)
        if not isinstance(path, str) or not is_path(path):
            raise BadChange(f"{str(path)[:80]!r} is no path of a repository")
        if content is not None and not isinstance(content, str):
            raise BadChange(f"{path}: the content is no text")
        if content is not None and len(content) > LARGEST_FILE:
            raise BadChange(f"{path}: more than {LARGEST_FILE} characters")
        found[path] = content
    return found


def changed(
    files: Mapping[str, str], changes: Mapping[str, str | None], read_only: Sequence[str], *, most: int = MOST_FILES
) -> dict[str, str]:
    """The files after the changes, at most so many; those to read-only ones are left out.

    Raises:
        BadChange: A path would be a file and a folder, or there would be too many files.
    """
    now = dict(files)
    for path, content in changes.items():
        if is_under(path, read_only):
            continue
        if content is None:
            now.pop(path, None)
        else:
            now[path] = content
    folders = {path[:place] for path in now for place, character in enumerate(path) if character == "/"}
    for path in now:
        if path in folders:
            raise BadChange(f"{path} cannot be a file and a folder")
    if len(now) > most:
        raise BadChange(f"more than {most} files")
    return now


def program(files: Mapping[str, str], exports: Mapping[str, str]) -> str:
    """A module that writes the files into its directory and takes the exported names out of them.

    All of it runs where candidates run: files that shadow a module, or end the process, do so to themselves.
    """
    lines = [
        "def _set_up(files):",
        "    import os, sys",
        "    for path, content in files.items():",
        "        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)",
        "        with open(path, 'w', encoding='utf-8', errors='surrogatepass', newline='') as file:",
        "            file.write(content)",
        "    sys.path.insert(0, os.getcwd())",
        f"_set_up({dict(files)!r})",
        "del _set_up",
    ]
    for number, target in enumerate(exports.values()):
        module, _, attribute = target.partition(":")
        lines.append(f"from {module} import {attribute} as _export_{number}")
    table = ", ".join(f"{name!r}: _export_{number}" for number, name in enumerate(exports))
    lines.append(f"_exports = {{{table}}}")
    lines.append(f"def {REACHED}(_name, *arguments, **named):\n    return _exports[_name](*arguments, **named)")
    return "\n".join(lines) + "\n"


def tests_reaching(test: str, exports: Iterable[str]) -> str:
    """The tests with their names for the exports defined: each a call of the one function that `program` gives."""
    heads = [
        f"def {name}(*arguments, **named):\n    return {REACHED}({name!r}, *arguments, **named)\n" for name in exports
    ]
    return "\n".join([*heads, test])
