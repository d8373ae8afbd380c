"""Who gets which order, and what becomes of it when nodes come and go: without Ray, on nodes that do as told."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellum_eval.cluster import wire
from mellum_eval.cluster.spread import NodeLost, Spread
from sandboxes.check import CHECK
from sandboxes.errors import SandboxError
from sandboxes.job import parse_job
from sandboxes.prepared import prepare
from sandboxes.verdict import Outcome, Verdict


class Scripted:
    """A node that answers with its name and the order, after as many turns of the loop as it is slow, until it dies."""

    def __init__(self, name: str, places: int, slow: int = 1, dies_at: int | None = None) -> None:
        self.name = name
        self.places = places
        self.slow = slow
        self.left = math.inf if dies_at is None else dies_at
        self.now = self.most = 0
        self.got: list[str] = []

    async def do(self, order: str) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        self.got.append(order)
        try:
            for _ in range(self.slow):
                await asyncio.sleep(0)
            if self.left <= 0:
                raise NodeLost(self.name)
            self.left -= 1
            return f"{self.name}:{order}"
        finally:
            self.now -= 1


def spread_of(*nodes: Scripted, **options: Any) -> Spread:
    spread = Spread(**{"patience_s": 0.05, **options})
    for node in nodes:
        spread.join(node)
    return spread


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4)), min_size=1, max_size=4),
    dying=st.lists(st.integers(0, 5), max_size=3),
    orders=st.integers(0, 40),
)
def test_every_order_gets_one_reply_while_a_node_is_left(
    places: list[tuple[int, int]], dying: list[int], orders: int
) -> None:
    async def main() -> None:
        steady = [Scripted(f"n{i}", size, slow) for i, (size, slow) in enumerate(places)]
        mortal = [Scripted(f"m{i}", 2, 1, dies_at=after) for i, after in enumerate(dying)]
        spread = spread_of(*mortal, *steady)
        replies = await asyncio.gather(*(spread.do(str(n)) for n in range(orders)))
        assert [reply.partition(":")[2] for reply in replies] == [str(n) for n in range(orders)]
        for node in (*steady, *mortal):
            assert node.most <= node.places
        assert sum(spread.done.values()) == orders
        assert spread._free == {node: node.places for node in (*mortal, *steady) if node in spread.nodes}, (
            "every place was given back"
        )

    asyncio.run(main())


async def test_work_is_spread_by_room_and_waits_in_order() -> None:
    small, large = Scripted("small", 1, slow=5), Scripted("large", 3, slow=5)
    spread = spread_of(small, large)
    await asyncio.gather(*(spread.do(str(n)) for n in range(40)))
    assert (small.most, large.most) == (1, 3)
    assert len(large.got) == pytest.approx(30, abs=3)
    taken = sorted(map(int, small.got)), sorted(map(int, large.got))
    assert taken == (list(map(int, small.got)), list(map(int, large.got))), "first come, first served"


async def test_without_nodes_orders_wait_and_then_fail() -> None:
    spread = Spread(patience_s=0.2)
    waiting = asyncio.create_task(spread.do("a"))
    await asyncio.sleep(0.05)
    spread.join(Scripted("late", 1))
    assert await waiting == "late:a"
    spread.leave(spread.nodes[0])
    with pytest.raises(SandboxError, match="no node of the cluster is left"):
        await spread.do("b")


async def test_an_order_that_takes_its_nodes_down_does_not_get_them_all() -> None:
    nodes = [Scripted(f"n{i}", 1, dies_at=0) for i in range(6)]
    spread = spread_of(*nodes, tries=4)
    with pytest.raises(SandboxError, match="4 nodes were lost under this job"):
        await spread.do("poison")
    assert len(spread.nodes) == 2


async def test_who_gives_up_waiting_keeps_no_place() -> None:
    node = Scripted("n", 1, slow=20)
    spread = spread_of(node)
    work = [asyncio.create_task(spread.do(str(n))) for n in range(6)]
    await asyncio.sleep(0)
    for task in work[1:4]:
        task.cancel()
    work[0].cancel()
    done = await asyncio.gather(*work, return_exceptions=True)
    assert done[4:] == ["n:4", "n:5"]
    assert spread._free == {node: 1}


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(calls=st.lists(st.tuples(st.lists(VALUES, max_size=2), VALUES), min_size=1, max_size=3))
def test_a_check_is_the_same_check_on_the_other_side(calls: list[tuple[list[Any], Any]]) -> None:
    """Tuples, nan, bytes and all: what JSON alone would change."""
    check = CHECK.validate_python(
        {"kind": "calls", "entry_point": "f", "calls": [a for a, _ in calls], "expected": [e for _, e in calls]}
    )
    again = wire.check_of(wire.CheckTexts()(check))
    ours, theirs = prepare(check), prepare(again)  # type: ignore[arg-type]
    assert (theirs.calls, theirs.expected) == (ours.calls, ours.expected)
    assert again.limits == check.limits


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "exact", "completion": "x", "answer": "\ud800", "limits": {"cpu_s": 3, "memory_mb": 99}},
        {"kind": "stdio", "code": "x", "cases": [{"stdin": "\x00é", "stdout": ""}]},
        {"kind": "choice", "completion": "B", "answer": "B", "choices": 4},
        {"kind": "tool_call", "completion": "x", "tools": [{"name": "f"}], "answer": [{"f": {"a": [1.5, None, ""]}}]},
    ],
)
def test_other_checks_are_too(fields: dict[str, Any]) -> None:
    job = parse_job({"id": "1", **fields})
    texts = wire.CheckTexts()
    assert wire.check_of(texts(job.check)) == job.check
    assert texts(job.check) is texts(job.check)
    order = json.loads(wire.verify_order(texts(job.check), "\ud800"))
    assert order["answer"] == "\ud800"


def test_a_verdict_is_the_same_verdict_on_the_other_side() -> None:
    verdict = Verdict(
        *(Outcome.FAILED, 0.25, 1, 4, "call 1: \ud800", 0.5, 1.5, "docker", "split"),
        parts={"base": 0.5},
        evidence={"got": "\x00", "call": 1},
    )
    assert wire.verdict_of(wire.verdict_text(verdict)) == verdict
    none = Verdict(Outcome.INFRA_ERROR, None)
    assert wire.verdict_of(wire.verdict_text(none)) == none
