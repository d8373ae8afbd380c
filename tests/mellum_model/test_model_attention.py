"""Windows and packed documents against the definition, and the written-out gradients against autograd's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_models import CONFIGS, TINY, build, tokens

from mellum_model import RopeConfig, kernels, sequences
from mellum_model.attention import Attention, Layout, attend
from mellum_model.cpu import NormRotate, RmsNorm
from mellum_model.model import LossWeights
from mellum_model.moe import choose, grouped_experts, run_experts
from mellum_model.rope import Rope, rotate


def by_definition(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None, starts: torch.Tensor | None
) -> torch.Tensor:
    """Scores of everything, then the mask, one query at a time in meaning."""
    length, group = q.shape[1], q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    scores = torch.einsum("bqhc,bkhc->bhqk", q, k) / q.shape[-1] ** 0.5
    index = torch.arange(length)
    seen = index[None, :] <= index[:, None]
    if window is not None:
        seen = seen & (index[None, :] > index[:, None] - window)
    seen = seen.expand(q.shape[0], length, length)
    if starts is not None:
        seen = seen & (index >= starts[:, :, None])
    weights = scores.masked_fill(~seen[:, None], float("-inf")).softmax(-1)
    return torch.einsum("bhqk,bkhc->bqhc", weights, v)


@pytest.mark.parametrize("size", [6, 16, 64, 128])
@pytest.mark.parametrize(("length", "window"), [(1, 4), (50, None), (130, None), (130, 7), (130, 64), (200, 100)])
def test_the_kernel_for_whole_sequences_is_what_a_gradient_goes_through(
    length: int, window: int | None, size: int
) -> None:
    """Norms, rotation and attention in one call without a gradient, in torch's operations with one: the same."""
    if kernels.library() is None:
        pytest.skip("no C compiler (cc, gcc) to build the kernels with")
    torch.manual_seed(length)
    config = replace(TINY, head_dim=size, sliding_window=window or 1)
    layer = Attention(config, "full_attention" if window is None else "sliding_attention")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5)
    cos, sin = (table[None, :, None] for table in Rope(RopeConfig(), size).tables(torch.arange(length), torch.float32))
    layout = Layout(cos, sin, window, None)
    x = torch.randn(2, length, config.hidden_size)
    kept: dict[bool, list[tuple[torch.Tensor, torch.Tensor]]] = {True: [], False: []}
    expected = layer(x, layout, kept[True])
    with torch.no_grad():
        assert sequences.taken(x, None)
        torch.testing.assert_close(layer(x, layout, kept[False]), expected, atol=2e-5, rtol=1e-5)
    assert not sequences.taken(x, None)
    for ours, theirs in zip(kept[False][0], kept[True][0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("length", "window"), [(1, 4), (50, None), (50, 7), (50, 8), (97, 32), (64, 64), (65, 64)])
def test_attention_is_its_definition(length: int, window: int | None, packed: bool) -> None:
    generator = torch.Generator().manual_seed(length)
    shapes = ((2, length, 6, 8), (2, length, 3, 8), (2, length, 3, 8))
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    starts = None
    if packed:
        cuts = torch.rand(2, length, generator=generator) < 0.1
        starts = torch.where(cuts, torch.arange(length), 0).cummax(1).values
    expected = by_definition(*inputs, window, starts)
    g = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    wanted = torch.autograd.grad(expected, inputs, g)
    got = attend(*inputs, window, starts)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, inputs, g), wanted)
    with torch.no_grad():
        torch.testing.assert_close(attend(*inputs, window, starts), expected.detach())


def test_packed_documents_are_as_if_apart() -> None:
    """Logits, loss and gradients, through windows and the MTP head."""
    model = build(CONFIGS["mtp"])
    lengths = [5, 19, 2, 30]
    ids = tokens(model.config, 1, sum(lengths))
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    weights = LossWeights(mtp=0.5)
    packed = model.loss(ids, ids, positions, weights=weights)
    packed.total.backward()
    got = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    parts = [model.loss(part, part, weights=weights) for part in ids.split(lengths, 1)]
    ahead_1, ahead_2 = (torch.tensor([max(length - by, 0) for length in lengths]) for by in (1, 2))
    first = sum(part.next_token * count for part, count in zip(parts, ahead_1, strict=True)) / ahead_1.sum()
    torch.testing.assert_close(packed.next_token, first)
    total = torch.tensor(0.0)
    for part, document, n1, n2 in zip(parts, ids.split(lengths, 1), ahead_1, ahead_2, strict=True):
        alone = model.loss(document, document, weights=LossWeights(mtp=0)).total
        total = total + alone * n1 / ahead_1.sum() + (part.total - alone) * n2 / ahead_2.sum()
    total.backward()
    torch.testing.assert_close(packed.total, total)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_the_balance_loss_reaches_the_router() -> None:
    model = build(TINY)
    ids = tokens(TINY, 2, 16)
    found = []
    for form in (LossWeights(), LossWeights(balance=1.0), LossWeights(balance=1.0, balance_form="pooled")):
        model.zero_grad()
        model.loss(ids, ids, weights=form).total.backward()
        found.append(model.layers[0].mlp.gate.weight.grad.clone())  # type: ignore[union-attr, operator]
    assert not torch.allclose(found[0], found[1], atol=1e-6) and not torch.allclose(found[0], found[2], atol=1e-6)


def test_norm_and_rotation_have_autograds_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 3, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, generator=generator, dtype=torch.float64, requires_grad=True)
    cos, sin = (table[None, :, None] for table in Rope(RopeConfig(theta=100.0), 8).tables(torch.arange(5), x.dtype))
    expected = rotate(torch.nn.functional.rms_norm(x, (8,), weight, 1e-6), cos, sin)
    torch.testing.assert_close(NormRotate.apply(x, weight, cos, sin, 1e-6), expected)  # type: ignore[no-untyped-call]
    assert torch.autograd.gradcheck(lambda x, w: NormRotate.apply(x, w, cos, sin, 1e-6), (x, weight))  # type: ignore[no-untyped-call]
    assert torch.autograd.gradcheck(lambda x, w: RmsNorm.apply(x, w, 1e-6), (x, weight))  # type: ignore[no-untyped-call]
    expected = torch.nn.functional.rms_norm(x, (8,), weight, 1e-6)
    torch.testing.assert_close(RmsNorm.apply(x, weight, 1e-6), expected)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("used", [8, 3])
def test_experts_on_cpu_and_by_grouped_products_agree_with_a_loop(used: int) -> None:
    """Values and gradients, with and without experts that no token chose."""
    generator = torch.Generator().manual_seed(used)
    x = torch.randn(20, 16, generator=generator)
    gate_up, down = torch.randn(8, 24, 16, generator=generator), torch.randn(8, 16, 12, generator=generator)
    logits = torch.randn(20, 8, generator=generator)
    logits[:, used:] = -100
    weights, experts = choose(logits, 2, True)
    leaves = [tensor.requires_grad_() for tensor in (x, weights.detach(), gate_up, down)]
    x, weights, gate_up, down = leaves
    expected = torch.zeros(20, 16)
    for token in range(20):
        for place in range(2):
            expert = int(experts[token, place])
            gate, up = (x[token] @ gate_up[expert].T).chunk(2)
            fed = (torch.nn.functional.silu(gate) * up) @ down[expert].T
            expected = (
                expected + torch.nn.functional.one_hot(torch.tensor(token), 20)[:, None] * weights[token, place] * fed
            )
    g = torch.randn(20, 16, generator=generator)
    wanted = torch.autograd.grad(expected, leaves, g)
    for run in (run_experts, grouped_experts):
        got = run(x, experts, weights, gate_up, down)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(torch.autograd.grad(got, leaves, g), wanted, atol=1e-4, rtol=1e-4)
