"""Muon: torch's own on whole matrices, a loop over matrices on stacks, and each matrix of a fused one apart."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from small_training import CONFIG, stage
from torch import nn

from mellum_model import Mellum
from mellum_model.hub_keys import pieces
from mellum_model.training.muon import Muon, orthogonalise
from mellum_model.training.optimisers import Optimisers, rows_of_matrices, updated_by


def descend(optimiser: torch.optim.Optimizer, params: list[nn.Parameter], steps: int = 4) -> None:
    for step in range(steps):
        for place, parameter in enumerate(params):
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * step + place))
        optimiser.step()


def random(*shape: int, seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16), (3, 50)])
def test_it_equals_torch_on_whole_matrices(shape: tuple[int, int], nesterov: bool) -> None:
    ours, theirs = random(*shape), random(*shape)
    settings = {"lr": 0.05, "weight_decay": 0.1, "momentum": 0.95, "nesterov": nesterov}
    descend(Muon([ours], **settings), [ours])
    descend(torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **settings), [theirs])
    # Both round their products to bfloat16; ours in one batched product.
    torch.testing.assert_close(ours, theirs, atol=0.02 * 0.05 * 4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_stack_is_its_matrices_one_by_one(dtype: torch.dtype) -> None:
    stack = random(5, 12, 20)
    singles = [nn.Parameter(matrix.clone()) for matrix in stack.detach()]
    gradients = torch.randn(3, 5, 12, 20, generator=torch.Generator().manual_seed(1))
    together, apart = Muon([stack], 0.1, dtype=dtype), Muon(singles, 0.1, dtype=dtype)
    for gradient in gradients:
        stack.grad = gradient.clone()
        for single, part in zip(singles, gradient, strict=True):
            single.grad = part.clone()
        together.step()
        apart.step()
    assert torch.equal(stack, torch.stack([single.detach() for single in singles]))


def test_fused_matrices_are_updated_apart() -> None:
    fused = random(3, 10, 8)
    parts = [nn.Parameter(fused.detach()[:, :6].clone()), nn.Parameter(fused.detach()[:, 6:].clone())]
    gradient = torch.randn(3, 10, 8, generator=torch.Generator().manual_seed(1))
    fused.grad = gradient.clone()
    parts[0].grad, parts[1].grad = gradient[:, :6].clone(), gradient[:, 6:].clone()
    Muon([fused], 0.1, dtype=torch.float32, rows={fused: (6, 4)}).step()
    Muon(parts, 0.1, dtype=torch.float32).step()
    torch.testing.assert_close(fused.detach(), torch.cat([part.detach() for part in parts], 1))
    with pytest.raises(ValueError, match="do not add up"):
        Muon([fused], 0.1, rows={fused: (6, 5)})


def test_singular_values_end_near_one_and_the_update_has_its_scale() -> None:
    found = torch.linalg.svdvals(orthogonalise(torch.randn(6, 32, 64), dtype=torch.float64))
    assert float(found.min()) > 0.6 and float(found.max()) < 1.25
    parameter = nn.Parameter(torch.zeros(32, 64))
    parameter.grad = torch.randn(32, 64)
    Muon([parameter], 1.0, dtype=torch.float32).step()
    values = torch.linalg.svdvals(parameter.detach()) / (0.2 * sqrt(64))
    assert float(values.min()) > 0.6 and float(values.max()) < 1.25


def test_the_gradient_is_left_as_it_was() -> None:
    parameter = random(4, 6)
    parameter.grad = torch.ones(4, 6)
    Muon([parameter], 0.1).step()
    assert torch.equal(parameter.grad, torch.ones(4, 6))


def test_a_large_stack_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = random(7, 6, 5), random(7, 6, 5)
    descend(Muon([whole], 0.1, dtype=torch.float32), [whole])
    monkeypatch.setattr("mellum_model.training.muon.CHUNK", 60)
    descend(Muon([cut], 0.1, dtype=torch.float32), [cut])
    torch.testing.assert_close(whole, cut, atol=1e-6, rtol=0)


def test_every_matrix_of_the_hub_is_one_of_ours() -> None:
    model = Mellum(CONFIG)
    rows = rows_of_matrices(CONFIG)
    q, k = CONFIG.num_attention_heads * CONFIG.head_dim, CONFIG.num_key_value_heads * CONFIG.head_dim
    assert rows["layers.0.self_attn.qkv_proj.weight"] == (q, k, k)
    assert rows["mtp.layers.0.mlp.experts.gate_up_proj"] == (16, 16)
    for name, parts in pieces(CONFIG):
        parameter = dict(model.named_parameters())[name]
        if parameter.ndim >= 2:
            matrices = len(rows.get(name, (0,))) * (parameter.shape[0] if parameter.ndim == 3 else 1)
            assert matrices == len(parts), name


def test_who_updates_what() -> None:
    model = Mellum(CONFIG)
    section = stage().optimiser
    groups: dict[str, set[str]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(updated_by(name, parameter, section), set()).add(name)
    assert groups["adamw"] == {"embed_tokens.weight", "lm_head.weight"}
    assert all("norm" in name for name in groups["adamw plain"])
    assert {"mtp.fc.weight", "layers.0.mlp.gate.weight", "layers.0.mlp.experts.down_proj"} <= groups["muon"]
    apart = stage(optimiser__router="adamw").optimiser
    gate = model.layers[0].mlp.gate.weight
    assert updated_by("layers.0.mlp.gate.weight", gate, apart) == "adamw"
    assert Optimisers(model, stage(optimiser__kind="adamw").optimiser).muon is None
