"""Filters against brute force, and the exactness of speculative sampling."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import TINY, build

from mellum_model import Sampling
from mellum_model.engine import Engine
from mellum_model.sampling import accept, distribution, draw, residual, sampled_outcome


def brute_force(logits: list[float], setting: Sampling) -> list[float]:
    """The definition, in float64 and plain Python."""
    scaled = (torch.tensor(logits, dtype=torch.float64) / setting.temperature).tolist()
    kept = sorted(range(len(scaled)), key=lambda token: -scaled[token])
    if setting.top_k:
        kept = kept[: setting.top_k]
    weights = torch.tensor([scaled[token] for token in kept], dtype=torch.float64).softmax(0).tolist()
    if setting.top_p < 1:
        total, count = 0.0, 0
        while count < len(kept) and total < setting.top_p:
            total += weights[count]
            count += 1
        kept = kept[:count]
    best = max(scaled[token] for token in kept)
    if setting.min_p:
        floor = float(torch.tensor(setting.min_p, dtype=torch.float64).log())
        kept = [token for token in kept if scaled[token] - best >= floor]
    left = torch.tensor([scaled[token] for token in kept], dtype=torch.float64).softmax(0).tolist()
    result = [0.0] * len(scaled)
    for token, weight in zip(kept, left, strict=True):
        result[token] = weight
    return result


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 3, 9, 50]),
    top_p=st.sampled_from([0.05, 0.5, 0.93, 1.0]),
    min_p=st.sampled_from([0.0, 0.07, 0.4]),
)
def test_filters_are_their_definition(seed: int, temperature: float, top_k: int, top_p: float, min_p: float) -> None:
    logits = torch.randn(2, 11, generator=torch.Generator().manual_seed(seed)) * 2
    setting = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    got = distribution(logits, [setting, Sampling()])
    expected = torch.tensor(brute_force(logits[0].tolist(), setting))
    torch.testing.assert_close(got[0], expected, atol=1e-5, rtol=0)
    assert got[1].nonzero().tolist() == [[int(logits[1].argmax())]]  # a greedy row beside it stays greedy


def test_draws_follow_the_distribution_and_never_hit_zero() -> None:
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]])
    grid = [draw(probabilities, [number / 1000]).item() for number in range(1000)]
    assert grid.count(1) == 250 and grid.count(3) == 750
    assert draw(probabilities, [1 - 2**-53]).item() == 3


def test_acceptance_at_its_ends() -> None:
    p = torch.tensor([0.5, 0.5, 0.0, 0.0])
    q = torch.tensor([0.0, 0.0, 0.5, 0.5])
    assert all(accept(p, p, token, u) for token in (0, 1) for u in (0.0, 0.5, 0.999999))
    assert not any(accept(p, q, token, u) for token in (2, 3) for u in (0.0, 0.5))
    assert torch.equal(residual(p, q), p)


def test_speculative_sampling_is_exact_in_its_joint_distribution() -> None:
    """Two tokens of a vocabulary of four, draws against the exact product, by chi-square."""
    generator = torch.Generator().manual_seed(5)
    first = torch.randn(4, generator=generator).softmax(0)
    second = torch.randn(4, 4, generator=generator).softmax(-1)  # after each first token
    draft = torch.randn(4, generator=generator).softmax(0)
    draws = 12_000
    counts = dict.fromkeys(itertools.product(range(4), repeat=2), 0)
    rng = random.Random(1)
    accepted = 0
    for _ in range(draws):
        token = int(draw(draft[None], [rng.random()]))
        target = torch.stack((first, second[token]))
        got = sampled_outcome(rng, [token], target, draft[None])
        accepted += len(got) - 1
        if len(got) == 1:  # the second token of a rejected run comes from an ordinary step
            got.append(int(draw(second[got[0]][None], [rng.random()])))
        counts[got[0], got[1]] += 1
    expected = {pair: draws * float(first[pair[0]] * second[pair[0], pair[1]]) for pair in counts}
    chi_square = sum((counts[pair] - expected[pair]) ** 2 / expected[pair] for pair in counts)
    assert chi_square < 37.7  # 0.1 % of the chi-square distribution with 15 degrees of freedom
    assert accepted / draws == pytest.approx(float(torch.minimum(first, draft).sum()), abs=0.02)


@pytest.mark.parametrize("draft_length", [1, 2])
def test_the_engine_samples_the_same_distribution_with_and_without_drafts(draft_length: int) -> None:
    """Joint distribution of the first three new tokens, 4 possible tokens each, against the model's own."""
    config = replace(TINY, vocab_size=4, num_hidden_layers=2, layer_types=TINY.layer_types[2:], num_mtp_layers=1)
    model = build(config, seed=3)
    prompt = [1, 2, 0]
    setting = Sampling(max_new_tokens=3, temperature=1.3, top_k=3)
    exact: dict[tuple[int, ...], float] = {}
    with torch.no_grad():
        for path in itertools.product(range(4), repeat=3):
            logits = model(torch.tensor([prompt + list(path)]))[0, 2:5]
            steps = distribution(logits, [setting] * 3)
            exact[path] = float(torch.stack([steps[i, token] for i, token in enumerate(path)]).prod())
    draws = 4000
    counts = dict.fromkeys(exact, 0)
    engine = Engine(model, speculative=True, draft_length=draft_length, max_batch=500)
    for seed in range(draws):
        engine.submit(prompt, replace(setting, seed=seed))
    while engine.busy:
        for delta in engine.step():
            if delta.result is not None:
                counts[tuple(delta.result.tokens)] += 1
    assert all(exact[path] > 0 for path, count in counts.items() if count)
    cells = [path for path in exact if exact[path] * draws >= 5]
    chi_square = sum((counts[path] - draws * exact[path]) ** 2 / (draws * exact[path]) for path in cells)
    degrees = len(cells) - 1
    assert chi_square < degrees + 3.3 * (2 * degrees) ** 0.5 + 3  # about 0.1 %
