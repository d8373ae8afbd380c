"""FP8 emulated: its error bound, what it leaves alone, and that it learns alike; bfloat16 with float32 masters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import CONFIG, LENGTH, Counting, stage
from torch import nn

from mellum_model import Mellum
from mellum_model.moe import Experts, run_experts
from mellum_model.training.batch import OpenedData
from mellum_model.training.errors import RecipeError
from mellum_model.training.fp8 import FORWARD, GRADIENT, Float8Experts, apply_fp8, quantise, rounded
from mellum_model.training.loop import train
from mellum_model.training.prepare import build
from mellum_model.training.ranks import Ranks, ranks


@pytest.mark.parametrize(("dtype", "bits"), [(FORWARD, 3), (GRADIENT, 2)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_rounding_is_within_half_a_unit_of_the_last_place(dtype: torch.dtype, bits: int, size: float) -> None:
    x = torch.randn(64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * size
    found = rounded(x, dtype)
    # Below the smallest normal number the step is constant.
    smallest = torch.finfo(dtype).tiny * float(quantise(x, dtype)[1])
    bound = torch.maximum(x.abs(), torch.tensor(smallest)) * 2.0 ** -(bits + 1) * 1.01
    assert ((found - x).abs() <= bound).all()
    assert found.abs().max() == pytest.approx(float(x.abs().max()), rel=1e-6)  # the maximum keeps its value
    assert torch.equal(rounded(torch.zeros(3), dtype), torch.zeros(3))


def test_experts_are_within_the_bound_of_float64() -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, hidden_size=64, moe_intermediate_size=48)
    plain = Experts(config)
    for parameter in plain.parameters():
        nn.init.normal_(parameter, 0.0, 0.2)
    fp8 = Float8Experts(plain, emulate=True)
    x = torch.randn(200, 64, requires_grad=True)
    chosen = torch.rand(200, 4).topk(2).indices
    weights = torch.rand(200, 2).softmax(-1)
    exact = run_experts(x.double(), chosen, weights.double(), plain.gate_up_proj.double(), plain.down_proj.double())
    found = fp8(x, chosen, weights)
    error = float((found - exact).detach().norm() / exact.detach().norm())
    assert 0.005 < error < 0.08, "E4M3's 3 bits leave about 2 to 4 % after two products"
    probe = torch.randn_like(found)
    (found * probe).sum().backward()
    gradients = [x.grad, fp8.gate_up_proj.grad, fp8.down_proj.grad]
    double = x.detach().double().requires_grad_()
    masters = [parameter.detach().double().requires_grad_() for parameter in plain.parameters()]
    (run_experts(double, chosen, weights.double(), *masters) * probe).sum().backward()
    for gradient, right in zip(gradients, [double.grad, *(master.grad for master in masters)], strict=True):
        assert gradient is not None and right is not None
        error = float((gradient - right).norm() / right.norm())
        assert 0.005 < error < 0.15, "E5M2's 2 bits in the gradient's operands"


def test_what_is_excluded_is_exact() -> None:
    model = Mellum(CONFIG)
    plain = {name: type(module) for name, module in model.named_modules()}
    apply_fp8(model, emulate=True)
    changed = {name for name, module in model.named_modules() if plain.get(name) is not type(module)}
    expected = {"mtp.fc"}
    for layer in ("layers.0", "layers.1", "mtp.layers.0"):
        expected |= {f"{layer}.self_attn.qkv_proj", f"{layer}.self_attn.o_proj", f"{layer}.mlp.experts"}
    assert changed == expected
    hidden = torch.randn(4, 32)
    untouched = Mellum(CONFIG)
    untouched.load_state_dict(model.state_dict())
    assert torch.equal(model.head(hidden), untouched.head(hidden))
    for ours, theirs in zip(model.layers, untouched.layers, strict=True):
        assert all(torch.equal(*pair) for pair in zip(ours.mlp.gate(hidden), theirs.mlp.gate(hidden), strict=True))


def test_sizes_that_hardware_refuses_stay_as_they_are() -> None:
    model = Mellum(replace(CONFIG, moe_intermediate_size=12))
    apply_fp8(model, emulate=True)
    assert isinstance(model.layers[0].mlp.experts, Experts)


def test_fp8_without_hardware_says_what_to_do() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RecipeError, match="hybrid needs a GPU with FP8; emulated computes the same"):
        build(CONFIG, stage(precision__fp8="hybrid"), Ranks())


def curve(folder: Path, place: Ranks, **changes: object) -> list[float]:
    plan = stage(steps=24, **changes)
    train(build(CONFIG, plan, place), plan, OpenedData(Counting()), folder, ranks=place)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "step"]


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    torch.set_num_threads(1)
    return curve(tmp_path_factory.mktemp("exact"), Ranks())


def test_fp8s_loss_curve_is_close(exact: list[float], tmp_path: Path) -> None:
    found = curve(tmp_path, Ranks(), precision__fp8="emulated")
    assert found != exact and exact[-1] < exact[0] - 1
    assert max(abs(one - other) for one, other in zip(found, exact, strict=True)) < 0.15


@pytest.fixture
def alone() -> Iterator[Ranks]:
    with ranks("cpu", sharded=True) as place:
        yield place


def test_bfloat16_keeps_float32_masters_and_an_exact_router(exact: list[float], tmp_path: Path, alone: Ranks) -> None:
    found = curve(tmp_path, alone, precision__dtype="bfloat16")
    assert found != exact
    assert max(abs(one - other) for one, other in zip(found, exact, strict=True)) < 0.15
    plan = stage(precision__dtype="bfloat16")
    model = build(CONFIG, plan, alone)
    seen: list[torch.dtype] = []
    gate, projection = model.layers[0].mlp.gate, model.layers[0].self_attn.qkv_proj
    gate.register_forward_hook(lambda module, *_: seen.append(module.weight.dtype))
    projection.register_forward_hook(lambda module, *_: seen.append(module.weight.dtype))
    ids = Counting().next_batch(2 * LENGTH).input_ids
    model.loss(ids, ids).total.backward()
    assert seen == [torch.bfloat16, torch.float32]  # attention comes first
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32 and parameter.grad.dtype == torch.float32, name  # type: ignore[union-attr]
