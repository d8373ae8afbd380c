"""Programs out of completions in other languages: what the prompt gave is there once, whatever the answer repeats."""

from __future__ import annotations

import re

import pytest

from suites import registry
from suites.code.snippet import program_in

GO_PROMPT = """import (
    "strings"
)

// Whether it reads the same both ways.
func IsPalindrome(str string) bool {
    return str == str
}
// The shortest palindrome that begins so.
func MakePalindrome(str string) string {
"""
GO_BODY = '    return strings.Trim(str, " ")\n}\n'


@pytest.mark.parametrize(
    "answer",
    [
        f"```go\n{GO_PROMPT}{GO_BODY}```",
        f"```go\nfunc MakePalindrome(str string) string {{\n{GO_BODY}```",
        f'```go\npackage main\n\nimport "strings"\n\nfunc MakePalindrome(str string) string {{\n{GO_BODY}```',
        f"```go\n{GO_BODY}```",
        GO_BODY,
    ],
    ids=["all of it", "the function", "a file", "the body", "continued"],
)
def test_what_the_prompt_defines_before_the_function_is_there_once(answer: str) -> None:
    code = program_in(answer, "go", GO_PROMPT, "MakePalindrome")
    assert re.findall(r"(?m)^func (\w+)", code).count("IsPalindrome") == 1
    assert re.findall(r"(?m)^func (\w+)", code).count("MakePalindrome") == 1
    assert '"strings"' in code


@pytest.mark.usefixtures("data_dir")
def test_a_go_answer_has_each_function_once_and_no_import_that_it_does_not_use() -> None:
    suite = registry.get("humanevalpack:go")
    problems = suite.problems()
    for problem in problems:
        assert problem.ask.count("import") <= 1
        code = suite.answer(problem, problem.gold or "")
        assert isinstance(code, str)
        functions = re.findall(r"(?m)^func (\w+)", code)
        assert len(functions) == len(set(functions)), problem.id
    (flip,) = [problem for problem in problems if problem.id == "Go/27"]
    assert '"strings"' not in suite.answer(flip, flip.gold or "")
