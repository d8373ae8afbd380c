"""Answers to judge for parity with lm-evaluation-harness: of each suite's data, in forms that its tasks can read.

Every item has its gold form and others in turn. Where both sides read an answer the same way, forms are right ones
(gold, worked, spelled otherwise), wrong ones (mutated, another item's), malformed ones and ones with reasoning in tags;
`unstated`, `revised`, `unclosed` and the like are answers on which lm-eval's rules are known to err.

HellaSwag and WinoGrande have no data here: their rows are made, and a record then carries its check.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sandboxes.check import Check
from suites import registry
from suites.knowledge import bbh_sources, hellaswag, mmlu, mmlu_pro, winogrande
from suites.math import gsm8k, math500
from suites.problem import Problem
from suites.sources import read_json, read_jsonl

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
THOUGHT = "<think>\nFirst I take it to be {other}. The answer is {other}. No, that cannot be.\n</think>\n\n"
UNCLOSED = "<think>\nLet me see. "


@dataclass(frozen=True, slots=True)
class Case:
    """One answer to one document of one task."""

    suite: str
    item: str
    form: str
    completion: str | list[float]
    """Text, or the log-likelihood of each of the task's choices, in the row's order."""
    task: str
    """The task's file, from lm_eval/tasks."""
    rule: tuple[str, str]
    """Filter and metric of the task."""
    row: dict[str, Any]
    """The document, as the hub's data set has it."""
    order: tuple[int, ...] = ()
    """Where our suite has the choices in another order: the row's place of each of ours."""
    part: str = ""
    check: Check | None = None


def texts() -> Iterator[tuple[str, str, str, str]]:
    """What `records.Completions` asks for."""
    for case in cases():
        if isinstance(case.completion, str):
            yield case.suite, case.item, case.form, case.completion


def cases() -> Iterator[Case]:
    """All of them."""
    for of_suite in (_gsm8k, _math500, _mmlu, _mmlu_pro, _arc, _bbh, _truthfulqa, _hellaswag, _winogrande):
        yield from of_suite()


def _spread(count: int, of: int) -> list[int]:
    return [number * of // count for number in range(count)]


def _turns(number: int, *forms: str) -> set[str]:
    """Gold always; of the others two in turn."""
    return {"gold", forms[number % len(forms)], forms[(number + 1 + number // len(forms)) % len(forms)]}


def _gsm8k() -> Iterator[Case]:
    rows = list(read_jsonl(gsm8k.TEST))
    strict, flexible = ("strict-match", "exact_match"), ("flexible-extract", "exact_match")
    for number in _spread(160, len(rows)):
        row = rows[number]
        working, _, final = row["answer"].rpartition("\n#### ")
        other = rows[(number + 1) % len(rows)]["answer"].rpartition("#### ")[2]
        above = str(int(final.replace(",", "")) + 1)
        made = {
            "gold": (row["answer"], strict, "gsm8k/gsm8k.yaml"),
            "gold-last-number": (row["answer"], flexible, "gsm8k/gsm8k.yaml"),
            "mutated": (f"{working}\n#### {above}", strict, "gsm8k/gsm8k.yaml"),
            "mutated-last-number": (f"{working}\n#### {above}", flexible, "gsm8k/gsm8k.yaml"),
            "wrong": (f"#### {other}", strict, "gsm8k/gsm8k.yaml"),
            "worked": (f"{working}\nThe answer is {final}.", strict, "gsm8k/gsm8k-cot.yaml"),
            "worked-mutated": (f"{working}\nThe answer is {above}.", strict, "gsm8k/gsm8k-cot.yaml"),
            "run-on": (f"{row['answer']}\n\nQuestion: And of two?\nAnswer: #### {above}", strict, "gsm8k/gsm8k.yaml"),
            "malformed": (f"{working}\nSo that makes {final}", strict, "gsm8k/gsm8k.yaml"),
            "thinking": (THOUGHT.format(other=above) + row["answer"], strict, "gsm8k/gsm8k.yaml"),
            "thinking-mutated": (f"{THOUGHT.format(other=final)}#### {above}", strict, "gsm8k/gsm8k.yaml"),
        }
        if number % 8 == 0:
            made |= {
                "unstated": (f"{working}\nSo that makes {final}", flexible, "gsm8k/gsm8k.yaml"),
                "decimals": (f"#### {final}.00", strict, "gsm8k/gsm8k.yaml"),
                "unclosed": (f"{UNCLOSED}{row['answer']}", strict, "gsm8k/gsm8k.yaml"),
                "revised": (f"#### {above}\nNo, that is one too many.\n#### {final}", strict, "gsm8k/gsm8k.yaml"),
            }
        kept = _turns(number, *list(made)[1:11]) | set(list(made)[11:])
        for form, (text, rule, task) in made.items():
            if form in kept:
                yield Case("gsm8k", f"gsm8k/{number}", form, text, task, rule, row)


def _math500() -> Iterator[Case]:
    rows = list(read_jsonl(math500.TEST))
    task = "minerva_math/minerva_math500.yaml"
    said = "Final Answer: The final answer is ${}$. I hope it is correct."
    exact, verify = ("none", "exact_match"), ("none", "math_verify")
    for number in _spread(160, len(rows)):
        row = rows[number]
        solution, answer = row["solution"], row["answer"]
        other = rows[(number + 1) % len(rows)]["answer"]
        changed = _other_digit(answer)
        made = {
            "gold": (f"{solution}\n{said.format(answer)}", exact),
            "gold-verified": (f"{solution}\n{said.format(answer)}", verify),
            "boxed": (solution, verify),
            "boxed-wrong": (f"So it is $\\boxed{{{other}}}$.", verify),
            "mutated": (said.format(changed), exact),
            "mutated-verified": (f"So it is $\\boxed{{{changed}}}$.", verify),
            "wrong": (said.format(other), exact),
            "malformed": (f"So it is $\\boxed{{{answer}", exact),
            "thinking": (f"{THOUGHT.format(other=f'${changed}$')}{said.format(answer)}", exact),
            "thinking-wrong": (f"{THOUGHT.format(other=f'${answer}$')}{said.format(other)}", exact),
        }
        kept = _turns(number, *list(made)[1:])
        for form, (text, rule) in made.items():
            if form in kept:
                taken = {"problem": row["problem"], "solution": solution}
                yield Case("math500", row["unique_id"], form, text, task, rule, taken)


def _other_digit(answer: str) -> str:
    digit = re.search(r"\d", answer)
    if digit is None:
        return f"{answer}+1"
    return f"{answer[: digit.start()]}{(int(digit[0]) + 1) % 10}{answer[digit.end() :]}"


def _letters(suite: str, problem: Problem, row: dict[str, Any], right: str, number: int, count: int) -> Iterator[Case]:
    """A letter alone, for the generative form of MMLU."""
    task, rule = "mmlu/generative/mmlu_anatomy.yaml", ("get_response", "exact_match")
    wrong = LETTERS[(LETTERS.index(right) + 1) % count]
    made = {
        "letter": f" {right}",
        "letter-wrong": f" {wrong}",
        "letter-in-brackets": f"({right})",
        "letter-with-point": f"{right}.\n",
        "two-letters": f"{right} or {wrong}",
        "no-letter": "I do not know.",
        "letter-thinking": f"{THOUGHT.format(other=wrong)}{right}",
    }
    if number % 8 == 0:
        made["letter-and-text"] = f"{right}. {row['choices'][LETTERS.index(right)]}"
    kept = _turns(number, *list(made)[:7]) | {"letter-and-text"}
    for form, text in made.items():
        if form in kept:
            yield Case(suite, problem.id, form, text, task, rule, row)


def _ranked(
    suite: str,
    problem: Problem,
    task: str,
    rule: tuple[str, str],
    row: dict[str, Any],
    right: Sequence[int],
    **more: Any,
) -> Iterator[Case]:
    """Log-likelihoods: the right choice first, a wrong one first, two alike, and drawn ones."""
    count = len(more.pop("texts"))
    draw = random.Random(problem.id)
    drawn = [round(-40 * draw.random() - 1, 4) for _ in range(count)]
    wrong = next((place for place in range(count) if place not in right), right[0])
    made = {
        "ranked-right": [0.0 if place == right[0] else value - 60 for place, value in enumerate(drawn)],
        "ranked-wrong": [0.0 if place == wrong else value - 60 for place, value in enumerate(drawn)],
        "ranked-alike": [-1.0 if place in (right[0], wrong) else value - 60 for place, value in enumerate(drawn)],
        "ranked-drawn": drawn,
    }
    for form, values in made.items():
        name = f"{form}-{rule[1]}" if more.get("part") else form
        yield Case(suite, problem.id, name, values, task, rule, row, **more)


def _mmlu() -> Iterator[Case]:
    rows, problems = list(read_jsonl(mmlu.TEST)), registry.get("mmlu").problems()
    for turn, number in enumerate(_spread(200, len(rows))):
        row, problem = rows[number], problems[number]
        place = LETTERS.index(row["answer"])
        taken = {"question": row["question"], "choices": row["choices"], "answer": place, "subject": row["subject"]}
        ranked = _ranked(
            "mmlu", problem, "mmlu/default/mmlu_anatomy.yaml", ("none", "acc"), taken, [place], texts=row["choices"]
        )
        yield from (case for at, case in enumerate(ranked) if at in (turn % 4, 3))
        yield from _letters("mmlu", problem, taken, row["answer"], turn, 4)


def _mmlu_pro() -> Iterator[Case]:
    rows, problems = list(read_jsonl(mmlu_pro.TEST)), registry.get("mmlu_pro").problems()
    task, rule = "mmlu_pro/_default_template_yaml", ("custom-extract", "exact_match")
    for turn, number in enumerate(_spread(160, len(rows))):
        row, problem = rows[number], problems[number]
        right = row["answer"]
        wrong = LETTERS[(LETTERS.index(right) + 1) % max(2, len(row["options"]))]
        reasoned = f"Option {wrong} would be too much, so it is not that one."
        made = {
            "gold": f"{reasoned} The answer is ({right}).",
            "bare": f"{reasoned}\nThe answer is {right}.",
            "wrong": f"{reasoned} The answer is ({wrong}).",
            "malformed": f"{reasoned} I choose {right}",
            "beyond": f"{reasoned} The answer is (Z).",
            "thinking": f"{THOUGHT.format(other=wrong)}The answer is ({right}).",
            "thinking-wrong": f"{THOUGHT.format(other=right)}The answer is ({wrong}).",
        }
        if turn % 8 == 0:
            made["revised"] = f"The answer is ({wrong}).\nNo, that is wrong.\nThe answer is ({right})."
            made["unclosed"] = f"{UNCLOSED}The answer is ({right})."
        kept = _turns(turn, *list(made)[1:7]) | {"revised", "unclosed"}
        taken = {key: row[key] for key in ("question", "options", "answer", "category")}
        for form, text in made.items():
            if form in kept:
                yield Case("mmlu_pro", problem.id, form, text, task, rule, taken)


def _arc() -> Iterator[Case]:
    from suites.knowledge.arc import CHALLENGE, EASY

    for variant, source, task in (("challenge", CHALLENGE, "arc_challenge"), ("easy", EASY, "arc_easy")):
        rows, suite = list(read_jsonl(source)), f"arc:{variant}"
        problems = registry.get(suite).problems()
        for turn, number in enumerate(_spread(110, len(rows))):
            row, problem = rows[number], problems[number]
            place = row["choices"]["label"].index(row["answerKey"])
            for part in ("acc", "acc_norm"):
                ranked = _ranked(
                    suite, problem, f"arc/{task}.yaml", ("none", part), row, [place],
                    texts=row["choices"]["text"], part=part,
                )  # fmt: skip
                yield from (case for at, case in enumerate(ranked) if at in (turn % 4, 3))
            if len(row["choices"]["label"]) != 4:
                continue  # the generative task has four letters, or three
            right, wrong = LETTERS[place], LETTERS[(place + 1) % 4]
            made = {
                "letter": f" {right}.",
                "letter-wrong": f" {wrong}",
                "letter-bold": f" **{right}**",
                "none": " it",
            }
            kept, rule = _turns(turn, *made), ("remove_whitespace", "exact_match")
            for form, text in made.items():
                if form in kept:
                    yield Case(suite, problem.id, form, text, "arc/arc_challenge_chat.yaml", rule, row)


def _bbh() -> Iterator[Case]:
    rule = ("get-answer", "exact_match")
    for name in bbh_sources.TASKS:
        rows = read_json(bbh_sources.QUESTIONS[name])["examples"]
        task = f"bbh/cot_fewshot/{name}.yaml"
        for turn, number in enumerate(_spread(8, len(rows))):
            target = rows[number]["target"]
            other = next((row["target"] for row in rows[number:] + rows if row["target"] != target), "none")
            made = {
                "gold": f"Let us see.\nSo the answer is {target}.",
                "wrong": f"Let us see.\nSo the answer is {other}.",
                "malformed": f"Let us see.\nThis leaves {target}.",
                "thinking": f"{THOUGHT.format(other=other)}So the answer is {target}.",
                "thinking-wrong": f"{THOUGHT.format(other=target)}So the answer is {other}.",
                "run-on": f"So the answer is {target}.\n\nQ: And what of this one?\nA: So the answer is {other}.",
            }
            kept = _turns(turn, *list(made)[1:])
            for form, text in made.items():
                if form in kept:
                    yield Case("bbh", f"{name}/{number}", form, text, task, rule, rows[number])


def _truthfulqa() -> Iterator[Case]:
    for variant in ("mc1", "mc2"):
        suite = f"truthfulqa:{variant}"
        problems = registry.get(suite).problems()
        for number in _spread(100, len(problems)):
            problem = problems[number]
            check = problem.check
            assert check.kind == "choice"
            choices: list[str] = problem.metadata["choices"]
            right = [LETTERS.index(letter) for letter in check.answer + check.also]
            # The hub has true answers first; ours are shuffled.
            order = sorted(range(len(choices)), key=lambda place: place not in right)
            targets = {
                "choices": [choices[place] for place in order],
                "labels": [int(place in right) for place in order],
            }
            row = {"question": problem.ask, f"{variant}_targets": targets}
            row |= {f"{other}_targets": targets for other in ("mc1", "mc2")}
            for case in _ranked(
                suite, problem, f"truthfulqa/truthfulqa_{variant}.yaml", ("none", "acc"), row,
                list(range(len(right))), texts=choices,
            ):  # fmt: skip
                place_of = {place: at for at, place in enumerate(order)}
                ordered = tuple(place_of[place] for place in range(len(choices)))
                part = "score" if variant == "mc2" else ""
                values = [float(case.completion[at]) for at in ordered]
                form = case.form
                if form == "ranked-alike" and variant == "mc1" and values.index(max(values)) not in right:
                    form = "ranked-alike-wrong-first"
                yield Case(
                    suite, problem.id, form, case.completion, case.task, case.rule, row, order=ordered, part=part
                )


_SCENES = ("Removing ice from car", "Baking cookies", "Playing harmonica", "Shaving", "Getting a haircut")
_ACTORS = ("A man", "The lady", "She", "A boy in a red shirt", "Two people")
_DEEDS = (
    "walks to the window and opens it",
    "is shown [title] how to begin [step] slowly",
    "talks to the camera",
    "puts it down again, smiling at everybody who is there",
    "runs",
    "adds sugar  and eggs",
)


def hellaswag_rows(count: int) -> list[dict[str, Any]]:
    """Rows in the form of HellaSwag's, with WikiHow's marks in some."""
    rows = []
    for number in range(count):
        draw = random.Random(number)
        start = f"{draw.choice(_ACTORS)} {draw.choice(_DEEDS)}."
        rows.append(
            {
                "ind": number,
                "activity_label": draw.choice(_SCENES),
                "ctx_a": start,
                "ctx_b": draw.choice(_ACTORS).lower(),
                "ctx": start,
                "endings": draw.sample(_DEEDS, 4),
                "source_id": f"made~{number}",
                "label": str(draw.randrange(4)),
            }
        )
    return rows


def winogrande_rows(count: int) -> list[dict[str, Any]]:
    """Rows in the form of WinoGrande's."""
    things = ("trophy", "suitcase", "lamp", "table", "piano", "ladder")
    rows = []
    for number in range(count):
        draw = random.Random(1000 + number)
        one, other = draw.sample(things, 2)
        sentence = f"The {one} does not go with the {other} because the _ is too {draw.choice(('big', 'old', 'loud'))}."
        rows.append(
            {"qID": f"made-{number}-1", "sentence": sentence, "option1": one, "option2": other,
             "answer": draw.choice("12")}
        )  # fmt: skip
    return rows


def _hellaswag() -> Iterator[Case]:
    for row in hellaswag_rows(60):
        problem = hellaswag.problem_of(row)
        for part in ("acc", "acc_norm"):
            yield from _ranked(
                "hellaswag", problem, "hellaswag/hellaswag.yaml", ("none", part), row, [int(row["label"])],
                texts=row["endings"], part=part, check=problem.check,
            )  # fmt: skip


def _winogrande() -> Iterator[Case]:
    for row in winogrande_rows(60):
        problem = winogrande.problem_of(row)
        yield from _ranked(
            "winogrande", problem, "winogrande/default.yaml", ("none", "acc"), row, [int(row["answer"]) - 1],
            texts=(row["option1"], row["option2"]), check=problem.check,
        )  # fmt: skip
