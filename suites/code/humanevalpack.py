"""HumanEvalPack (OctoPack, Muennighoff et al. 2023): HumanEval in six languages, with a buggy function of each.

`:LANG` asks for the function from its head and docstring (HumanEvalSynthesize); `:LANG-fix` shows a buggy function and
its tests and asks for a right one (HumanEvalFix, with tests and without docstring, as OctoPack's own evaluation). In
both the program of answer and tests must run to its end (kind `program`). Without a variant: all six languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

from sandboxes.check import Answer, Limits, ProgramCheck
from sandboxes.languages import LanguageName
from suites.code.program import program_of
from suites.code.snippet import program_in
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

_ROOT = ("bigcode-project/octopack", "e17a8f6470264286bc6a52eb8263582083bf3bf6")
_SUMS = {
    "python": (
        "b1e9f62a8cdc2032d7a81bcc12f99244d13a9ad8f7e34d1c90d6a9af2db74762",
        "b1376d72be4bd016a62ad043d9de3846edb8d63edf1222da802a31330c14c3a7",
    ),
    "cpp": (
        "44391ac861924578ec2addce42bc94dc3fe645b60255e11d8979fcd8e6b8fecd",
        "891a390c1b9d2cb85dd8fbebcf1d88dbdd565734a6b2b3259f9ddb3fe95e33d7",
    ),
    "js": (
        "c91a4765ece725a1cb3f427f8e2abc2c47c7010d8739fbb2cfa911222f02b2d3",
        "04c86c1fac5f33818d9187cba278ed1dfc66cc259372dd8342126aa580fb7569",
    ),
    "java": (
        "879f9102dec225f20c043faff24ad35f4f302a5def36f8762fc1345099bd22d7",
        "a8d077d300bbdc2eda91e1a733deb2944678bce8fcc7eb272214626516768cc1",
    ),
    "go": (
        "e0100125204ec0b2e2508e872dac7f10bc4cc6c9deb488c1f7fad431f7ad0145",
        "0ee2cdca46d70afb33d913a0d4b205624fe4ded2f28c2efdb241727221837993",
    ),
    "rust": (
        "97394c9fbfd8fef1ef0b43e6771cb0ed1ac84e791364d927d189d63cc6d4632e",
        "01ece28eaf490d7af037ce53095083dacfd38022cf5b82662ccb78024dc269a1",
    ),
}
LANGUAGES: dict[str, LanguageName] = {
    "python": "python",
    "cpp": "cpp",
    "js": "javascript",
    "java": "java",
    "go": "go",
    "rust": "rust",
}
"""Names in the data to names in checks."""
TITLES = {"python": "Python", "cpp": "C++", "js": "JavaScript", "java": "Java", "go": "Go", "rust": "Rust"}
_FENCES = {"js": "javascript"}
SOURCES = {
    language: DataSource(
        file=f"humanevalpack/humanevalpack_{language}.jsonl.gz",
        sha256=_SUMS[language][0],
        content_sha256=_SUMS[language][1],
        licence="MIT",
        origin=github(*_ROOT, f"evaluation/create/humaneval-x/data/{language}/data/humanevalpack.jsonl"),
    )
    for language in LANGUAGES
}

_CPP_HEADERS = """
stdlib.h algorithm cmath math.h numeric stdio.h vector set map queue stack list
deque string climits cstring iostream sstream fstream
"""
CPP_HEAD = "using namespace std;\n" + "".join(f"#include<{name}>\n" for name in _CPP_HEADERS.split())
"""OctoPack puts these before every C++ answer."""
GO_PACKAGES = ("math", "strings", "fmt", "strconv", "time", "bytes", "regexp", "sort", "math/rand", "crypto/md5")
"""OctoPack imports these for a Go answer that uses them without saying so."""
PYTHON_HEAD = (
    "import math, re, sys, copy, datetime, itertools, collections, heapq, statistics, functools, hashlib, string\n"
    "from typing import *\nfrom collections import *\n"
)
"""OctoPack puts these before every Python answer (and numpy, where the sandbox has it)."""


class HumanEvalPack(Suite):
    """984 functions, or the 164 of one language."""

    name = "humanevalpack"
    category = "code"
    version = "2"
    summary = "HumanEval in six languages, written from docstrings or (-fix) repaired, judged by their tests"
    metric = "pass@1"
    sampling = Sampling(max_tokens=1024)
    sources = tuple(SOURCES.values())
    variants = (*LANGUAGES, *(f"{language}-fix" for language in LANGUAGES))
    wrong_gold = MappingProxyType(
        dict.fromkeys(("Rust/32", "Rust/50"), "its tests call `gen_range(0, n)` of rand 0.7; Debian's rand is 0.8")
    )
    right_wrong = MappingProxyType(
        {"CPP/23": "its tests call strlen on literals, which the C library's own takes: no answer is ever called"}
    )

    def data(self) -> tuple[DataSource, ...]:
        """One file a language."""
        return tuple(SOURCES[language] for language in self._languages())

    def _languages(self) -> tuple[str, ...]:
        return tuple(LANGUAGES) if self.variant is None else (self.variant.removesuffix("-fix"),)

    @property
    def _fix(self) -> bool:
        return self.variant is not None and self.variant.endswith("-fix")

    def problems(self) -> Sequence[Problem]:
        """Rows as they are."""
        return list(self._problems())

    def _problems(self) -> Iterator[Problem]:
        for language in self._languages():
            for row in read_jsonl(SOURCES[language]):
                yield self._problem(language, row)

    def _problem(self, language: str, row: dict[str, Any]) -> Problem:
        prompt = row["prompt"]
        if language == "go" and row["import"].strip() not in prompt:
            prompt = f"{row['import']}\n{prompt}"
        tests = row.get("test_setup", "") + row["test"]
        return Problem(
            id=row["task_id"],
            ask=prompt,
            check=ProgramCheck(
                kind="program",
                language=LANGUAGES[language],
                tests=tests,
                limits=Limits(cpu_s=10, memory_mb=1024),
            ),
            gold=_fenced(language, prompt + row["canonical_solution"]),
            wrong=(_fenced(language, prompt + row["buggy_solution"]),),
            cluster=re.sub(r".*/", "HumanEval/", row["task_id"]),
            metadata={
                "language": language,
                "entry_point": row["entry_point"],
                "function": _function(row["signature"]),
                "declaration": _declaration(language, row),
                "buggy": row["buggy_solution"],
                "bug_type": row["bug_type"],
                "test": row["test"],
                "import": row.get("import", ""),
            },
        )

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The function's head to complete, or the buggy function with its tests to repair."""
        language = problem.metadata["language"]
        title = TITLES[language]
        head = problem.metadata["declaration"] if self._fix else problem.ask
        if not self._fix:
            if chat:
                ask = (
                    f"Complete this {title} function. Reply with one {title} code block that holds the whole function "
                    "and the imports and helpers it needs, without a main function.\n\n"
                    f"{_fenced(language, problem.ask)}"
                )
                return Prompt(messages=(Message("user", ask),))
            return Prompt(text=problem.ask.rstrip() + "\n", stop=_stops(language))
        shown = f"{head}{problem.metadata['buggy']}\n{problem.metadata['test']}"
        instruction = f"Fix bugs in {problem.metadata['entry_point']}."
        if chat:
            ask = (
                f"{_fenced(language, shown)}\n\n{instruction} Reply with one {title} code block that holds the whole "
                "repaired function and the imports and helpers it needs, without the tests."
            )
            return Prompt(messages=(Message("user", ask),))
        return Prompt(text=f"{shown.strip()}\n{instruction}\n\n{head.strip()}\n", stop=_stops(language))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The program, with what OctoPack adds to every answer of its language."""
        language, name = problem.metadata["language"], problem.metadata["function"]
        if language == "python":
            code = program_of(text, name, problem.ask)
            return PYTHON_HEAD + code if code else ""
        code = program_in(text, LANGUAGES[language], problem.ask, name)
        if not code:
            return ""
        if language == "cpp":
            return CPP_HEAD + code
        if language == "go":
            for package in re.findall(r'"([\w/]+)"', problem.metadata["import"]):
                if not _uses(code, package):  # OctoPack leaves out what its prompt imports and the answer does not use
                    code = re.sub(rf'(?m)^[ \t]*(?:import[ \t]+)?"{package}"[ \t]*\n', "", code)
            used = [p for p in GO_PACKAGES if f'"{p}"' not in code and _uses(code, p)]
            imports = "".join(f'import "{package}"\n' for package in used)
            return re.sub(r"\A\s*package\s+\w+\n|\A", f"package main\n{imports}", code, count=1)
        return code


def _function(signature: str) -> str:
    """The name that a signature declares: `entry_point` is another name in fifteen rows."""
    found = re.search(r"(\w+)\s*(?:<[^(]*>)?\s*(?:=\s*)?\(", signature)
    return found[1] if found else ""


def _declaration(language: str, row: dict[str, Any]) -> str:
    declaration = row["declaration"]
    return f"fn main(){{}}\n{declaration}" if language == "rust" else str(declaration)


def _fenced(language: str, code: str) -> str:
    return f"```{_FENCES.get(language, language)}\n{code.strip()}\n```"


def _stops(language: str) -> tuple[str, ...]:
    if language == "python":
        return ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert", "\n```")
    return ("\n//", "\nfunc main(", "\n```") if language == "go" else ("\n```",)


def _uses(code: str, package: str) -> bool:
    name = package.split("/")[-1]
    lines = (line for line in code.splitlines() if not line.strip().startswith("//"))
    return any(re.search(rf"(?<![\w.]){name}\.\w", line) for line in lines)
