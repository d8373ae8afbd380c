"""Rewards in every form: scores, what is refused, who may call, and that our own failures are never a zero."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import sandboxes.choose
from mellum_eval import rewards
from mellum_eval.rewards import NotJudged, Options, make_reward, make_reward_async
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.choice import ChoiceVerifier
from sandboxes.verifiers.program import ProgramVerifier
from sandboxes.verifiers.unittest import UnittestVerifier

ROOT = Path(__file__).resolve().parents[2]
SQUARE = {"kind": "calls", "entry_point": "f", "calls": [[3], [4]], "expected": [9, 16]}
ECHO = {"kind": "stdio", "cases": [{"stdin": "a\n", "stdout": "A\n"}]}
SPLIT_TEST = "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(f(1), 2)\n"
LETTER = {"kind": "choice", "answer": "B", "choices": 4}
LOCAL: dict[str, Any] = {"sandbox": "local", "workers": 2}
reward = make_reward(name="square", **LOCAL)


def fenced(code: str) -> str:
    return f"Let me see.\n```python\n{code}\n```\nThat is it."


RIGHT = fenced("def f(x): return x * x")
HALF = fenced("def f(x): return 9")


@pytest.fixture(scope="module", autouse=True)
def one_pool() -> Iterator[None]:
    yield
    rewards.close()


def one(check: Any, completion: Any, **columns: Any) -> float | None:
    [score] = reward(["?"], [completion], check=[check], **columns)
    return score


def test_a_batch_of_many_kinds_is_scored_by_the_fraction_of_tests() -> None:
    completions = [RIGHT, HALF, fenced("print(input().upper())"), "<think>C?</think>The answer is B.", fenced("f = 1")]
    checks = [SQUARE, SQUARE, ECHO, LETTER, SQUARE]
    assert reward(["?"] * 5, completions, check=checks, other=[1] * 5) == [1.0, 0.5, 1.0, 1.0, 0.0]


def test_only_the_last_fenced_block_counts_and_reasoning_does_not() -> None:
    assert one(SQUARE, HALF + RIGHT) == 1.0
    assert one(SQUARE, RIGHT + HALF) == 0.5
    assert one(SQUARE, "def f(x): return x * x") == 0.0
    assert one(SQUARE, f"<think>{RIGHT}") == 0.0
    assert one(SQUARE, f"<think>{HALF}</think>{RIGHT}") == 1.0
    assert one(SQUARE, f"<think>{RIGHT}</think>I do not know.") == 0.0


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": RIGHT}],
        {"role": "assistant", "content": RIGHT},
        [{"role": "assistant", "content": HALF}, {"role": "tool", "content": HALF}, {"content": RIGHT}],
        [{"role": "assistant", "content": RIGHT}, {"role": "user", "content": HALF}],
        [{"role": "assistant", "content": [{"type": "text", "text": RIGHT[:9]}, {"type": "text", "text": RIGHT[9:]}]}],
    ],
)
def test_chat_messages_are_taken(messages: Any) -> None:
    assert one(SQUARE, messages) == 1.0


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": RIGHT}], [{"content": None}]])
def test_a_chat_without_an_answer_scores_zero(messages: Any) -> None:
    assert one(SQUARE, messages) == 0.0


def test_tool_calls_of_a_message_are_the_answer() -> None:
    tool = {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    }
    check = {"kind": "tool_call", "tools": [tool], "answer": [{"add": {"a": [1]}}]}

    def message(arguments: Any) -> list[Any]:
        call = {"type": "function", "function": {"name": "add", "arguments": arguments}}
        return [{"role": "assistant", "content": None, "tool_calls": [call]}]

    assert one(check, message({"a": 1})) == 1.0
    assert one(check, message('{"a": 1}')) == 1.0
    assert one(check, message({"a": 2})) == 0.0
    assert one(check, message("{a}")) == 0.0


def test_a_check_may_be_json_text_or_padded_as_arrow_does() -> None:
    assert one(json.dumps(SQUARE), RIGHT) == 1.0
    padded = {**SQUARE, "cases": None, "answer": None, "limits": {"cpu_s": 2.0, "memory_mb": None}, "language": None}
    assert one(padded, RIGHT) == 1.0


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({**SQUARE, "calls": 3}, "row 1: check.calls: "),
        ({"kind": "nonsense"}, "row 1: check.kind: unknown"),
        ({}, "row 1: check.kind: required"),
        (None, "row 1: check.an object or its JSON text is wanted, not NoneType"),
        ("{", "row 1: check.not JSON"),
        ({**SQUARE, "code": "def f(x): return x"}, "row 1: check.code: does not belong here"),
        ({**SQUARE, "limits": {"cpu_s": -1}}, "row 1: check.limits.cpu_s: "),
        ({"kind": "program", "tests": "1"}, "row 1: check.kind: "),
    ],
)
def test_a_bad_check_names_its_row_and_field(check: Any, said: str) -> None:
    with pytest.raises(ValueError) as error:
        reward(["?", "?"], [RIGHT, RIGHT], check=[SQUARE, check])
    assert str(error.value).startswith(said)


@pytest.mark.parametrize("completion", [3, None, ["text"], [{"content": 3}]])
def test_a_bad_completion_names_its_row(completion: Any) -> None:
    with pytest.raises(ValueError, match="row 0: completion: "):
        one(SQUARE, completion)


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="no such column"):
        reward(["?"], [RIGHT])
    with pytest.raises(ValueError, match="one entry for each of 1 completions"):
        reward(["?"], [RIGHT], check=[SQUARE, SQUARE])
    with pytest.raises(ValueError, match="one entry for each"):
        reward(["?"], [RIGHT], check=SQUARE)


def test_bad_options_are_refused() -> None:
    for bad in ({"sandbox": "chroot"}, {"workers": 0}, {"limits": {"cpu_s": 0}}):
        with pytest.raises(ValueError):
            make_reward(**bad)


def test_limits_override_those_of_the_check() -> None:
    spin = fenced("def f(x):\n    while True: pass")
    generous = {**SQUARE, "limits": {"cpu_s": 3000}}
    verdict = rewards.judge(generous, spin, Options(limits={"cpu_s": 0.3}, **LOCAL))
    assert verdict.outcome is Outcome.TIMEOUT


def test_shared_verdicts_are_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def shared(self: Any, check: Any, answer: Any) -> Verdict:
        return Verdict(Outcome.PASSED, 1.0, 1, 1, isolation="shared")

    monkeypatch.setattr(ChoiceVerifier, "verify", shared)
    with pytest.raises(ValueError, match=r"row 0: check.kind: .* allow_shared=True"):
        one(LETTER, "B")
    assert make_reward(allow_shared=True, **LOCAL)(["?"], ["B"], check=[LETTER]) == [1.0]


@pytest.mark.parametrize(
    "check",
    [
        {"kind": "program", "tests": "assert f(1) == 2"},
        {
            "kind": "unittest",
            "test": SPLIT_TEST.replace("import unittest", "import os, unittest") + "        os.getcwd()\n",
        },
    ],
)
def test_what_would_share_is_refused_before_it_runs(monkeypatch: pytest.MonkeyPatch, check: dict[str, Any]) -> None:
    async def never(self: Any, check: Any, answer: Any) -> Verdict:
        raise AssertionError("it was judged")

    for verifier in (ProgramVerifier, UnittestVerifier):
        monkeypatch.setattr(verifier, "verify", never)
    with pytest.raises(ValueError, match=r"row 0: check.kind: .* allow_shared=True"):
        one(check, "```python\ndef f(x): return x + 1\n```")


def test_a_unittest_that_only_calls_is_rewarded() -> None:
    assert one({"kind": "unittest", "test": SPLIT_TEST}, "```python\ndef f(x): return x + 1\n```") == 1.0


class Broken:
    """A sandbox in which nothing works, by no answer's fault."""

    engine = "local"
    notice = ""

    @asynccontextmanager
    async def session(self, *arguments: Any, **options: Any) -> Any:
        raise SandboxError("out of order")
        yield

    async def healthy(self) -> bool:
        return False

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("starts", [True, False])
def test_what_could_not_be_judged_is_none_or_raised_and_never_zero(
    monkeypatch: pytest.MonkeyPatch, starts: bool
) -> None:
    async def open_sandbox(*arguments: Any) -> Any:
        if not starts:
            raise SandboxError("does not start")
        return Broken()

    monkeypatch.setattr(sandboxes.choose, "open_sandbox", open_sandbox)
    workers = 7 if starts else 8  # pools of their own
    broken = make_reward(sandbox="local", workers=workers)
    told: dict[str, Any] = {}
    scores = broken(
        ["?"] * 3,
        [RIGHT, "nothing", "B"],
        check=[SQUARE, SQUARE, LETTER],
        log_extra=told.__setitem__,
        log_metric=told.__setitem__,
    )
    assert scores[:2] == [None, 0.0]
    assert told["mellum_eval/outcome"][:2] == ["infra_error", "unparsed"]
    assert told["mellum_eval/infra_error"] > 0
    with pytest.raises(NotJudged, match=r"out of order|does not start"):
        rewards.compute_score("code", RIGHT, SQUARE, sandbox="local", workers=workers)


def test_without_any_sandbox_it_raises_how_to_mend_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*arguments: Any) -> Any:
        raise SandboxUnavailable("no engine", "install one")

    monkeypatch.setattr(sandboxes.choose, "open_sandbox", none)
    with pytest.raises(SandboxUnavailable, match="install one"):
        make_reward(sandbox="local", workers=9)(["?"], [RIGHT], check=[SQUARE])


async def test_async_rewards_and_sync_ones_inside_a_running_loop() -> None:
    from_loop = make_reward_async(**LOCAL)
    both = await asyncio.gather(*(from_loop(["?"], [text], check=[SQUARE]) for text in (RIGHT, HALF)))
    assert both == [[1.0], [0.5]]
    assert one(SQUARE, RIGHT) == 1.0
    assert (await rewards.judge_async(SQUARE, RIGHT, Options(**LOCAL))).passed
    assert await rewards.compute_score_async("code", HALF, SQUARE, **LOCAL) == 0.5


async def test_cancelling_an_async_reward_ends_its_work() -> None:
    sleeper = fenced("import time\ndef f(x): time.sleep(1000)")
    work = asyncio.create_task(make_reward_async(**LOCAL)(["?"] * 4, [sleeper] * 4, check=[SQUARE] * 4))
    await asyncio.sleep(0.5)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    async with asyncio.timeout(30):
        assert await make_reward_async(**LOCAL)(["?"], [RIGHT], check=[SQUARE]) == [1.0]


def test_many_threads_share_one_pool() -> None:
    got: list[float | None] = []
    threads = [threading.Thread(target=lambda: got.append(one(SQUARE, RIGHT))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [1.0] * 12
    assert sum(thread.name == "mellum-eval-rewards" for thread in threading.enumerate()) == 1


def test_closing_ends_the_pool_and_the_next_call_starts_anew() -> None:
    assert one(SQUARE, RIGHT) == 1.0
    rewards.close()
    assert not any(thread.name == "mellum-eval-rewards" for thread in threading.enumerate())
    assert one(SQUARE, RIGHT) == 1.0


FORKS = """
import os, sys
from mellum_eval.rewards import make_reward
reward = make_reward(sandbox="local", workers=1)
check, right = {check!r}, {right!r}
def one(): return reward(["?"], [right], check=[check])[0]
assert one() == 1.0
pid = os.fork()
if not pid:
    sys.exit(0 if one() == 1.0 else 1)  # the ordinary way out, with all that runs at exit
assert os.waitpid(pid, 0)[1] == 0
assert one() == 1.0  # the child's end took nothing of the parent's
import multiprocessing
with multiprocessing.get_context("fork").Pool(1) as pool:
    assert pool.apply(one) == 1.0
print("done")
"""


def test_a_forked_child_has_its_own_pool_and_leaves_the_parents_alone() -> None:
    source = FORKS.format(check=SQUARE, right=RIGHT)
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    assert "Error" not in done.stderr


def test_an_interpreter_that_ends_closes_its_pool_without_a_word() -> None:
    source = (
        "import subprocess\nfrom mellum_eval.rewards import make_reward\n"
        f"print(make_reward(sandbox='local', workers=1)(['?'], [{RIGHT!r}], check=[{SQUARE!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("[1.0]\n", "", 0)


def test_importing_starts_nothing_and_imports_nothing_heavy() -> None:
    source = (
        "import sys, threading, mellum_eval.rewards\n"
        "print(threading.active_count(), sorted({'torch', 'docker', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "1 []\n", done.stderr


def test_verls_forms() -> None:
    score = rewards.compute_score("code", RIGHT, json.dumps(SQUARE), {"index": 1}, **LOCAL)
    assert (score, type(score)) == (1.0, float)
    scores = rewards.compute_scores(
        data_sources=["code"] * 2,
        solution_strs=[RIGHT, HALF],
        ground_truths=[SQUARE] * 2,
        extra_infos=[{}] * 2,
        **LOCAL,
    )
    assert scores == [1.0, 0.5]
    with pytest.raises(ValueError, match=r"row 0: check\.kind: required"):
        rewards.compute_score("code", RIGHT, {}, **LOCAL)
    with pytest.raises(ValueError, match="ground_truths"):
        rewards.compute_scores(["code"], [RIGHT], [], **LOCAL)


def test_nested_arrays_of_tables_are_lists() -> None:
    import numpy

    check = {**SQUARE, "calls": numpy.array([[3], [4]]), "expected": numpy.array([9, 16])}
    assert rewards.compute_score("code", RIGHT, check, **LOCAL) == 1.0


def test_feedback_tells_the_next_attempt_what_failed() -> None:
    options = Options(**LOCAL)
    told = rewards.feedback(rewards.judge(SQUARE, HALF, options))
    assert "arguments: [4]" in told and "got: 9" in told and "expected: 16" in told
    assert rewards.feedback(rewards.judge(SQUARE, RIGHT, options)) == ""
    loud = fenced("import sys\nsys.stderr.write('\\x1b[2Jno' * 5000)\ndef f(x): raise KeyError(x)")
    told = rewards.feedback(rewards.judge(SQUARE, loud, options))
    assert "KeyError" in told and "\x1b" not in told and len(told) <= 2000


def test_rewards_can_be_copied_and_have_names() -> None:
    again = copy.deepcopy(reward)  # by the same protocol; a closure or a lock in it would not survive
    assert again.__name__ == "square"
    assert again(["?"], [RIGHT], check=[SQUARE]) == [1.0]
    assert rewards.reward.__name__ == "mellum_eval"
