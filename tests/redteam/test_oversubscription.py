"""The same verdicts on an idle machine and on one with eight times as much to do as it has cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator

import pytest

from sandboxes.pool import SandboxPool

from .cheats import SQUARE_CHEATS
from .honest import HONEST
from .kinds import ARGUMENTS, KINDS, answer_of, check_of
from .test_cheats import judge_all, told

SQUARES = {x: x * x + 1 for x in ARGUMENTS}
NEAR_THE_LIMIT = {
    "half_of_the_cpu_limit": "import time\ndef f(x):\n    end = time.process_time() + 0.25\n"
    "    while time.process_time() < end: pass\n    return x * x + 1\n",
    "twice_the_cpu_limit": "import time\ndef f(x):\n    end = time.process_time() + 4\n"
    "    while time.process_time() < end: pass\n    return x * x + 1\n",
}
SHARP = (
    "loop",
    "memory_bomb",
    "exit_zero_in_call",
    "segfault",
    "deep_list",
    "always_equal_int",
    "daemon",
    "surrogates",
)
DULL = ("plain", "threads", "deep_recursion", "subprocess", "a_second_of_work", "hundred_megabytes", "dataclass")
SLOW_KINDS = tuple(kind for kind in KINDS if kind not in ("calls", "stdio"))
LIMITS = {"cpu_s": 2, "memory_mb": 256}


def _burn() -> None:
    while True:
        pass


@contextlib.contextmanager
def busy(times: int) -> Iterator[None]:
    """Keep the machine busy with `times` processes a core."""
    spawn = multiprocessing.get_context("spawn")
    burners = [spawn.Process(target=_burn, daemon=True) for _ in range(times * (os.cpu_count() or 1))]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
        for burner in burners:
            burner.join()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["calls", "stdio", *(pytest.param(k, marks=pytest.mark.slow) for k in SLOW_KINDS)])
async def test_a_busy_machine_changes_no_verdict(sandbox: SandboxPool, kind: str) -> None:
    programs = {name: SQUARE_CHEATS[name] for name in SHARP} | {name: HONEST[name] for name in DULL} | NEAR_THE_LIMIT
    answers = {name: answer_of(kind, code) for name, code in programs.items()}
    check = check_of(kind, SQUARES, LIMITS)
    idle = await judge_all(sandbox, check, answers)
    with busy(8):
        loaded = await judge_all(sandbox, check, answers)
    assert idle["half_of_the_cpu_limit"].passed and not idle["twice_the_cpu_limit"].passed, told(idle)
    changed = [n for n in answers if (idle[n].outcome, idle[n].score) != (loaded[n].outcome, loaded[n].score)]
    assert not changed, told({f"{n} {when}": v[n] for n in changed for when, v in (("idle", idle), ("busy", loaded))})
