"""What the programs of `programs/` would be believed by: answer and tests as one program, right if its status is 0.

So MultiPL-E's own evaluation and most others do it. Where a cheat is not believed even here, that it is not believed by
our verifier would prove nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sandboxes.check import Limits
from sandboxes.joined.text import bare, closed
from sandboxes.languages import Language, LanguageName, named
from sandboxes.programs import Program, Programs
from sandboxes.sandbox import End

ROOM = 16 << 20
_GOES_ON_IN_THE_CLASS = {"java", "csharp"}
"""Languages whose tests begin inside the answer's last function."""

_GO_RUNNER = """package main

import (
	"regexp"
	"testing"
	"f_test"
)

func main() { MAIN }
"""
_GO_TESTS = 'testing.Main(regexp.MatchString, []testing.InternalTest{{Name: "TestF", F: f_test.TestF}}, nil, nil)'


async def believed(programs: Programs, language: LanguageName, code: str, tests: str, limits: Limits) -> bool:
    """Whether the naive verifier credits this answer."""
    program = _go(code, tests) if language == "go" else _concatenated(named(language), code, tests)
    run = await programs.run(program, b"", limits, capture_stdout=ROOM)
    if run.phase != "run" or run.ending.end is not End.EXITED or run.ending.status != 0:
        return False
    return language != "csharp" or "Fail" not in run.ending.stderr_tail


def _concatenated(language: Language, code: str, tests: str) -> Program:
    if language.name not in _GOES_ON_IN_THE_CLASS:
        code, tests = closed(code, tests)
    program = Program.of(language, f"{code}\n{tests}")
    match language.name:
        case "java" | "kotlin":
            return replace(program, run=(program.run[0], "-ea", *program.run[1:]))
        case "csharp":  # as MultiPL-E calls Mono: a failed Debug.Assert says so on stderr, and the program goes on
            (step,) = program.build
            listener = {"MONO_TRACE_LISTENER": "Console.Error"}
            return replace(
                program, build=((step[0], "-d:DEBUG", *step[1:]),), environment={**program.environment, **listener}
            )
    return program


def _go(code: str, tests: str) -> Program:
    """As `go test` does it: a package with its tests, and a `main` made for it that hands over to a `TestMain`."""
    code, tests = closed(code, tests)
    has_main = re.search(r"^func\s+TestMain\s*\(", bare(code), re.MULTILINE)
    runner = _GO_RUNNER.replace("MAIN", "f_test.TestMain(nil)" if has_main else _GO_TESTS)
    if has_main:
        runner = runner.replace('\t"regexp"\n\t"testing"\n', "")
    program = Program.of(named("go"), runner, {"f_test.go": f"{code}\n{tests}".encode()})
    compile_, link = program.build
    known = compile_[compile_.index("-importcfg") + 1]

    def mine(step: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("all.cfg" if part == known else part for part in step)

    package = ("-p", "f_test", "-complete", "-importcfg", known, "-o", "f_test.a", "f_test.go")
    config = f"cat {known} >all.cfg && echo packagefile f_test=f_test.a >>all.cfg"
    return replace(program, build=(("sh", "-c", config), (compile_[0], *package), mine(compile_), mine(link)))
