"""CRUXEval (Gu et al. 2024): 800 functions; say what one returns (`:output`), or what makes it return that (`:input`).

The reference runs `assert OUTPUT == PREDICTION` after the function. Here the prediction must be a plain expression, and
for `:output` the function is not there when it is evaluated: a prediction that calls it, in whatever spelling, is none.
For `:input` the prediction must be a call of the function, and its value is compared out of its reach.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from sandboxes.check import Answer, CallsCheck, Limits
from sandboxes.extract import fenced_blocks, split
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

SOURCE = DataSource(
    file="cruxeval/cruxeval.jsonl",
    sha256="8368b81047dc5014e4caf5a2f97604eff7644e0ecd7415e3ceeb184bbc2e0c96",
    licence="MIT",
    origin=github("facebookresearch/cruxeval", "190faf16d175b5847b0af05d937872b1fb395942", "data/cruxeval.jsonl"),
)
LONGEST = 20_000
"""Characters of a prediction that are read: the longest right one is far shorter, and the parser is on our side."""
_FUNCTIONS = frozenset(
    """
    abs bool bytes chr complex dict divmod enumerate float frozenset int len list map max min ord pow range repr
    reversed round set sorted str sum tuple zip
    """.split()  # noqa: SIM905
)
_WORD = 'def f(word):\n    return word[::-1] + "!"\n'
_LIST = "def f(numbers, k):\n    return [n * k for n in numbers if n > 0]\n"
_EXAMPLES = {
    "output": (
        (_WORD, 'assert f("abc") == ??', 'assert f("abc") == "cba!"'),
        (_LIST, "assert f([3, -1, 4], 2) == ??", "assert f([3, -1, 4], 2) == [6, 8]"),
    ),
    "input": (
        (_WORD, 'assert f(??) == "cba!"', 'assert f("abc") == "cba!"'),
        (_LIST, "assert f(??) == [6, 8]", "assert f([3, 4], 2) == [6, 8]"),
    ),
}
_ASK = {
    "output": "Complete the assertion: put a literal in the place of ?? that equals what the function returns. "
    "Use no function calls. The function may look wrong; what it does is what counts.",
    "input": "Complete the assertion: put arguments in the place of ?? with which the function returns that value. "
    "There may be several right answers; any of them will do.",
}


class CruxEval(Suite):
    """Outputs (without a variant too), or inputs."""

    name = "cruxeval"
    category = "code"
    version = "1"
    summary = "800 short Python functions: predict what one returns, or arguments that make it return that"
    sources = (SOURCE,)
    variants = ("output", "input")
    metric = "pass@1"
    sampling = Sampling(max_tokens=1024)

    @property
    def _asked(self) -> str:
        return self.variant or "output"

    def problems(self) -> Sequence[Problem]:
        """Rows as they are."""
        return list(self._problems())

    def _problems(self) -> Iterator[Problem]:
        for row in read_jsonl(SOURCE):
            hidden = f"f({row['input']}) == ??" if self._asked == "output" else f"f(??) == {row['output']}"
            whole = f"assert f({row['input']}) == {row['output']}"
            yield Problem(
                id=row["id"],
                ask=f"{row['code']}\n\nassert {hidden}",
                check=CallsCheck(
                    kind="calls",
                    entry_point="answer",
                    calls=[[]],
                    expected_py=f"[{row['output']}]",
                    atol=0.0,
                    limits=Limits(cpu_s=5),
                ),
                gold=f"[ANSWER]{whole}[/ANSWER]",
                metadata={"code": row["code"]},
            )

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Two worked examples, and the assertion to be completed between [ANSWER] and [/ANSWER]."""
        kind = self._asked
        head = f"{_ASK[kind]} Write the whole assertion between [ANSWER] and [/ANSWER].\n\n"
        shown = "".join(
            f"[PYTHON]\n{code}\n{asked}\n[/PYTHON]\n[ANSWER]\n{said}\n[/ANSWER]\n\n"
            for code, asked, said in _EXAMPLES[kind]
        )
        text = f"{head}{shown}[PYTHON]\n{problem.ask}\n[/PYTHON]\n"
        if chat:
            return Prompt(messages=(Message("user", text),))
        return Prompt(text=f"{text}[ANSWER]\n", stop=("[/ANSWER]",))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """A program that gives the prediction's value; empty where there is no prediction."""
        code = problem.metadata["code"] if self._asked == "input" else None
        return program(prediction(split(text).answer or "", self._asked), code)


def prediction(text: str, asked: str) -> str:
    """The expression that is predicted, out of a completion: a literal, or the call `f(...)`."""
    closed = re.findall(r"\[ANSWER\](.*?)\[/ANSWER\]", text, re.DOTALL)
    body = closed[-1] if closed else text.rpartition("[ANSWER]")[2].partition("[/ANSWER]")[0]
    blocks = [block.code for block in fenced_blocks(body) if block.code.strip()]
    body = (blocks[-1] if blocks else body).strip().removeprefix("assert").strip()
    if len(body) > LONGEST:
        return ""
    try:
        tree = ast.parse(body, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return body
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], ast.Eq):
        side = tree.comparators[0] if asked == "output" else tree.left
        return ast.get_source_segment(body, side) or ""
    return body


def program(predicted: str, code: str | None) -> str:
    """A program whose `answer()` is the value of a prediction; empty where that is no plain expression.

    Args:
        predicted: The expression.
        code: The function for `:input`, of which the prediction must be a call; None for `:output`.
    """
    if not predicted.strip() or len(predicted) > LONGEST:
        return ""
    try:
        tree = ast.parse(predicted.strip(), mode="eval").body
        called = isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "f"
        inner = [*tree.args, *tree.keywords] if isinstance(tree, ast.Call) and called else [tree]
        known = _FUNCTIONS | _globals(code or "")
        if called is not (code is not None) or not all(_plain(node, known) for node in inner):
            return ""
        value = ast.unparse(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return f"{code or ''}\n\ndef answer():\n    return {value}\n"


def _globals(code: str) -> set[str]:
    """What a task's code binds beside `f`: its inputs may name that."""
    targets = [target for node in ast.parse(code).body if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)} - {"f"}


def _plain(tree: ast.AST, known: frozenset[str]) -> bool:
    """Whether an expression only makes a value: nothing is bound, nothing private reached, no other name is used."""
    bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
            return False
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            return False
        if isinstance(node, ast.Name) and node.id not in bound | known:
            return False
    return True
