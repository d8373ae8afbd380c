"""The parsers between harness and container give the same whatever way the bytes are cut."""

from __future__ import annotations

import asyncio
import struct

from hypothesis import given
from hypothesis import strategies as st

from sandboxes.engines.stream import Demultiplexed
from sandboxes.runtime import frames
from sandboxes.runtime.job import Job

PIECES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=12)
CUTS = st.lists(st.integers(1, 30), min_size=1, max_size=20)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        parts.append(data[at : at + size])
        at += size
        turn += 1
    return parts


@given(PIECES, CUTS)
def test_docker_streams_are_told_apart_wherever_they_are_cut(pieces: list[tuple[int, bytes]], sizes: list[int]) -> None:
    stream = b"".join(struct.pack(">BxxxI", kind, len(data)) + data for kind, data in pieces)

    async def feed() -> tuple[bytes, bytes]:
        inflow = Demultiplexed()
        for part in cut(stream, sizes):
            inflow.data_received(part)
        inflow.reader.feed_eof()
        return await inflow.reader.read(), inflow.words

    out, words = asyncio.run(feed())
    assert out == b"".join(data for kind, data in pieces if kind == 1)
    assert words == b"".join(data for kind, data in pieces if kind == 2)


def job(max_message: int) -> Job:
    return Job(1, frames.LIMITS.pack(1.0, 6.0, 64, max_message, 0, 0))


@given(st.lists(st.binary(max_size=60), max_size=10), CUTS, st.integers(0, 3))
def test_message_lengths_are_followed_wherever_they_are_cut(messages: list[bytes], sizes: list[int], tail: int) -> None:
    stream = b"".join(frames.MESSAGE.pack(len(m)) + m for m in messages) + b"\1" * tail
    record = job(60)
    assert all(record.measure(part) for part in cut(stream, sizes))
    assert (record._message_left, len(record._length)) == (0, tail)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), CUTS)
def test_a_message_over_the_cap_is_seen_at_its_length(length: int, cap: int, sizes: list[int]) -> None:
    record = job(cap)
    fine = all(record.measure(part) for part in cut(frames.MESSAGE.pack(length), sizes))
    assert fine == (length <= cap)
