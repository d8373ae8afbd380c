"""The stream: mixtures to the token, phases, packing, resumption to the very row, ranks, sources and what is wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellum_model.chat import SPECIAL_TOKENS
from mellum_model.losses import IGNORED
from mellum_model.tokenizer import Tokenizer
from mellum_model.training.batch import Batch
from mellum_model.training.data import OpenStream, open_stream
from mellum_model.training.data.generated_text import GENERATORS
from mellum_model.training.data.packing import best_fit, concatenate, make_row
from mellum_model.training.data.records import Example
from mellum_model.training.errors import DataError
from mellum_model.training.recipes import Stage

LENGTH = 128
ROWS = 16


@cache
def tokenizer() -> Tokenizer:
    texts = [GENERATORS[name]("train", {})[n]["text"] for name in ("stories", "code", "sums") for n in range(100)]
    return Tokenizer.train(texts, 512, SPECIAL_TOKENS)


def stage(rows: int = 480, packing: Mapping[str, Any] | None = None, **data: Any) -> Stage:
    generator = {name: {"kind": "generator", "name": name} for name in ("stories", "code", "sums")}
    generator["code"]["code"] = True  # type: ignore[assignment]
    return Stage.model_validate(
        {
            "sequence_length": LENGTH,
            "tokens": rows * LENGTH,
            "batch": {"tokens": ROWS * LENGTH},
            "schedule": {"peak": 1e-3},
            "seed": 5,
            "data": {
                "sources": generator,
                "phases": [
                    {"name": "one", "share": 0.6, "mixture": {"stories": 70, "code": 23, "sums": 6}},
                    {"name": "two", "share": 0.4, "mixture": {"stories": 23, "code": 59, "sums": 18}},
                ],
                "filters": {"min_unique_tokens": 0, "dedup": {"exact": False}},
                "packing": {"buffer": 100, "document_mask": True, **(packing or {})},
                **data,
            },
        }
    )


def opened(of: Stage | None = None, **options: Any) -> OpenStream:
    of = of or stage()
    options = {"generators": GENERATORS, **options}
    return open_stream(of, tokenizer(), total_tokens=of.tokens or 0, **options)


def rows_of(batch: Batch) -> list[tuple[Any, ...]]:
    parts = [batch.input_ids, batch.labels, batch.mask]
    parts += [batch.positions] if batch.positions is not None else []
    return list(zip(*(part.tolist() for part in parts if part is not None), strict=True))


def jsonl(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def test_the_mixture_is_the_recipes_in_each_phase() -> None:
    found = opened()
    for _ in range(30):
        found.stream.next_batch(ROWS * LENGTH)
    for phase, weights in found.wanted.weights.items():
        tallies = found.stream.tally.phases[phase]
        total = sum(one.tokens for one in tallies.values())
        for name, weight in weights.items():
            # Exact up to the last document of a source, of a few hundred tokens.
            assert tallies[name].tokens == pytest.approx(weight / sum(weights.values()) * total, abs=400), (phase, name)
    tokens = {phase: sum(one.tokens for one in found.stream.tally.phases[phase].values()) for phase in ("one", "two")}
    assert tokens["one"] / sum(tokens.values()) == pytest.approx(0.6, abs=0.05)


def test_batches_count_their_sources_and_hold_whole_documents() -> None:
    batch = opened().stream.next_batch(ROWS * LENGTH)
    assert batch.rows == ROWS and batch.mask is not None and batch.positions is not None
    assert sum(batch.sources.values()) == int(batch.mask.sum())
    assert int(batch.mask.sum()) > 0.9 * ROWS * LENGTH
    end = tokenizer().id_of("<|endoftext|>")
    for ids, labels, mask, positions in rows_of(batch):
        assert positions[0] == 0
        for place in range(1, LENGTH):
            continues = positions[place] == positions[place - 1] + 1
            assert continues or positions[place] == 0
            if mask[place]:
                assert (ids[place - 1] == end) == (not continues) or len(set(positions)) == LENGTH
        assert [token if counts else IGNORED for token, counts in zip(ids, mask, strict=True)] == labels


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 20), st.sampled_from(["best_fit", "split"]))
def test_a_killed_stream_goes_on_at_the_very_row(batches: int, method: str) -> None:
    of = stage(packing={"method": method})
    whole = opened(of).stream
    for _ in range(batches):
        whole.next_batch(ROWS * LENGTH)
    state = json.loads(json.dumps(whole.state_dict()))
    again = opened(of)
    again.stream.load_state_dict(state)
    for _ in range(6):
        assert rows_of(again.stream.next_batch(ROWS * LENGTH)) == rows_of(whole.next_batch(ROWS * LENGTH))
    assert again.stream.tally.to_json() == whole.tally.to_json()


def test_the_state_stays_small() -> None:
    stream = opened().stream
    for _ in range(25):
        stream.next_batch(ROWS * LENGTH)
    assert len(json.dumps(stream.state_dict())) < 20_000


def test_ranks_share_one_order() -> None:
    alone = opened().stream
    ranks = [opened(rank=rank, ranks=2).stream for rank in range(2)]
    for _ in range(5):
        rows = rows_of(alone.next_batch(ROWS * LENGTH))
        first, second = (rows_of(stream.next_batch(ROWS * LENGTH)) for stream in ranks)
        assert [row for pair in zip(first, second, strict=True) for row in pair] == rows
    assert ranks[0].state_dict() == ranks[1].state_dict() == alone.state_dict()


def test_another_seed_is_another_order_and_its_state_is_refused() -> None:
    one, other = opened(), opened(stage().model_copy(update={"seed": 6}))
    assert rows_of(one.stream.next_batch(ROWS * LENGTH)) != rows_of(other.stream.next_batch(ROWS * LENGTH))
    with pytest.raises(DataError, match="of another recipe, seed, tokenizer or number of steps"):
        other.stream.load_state_dict(one.stream.state_dict())


def test_a_stage_of_one_phase_may_be_made_longer_and_one_with_seams_may_not(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "some.jsonl", documents(300))
    short, long = (opened(of_files(path, rows=rows, packing={"buffer": 20})).stream for rows in (16, 64))
    short.next_batch(4 * LENGTH)
    long.load_state_dict(short.state_dict())
    assert rows_of(long.next_batch(4 * LENGTH)) == rows_of(short.next_batch(4 * LENGTH))
    with pytest.raises(DataError, match="number of steps"):
        opened(stage(rows=960)).stream.load_state_dict(opened().stream.state_dict())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 64), max_size=80))
def test_best_fit_loses_nothing_and_overfills_nothing(lengths: list[int]) -> None:
    bins = best_fit(lengths, 64)
    assert sorted(place for places in bins for place in places) == list(range(len(lengths)))
    fills = [sum(lengths[place] for place in places) for places in bins]
    assert all(fill <= 64 for fill in fills) and fills == sorted(fills, reverse=True)
    # Any two bins together hold more than one: otherwise one of them was not needed.
    assert all(a + b > 64 for a, b in pairwise(fills))


def test_best_fit_takes_the_fullest_bin_with_room() -> None:
    assert best_fit([5, 4, 3, 3, 1], 8) == [[0, 2], [1, 3, 4]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=20))
def test_splitting_keeps_every_token_in_order(lengths: list[int]) -> None:
    numbers = iter(range(10_000))
    examples = [Example("s", [next(numbers) for _ in range(length)]) for length in lengths]
    rows, rest = concatenate(examples, 16)
    tokens = [token for row in [*rows, rest] for example in row for token in example.ids]
    assert tokens == list(range(sum(lengths)))
    assert all(sum(len(example.ids) for example in row) == 16 for row in rows)


def test_a_row_token_by_token() -> None:
    row = make_row([Example("a", [7, 8, 9]), Example("b", [4, 5], [False, True])], 7, pad=0)
    assert row.ids == [7, 8, 9, 4, 5, 0, 0]
    assert row.labels == [7, 8, 9, IGNORED, 5, IGNORED, IGNORED]
    assert row.positions == [0, 1, 2, 0, 1, 0, 1]
    assert row.mask == [1, 1, 1, 1, 1, 0, 0]


# --- sources ---


NUMBERS = ["one", "two", "three", "four", "five", "six"]


def documents(count: int) -> list[dict[str, Any]]:
    rng = random.Random(3)
    return [{"text": f"{n} " + " ".join(rng.sample(NUMBERS, 4))} for n in range(count)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "hf"])
def test_files_are_read_in_order_and_resumed(kind: str, tmp_path: Path) -> None:
    for shard in range(3):
        rows = documents(150)[shard * 50 : shard * 50 + 50]
        if kind == "parquet":
            import pyarrow
            import pyarrow.parquet

            table = pyarrow.Table.from_pylist(rows)
            pyarrow.parquet.write_table(table, tmp_path / f"{shard}.parquet", row_group_size=20)
        else:
            jsonl(tmp_path / f"{shard}.jsonl", rows)
    sources = {"files": {"kind": kind, "path": str(tmp_path)}}
    phases = [{"name": "all", "share": 1.0, "mixture": {"files": 1}}]
    of = stage(sources=sources, phases=phases, packing={"buffer": 7})
    source = opened(of).stream._sources["files"]
    everything = [(record.data["text"], cursor) for record, cursor in source.read({})]
    assert [text for text, _ in everything] == [row["text"] for row in documents(150)]
    for place in (0, 19, 49, 50, 77, 149):
        rest = [record.data["text"] for record, _ in source.read(json.loads(json.dumps(everything[place][1])))]
        assert rest == [text for text, _ in everything[place + 1 :]]
    stream = opened(of).stream
    stream.next_batch(4 * LENGTH)
    again = opened(of).stream
    again.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    assert rows_of(again.next_batch(4 * LENGTH)) == rows_of(stream.next_batch(4 * LENGTH))


def of_files(path: Path, **more: Any) -> Stage:
    sources = {"files": {"kind": "jsonl", "path": str(path)}}
    return stage(sources=sources, phases=[{"name": "all", "share": 1.0, "mixture": {"files": 1}}], **more)


def test_a_damaged_shard_names_file_and_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "shard.jsonl", documents(20))
    path.write_text(path.read_text()[:-15])
    with pytest.raises(DataError, match=r"shard.jsonl:20: not a JSON object .* damaged or cut off"):
        opened(of_files(path)).stream.next_batch(ROWS * LENGTH)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    sources = {"files": {"kind": "parquet", "path": str(broken)}}
    with pytest.raises(DataError, match=r"broken.parquet: cannot be read as Parquet"):
        opened(stage(sources=sources, phases=[{"name": "all", "share": 1.0, "mixture": {"files": 1}}]))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "jsonl", "path": "nowhere/*.jsonl"}, "sources.files.path: no jsonl file matches"),
        ({"kind": "generator", "name": "storys"}, "generator 'storys' is not known; known: code"),
        ({"kind": "generator", "name": "code", "options": {"sise": 3}}, "sources.files.options: no such option: sise"),
        ({"kind": "generator", "name": "code", "options": {"size": 0}}, "sources.files: the source is empty"),
        ({"kind": "generator", "name": "code", "split": "held_out"}, "only a generator's train side is trained on"),
        ({"kind": "hf", "path": "no/such-set"}, "data set no/such-set: "),
    ],
)
def test_what_is_wrong_with_a_source_is_said(
    source: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    of = stage(sources={"files": source}, phases=[{"name": "all", "share": 1.0, "mixture": {"files": 1}}])
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        opened(of)


def test_no_source_is_read_more_often_than_allowed(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "few.jsonl", documents(30))
    stream = opened(of_files(path, packing={"buffer": 10}, max_epochs=4)).stream
    with pytest.raises(DataError, match="source 'files' has been read 4 times"):
        for _ in range(50):
            stream.next_batch(LENGTH)
    assert stream.tally.of("all", "files").records == 4 * 30


def test_a_source_of_which_nothing_is_kept_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "same.jsonl", [{"text": "la la la la"}] * 5)
    filters = {"min_unique_tokens": 82, "dedup": {"exact": False}}
    with pytest.raises(DataError, match="no record of it was kept: 5 monotonous"):
        opened(of_files(path, filters=filters)).stream.next_batch(LENGTH)
