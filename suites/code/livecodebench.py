"""LiveCodeBench (Jain et al. 2024), code generation, "lite" tests: 1,055 contest problems of May 2023 to April 2025.

Without a variant: release v6, all of them. `:release_vN` is what was there at release N, `:vN` what it added, and
`:FROM_TO` the problems of contests between two dates (the second not included), such as `:2024-08-01_2025-05-01`.

Half the problems read stdin and print, half are a method of `Solution`. A method's tuple counts as a list, and printed
numbers are equal as numbers, both as in the reference. Private tests are packed with pickle: they are read by a reader
of its instructions that knows strings and nothing else.
"""

from __future__ import annotations

import base64
import json
import pickletools
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sandboxes.check import Answer, CallsCheck, Check, Limits, StdioCase, StdioCheck
from sandboxes.extract import last_fenced_block, split
from sandboxes.sandbox import Sandbox
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, read_jsonl
from suites.suite import Suite

_REVISION = "0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
_SUMS = (
    "2bd02b38beb48e8c46b5b9987095d999ff38cd8efc255ea5d58974317c48f63f",
    "095df7c5daf15f882c51a9deb84085cff1e073495a5dbcf95015a564d485f3a3",
    "28ed26cc83363ce3f1fe2d5fad9f8393077beb1907b167a31bd3b32f80801b79",
    "d711138ddaebfcf5f8ec6a4283ee677298c0f5c5d374a235af92aaf0584510da",
    "7f77571c2a6df0c2a72a3277650309f67e01e0008e18117e624633df53f81214",
    "bb4c364f71921c4495a6ad15abe1a927350b720009f4933e2e71f8af0f6fd1f5",
)
FILES = tuple(
    DataSource(
        file=f"livecodebench/test{number if number > 1 else ''}.jsonl",
        sha256=digest,
        licence="CC",
        origin=f"hf:livecodebench/code_generation_lite@{_REVISION}/test{number if number > 1 else ''}.jsonl",
    )
    for number, digest in enumerate(_SUMS, 1)
)
WINDOWS = ("2024-08-01_2025-02-01", "2024-10-01_2025-02-01", "2024-08-01_2025-05-01", "2025-02-01_2025-05-01")
PER_TEST_S = 6.0
"""The reference's limit for each test; here a whole job has a budget of CPU time."""
MOST_S = 120.0
LARGEST_TESTS = 1 << 30
"""Bytes of one problem's unpacked tests, at most."""
_STDIO = (
    "Write a Python program that reads the input from stdin and prints the answer to stdout. "
    "Reply with one Python code block."
)
_METHOD = "Complete this starter code. Reply with one Python code block that holds the whole class."


class LiveCodeBench(Suite):
    """Release v6, or one of the variants."""

    name = "livecodebench"
    category = "code"
    version = "1"
    summary = "1,055 contest problems (v6), judged by their hidden tests; releases and windows of dates"
    sources = FILES
    variants = (
        *(f"release_v{number}" for number in range(1, 7)),
        *(f"v{number}" for number in range(1, 7)),
        *WINDOWS,
    )
    metric = "pass@1"
    sampling = Sampling(temperature=0.2, top_p=0.95, max_tokens=32768)
    has_gold = False

    def data(self) -> tuple[DataSource, ...]:
        """One file a release."""
        asked = self.variant or "release_v6"
        if asked.startswith("release_v"):
            return FILES[: int(asked[-1])]
        return (FILES[int(asked[1:]) - 1],) if asked.startswith("v") else FILES

    def problems(self) -> Sequence[Problem]:
        """To look at and to ask: with the public tests alone. `prepare` adds the private ones, which are gigabytes."""
        return [_problem(row, _tests(row["public_test_cases"])) for row in self._rows()]

    async def prepare(self, sandbox: Sandbox, *, wanted: Collection[str] | None = None) -> Sequence[Problem]:
        """With all tests."""
        return [
            _problem(row, [*_tests(row["public_test_cases"]), *private_tests(row["private_test_cases"])])
            for row in self._rows()
            if wanted is None or row["question_id"] in wanted
        ]

    def _rows(self) -> Iterator[dict[str, Any]]:
        first, _, last = (self.variant or "").partition("_") if self.variant in WINDOWS else ("", "", "")
        for source in self.data():
            for row in read_jsonl(source):
                if not last or first <= row["contest_date"][:10] < last:
                    yield row

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The problem's text, and what form the answer must have."""
        starter = problem.metadata["starter_code"]
        form = f"{_METHOD}\n\n```python\n{starter}\n```" if starter else _STDIO
        text = f"{problem.ask.strip()}\n\n{form}\n"
        if chat:
            return Prompt(messages=(Message("user", text),))
        return Prompt(text=f"{text}\n```python\n", stop=("\n```",))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The last block, or all of what a base model wrote; a method is called through a function of ours."""
        found = split(text).answer or ""
        code = last_fenced_block(found, "python") or last_fenced_block(found) or found.partition("\n```")[0]
        name = problem.metadata["method"]
        if not code.strip() or not name:
            return code
        return (
            f"from typing import *\n{code}\n\ndef _answer(*arguments):\n"
            f"    value = Solution().{name}(*arguments)\n"
            "    return list(value) if isinstance(value, tuple) else value\n"
        )


def _problem(row: dict[str, Any], tests: Sequence[dict[str, str]]) -> Problem:
    method = json.loads(row["metadata"]).get("func_name") or ""
    return Problem(
        id=row["question_id"],
        ask=row["question_content"],
        check=_check(tests, method),
        metadata={
            "starter_code": row["starter_code"],
            "method": method,
            "platform": row["platform"],
            "difficulty": row["difficulty"],
            "date": row["contest_date"][:10],
        },
    )


def _check(tests: Sequence[dict[str, str]], method: str) -> Check:
    cpu_s = min(MOST_S, PER_TEST_S * len(tests))
    limits = Limits(cpu_s=cpu_s, wall_s=6 * cpu_s, memory_mb=1024)
    if not method:
        cases = [StdioCase(stdin=test["input"], stdout=test["output"]) for test in tests]
        return StdioCheck(kind="stdio", cases=cases, numbers=True, limits=limits)
    return CallsCheck(
        kind="calls",
        entry_point="_answer",
        calls=[[json.loads(line) for line in test["input"].split("\n") if line.strip()] for test in tests],
        expected=[json.loads(test["output"]) for test in tests],
        atol=0.0,
        stop_at_first_failure=True,
        limits=limits,
    )


_STRINGS = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
_AROUND = frozenset({"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"})


def unpickled_string(data: bytes) -> str:
    """The one string that a pickle is. Its instructions are read, none is carried out.

    Raises:
        ValueError: It is anything else.
    """
    found: list[str] = []
    for instruction, argument, _ in pickletools.genops(data):
        if instruction.name in _STRINGS and not found and isinstance(argument, str):
            found.append(argument)
        elif instruction.name not in _AROUND:
            raise ValueError(f"a pickle of more than a string ({instruction.name})")
    if not found:
        raise ValueError("a pickle of nothing")
    return found[0]


def private_tests(packed: str) -> list[dict[str, str]]:
    """Tests as JSON, or as JSON in a pickled string in a zlib stream in base64.

    Raises:
        ValueError: They are neither.
    """
    if packed.lstrip()[:1] == "[":
        return _tests(packed)
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(packed, validate=True), LARGEST_TESTS)
        if unpacker.unconsumed_tail:
            raise ValueError(f"more than {LARGEST_TESTS} bytes")
        return _tests(unpickled_string(data))
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"private tests: {error}") from None


def _tests(text: str) -> list[dict[str, str]]:
    return [{"input": str(test["input"]), "output": str(test["output"])} for test in json.loads(text)]
