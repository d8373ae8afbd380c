"""The table of speeds: what is measured is the queue, and nobody in it is passed over."""

from __future__ import annotations

import os

from engines import engine_called

from sandboxes.bench_table import QUEUED, lines, table
from sandboxes.pool import SandboxPool


async def test_the_table_says_what_load_does_to_latency() -> None:
    async def opened(count: int | None) -> SandboxPool:
        return SandboxPool(await engine_called("local"), count)

    measured = await table(opened, 2, 0.2, counts=(1, 2), outstanding=(1, 48))
    assert [(load.workers, load.outstanding) for load in measured.by_workers] == [(1, QUEUED), (2, QUEUED)]
    assert measured.by_workers[1].over_service < measured.by_workers[0].over_service  # more places to be served in
    assert [load.outstanding for load in measured.loads] == [1, 48]
    for load in measured.loads:
        assert load.jobs >= 2 * load.outstanding
        # Little's law, loosely: the first and the last jobs meet a shorter queue.
        assert 0.4 < load.p50_ms * load.rate / 1000 / load.outstanding < 1.6
        # And of the jobs that are being served, which are no more than workers.
        assert 0.2 < load.service_ms * load.rate / 1000 / min(2, load.outstanding) < 1.6
    assert measured.loads[1].over_median < 4  # first come, first served
    assert measured.loads[1].over_service == measured.loads[1].p99_ms / measured.loads[1].service_ms
    assert measured.loads[1].over_alone == measured.loads[1].p99_ms / measured.loads[0].p50_ms
    if os.geteuid() == 0:
        assert all(5 < measured.memory_mb[role] < 300 for role in ("arena", "judge"))
    text = "\n".join(lines(measured))
    assert "p99/service" in text and "fresh process per job" in text
