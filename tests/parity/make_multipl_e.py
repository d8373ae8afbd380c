"""Record MultiPL-E's verdicts: its rule, carried out in the sandbox images of the languages.

    MELLUM_DATA_DIR=DIR python -m tests.parity.make_multipl_e

Its package is on no index; `multipl_e_reference.py` says the rule. Go's needs the tool `go`, which no image here has;
D, Julia, Lua, Perl, R, Ruby, Racket, Scala and Swift want theirs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from multipl_e_cases import candidates, forms, program
from multipl_e_reference import COMMANDS
from records import RECORDED, Record, write

from sandboxes.engines.docker import family_image
from sandboxes.languages import LANGUAGES
from suites.code.multipl_e import LANGUAGES as NAMES

REFERENCE = "MultiPL-E 0231fc9 eval_{}"
COMMAND = "python -m tests.parity.make_multipl_e"
ITEMS = {"js": 10, "php": 10, "sh": 10}
FEWER = 4
"""Problems of the other languages, whose compilers take seconds."""
TRIED = 3
"""Candidates for each problem that is wanted; the first right ones are taken."""


def statuses(language: str, programs: list[str]) -> list[str]:
    """What the reference says of programs of one language."""
    image = family_image(LANGUAGES[NAMES[language]].family)
    script = Path(__file__).with_name("multipl_e_reference.py").read_text("utf-8")
    confined = ["--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "2g"]
    done = subprocess.run(
        ["docker", "run", "--rm", "-i", *confined, image, "python3", "-c", script],
        input=json.dumps([{"language": language, "program": text} for text in programs]),
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    return list(json.loads(done.stdout))


def records() -> Iterator[Record]:
    """All languages, some problems of each in all forms."""
    for language in COMMANDS:
        wanted = ITEMS.get(language, FEWER)
        tried = [found for _, found in zip(range(TRIED * wanted), candidates(language), strict=False)]
        said = statuses(language, [program(row, right) for row, right, _ in tried])
        taken = [found for found, status in zip(tried, said, strict=True) if status == "OK"][:wanted]
        unfit = [found for found, status in zip(tried, said, strict=True) if status != "OK"][:2]
        sys.stderr.write(f"{language}: {said.count('OK')} of {len(tried)} candidates are right\n")
        made = [(row, "unfit", right) for row, right, _ in unfit]
        for place, (row, right, wrong) in enumerate(taken):
            other = taken[(place + 1) % len(taken)][1]
            made += [(row, form, text) for form, text in forms(row, language, right, wrong, other).items()]
        verdicts = statuses(language, [program(row, text) for row, _, text in made])
        for (row, form, text), status in zip(made, verdicts, strict=True):
            yield Record(
                suite=f"multipl_e:{language}",
                item=f"{language}/{row['name']}",
                form=form,
                reference=REFERENCE.format(language),
                reference_verdict=status == "OK",
                command=COMMAND,
                completion=text,
            )


if __name__ == "__main__":
    print(write(RECORDED / "multipl_e.jsonl", records()))
