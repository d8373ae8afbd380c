from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.extract import continuation, fenced_blocks, last_fenced_block, python_code

F = "def f(x):\n    return x + 1"
PROMPT = 'from typing import List\n\n\ndef f(xs: List[int]) -> int:\n    """Sum.\n\n    >>> f([1])\n    1\n    """\n'


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{F}\n```",
        f"Sure!\n\n```py\n{F}\n```\nIt adds one.",
        f"~~~python\n{F}\n~~~",
        f"````python\n{F}\n````",
        f"``` Python\n{F}\n```",
        f"```{{.python}}\n{F}\n```",
        f"```python3 title=x\n{F}\n```",
        f"```\n{F}\n```",
        f"```python\n{F}\n",
        f"```python\n{F}\n``",
        f"```python\n{F}```",
        f"```python\n{F}",
        "1. So:\n   ```python\n   def f(x):\n       return x + 1\n   ```\n",
        f"{F}\n```\nThis adds one.",
        F,
        f"Here is the function:\n\n{F}\n\nThis function adds one to x.",
        f"Here is the function:\n\n{F}\n\nAn example is f(1), which gives 2.\n",
        f"```python\n{F}\n```\nUsage:\n```python\nprint(f(1))\n```",
        f"```python\n{F}\n```\nOutput:\n```\n2\n```\n```bash\npython f.py\n```",
        f"```python\ndef f(x):\n    return x - 1\n```\nNo, that subtracts.\n```python\n{F}\n```",
        f"```python\nwrong = 1\nI must start again.\n```python\n{F}\n```",
    ],
)
def test_the_block_that_defines_the_entry_point(text: str) -> None:
    code = python_code(text, "f")
    assert code is not None
    names: dict[str, object] = {}
    exec(code, names)
    assert names["f"](1) == 2  # type: ignore[operator]


def test_without_an_entry_point_the_last_block_is_taken() -> None:
    assert python_code("```python\na = 1\n```\n```python\nb = 2\n```") == "b = 2"
    assert last_fenced_block("```python\na = 1\n```\n```json\n{}\n```") == "{}"
    assert last_fenced_block("```python\na = 1\n```\n```json\n{}\n```", "python") == "a = 1"
    assert last_fenced_block("no code") is None
    assert python_code("no code here, def initely not", "f") is None
    assert python_code("", "f") is None


def test_fences_in_docstrings_do_not_end_the_block() -> None:
    indented = 'def f(x):\n    """Add.\n\n    ```\n    f(1)\n    ```\n    """\n    return x + 1'
    flush = 'def f(x):\n    """Add.\n\n```\nf(1)\n```\n    """\n    return x + 1'
    for code in (indented, flush):
        assert [b.code for b in fenced_blocks(f"```python\n{code}\n```\nDone.")] == [code]


def test_an_unfinished_docstring_does_not_swallow_the_next_block() -> None:
    text = f'```python\ndef g():\n    """oops\n```\nBetter:\n```python\n{F}\n```'
    assert python_code(text, "f") == F


def test_a_method_entry_point_looks_for_the_class() -> None:
    text = "```python\nclass Solution:\n    def f(self):\n        return 1\n```\n```python\nSolution().f()\n```"
    assert (python_code(text, "Solution.f") or "").startswith("class Solution")


@pytest.mark.parametrize(
    "text",
    [
        "```python\n    return sum(xs)\n```",
        "```python\nreturn sum(xs)\n```",
        "    return sum(xs)\n",
        "return sum(xs)",
        "```python\ntotal = 0\nfor x in xs:\n    total += x\nreturn total\n```",
        "```python\ntotal = 0\n    for x in xs:\n        total += x\n    return total\n```",
        "```python\ndef f(xs: List[int]) -> int:\n    return sum(xs)\n```",
    ],
)
def test_answers_that_lean_on_the_prompt(text: str) -> None:
    code = python_code(text, "f", PROMPT)
    assert code is not None
    names: dict[str, object] = {}
    exec(code, names)
    assert names["f"]([1, 2]) == 3  # type: ignore[operator]


def test_prose_is_no_body() -> None:
    assert python_code("I cannot do this.", "f", PROMPT) is None


def test_a_continuation_stops_at_the_first_foreign_line() -> None:
    body = "    # sum them\n    return sum(xs)\n"
    for tail in (
        "",
        "\n\ndef g():\n    pass\n",
        "\nprint(f([1]))\n",
        "\n# Test\nassert f([1]) == 1\n",
        "```\n",
        "class A: pass",
    ):
        assert continuation(PROMPT, body + tail) == PROMPT + body.rstrip() + "\n"


def test_a_continuation_knows_strings_brackets_and_comments() -> None:
    body = '    s = """\nat column 0\n"""\n    t = (\n1,\n)\n# a comment in between\n    return sum(xs)\n'
    assert continuation(PROMPT, body + "x = 1\n") == PROMPT + body.rstrip() + "\n"
    assert continuation("def f(xs):", " return 1\nf(2)") == "def f(xs): return 1\n"


def test_canonical_solutions_survive_continuation_and_fences(data_dir: Path) -> None:
    with gzip.open(data_dir / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 164
    for row in rows:
        program = row["prompt"] + row["canonical_solution"]
        noise = "\n\ndef unrelated():\n    pass\n\nprint(1)\n"
        assert continuation(row["prompt"], row["canonical_solution"] + noise) == program.rstrip() + "\n", row["task_id"]
        answer = f"Sure:\n```python\n{program.rstrip()}\n```\nUse it so:\n```python\nprint(1)\n```"
        assert python_code(answer, row["entry_point"]) == program.rstrip(), row["task_id"]
        assert python_code(f"Here:\n\n{program}\nThis works.", row["entry_point"]) is not None, row["task_id"]
        compile(
            python_code(f"```python\n{row['canonical_solution']}```", row["entry_point"], row["prompt"]) or "(",
            "",
            "exec",
        )


@pytest.mark.parametrize(
    "piece",
    [
        "```",
        "```\n",
        "```python\n",
        '"""',
        '"""\n```\n',
        "'''\"\"\"\n",
        "def f(:\n",
        "(",
        "#",
        "\\",
        " ",
        "\t\n",
        "x = [",
        "~~~",
        "f\n",
    ],
)
def test_a_megabyte_takes_no_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    python_code(text, "f", PROMPT)
    python_code("```python\n" + text, "f", PROMPT)
    continuation(PROMPT, text)
    assert time.process_time() - started < 15


@given(
    st.lists(
        st.sampled_from(
            ["```", "```python", "~~~", '"""', "'''", "def f():", "    x", "\ud800", "(", "'", "#", "\n", "\n"]
        )
    )
)
def test_any_text_is_read_without_error(pieces: list[str]) -> None:
    text = "".join(pieces)
    fenced_blocks(text)
    python_code(text, "f", PROMPT)
    assert continuation(PROMPT, text).startswith(PROMPT.rstrip())
