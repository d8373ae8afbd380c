"""A rank whose gloo threads get no processor while it has work: it leaves the run and ends."""

from __future__ import annotations

import os
import time

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from mellum_model.training.ranks import _gloo_threads, leave


def main() -> None:
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    kept = dist.group.WORLD  # as a sharded model keeps it
    one = {min(os.sched_getaffinity(0))}
    os.sched_setaffinity(0, one)
    deadline = time.monotonic() + 20
    while len(_gloo_threads()) < 2:  # a new thread bears its parent's name until it runs
        assert time.monotonic() < deadline, "gloo's two threads are not found by their name"
        time.sleep(0.01)
    for thread in map(int, _gloo_threads()):
        os.sched_setaffinity(thread, one)
        os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
    for _ in range(2000):
        values = torch.ones(1000)
        dist.all_reduce(values)
        if values._use_count() > 1:  # type: ignore[attr-defined]
            break  # it is over here, and gloo's thread still holds the tensor
    else:
        raise AssertionError("gloo's threads always let go in time")
    leave()
    assert kept is not None
    assert values._use_count() == 1, "gloo's thread still holds the tensor"  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
