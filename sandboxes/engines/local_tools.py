"""Which of the host's own compilers and interpreters the `local` sandbox shows, and where they live."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sandboxes.errors import SandboxUnavailable
from sandboxes.languages import COMPILED, Family, Language, of_family

_SHARED = ("/usr/bin/", "/usr/lib/", "/bin/", "/lib/")
"""Shown to every session in any case."""

_BESIDE: dict[Family, tuple[str, ...]] = {
    "cpp": ("/usr/include", "/usr/local/include"),
    "jvm": ("/etc/java-*", "/opt/mellum/kotlin", "/opt/mellum/jvm"),
    "node": ("/usr/share/nodejs", "/usr/share/node_modules", "/usr/include/node", "/opt/mellum/node"),
    "go": ("/opt/mellum/go",),
    "rust": ("/opt/mellum/rust",),
    "php": ("/etc/php", "/usr/share/php"),
    "dotnet": ("/etc/mono", "/usr/share/.mono"),
}
"""What a family's tools read beside the directories of programs and libraries. Never all of /etc or /usr/share."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What to show of them.

    Attributes:
        paths: Directories and files, shown read-only at their own places.
        search: Directories for PATH, before its usual ones.
        executes: Whether programs are files that must be executable.
    """

    paths: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    executes: bool = False


def missing(language: Language) -> list[str]:
    """The programs that this host lacks for a language."""
    return [name for name in language.commands if _found(name) is None]


def require(language: Language) -> None:
    """Raises SandboxUnavailable where this host has not all of a language's tools."""
    if names := missing(language):
        raise _unavailable(language.family, language.title, names)


def _unavailable(family: Family, title: str, names: list[str]) -> SandboxUnavailable:
    return SandboxUnavailable(
        f"the local sandbox uses this machine's own tools, and there is no {', no '.join(dict.fromkeys(names))} "
        f"for {title}",
        f"install it, or use Docker: `mellum-eval sandbox build --from-debian --family {family}`",
    )


def of(family: Family) -> Tools:
    """A family's tools.

    Raises:
        SandboxUnavailable: This host has none of its languages' tools.
    """
    if family == "python":
        return Tools()
    lacking = {language.title: missing(language) for language in of_family(family)}
    if all(lacking.values()):
        raise _unavailable(family, " and ".join(lacking), [name for names in lacking.values() for name in names])
    paths: dict[str, None] = {}
    search: dict[str, None] = {}
    for language in of_family(family):
        for name in language.commands if not lacking[language.title] else ():
            program = _found(name)
            if program is not None and not program.startswith(_SHARED):
                home = _home(name, program)
                paths[home] = None
                search[os.path.join(home, "bin")] = None
    for pattern in _BESIDE.get(family, ()):
        paths.update((str(path), None) for path in sorted(Path("/").glob(pattern.lstrip("/"))))
    return Tools(tuple(paths), tuple(search), family in COMPILED)


@cache
def _found(name: str) -> str | None:
    """Path of a program, links and rustup's stand-ins resolved."""
    path = shutil.which(name)
    if path is None:
        return None
    if name == "rustc":
        try:
            done = subprocess.run([path, "--print", "sysroot"], capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        inside = os.path.join(done.stdout.strip(), "bin", "rustc")
        return inside if done.returncode == 0 and os.access(inside, os.X_OK) else None
    return os.path.realpath(path)


def _home(name: str, program: str) -> str:
    """The directory that holds all that a program needs: the parent of its `bin`."""
    directory = os.path.dirname(program)
    return os.path.dirname(directory) if os.path.basename(directory) == "bin" else directory
