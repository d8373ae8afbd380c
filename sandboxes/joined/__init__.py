"""Candidate and tests put together to one program that says a secret after the last test, and nothing before.

The secret is made anew for each job and is the first line of the program's standard input; an epilogue of ours prints
it once the tests have come to their end. What ends the process earlier, prints what it likes or swallows a failure has
not said it. The parts that are ours carry a name that no candidate can spell (`text.tag`), and are the same for the
same program, so that builds are kept. Each language's module says how far its tests are kept apart from the candidate;
`docs/sandbox.md` says what none of this survives.
"""

from __future__ import annotations

from sandboxes.joined import bash, cpp, csharp, go, jvm, node, php, rust
from sandboxes.languages import Language
from sandboxes.programs import Program

_JOIN = {
    "bash": bash.join,
    "cpp": cpp.join,
    "csharp": csharp.join,
    "go": go.join,
    "java": jvm.java,
    "javascript": node.join,
    "kotlin": jvm.kotlin,
    "php": php.join,
    "rust": rust.join,
    "typescript": node.join,
}


def join(language: Language, code: str, tests: str) -> Program:
    """The program of a candidate and its tests.

    Raises:
        KeyError: Programs of this language are not put together here.
    """
    return _JOIN[language.name](language, code, tests)


def refused(language: Language, code: str, tests: str) -> str:
    """Why this code is not even tried: it does what only an attack on the tests needs. '' where nothing is."""
    if language.name == "rust" and (found := rust.REFUSED.search(code)):
        return f"{found[0]} cannot be used beside tests"
    if language.name == "go" and (name := go.shadowed(code, tests)):
        return f"declares {name} anew, which the tests use"
    return ""
