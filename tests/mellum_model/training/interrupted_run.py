"""A training run in a process of its own, to be killed: DIR [--resume] [--limit BYTES]."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from small_training import CONFIG, Counting, stage

from mellum_model.training.batch import Batch, OpenedData
from mellum_model.training.errors import TrainingStopped
from mellum_model.training.loop import train
from mellum_model.training.prepare import build
from mellum_model.training.ranks import Ranks


class Slow(Counting):
    """Time to be killed in."""

    def next_batch(self, tokens: int) -> Batch:
        time.sleep(0.05)
        return super().next_batch(tokens)


def main() -> None:
    torch.set_num_threads(1)
    directory, resume = Path(sys.argv[1]), "--resume" in sys.argv
    if "--limit" in sys.argv:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails, as on a full disk
        limit = int(sys.argv[sys.argv.index("--limit") + 1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    plan = stage(steps=12, checkpoints__every_steps=2, checkpoints__keep=3)
    model = build(CONFIG, plan, Ranks())
    try:
        train(model, plan, OpenedData(Slow()), directory, resume=resume)
    except TrainingStopped as error:
        print(error)
        sys.exit(2)
    model.save_pretrained(directory / "model")


if __name__ == "__main__":
    main()
