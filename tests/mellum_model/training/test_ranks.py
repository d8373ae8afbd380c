"""Two gloo ranks under FSDP2, with and without expert parallelism: the run of one process, within rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from small_training import CONFIG, Counting, stage

from mellum_model import Mellum
from mellum_model.checkpoint import save
from mellum_model.training.batch import OpenedData
from mellum_model.training.loop import train
from mellum_model.training.muon import Muon
from mellum_model.training.prepare import build
from mellum_model.training.ranks import Ranks, leave, ranks

HERE = Path(__file__).resolve().parent
PLAN: dict[str, Any] = {"steps": 4, "batch__micro": 2, "losses__z": 0.01}


def run(folder: Path, place: Ranks, **changes: Any) -> None:
    plan = stage(**{**PLAN, **changes})
    model = build(CONFIG, plan, place)
    train(model, plan, OpenedData(Counting(rank=place.rank, ranks=place.count)), folder, ranks=place)
    save(model, folder / "model")


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    # A file, not a port: another process may take a free port before it is used.
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    with ranks("cpu") as place:
        run(Path(folder) / "sharded", place)
        run(Path(folder) / "experts", place, parallel__experts=True)
        # Half of the way on two ranks; the other half is done by one, from the same checkpoint.
        plan = stage(**PLAN)
        model = build(CONFIG, plan, place)
        data = OpenedData(Counting(rank=rank, ranks=2))
        train(model, plan, data, Path(folder) / "half", ranks=place, stop_after=lambda step: step == 2)
    leave()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    torch.set_num_threads(1)
    # Four rows at once alone are two on each of two ranks: the balance loss counts over what is computed together.
    run(folder / "alone", Ranks(), batch__micro=4)
    mp.spawn(worker, (str(folder),), nprocs=2)
    return folder


def losses(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line for line in lines if line["kind"] == "step"]


def assert_same(one: Mellum, other: Mellum) -> None:
    for (name, value), again in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(value, again, atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("kind", ["sharded", "experts"])
def test_two_ranks_train_as_one(runs: Path, kind: str) -> None:
    alone, together = losses(runs / "alone"), losses(runs / kind)
    for key in ("loss", "mtp", "z", "grad_norm", "load_max"):
        assert [line[key] for line in together] == pytest.approx([line[key] for line in alone], rel=1e-4), key
    assert_same(Mellum.from_pretrained(runs / "alone" / "model"), Mellum.from_pretrained(runs / kind / "model"))


def test_one_rank_goes_on_where_two_stopped(runs: Path) -> None:
    plan = stage(**{**PLAN, "batch__micro": 4})
    model = build(CONFIG, stage(**PLAN, seed=9), Ranks())
    train(model, plan, OpenedData(Counting()), runs / "half", resume=True)
    assert_same(Mellum.from_pretrained(runs / "alone" / "model"), model)


def test_newton_schulz_on_a_shard_would_be_another_update() -> None:
    """The trap that the journey to an owner avoids: it is silent, so a test must know that it would be noticed."""
    whole = torch.nn.Parameter(torch.zeros(16, 8))
    halves = [torch.nn.Parameter(torch.zeros(8, 8)) for _ in range(2)]
    gradient = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    whole.grad = gradient.clone()
    for half, part in zip(halves, gradient.chunk(2), strict=True):
        half.grad = part.clone()
    Muon([whole], 1.0, dtype=torch.float32).step()
    Muon(halves, 1.0, dtype=torch.float32).step()
    assert (whole - torch.cat([half.detach() for half in halves])).abs().max() > 0.1


@pytest.mark.skipif(sys.platform != "linux", reason="threads are starved by Linux's own means")
def test_who_leaves_waits_until_gloo_holds_no_tensor() -> None:
    """Or the interpreter's end aborts the process, once in a while."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "starved_rank.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
