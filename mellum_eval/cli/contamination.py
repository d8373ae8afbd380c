"""What of the suites stands in a corpus: the index that training data is filtered by, asked problem by problem.

Memory holds the index and one place for each problem that was found; the corpus passes through, record by record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellum_eval.errors import PrerequisiteMissing, UserError
from suites import registry

if TYPE_CHECKING:
    from mellum_model.training.data.records import Record

_TEXT = (".txt", ".md", ".text", ".rst", ".py", ".html", ".tex", ".csv", ".tsv")
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet",)


@dataclass(slots=True)
class SuiteFindings:
    """What was found of one suite.

    Attributes:
        suite: Its name.
        problems: How many it has.
        checked: Those that can be found: of the others too few words stand in a row, or none of their own.
        hit: Those that stand in the corpus.
        share: Of all problems.
        examples: Problems and where the first copy of each is, in the corpus's order.
    """

    suite: str
    problems: int
    checked: int
    hit: int = 0
    share: float = 0.0
    examples: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Findings:
    """The whole report; its fields are the keys of `--json`."""

    ngram: int
    records: int
    contaminated: bool
    suites: list[SuiteFindings]
    not_checked: list[str]
    """Suites whose data is not at hand, or that have no problems of their own."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def look_through(
    corpus: Sequence[Path], names: Sequence[str] | None, *, text_field: str | None, ngram: int, examples: int
) -> Findings:
    """Read a corpus and find the suites' problems in it.

    Args:
        corpus: Files, or directories of files.
        names: Suites or groups; None is every suite.
        text_field: The field of a record that is text; None takes all strings in it.
        ngram: Words in a row that make a copy.
        examples: Problems named for each suite, at most.

    Raises:
        UserError: A file is missing, damaged, of no known kind, or has not the field.
        PrerequisiteMissing: A file needs a package that is not installed.
    """
    from mellum_eval.cli.training_sources import suite_index
    from mellum_model.training.data.decontaminate import Contamination
    from mellum_model.training.errors import DataError

    files = _files(corpus)
    index = suite_index(None if names is None else dict.fromkeys(registry.expand(names)))
    contamination = Contamination(index, ngram)
    sizes = {suite: len(problems) for suite, problems in chain(index.written.items(), index.questions.items())}
    checked = dict.fromkeys(sizes, 0)
    for suite, _ in contamination.checkable():
        checked[suite] += 1
    first: dict[str, dict[str, str]] = {suite: {} for suite in sizes}
    records = 0
    try:
        for record in _records(files):
            records += 1
            for suite, problem in sorted(contamination.hits(_as_text(record, text_field), "text")):
                first[suite].setdefault(problem, record.where)
    except DataError as error:
        raise UserError(str(error)) from None
    suites = []
    for suite, found in first.items():
        shown = [{"problem": problem, "where": where} for problem, where in list(found.items())[:examples]]
        share = len(found) / sizes[suite] if sizes[suite] else 0.0
        suites.append(SuiteFindings(suite, sizes[suite], checked[suite], len(found), share, shown))
    return Findings(ngram, records, any(one.hit for one in suites), suites, list(index.missing))


def lines_of(findings: Findings) -> Iterator[str]:
    """The table, the examples below it, and what was not checked."""
    width = max([len("suite"), *(len(one.suite) for one in findings.suites)])
    yield f"{'suite':{width}}  problems  checkable     hit   share"
    for one in findings.suites:
        yield f"{one.suite:{width}}  {one.problems:8,}  {one.checked:9,}  {one.hit:6,}  {100 * one.share:5.1f} %"
    for one in findings.suites:
        for example in one.examples:
            yield f"{one.suite}: {example['problem']} is in {example['where']}"
        if one.hit > len(one.examples):
            yield f"{one.suite}: and {one.hit - len(one.examples):,} more"
    if findings.not_checked:
        yield f"not checked, for lack of data: {', '.join(findings.not_checked)}"
    verdict = "contaminated" if findings.contaminated else "clean"
    yield f"{findings.records:,} records: {verdict} ({findings.ngram} words in a row; generated suites by instance)"


def _files(corpus: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for place in corpus:
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.is_file() and _kind(path))
            if not inside:
                raise UserError(f"{place}: no JSONL, Parquet or text file in it")
            found += inside
        elif not place.is_file():
            raise UserError(f"{place}: no such file or directory")
        elif not _kind(place):
            known = " ".join((*_JSON_LINES, *_PARQUET, *_TEXT))
            raise UserError(f"{place}: of no known kind; name it as one of {known}, with .gz or .zst behind if packed")
        else:
            found.append(place)
    return found


def _kind(path: Path) -> str:
    from mellum_model.training.data.sources import PACKED

    plain = path.with_suffix("") if path.suffix in PACKED else path
    for kind, endings in (("json lines", _JSON_LINES), ("text", _TEXT)):
        if plain.suffix in endings:
            return kind
    return "parquet" if path.suffix in _PARQUET else ""


def _records(files: Iterable[Path]) -> Iterator[Record]:
    from mellum_model.training.data.sources import JsonLines, Parquet, Source, TextBlocks

    for path in files:
        kind = _kind(path)
        source: Source
        if kind == "parquet":
            try:
                import pyarrow  # noqa: F401
            except ImportError:
                raise PrerequisiteMissing(
                    f"{path} is a Parquet file, and pyarrow is not installed", 'run `pip install "mellum-eval[data]"`'
                ) from None
            source = Parquet([path], None)
        else:
            source = JsonLines([path]) if kind == "json lines" else TextBlocks([path])
        for record, _ in source.read({}):
            yield record


def _as_text(record: Record, text_field: str | None) -> Mapping[str, Any]:
    """The record as the index reads it: one text, and the ids of generated instances that it names."""
    instances = record.data.get("instances")
    named = [one for one in instances if isinstance(one, str)] if isinstance(instances, list) else []
    if text_field is None:
        return {"text": "\n".join(_strings(record.data)), "instances": named}
    text = record.data.get(text_field)
    if not isinstance(text, str):
        there = ", ".join(map(str, record.data)) or "no fields"
        raise UserError(f"{record.where}: no text in field {text_field!r} (it has {there}); name another by --field")
    return {"text": text, "instances": named}


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting.extend(reversed(list(one.values())))
        elif isinstance(one, list):
            waiting.extend(reversed(one))
