"""What was mixed: counts by phase and source, what was dropped and why. Written beside a run as JSON and Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .records import Example


@dataclass(slots=True)
class SourceTally:
    """One source in one phase."""

    records: int = 0
    examples: int = 0
    tokens: int = 0
    learnt: int = 0
    """Tokens whose prediction counts in the loss."""
    epochs: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    """Note of an example (`psm`, `spm`) → examples."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason → records or examples."""

    def keep(self, example: Example) -> None:
        """Count an example."""
        self.examples += 1
        self.tokens += len(example.ids)
        self.learnt += len(example.ids) if example.learnt is None else sum(example.learnt)
        if example.note:
            self.notes[example.note] = self.notes.get(example.note, 0) + 1

    def drop(self, reason: str, count: int = 1) -> list[Example]:
        """Count what is left out; what is left of it is nothing."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count
        return []


@dataclass(slots=True)
class Tally:
    """The whole stream."""

    rows: int = 0
    padding: int = 0
    phases: dict[str, dict[str, SourceTally]] = field(default_factory=dict)

    def of(self, phase: str, source: str) -> SourceTally:
        """The counts of a source in a phase."""
        return self.phases.setdefault(phase, {}).setdefault(source, SourceTally())

    def used(self, source: str) -> Iterator[int]:
        """Examples of a source, phase by phase."""
        return (found[source].examples for found in self.phases.values() if source in found)

    def dropped(self, source: str) -> Counter[str]:
        """Reason → records or examples of a source, all phases together."""
        total: Counter[str] = Counter()
        for found in self.phases.values():
            if source in found:
                total.update(found[source].dropped)
        return total

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tally:
        """From `to_json`."""
        phases = {
            phase: {name: SourceTally(**counts) for name, counts in found.items()}
            for phase, found in value["phases"].items()
        }
        return cls(value["rows"], value["padding"], phases)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the recipe asked for, to stand beside what came."""

    length: int
    weights: Mapping[str, Mapping[str, float]]
    """Phase → source → weight."""
    unchecked: tuple[str, ...] = ()
    """Suites whose data was not at hand."""
    checked: tuple[str, ...] = ()


def audit_of(tally: Tally, wanted: Wanted) -> dict[str, Any]:
    """The audit as an object: counts, with wanted and found shares of each phase's tokens."""
    phases = {}
    for phase, found in tally.phases.items():
        weights = wanted.weights.get(phase, {})
        total, weight = sum(one.tokens for one in found.values()), sum(weights.values())
        phases[phase] = {
            "tokens": total,
            "sources": {
                name: {
                    **asdict(one),
                    "share": one.tokens / total if total else 0.0,
                    "wanted_share": weights.get(name, 0.0) / weight if weight else None,
                }
                for name, one in sorted(found.items())
            },
        }
    return {
        "rows": tally.rows,
        "row_tokens": wanted.length,
        "padding_tokens": tally.padding,
        "phases": phases,
        "decontaminated_against": list(wanted.checked),
        "not_checked_for_lack_of_data": list(wanted.unchecked),
    }


def write_audit(tally: Tally, wanted: Wanted, directory: Path) -> None:
    """Write `data_audit.json` and `data_audit.md`."""
    audit = audit_of(tally, wanted)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "data_audit.json").write_text(json.dumps(audit, indent=1, sort_keys=True) + "\n", "utf-8")
    (directory / "data_audit.md").write_text(_markdown(audit), "utf-8")


def _markdown(audit: Mapping[str, Any]) -> str:
    padding = audit["padding_tokens"] / max(1, audit["rows"] * audit["row_tokens"])
    lines = [
        "# What was mixed",
        "",
        f"{audit['rows']:,} rows of {audit['row_tokens']:,} tokens, {padding:.2%} padding. Tokens include the marks "
        "of turns, gaps and ends; records are counted when they are read.",
        "",
    ]
    for phase, found in audit["phases"].items():
        lines += [f"## {phase}: {found['tokens']:,} tokens", ""]
        lines += ["| source | tokens | share | wanted | examples | epochs | gaps | dropped |", "|" + "---|" * 8]
        for name, one in found["sources"].items():
            wanted = "as it comes" if one["wanted_share"] is None else f"{one['wanted_share']:.2%}"
            gaps = ", ".join(f"{count:,} {note}" for note, count in sorted(one["notes"].items())) or "–"
            dropped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(one["dropped"].items())) or "–"
            lines.append(
                f"| {name} | {one['tokens']:,} | {one['share']:.2%} | {wanted} | {one['examples']:,} | {one['epochs']} "
                f"| {gaps} | {dropped} |"
            )
        lines.append("")
    checked = ", ".join(audit["decontaminated_against"]) or "nothing"
    lines.append(f"Decontaminated against: {checked}.")
    if audit["not_checked_for_lack_of_data"]:
        lines.append(f"Not checked, for lack of data: {', '.join(audit['not_checked_for_lack_of_data'])}.")
    return "\n".join(lines) + "\n"
