"""What training costs, by formula: FLOPs of a token, of Newton–Schulz, bytes of a rank."""

from __future__ import annotations

import torch

from ..config import MellumConfig
from ..info import model_info
from ..moe import SparseMlp

# Dense bfloat16 peaks of the makers' data sheets, TFLOP/s.
_PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "B200": 2250.0}


def token_flops(config: MellumConfig, length: int) -> float:
    """Of one token in training: 6 per active weight (no embedding look-up), and attention over the keys seen.

    The MTP head counts with its layer and one more pass of the output matrix.
    """
    info = model_info(config)
    weights = info.active - config.vocab_size * config.hidden_size
    weights += sum(part.active for part in info.parts if part.name == "mtp head")
    weights += config.num_mtp_layers * config.vocab_size * config.hidden_size
    width = config.num_attention_heads * config.head_dim
    seen = sum(min(config.window(kind) or length, length / 2) for kind in config.attention_layers)
    return 6 * weights + 3 * 4 * width * seen


def newton_schulz_flops(rows: int, columns: int, steps: int = 5) -> float:
    """Of one matrix: three products a step, two of them small · small · large and one small³."""
    small, large = min(rows, columns), max(rows, columns)
    return steps * 2 * (2 * small * small * large + small**3)


def peak_flops(device: str) -> float | None:
    """What a GPU can do at best in bfloat16, FLOP/s, by its data sheet; None where it is not known, as for CPUs."""
    if not device.startswith("cuda"):
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak * 1e12 for key, peak in _PEAKS.items() if key in name), None)


def routed(model: torch.nn.Module) -> list[SparseMlp]:
    """The sparse layers of a model, in order; the MTP head's is the last."""
    return [module for module in model.modules() if isinstance(module, SparseMlp)]
