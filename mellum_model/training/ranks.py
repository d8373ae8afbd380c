"""Processes of one training run: what `torchrun` tells of them, and the mesh that they form."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train one model."""

    rank: int = 0
    count: int = 1
    device: str = "cpu"
    mesh: DeviceMesh | None = None
    """None: the model is not sharded."""

    @property
    def leads(self) -> bool:
        """Whether this rank writes logs and exports."""
        return self.rank == 0


ALONE = Ranks()


@contextmanager
def ranks(device: str = "auto", *, sharded: bool = False) -> Iterator[Ranks]:
    """Join the run's other processes, if `torchrun` started any.

    Args:
        device: `auto` (a GPU where there is one), `cpu`, `cuda`.
        sharded: A mesh even of one process, for FSDP's mixed precision.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if count == 1 and not sharded:
        yield Ranks(device=device)
        return
    kind = device.split(":")[0]
    joined = not dist.is_initialized()
    if joined:
        # gloo beside nccl: checkpoints are written by a thread, on CPU copies.
        backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
        if count == 1:
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
        else:
            dist.init_process_group(backend)
    try:
        yield Ranks(rank, count, device, init_device_mesh(kind, (count,)))
    finally:
        if joined:
            leave()


def leave(limit_s: float = 10.0) -> None:
    """Leave the run's other processes, so that this one can end.

    A collective is over for its caller before gloo's thread lets go of the tensors. If Python ends in between, that
    thread, which needs the GIL for it, is made to exit, and C++ answers with SIGABRT (pytorch/pytorch#190489).
    Destroying a group ends its threads only if nothing refers to it any more; a sharded model does, and torch's caches.

    Args:
        limit_s: Seconds after which gloo's threads are left as they are.
    """
    dist.destroy_process_group()
    end, before = time.monotonic() + limit_s, None
    # One that waits for the GIL would have run in the meantime, and one that waits for a processor does not sleep.
    while (now := _gloo_threads()) != before or any(not state.startswith("S") for state, *_ in now.values()):
        if time.monotonic() > end:
            return
        before = now
        time.sleep(0.01)  # without the GIL


def _gloo_threads() -> dict[str, tuple[str, ...]]:
    """State and number of switches of each thread that runs gloo's collectives; none where there is no `/proc`."""
    found = {}
    for thread in Path("/proc/self/task").glob("*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in thread.read_text("utf-8").splitlines() if ":\t" in line)
        except OSError:  # it has ended
            continue
        if fields["Name"] == "pt_gloo_runloop":
            keys = ("State", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
            found[thread.parent.name] = tuple(fields[key] for key in keys)
    return found


def summed(values: torch.Tensor) -> torch.Tensor:
    """The sum over all ranks."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(values)
    return values
