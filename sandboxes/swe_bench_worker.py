"""What the package swebench (4.1.0) knows of its repositories, in a process of its own: test commands, log parsers.

Run as a file, by a Python that has `swebench`, with nothing of ours beside it; orders come as JSON lines on standard
input, one reply each goes to standard output. Logs are text to it: nothing of them is run.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


class Refused(Exception):
    """The order cannot be carried out."""


def main() -> None:
    """Answer orders until there are no more."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            reply: Any = script(**order["with"]) if order["do"] == "script" else parse(**order["with"])
            answer: dict[str, Any] = {"reply": reply}
        except Refused as error:
            answer = {"refused": str(error), "sort": "kind"}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def script(row: dict[str, Any]) -> dict[str, str]:
    """The shell script that the package evaluates an instance with, and the name of its log's parser."""
    from swebench.harness.constants import MAP_REPO_VERSION_TO_SPECS
    from swebench.harness.log_parsers import MAP_REPO_TO_PARSER
    from swebench.harness.test_spec.create_scripts import make_eval_script_list

    repo, version = row["repo"], row["version"]
    if version not in MAP_REPO_VERSION_TO_SPECS.get(repo, {}):
        raise Refused(f"swebench knows no test command of {repo} {version}")
    commands = make_eval_script_list(
        row, MAP_REPO_VERSION_TO_SPECS[repo][version], "testbed", "/testbed", row["base_commit"], row["test_patch"]
    )
    return {"script": "\n".join(commands), "parser": MAP_REPO_TO_PARSER[repo].__name__}


def parse(parser: str, log: str) -> dict[str, str]:
    """The status of each test in a log: PASSED, FAILED, SKIPPED, ERROR or XFAIL."""
    from swebench.harness.log_parsers import MAP_REPO_TO_PARSER

    named = {each.__name__: each for each in MAP_REPO_TO_PARSER.values()}
    if parser not in named:
        raise Refused(f"swebench has no log parser {parser}")
    return {str(test): str(status) for test, status in named[parser](log, None).items()}


if __name__ == "__main__":
    main()
