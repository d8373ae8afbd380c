"""A needle and a copy, by length, before and after the long-context stage.

    python tests/benchmarks/nano_long_context.py training/nano

Reads `pretrain/model` and `long_context/model` under the directory given. Before is measured twice: as it was trained
(512 tokens, no YaRN), and with YaRN on its full layers but no training. Documents are those of the generator
`long_text` with a seed that no recipe uses, brought to the length with stories; the answer is scored by teacher
forcing: right is a document of which every token of the answer is the likeliest.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch

from mellum_model import Mellum, MellumConfig, loglikelihood
from mellum_model.checkpoint import load_into
from mellum_model.tokenizer import Tokenizer
from mellum_model.training.data.generated_text import THINGS, story

LENGTHS = (128, 256, 448, 768, 1024, 1536, 1984)
FACTOR = 4.0


def needle(tokenizer: Tokenizer, length: int, rng: random.Random) -> tuple[list[int], list[int]]:
    """A number told somewhere in the first half, asked for at the end."""
    thing, number = rng.choice(THINGS), rng.randint(100, 999)
    told = f"The secret number of the {thing} is {number}."
    ask = tokenizer.encode_plain(f"\nThe secret number of the {thing} is")
    answer = tokenizer.encode_plain(f" {number}.")
    return _between(tokenizer, told, length - len(ask) - len(answer), rng, rng.random() / 2) + ask, answer


def copied(tokenizer: Tokenizer, length: int, rng: random.Random) -> tuple[list[int], list[int]]:
    """A list told at the beginning, repeated at the end; its first thing is given."""
    listed = rng.sample(THINGS, 5)
    ask = tokenizer.encode_plain(f"\nThe same list again.\nList: new {listed[0]},")
    answer = tokenizer.encode_plain(" " + ", ".join(f"new {thing}" for thing in listed[1:]) + ".")
    told = "List: " + ", ".join(f"new {thing}" for thing in listed) + "."
    return _between(tokenizer, told, length - len(ask) - len(answer), rng, 0.0) + ask, answer


def _between(tokenizer: Tokenizer, told: str, room: int, rng: random.Random, at: float) -> list[int]:
    """Stories of `room` tokens, with what is told at a share of the way."""
    own = tokenizer.encode_plain(" " + told)
    text: list[int] = []
    while len(text) < room:
        text += tokenizer.encode_plain(" " + story(rng))
    place = int((room - len(own)) * at)
    return [*text[:place], *own, *text[place : room - len(own)]]


def share_right(model: Mellum, tokenizer: Tokenizer, task: object, length: int, n: int) -> float | None:
    """Of n documents; None where they do not fit the context."""
    if length > model.config.max_position_embeddings:
        return None
    rng = random.Random(f"{getattr(task, '__name__', '')}/{length}")
    pairs = [task(tokenizer, length, rng) for _ in range(n)]  # type: ignore[operator]
    return sum(result.greedy for result in loglikelihood(model, pairs)) / n


def models(root: Path) -> dict[str, Mellum]:
    """Before, before with YaRN, after."""
    before = root / "pretrain" / "model"
    stretched = Mellum(MellumConfig.load(before).extended(FACTOR))
    load_into(stretched, before)
    return {
        "before": Mellum.from_pretrained(before, dtype="float32"),
        "before, YaRN untrained": stretched.eval(),
        "after": Mellum.from_pretrained(root / "long_context" / "model", dtype="float32"),
    }


def main() -> None:
    """Print the table as Markdown, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("-n", type=int, default=50, help="documents a cell")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    tokenizer = Tokenizer.load(options.root / "pretrain" / "model")
    found: dict[str, dict[str, list[float | None]]] = {}
    print("| task | model | " + " | ".join(map(str, LENGTHS)) + " |")
    print("|" + "---|" * (len(LENGTHS) + 2))
    for task in (needle, copied):
        for name, model in models(options.root).items():
            shares = [share_right(model, tokenizer, task, length, options.n) for length in LENGTHS]
            found.setdefault(task.__name__, {})[name] = shares
            cells = ["–" if share is None else f"{share:.0%}" for share in shares]
            print(f"| {task.__name__} | {name} | " + " | ".join(cells) + " |", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"lengths": LENGTHS, "n": options.n, **found}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
