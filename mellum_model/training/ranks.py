"""Processes of one training run: what `torchrun` tells of them, and the mesh that they form."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
            dist.destroy_process_group()


def summed(values: torch.Tensor) -> torch.Tensor:
    """The sum over all ranks."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(values)
    return values
