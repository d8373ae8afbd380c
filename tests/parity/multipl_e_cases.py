"""Completions of MultiPL-E's prompts: right ones, and what is made of them.

The data has no solutions. HumanEvalPack has some in C++, Java, JavaScript and Rust: their bodies stand under
MultiPL-E's heads here, parameters bound by place, and those that fit are right (MultiPL-E's types are others).
TypeScript takes JavaScript's. PHP, C# and Bash have a few written for this. Which are right the reference says, not we.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from suites.code.humanevalpack import SOURCES as PACK
from suites.code.multipl_e import SOURCES
from suites.sources import read_jsonl

PACKED = {"cpp": "cpp", "java": "java", "js": "js", "ts": "js", "rs": "rust"}
WRITTEN = {
    "php": {
        "2": "return fmod($0, 1.0);",
        "13": "while ($1) { [$0, $1] = [$1, $0 % $1]; }\n    return $0;",
        "24": "for ($i = $0 - 1; $i > 0; $i--) { if ($0 % $i == 0) { return $i; } }",
        "28": "return implode('', $0);",
        "35": "return max($0);",
        "42": "return array_map(fn($x) => $x + 1, $0);",
        "45": "return $0 * $1 / 2.0;",
        "53": "return $0 + $1;",
        "60": "return intdiv($0 * ($0 + 1), 2);",
        "97": "return abs($0 % 10) * abs($1 % 10);",
    },
    "cs": {
        "2": "return $0 - (float)Math.Floor($0);",
        "13": "while ($1 != 0) { var rest = $0 % $1; $0 = $1; $1 = rest; }\n        return $0;",
        "23": "return $0.Length;",
        "28": 'return String.Join("", $0);',
        "35": "return $0.Max();",
        "42": "return $0.Select(x => x + 1).ToList();",
        "45": "return $0 * $1 / 2.0f;",
        "53": "return $0 + $1;",
        "60": "return $0 * ($0 + 1) / 2;",
        "97": "return Math.Abs($0 % 10) * Math.Abs($1 % 10);",
    },
    "sh": {
        "13": "local a=$1 b=$2 c\n    while (( b )); do c=$(( a % b )); a=$b; b=$c; done\n    echo $a",
        "23": 'echo "${#1}"',
        "24": "local i\n    for (( i = $1 - 1; i > 0; i-- )); do (( $1 % i )) || { echo $i; return; }; done",
        "28": "echo \"$1\" | tr -d ' '",
        "35": "local best=${1%% *} x\n    for x in $1; do if (( x > best )); then best=$x; fi; done\n    echo $best",
        "42": 'local out=() x\n    for x in $1; do out+=($(( x + 1 ))); done\n    echo "${out[@]}"',
        "53": "echo $(( $1 + $2 ))",
        "60": "echo $(( $1 * ($1 + 1) / 2 ))",
        "97": "local a=$(( $1 % 10 )) b=$(( $2 % 10 )) c\n    c=$(( a * b ))\n    echo ${c#-}",
    },
}
"""HumanEval's number → a body; `$0` and `$1` are the parameters, but for Bash, which has its own."""
ENDS = {"java": "\n    }\n", "cs": "\n    }\n"}
EXITS = {
    "cpp": "std::exit(0);",
    "java": "System.exit(0);",
    "js": "process.exit(0);",
    "php": "exit(0);",
    "cs": "Environment.Exit(0);",
    "rs": "std::process::exit(0);",
}
_HEAD = re.compile(r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)[^()]*$")
_SWAPS = ((" + ", " - "), (" - ", " + "), (" < ", " <= "), (" <= ", " < "), (" > ", " >= "), (" >= ", " > "),
          (" == ", " != "), (" * ", " + "), (" % ", " / "), ("true", "false"), ("max", "min"))  # fmt: skip


def candidates(language: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Rows of the data with a completion that may be right, and one that may be wrong ('' where there is none)."""
    pack = _bodies(language) if language in PACKED else {}
    for row in read_jsonl(SOURCES[language]):
        number = row["name"].split("_")[1]
        head = row["prompt"].rstrip().splitlines()[-1]
        if number in pack:
            declaration, right, wrong = pack[number]
            bound = _bound(language, head, declaration)
            yield row, cut(row, bound + right), cut(row, bound + wrong)
        elif number in WRITTEN.get(language, {}):
            body = WRITTEN[language][number]
            for place, name in enumerate(_names(language, head) if language != "sh" else []):
                body = body.replace(f"${place}", name)
            indent = " " * (8 if language == "cs" else 4)
            end = ENDS.get(language, "\n}\n")
            yield row, cut(row, f"{indent}{body}{end}"), ""


def forms(row: dict[str, Any], language: str, right: str, wrong: str, other: str) -> dict[str, str]:
    """What is judged of one problem: form → completion.

    Args:
        row: The data's row.
        language: As the data calls it.
        right: A completion that the reference takes as right.
        wrong: HumanEvalPack's, with a bug; '' where there is none.
        other: Another problem's right one.
    """
    found = {"gold": right, "wrong": other, "malformed": _broken(right), "half": right[: len(right) // 2]}
    if wrong:
        found["buggy"] = wrong
    mutated = next((right.replace(old, new, 1) for old, new in _SWAPS if old in right), None)
    if mutated is not None:
        found["mutated"] = mutated
    if language in EXITS:
        found["exits"] = cut(row, f"{EXITS[language]}\n{right}")
    return found


def cut(row: dict[str, Any], text: str) -> str:
    """A completion as generation ends it: before the first of the stop strings."""
    ends = [place for stop in row["stop_tokens"] if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def program(row: dict[str, Any], completion: str) -> str:
    """The reference's program."""
    return f"{row['prompt']}{completion}\n{row['tests']}"


def _bodies(language: str) -> dict[str, tuple[str, str, str]]:
    rows = read_jsonl(PACK[PACKED[language]])
    return {
        row["task_id"].split("/")[1]: (row["declaration"], row["canonical_solution"], row["buggy_solution"])
        for row in rows
    }


def _bound(language: str, head: str, declaration: str) -> str:
    """Statements that give parameters the names that the body knows them by."""
    last = next(line for line in reversed(declaration.rstrip().splitlines()) if "(" in line)
    pairs = zip(_names(language, last), _names(language, head), strict=False)
    word = {"cpp": "auto", "java": "var", "js": "let", "ts": "let", "rs": "let mut"}[language]
    return "".join(f"{word} {ours} = {theirs};\n" for ours, theirs in pairs if ours != theirs)


def _names(language: str, head: str) -> list[str]:
    found = re.search(r"\((.*)\)", head)
    inside = re.sub(r"<[^<>]*(?:<[^<>]*(?:<[^<>]*>[^<>]*)*>[^<>]*)*>|\[[^\]]*\]", "", found[1] if found else "")
    parts = [part.strip() for part in inside.split(",") if part.strip()]
    if language in ("ts", "rs"):
        return [part.partition(":")[0].replace("mut ", "").strip() for part in parts]
    return [part.split()[-1].lstrip("&*") for part in parts]


def _broken(text: str) -> str:
    """Without its last closing bracket or semicolon but one, so that no compiler takes it."""
    places = [place for place, character in enumerate(text.rstrip()) if character in ");"]
    return text if not places else text[: places[-1]] + "((" + text[places[-1] + 1 :]
