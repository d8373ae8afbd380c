from __future__ import annotations

import csv
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from suites import registry
from suites.catalogue import Entry
from suites.registry import UnknownSuite


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.name)
def test_the_listing_says_what_the_class_says(entry: Entry) -> None:
    suite = registry.get(entry.name)
    assert (suite.name, suite.category, suite.summary) == (entry.name, entry.category, entry.summary)
    assert suite.variants == entry.variants
    assert type(suite).__module__.split(".")[:2] in (["suites", entry.category], ["suites", "quick"])


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.name)
def test_variants_carry_their_name_and_read_known_sources(entry: Entry) -> None:
    for variant in entry.variants:
        suite = registry.get(f"{entry.name}:{variant}")
        assert suite.full_name == f"{entry.name}:{variant}"
        assert set(suite.data()) <= set(suite.sources)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("humaneval-plus", "humaneval_plus"),
        ("gsm8", "gsm8k"),
        ("quik", "quick"),
        ("", "suites list"),
        ("zzzzzz", "suites list"),
        ("bfcl:simple", "simple_python"),
        ("gsm8k:hard", "no variants"),
        ("xstest:", "safe, unsafe"),
    ],
)
def test_a_wrong_name_is_answered_by_the_nearest_right_one(name: str, hint: str) -> None:
    for ask in (registry.get, lambda name: registry.expand([name])):
        with pytest.raises(UnknownSuite) as caught:
            ask(name)
        assert hint in str(caught.value)


def test_groups_expand_in_order_and_without_doubles() -> None:
    assert registry.expand(["quick_math", "quick", "gsm8k"])[0] == "quick_math"
    names = registry.expand(["quick"])
    assert len(names) == len(set(names)) == 6
    assert len({registry.get(name).category for name in names}) == 6


def test_plug_ins_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = (
        EntryPoint("toy", "suites.math.gsm8k:Gsm8k", registry.ENTRY_POINTS),
        EntryPoint("gsm8k", "somewhere.else:Broken", registry.ENTRY_POINTS),
    )
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: points if group == registry.ENTRY_POINTS else ()
    )
    assert registry.get("toy").name == "gsm8k"
    assert [entry.name for entry in registry.entries()].count("gsm8k") == 1
    assert registry.get("gsm8k").name == "gsm8k"
    with pytest.raises(UnknownSuite, match="no variant 'x'"):
        registry.get("toy:x")


def test_every_source_is_pinned_as_the_mirror_lists_it(data_dir: Path) -> None:
    with (data_dir / "MANIFEST.csv").open(newline="") as rows:
        manifest = {f"{row['benchmark']}/{row['file']}": row["sha256"] for row in csv.DictReader(rows)}
    sources = {source.file: source for entry in registry.entries() for source in registry.get(entry.name).sources}
    assert len(sources) > 20
    for file, source in sources.items():
        # What the mirror has not (hub files, a package's wheel) is pinned all the same, where it is a single file.
        assert source.sha256 == manifest.get(file, source.sha256)
        assert re.fullmatch("[0-9a-f]{64}|", source.sha256)
        assert source.origin.startswith(("pypi:", "hf:", "hf-model:", "https://"))
        assert source.licence
        assert file.endswith(".gz") == bool(source.content_sha256)
