"""FSDP2 and expert parallelism on two gloo ranks: the gradients of one process with the whole batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from small_models import CONFIGS, TINY, build, tokens

from mellum_model import Mellum, MellumConfig
from mellum_model.checkpoint import load_into, save
from mellum_model.errors import ConfigError
from mellum_model.model import LossWeights
from mellum_model.training.ranks import leave

CONFIG = replace(CONFIGS["mtp"], num_hidden_layers=2, layer_types=TINY.layer_types[2:])
WEIGHTS = LossWeights(balance=0.5, balance_form="global", z=0.1, mtp=0.3)


def batch() -> torch.Tensor:
    return tokens(CONFIG, 4, 24)


def worker(rank: int, folder: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh

    from mellum_model.parallel import full_gradient, parallelize

    torch.set_num_threads(1)
    # A file, not a port: another process may take a free port before it is used.
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    found: dict[str, Any] = {}
    for expert_parallel in (False, True):
        model = Mellum(CONFIG, device="meta")
        parallelize(model, mesh, expert_parallel=expert_parallel)
        model.to_empty(device="cpu")
        load_into(model, folder)
        held = sum(parameter.to_local().numel() for parameter in model.parameters())  # type: ignore[attr-defined]
        ids = batch()[2 * rank : 2 * rank + 2]
        loss = model.loss(ids, ids, weights=WEIGHTS)
        loss.total.backward()
        total = loss.total.detach().clone()
        dist.all_reduce(total)
        gradients = {name: full_gradient(parameter) for name, parameter in model.named_parameters()}
        found[str(expert_parallel)] = {"loss": total / 2, "gradients": gradients, "held": held}
        save(model, Path(folder) / f"saved_{expert_parallel}")
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
    dist.barrier()
    leave()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ranks")
    model = build(CONFIG)
    model.save_pretrained(folder)
    mp.spawn(worker, (str(folder),), nprocs=2)
    found: dict[str, Any] = torch.load(folder / "found.pt")
    return {**found, "model": model, "folder": folder}


@pytest.mark.parametrize("expert_parallel", ["False", "True"])
def test_two_ranks_have_the_gradients_of_one(runs: dict[str, Any], expert_parallel: str) -> None:
    model, run = runs["model"], runs[expert_parallel]
    model.zero_grad()
    loss = model.loss(batch(), batch(), weights=WEIGHTS)
    loss.total.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(run["gradients"][name], parameter.grad, atol=1e-5, rtol=1e-4, msg=name)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert run["held"] < 0.55 * total


@pytest.mark.parametrize("expert_parallel", ["False", "True"])
def test_sharded_models_are_saved_whole(runs: dict[str, Any], expert_parallel: str) -> None:
    back = Mellum.from_pretrained(runs["folder"] / f"saved_{expert_parallel}")
    for name, parameter in runs["model"].named_parameters():
        assert torch.equal(parameter, dict(back.named_parameters())[name])


def test_experts_that_cannot_be_divided_are_refused() -> None:
    from unittest.mock import Mock

    from mellum_model.parallel import parallelize

    model = Mellum(MellumConfig.mellum2_12b(), device="meta")  # the whole 12B is only described
    with pytest.raises(ConfigError, match="num_experts 64 cannot be divided over 3 ranks"):
        parallelize(model, Mock(ndim=1, size=lambda: 3), expert_parallel=True)
