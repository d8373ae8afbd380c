"""Two gloo ranks: an update of both is that of one process, a run learns, and one process can go on with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from rlvr.toy import CONFIG, Evens, decode, encode, recipe

from mellum_model import Mellum
from mellum_model.checkpoint import save
from mellum_model.post_training.rlvr.learn import Example
from mellum_model.post_training.rlvr.loop import Parts, train_rlvr
from mellum_model.post_training.rlvr.rollouts import NativeSampler
from mellum_model.post_training.rlvr.update import Updater
from mellum_model.training.optimisers import Optimisers
from mellum_model.training.prepare import build
from mellum_model.training.ranks import Ranks, leave, ranks

SETTINGS = recipe(steps=20, batch={"prompts": 8, "group": 8}, checkpoints={"every_steps": 10, "background": False})
LESSONS = recipe(batch={"prompts": 4, "group": 4, "micro_tokens": 24})


def examples() -> list[Example]:
    """Of four groups, of unlike lengths; the last group is one rank's alone, and far longer."""
    draw = torch.Generator().manual_seed(3)

    def tokens(count: int) -> list[int]:
        return torch.randint(0, 24, (count,), generator=draw).tolist()

    sizes = (2, 5, 3, 12)
    return [
        Example(tokens(4), tokens(size), [-3.0] * size, advantage, group)
        for group, size in enumerate(sizes)
        for advantage in (0.75, -0.25)
    ]


def updated(place: Ranks) -> tuple[Mellum, dict[str, Any]]:
    """Two steps on a rank's share of the examples."""
    model = build(CONFIG, LESSONS, place)
    updater = Updater(model, LESSONS, Optimisers(model, LESSONS.optimiser), place)
    mine = [one for one in examples() if place.count == 1 or (one.group == 3) == (place.rank == 1)]
    updater.step(mine, 0.01, 1)
    return model, updater.step(mine, 0.01, 2)


def run(folder: Path, place: Ranks, *, stop: int | None = None, resume: bool = False) -> Mellum:
    model = build(CONFIG, SETTINGS, place)
    sampler = NativeSampler(CONFIG, SETTINGS.rollouts, device="cpu", dtype=torch.float32)
    parts = Parts(model, None, sampler, {"evens": Evens()}, encode, decode)
    folder.mkdir(exist_ok=True)
    train_rlvr(parts, SETTINGS, folder, ranks=place, resume=resume, stop_after=lambda step: step == stop)
    return model


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    # A file, not a port: another process may take a free port before it is used.
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    with ranks("cpu") as place:
        model, values = updated(place)
        save(model, Path(folder) / "updated")
        if place.leads:
            (Path(folder) / "values.json").write_text(json.dumps(values))
        run(Path(folder) / "run", place, stop=10)
    leave()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(worker, (str(folder),), nprocs=2)
    return folder


def test_an_update_of_two_ranks_is_that_of_one(together: Path) -> None:
    alone, values = updated(Ranks())
    for (name, value), again in zip(
        alone.named_parameters(), Mellum.from_pretrained(together / "updated").parameters(), strict=True
    ):
        torch.testing.assert_close(value, again, atol=2e-5, rtol=1e-4, msg=name)
    found = json.loads((together / "values.json").read_text())
    for key in ("policy_loss", "grad_norm", "entropy", "mismatch_kl", "tokens_learnt", "ratio_max"):
        assert found[key] == pytest.approx(values[key], rel=1e-4), key


def test_one_process_goes_on_where_two_ranks_stopped_and_it_has_learnt(together: Path) -> None:
    run(together / "run", Ranks(), resume=True)
    lines = [json.loads(line) for line in (together / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, 21))
    # All rollouts of both ranks are counted: 12 prompts drawn for 8, 8 of each.
    assert all(line["rollouts"] == 96 for line in steps)
    rewards = [line["reward"] for line in steps]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.15
