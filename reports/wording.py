"""Whether runs were asked in the same words: the sums of prompts and chat templates in their manifests, side by side.

Runs that were not are still ranked (a base and a chat model are never asked alike), and the reader is told: other
worked examples or another template move a score by points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mellum_eval.records import SuiteRecord
from reports.run import Notice, Run

SHOWN = 12
"""Digits of a sum that are shown."""


def asked_otherwise(runs: Sequence[Run]) -> list[Notice]:
    """What a reader must know of prompts and chat templates that differ.

    Suites whose prompts differ between the same runs share a notice; runs without sums (older ones) are passed over.
    """
    return [*_prompts(runs), *_templates(runs)]


def template_of(run: Run) -> str:
    """The first digits of the chat template's sum; empty where none is on record."""
    found = run.manifest.model.get("chat_template_sha256")
    return found[:SHOWN] if isinstance(found, str) else ""


def _prompts(runs: Sequence[Run]) -> list[Notice]:
    records: dict[str, dict[str, SuiteRecord]] = {}
    for run in runs:
        for name, result in run.suites.items():
            if result.record.prompts_sha256:
                records.setdefault(name, {})[run.label] = result.record
    alike: dict[tuple[tuple[str, ...], ...], dict[str, str]] = {}
    for name, of_runs in records.items():
        groups = _groups(of_runs)
        if len(groups) > 1:
            sums = " and ".join(found[:SHOWN] for found in groups)
            alike.setdefault(tuple(map(tuple, groups.values())), {})[name] = sums
    return [
        Notice(
            f"{'suite' if len(sums) == 1 else 'suites'} {', '.join(sums)}: "
            f"{' and '.join(', '.join(labels) for labels in groups)} were asked in different words "
            f"(chat or base form, worked examples, lengths); sha256 of the prompts of {next(iter(sums))}: "
            f"{next(iter(sums.values()))}",
            bad=False,
        )
        for groups, sums in alike.items()
    ]


def _groups(records: Mapping[str, SuiteRecord]) -> dict[str, list[str]]:
    """Sum → labels. Where --limit made the numbers differ, the first problem's prompt speaks for the others."""
    one_number = len({record.problems for record in records.values()}) == 1
    found: dict[str, list[str]] = {}
    for label, record in records.items():
        words = record.prompts_sha256 if one_number else record.first_prompt_sha256
        found.setdefault(words, []).append(label)
    return found


def _templates(runs: Sequence[Run]) -> list[Notice]:
    models: dict[str, dict[str, str]] = {}
    for run in runs:
        model, template = run.manifest.model, template_of(run)
        if template:
            models.setdefault(str(model.get("sha256") or model.get("name")), {}).setdefault(template, run.label)
    return [
        Notice(
            f"{' and '.join(labels.values())} are one model with different chat templates "
            f"(sha256 {' and '.join(labels)})",
            bad=False,
        )
        for labels in models.values()
        if len(labels) > 1
    ]
