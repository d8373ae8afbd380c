"""MultiPL-E (Cassano et al. 2022): HumanEval in other languages, tests translated with it, as DeepSeek-Coder ships it.

Variants are languages; without one, the seven of Mellum 2's report. The data has no solutions. A program of prompt,
answer and tests must run to its end (kind `program`); tests that begin by closing the answer's last brace are taken so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

from sandboxes.check import Answer, Limits, ProgramCheck
from sandboxes.languages import LanguageName
from suites.code.snippet import program_in
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

_ROOT = ("deepseek-ai/DeepSeek-Coder", "2f9fd85927c669dae3c0fbb2d607274023af243e")
_SUMS = {
    "cpp": (
        "7b702af96e21486ecd0136792106f6f05b91f8847f8e7cb59ef401d5230236ef",
        "8717eabdf202137158c84506144b0fb1e73d5ecccbe5363ec79009ca014df629",
    ),
    "java": (
        "30b781400cb4c55b89530cd77c521c2eefee021089da43fcf9ea479f2468d8df",
        "b21b015763452ec4f9f4e0e6425148ec331ace4da1232c8b4d441186185f6265",
    ),
    "php": (
        "63d56a59b6dda1fe25dda6768addb4fc78fb272e5c6f711722af886f028d2bd8",
        "bebd86875b1d8e65a8b7e692ed7bdf64612b44aa388825ea4dab40c7047c786b",
    ),
    "ts": (
        "d75a59ac6610caf0118c46ea196f4ced59c31b136df29e04749c657b90c6879d",
        "4b1af1050c9f226335d54a8c80553c39454a525cace3e67bdcfcc9092ba02637",
    ),
    "cs": (
        "52135228afb0bf23e1b28cbafefe6a10452b97298526c806cae0f3ce5a4f1fbb",
        "1c3fe18be10addc2d0b96311f4db192ae3232e08628d17768d889d6ab87be224",
    ),
    "sh": (
        "c7d50e4850fa1142409872469c21f4af0cb7f29bab809030b7dd0bd54cbe1346",
        "2f702106e9ce4aa7385de568d9248d6c57c90382d782b162cb9e072fbd01ccf8",
    ),
    "js": (
        "f1160a11aacd30a5f2aee13e9ce021753a7a01fc70f067e773b1673306a5b467",
        "634e2eee8d6e22de07c121b972207683dd96be76256bf44bdfc1a3386b739287",
    ),
    "go": (
        "459d7aee3962af0ef04bb254bb69fe6a79c390d5f18ac19381f4edb5865bef03",
        "7f5dfe3ff001049b1221e9d21a8119b5cbc38eb87c97fefc5d57fa7adc1df888",
    ),
    "rs": (
        "5da6d7575f26034203fc94e0bcd68630219ee3f9a126a8162fe139d11e9626a8",
        "e33f562838e973b7e6b8d76dbc1fb84b076d7426629b4cdc624f12678778d2fa",
    ),
}
LANGUAGES: dict[str, LanguageName] = {
    "cpp": "cpp",
    "java": "java",
    "php": "php",
    "ts": "typescript",
    "cs": "csharp",
    "sh": "bash",
    "js": "javascript",
    "go": "go",
    "rs": "rust",
}
"""Names in the data to names in checks; the first seven are the report's."""
REPORTED = tuple(LANGUAGES)[:7]
TITLES = {
    "cpp": "C++",
    "java": "Java",
    "php": "PHP",
    "ts": "TypeScript",
    "cs": "C#",
    "sh": "Bash",
    "js": "JavaScript",
    "go": "Go",
    "rs": "Rust",
}
_FENCES = {"ts": "typescript", "cs": "csharp", "sh": "bash", "js": "javascript", "rs": "rust"}
SOURCES = {
    language: DataSource(
        file=f"multipl_e/humaneval-{language}.jsonl.gz",
        sha256=_SUMS[language][0],
        content_sha256=_SUMS[language][1],
        licence="BSD-3-Clause with a clause against training on it (nuprl/MultiPL-E)",
        origin=github(*_ROOT, f"Evaluation/HumanEval/data/humaneval-{language}.jsonl"),
    )
    for language in LANGUAGES
}


class MultiplE(Suite):
    """The seven languages of the report, or one."""

    name = "multipl_e"
    category = "code"
    version = "1"
    summary = "HumanEval in C++, Java, PHP, TypeScript, C#, Bash and JavaScript (also Go, Rust), judged by their tests"
    metric = "pass@1"
    sampling = Sampling(max_tokens=1024)
    sources = tuple(SOURCES.values())
    variants = tuple(LANGUAGES)
    has_gold = False
    right_wrong = MappingProxyType(
        {
            "php/HumanEval_23_strlen": "its tests call PHP's own strlen, which no program may declare again: "
            "an answer that does fails, and none passes"
        }
    )

    def data(self) -> tuple[DataSource, ...]:
        """One file a language."""
        return tuple(SOURCES[language] for language in self._languages())

    def _languages(self) -> tuple[str, ...]:
        return REPORTED if self.variant is None else (self.variant,)

    def problems(self) -> Sequence[Problem]:
        """Rows as they are."""
        return list(self._problems())

    def _problems(self) -> Iterator[Problem]:
        for language in self._languages():
            for row in read_jsonl(SOURCES[language]):
                yield Problem(
                    id=f"{language}/{row['name']}",
                    ask=row["prompt"],
                    check=ProgramCheck(
                        kind="program",
                        language=LANGUAGES[language],
                        tests=row["tests"],
                        limits=Limits(cpu_s=15, memory_mb=1024),
                    ),
                    cluster=row["name"],
                    metadata={
                        "language": language,
                        "entry_point": entry_point(row["prompt"], language),
                        "stop_tokens": row["stop_tokens"],
                    },
                )

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The function's head: to be completed in a block, or continued to MultiPL-E's stop strings."""
        language = problem.metadata["language"]
        if chat:
            title = TITLES[language]
            ask = (
                f"Complete this {title} function. Reply with one {title} code block that holds the whole program begun "
                "here, without tests and without a main function.\n\n"
                f"```{_FENCES.get(language, language)}\n{problem.ask.strip()}\n```"
            )
            return Prompt(messages=(Message("user", ask),))
        return Prompt(text=problem.ask, stop=tuple(problem.metadata["stop_tokens"]))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The program."""
        language = LANGUAGES[problem.metadata["language"]]
        return program_in(text, language, problem.ask, problem.metadata["entry_point"])


def entry_point(prompt: str, language: str) -> str:
    """The function that a prompt ends in the head of."""
    last = prompt.rstrip().splitlines()[-1]
    found = re.findall(r"(\w+)\s*\(", last)
    if not found:
        raise ValueError(f"this {language} prompt does not end in a function's head: {last!r}")
    return str(found[0])
