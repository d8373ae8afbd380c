"""A Ray cluster of two nodes on this machine, for the tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from serving import ROOT

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


def environment() -> dict[str, str]:
    """For processes that use the cluster: they find the package as it stands here, as the nodes do."""
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(ROOT), *([before] if before else [])])
    return {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


def two_nodes() -> Iterator[Any]:
    """The cluster; ends with the fixture that yields from this."""
    kept = dict(os.environ)
    os.environ.update(environment())
    from ray.cluster_utils import Cluster

    # The tests beside these may starve a node of CPU for long: that is not its death.
    patience = {"health_check_timeout_ms": 60_000, "health_check_failure_threshold": 20}
    cluster = Cluster(
        initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": patience}
    )
    cluster.add_node(**NODE)
    try:
        yield cluster
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(kept)
