"""How many of BigCodeBench's tests are judged apart from the candidate, and why the others are not.

    python -m tests.benchmarks.splits [--tasks]

Reads the data set only; nothing is run. `--tasks` lists every task with its first reason.
"""

from __future__ import annotations

import argparse
from collections import Counter

from sandboxes.check import UnittestCheck
from sandboxes.splitting import Reason, shared_because
from suites.code.bigcodebench import BigCodeBench


def decisions() -> dict[str, Reason | None]:
    """Task to the first reason for sharing, None where its tests are split."""
    checks = ((problem.id, problem.check) for problem in BigCodeBench().problems())
    return {task: shared_because(check.test) for task, check in checks if isinstance(check, UnittestCheck)}


def main(tasks: bool) -> None:
    """Print the table."""
    found = decisions()
    if tasks:
        for task, reason in found.items():
            print(f"{task:<20} {f'{reason.family}: {reason.detail}' if reason else 'split'}")
    families = Counter(reason.family if reason else "split: they only call" for reason in found.values())
    for family, count in families.most_common():
        print(f"{count:>5}  {family}")
    print(f"{len(found):>5}  tasks, {families['split: they only call']} of them split")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", action="store_true", help="list every task too")
    main(parser.parse_args().tasks)
