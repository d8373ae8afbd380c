"""Generation: cached equals uncached, batched equals single, speculative equals plain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_models import CONFIGS, TINY, build, in_transformers, tokens

from mellum_model import (
    Mellum,
    MellumConfig,
    ModelError,
    PromptError,
    Sampling,
    generate,
    kernels,
    loglikelihood,
    stream,
)
from mellum_model.cache import KVCache, kv_bytes
from mellum_model.compiled import CompiledDecoder, decoder_for
from mellum_model.decode import Decoder
from mellum_model.engine import Engine
from mellum_model.prefill import whole
from mellum_model.requests import Generated, ThinkTags


def uncached_greedy(model: Mellum, prompt: Sequence[int], count: int) -> list[int]:
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


def prompts_of(config: MellumConfig, *lengths: int) -> list[list[int]]:
    return [tokens(config, length, seed=seed).tolist() for seed, length in enumerate(lengths)]


class Letters:
    """A tokenizer of one character an id."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - 32 for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(token + 32) for token in ids)


def use_form(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode from weights in one of their forms: as they are, in torch's handier one, or by our own kernels."""
    monkeypatch.setattr("mellum_model.decode_layer.PACKED_BYTES", 0 if form == "plain" else 2**30)
    if form != "compiled":
        monkeypatch.setattr("mellum_model.kernels.library", lambda: None)
    elif kernels.library() is None:
        pytest.skip("no C compiler (cc, gcc) to build the decoding kernels with")


@pytest.fixture(params=[1, 3, 7])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """One, about as many as there are key-value heads, and so many that several share a head's tokens."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("slack", [0, 4])
@pytest.mark.parametrize("form", ["compiled", "packed"])
def test_cached_logits_are_the_uncached_ones(name: str, slack: int, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of different lengths, one or three tokens a step, across the window, with tokens taken back."""
    use_form(form, monkeypatch)
    model = build(CONFIGS[name])
    ids = tokens(model.config, 3, 40)
    cache = KVCache(model.config, slack=slack, dtype=torch.float32)
    cache.reserve(3, 40)
    decoder = decoder_for(model, cache)
    positions = [3, 9, 14]
    with torch.no_grad():
        full = model(ids)
        for row, length in enumerate(positions):
            kept: list[tuple[torch.Tensor, torch.Tensor]] = []
            model.trunk(ids[row : row + 1, :length], kept=kept)
            cache.fill([row], [length], kept)
        for turn in range(20):
            width = 3 if slack and turn % 2 else 1
            if max(positions) + width > 40:
                break
            step = torch.stack([ids[row, place : place + width] for row, place in enumerate(positions)])
            logits = decoder.logits(decoder.step(step, positions))
            for row, place in enumerate(positions):
                torch.testing.assert_close(logits[row], full[row, place : place + width], atol=1e-5, rtol=0)
            positions = [place + 1 + row % width for row, place in enumerate(positions)]


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_batches_with_continuous_admission_are_the_uncached_model(name: str) -> None:
    model = build(CONFIGS[name])
    prompts = prompts_of(model.config, 3, 17, 1, 9, 30)
    settings = [Sampling(max_new_tokens=count) for count in (12, 3, 20, 7, 15)]
    results = generate(model, prompts, settings, max_batch=2)
    for prompt, setting, result in zip(prompts, settings, results, strict=True):
        assert result.tokens == uncached_greedy(model, prompt, setting.max_new_tokens)
        assert result.finish == "length" and result.prompt_tokens == len(prompt)


@pytest.mark.parametrize("draft_length", [1, 3])
@pytest.mark.parametrize("name", ["mtp", "mtp_full"])
def test_speculative_greedy_is_plain_greedy(name: str, draft_length: int) -> None:
    model = build(CONFIGS[name])
    prompts = prompts_of(model.config, 3, 17, 1, 9, 30)
    settings = [Sampling(max_new_tokens=count) for count in (12, 3, 40, 7, 15)]
    plain = generate(model, prompts, settings, max_batch=3)
    drafted = generate(model, prompts, settings, max_batch=3, speculative=True, draft_length=draft_length)
    assert drafted == plain
    assert sum(result.drafted for result in drafted) > 0


def copycat() -> Mellum:
    """A model with an MTP head that nearly always agrees: attention and experts add next to nothing, so the next token
    depends on the present one alone, and the head is given the same map twice over."""
    model = build(CONFIGS["mtp"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                parameter.mul_(0.02)
            if "norm" in name and "self_attn" not in name:
                parameter.fill_(1.0)
        assert model.mtp is not None
        hidden = model.config.hidden_size
        model.mtp.fc.weight.zero_()
        model.mtp.fc.weight[:, :hidden] = torch.eye(hidden)
    return model


@pytest.mark.parametrize("draft_length", [1, 2])
def test_accepted_drafts_keep_the_text_and_are_counted(draft_length: int) -> None:
    model = copycat()
    prompts = prompts_of(model.config, 5, 11, 2)
    plain = generate(model, prompts, max_new_tokens=30)
    drafted = generate(model, prompts, max_new_tokens=30, speculative=True, draft_length=draft_length)
    assert drafted == plain
    accepted, proposed = (sum(getattr(result, name) for result in drafted) for name in ("accepted", "drafted"))
    assert accepted / proposed > 0.5


def test_transformers_greedy_and_mtp_generation_are_ours(tmp_path: Path) -> None:
    model = copycat()
    theirs = in_transformers(model, tmp_path)
    for prompt in prompts_of(model.config, 6, 12):
        ids = torch.tensor([prompt])
        options = {"max_new_tokens": 25, "do_sample": False, "attention_mask": torch.ones_like(ids)}
        plain = theirs.generate(ids, **options)[0, len(prompt) :].tolist()
        drafted = theirs.generate(ids, use_mtp=True, **options)[0, len(prompt) :].tolist()
        ours = generate(model, prompt, max_new_tokens=25, speculative=True)[0]
        assert ours.tokens == plain == drafted


def test_an_end_token_within_an_accepted_run_ends_it() -> None:
    model = copycat()
    prompt = prompts_of(model.config, 5)[0]
    plain = generate(model, prompt, max_new_tokens=30)[0].tokens
    for place in (4, 5, 6):
        end = plain[place]
        expected = plain[: plain.index(end) + 1]
        for speculative in (False, True):
            got = generate(model, prompt, max_new_tokens=30, stop_token_ids=(end,), speculative=speculative)[0]
            assert got.tokens == expected and got.finish == "stop"


def test_sampling_depends_on_the_seed_and_not_on_the_batch() -> None:
    model = build(TINY)
    prompts = prompts_of(model.config, 4, 8, 6)
    settings = [Sampling(max_new_tokens=12, temperature=1.0, top_p=0.9, seed=seed) for seed in range(3)]
    together = generate(model, prompts, settings)
    alone = [generate(model, [prompt], [one])[0] for prompt, one in zip(prompts, settings, strict=True)]
    assert together == alone
    assert generate(model, prompts[0], max_new_tokens=12, temperature=1.0, seed=7)[0] != together[0]


def test_logprobs_are_the_models_own() -> None:
    model = build(CONFIGS["mtp"])
    prompt = prompts_of(model.config, 6)[0]
    for speculative in (False, True):
        got = generate(
            model, prompt, max_new_tokens=9, temperature=0.7, top_k=5, logprobs=3, seed=3, speculative=speculative
        )[0]
        with torch.no_grad():
            scores = model(torch.tensor([prompt + got.tokens]))[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = scores.gather(1, torch.tensor(got.tokens)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(got.logprobs), expected, atol=1e-5, rtol=0)
        assert got.top_logprobs is not None and len(got.top_logprobs) == 9
        for best, row in zip(got.top_logprobs, scores, strict=True):
            assert list(best) == row.topk(3).indices.tolist()


def test_loglikelihood_is_the_sum_of_the_models_own() -> None:
    model = build(TINY)
    pairs = [
        (prompts_of(TINY, 5)[0], [3, 4, 5]),
        ([1], [2]),
        ([7, 8, 9], []),
        ([3], list(range(20))),
        ([1], [9]),
        ([1, 2], [4]),
        ([1], [2, 5]),
    ]
    got = loglikelihood(model, pairs, batch_tokens=30)
    for (context, continuation), result in zip(pairs, got, strict=True):
        with torch.no_grad():
            scores = model(torch.tensor([context + continuation]))[0].log_softmax(-1)
        expected = [float(scores[len(context) - 1 + i, token]) for i, token in enumerate(continuation)]
        assert result.logprob == pytest.approx(sum(expected), abs=1e-5)
        assert result.token_logprobs == pytest.approx(expected, abs=1e-5)
    best = generate(model, pairs[0][0], max_new_tokens=4)[0].tokens
    assert loglikelihood(model, [(pairs[0][0], best)])[0].greedy
    assert not loglikelihood(model, [(pairs[0][0], [*best[:3], (best[3] + 1) % 97])])[0].greedy


@pytest.mark.parametrize("speculative", [False, True])
def test_a_stop_string_ends_the_text_before_it(speculative: bool) -> None:
    model = copycat()
    prompt = prompts_of(model.config, 5)[0]
    codec = Letters()
    whole = generate(model, prompt, max_new_tokens=20, tokenizer=codec)[0]
    assert whole.text is not None
    stop = whole.text[4:7]
    got = generate(model, prompt, max_new_tokens=20, tokenizer=codec, stop=(stop,), speculative=speculative)[0]
    assert got.text == whole.text[: whole.text.index(stop)]
    assert got.finish == "stop"
    assert codec.decode(got.tokens).endswith(stop)


def test_streaming_gives_the_text_in_pieces_and_holds_stop_strings_back() -> None:
    model = build(TINY)
    prompts = prompts_of(model.config, 5, 9)
    codec = Letters()
    whole = generate(model, prompts, max_new_tokens=15, tokenizer=codec)
    assert whole[0].text is not None
    stop = (whole[0].text[8:11],)
    ended = generate(model, prompts, max_new_tokens=15, tokenizer=codec, stop=stop)
    pieces: dict[int, str] = {0: "", 1: ""}
    ids: dict[int, list[int]] = {0: [], 1: []}
    for delta in stream(model, prompts, max_new_tokens=15, tokenizer=codec, stop=stop):
        pieces[delta.index] += delta.text
        ids[delta.index] += delta.tokens
    assert [pieces[0], pieces[1]] == [result.text for result in ended]
    assert [ids[0], ids[1]] == [result.tokens for result in ended]


@pytest.mark.parametrize("speculative", [False, True])
def test_a_thinking_budget_closes_the_reasoning(speculative: bool) -> None:
    model = build(CONFIGS["mtp"])
    think = ThinkTags(50, 51)
    engine = Engine(model, think=think, speculative=speculative)
    for prompt in ([5, 6, 50], [5, 6, 50, 7], [50, 7, 51], [5, 6]):
        engine.submit(prompt, Sampling(max_new_tokens=14, thinking_budget=5))
    results = {}
    while engine.busy:
        results.update({delta.index: delta.result.tokens for delta in engine.step() if delta.result is not None})
    assert results[0].index(51) <= 5 and results[1].index(51) <= 4
    # What follows is what the model says after the forced tag.
    assert results[0][6:] == uncached_greedy(model, [5, 6, 50, *results[0][:6]], 8)
    assert results[2] == uncached_greedy(model, [50, 7, 51], 14)


def test_cancelled_requests_are_not_heard_of_again() -> None:
    model = build(TINY)
    engine = Engine(model, max_batch=2)
    prompts = prompts_of(model.config, 4, 7, 5)
    for prompt in prompts:
        engine.submit(prompt, Sampling(max_new_tokens=8))
    engine.step()
    engine.cancel(0)
    results = {}
    while engine.busy:
        results.update({delta.index: delta.result.tokens for delta in engine.step() if delta.result is not None})
    assert results == {index: uncached_greedy(model, prompts[index], 8) for index in (1, 2)}


def test_generation_ends_at_the_context() -> None:
    model = build(TINY)
    got = generate(model, tokens(TINY, 505).tolist(), max_new_tokens=50)[0]
    assert len(got.tokens) == 512 - 505 and got.finish == "length"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt 1 is empty"),
        ([1] * 512, "prompt 1 has 512 tokens; the context is 512"),
        ([1, 97], "prompt 1 holds token 97; the vocabulary has 97"),
        ("text", "prompt 1 is text, and there is no tokenizer"),
    ],
)
def test_bad_prompts_are_named(prompt: list[int] | str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        generate(build(TINY), [[1], prompt])  # type: ignore[list-item]


def test_bad_settings_are_named() -> None:
    model = build(TINY)
    for options, message in (
        ({"temperature": -1}, "temperature: -1 is out of range"),
        ({"top_p": 0}, "top_p: 0 is out of range"),
        ({"beams": 2}, "unknown option beams"),
        ({"speculative": True}, "needs an MTP head"),
    ):
        with pytest.raises(ModelError, match=message):
            generate(model, [1, 2], **options)  # type: ignore[arg-type]
    with pytest.raises(PromptError, match="longer than the context of 512"):
        model(tokens(TINY, 1, 513))


def test_cache_bytes_are_the_published_figure() -> None:
    config = MellumConfig.mellum2_12b()
    assert kv_bytes(config, 131_072) == 1_923_088_384
    cache = KVCache(config, device="meta", dtype=torch.bfloat16)
    cache.reserve(1, 131_072)
    assert cache.nbytes == 1_923_088_384


@pytest.mark.parametrize("form", ["compiled", "packed", "plain"])
@pytest.mark.parametrize("rows", [1, 2, 5, 40])
def test_every_form_of_the_weights_gives_the_models_logits(
    form: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kernel: ours, sums of rows, oneDNN's, experts sorted and not; and the form that copies nothing."""
    use_form(form, monkeypatch)
    for name in ("mixed_yarn", "odd", "bias_dense_unnormalised"):
        model = build(CONFIGS[name])
        ids = tokens(model.config, rows, 12)
        cache = KVCache(model.config, dtype=torch.float32)
        cache.reserve(rows, 12)
        decoder = decoder_for(model, cache)
        assert isinstance(decoder, CompiledDecoder if form == "compiled" else Decoder)
        if isinstance(decoder, Decoder):
            assert decoder.packed is (form == "packed")
        with torch.no_grad():
            full = model(ids)
        for place in range(12):
            logits = decoder.logits(decoder.step(ids[:, place : place + 1], [place] * rows))
            torch.testing.assert_close(logits[:, 0], full[:, place], atol=1e-5, rtol=0)


@pytest.mark.usefixtures("threads")
def test_a_compiled_row_does_not_depend_on_its_company(monkeypatch: pytest.MonkeyPatch) -> None:
    use_form("compiled", monkeypatch)
    model = build(CONFIGS["mtp"])
    ids = tokens(model.config, 9, 20)

    def last_logits(rows: slice) -> torch.Tensor:
        own = ids[rows]
        cache = KVCache(model.config, dtype=torch.float32)
        cache.reserve(len(own), 20)
        decoder = decoder_for(model, cache)
        for place in range(20):
            logits = decoder.logits(decoder.step(own[:, place : place + 1], [place] * len(own)))
        return logits

    together = last_logits(slice(0, 9))
    for row in (0, 4, 8):
        assert torch.equal(last_logits(slice(row, row + 1))[0], together[row])


@pytest.mark.usefixtures("threads")
def test_a_compiled_token_does_not_depend_on_those_it_is_verified_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tokens a step in a ring with room to spare give the bits that one a step gives: across the window and the
    ring's seam, and over more than one tile of 256 positions."""
    use_form("compiled", monkeypatch)
    model = build(replace(CONFIGS["mtp"], sliding_window=70))
    ids = tokens(model.config, 2, 600)

    def all_logits(width: int, slack: int) -> torch.Tensor:
        cache = KVCache(model.config, slack=slack, dtype=torch.float32)
        cache.reserve(2, 768)
        decoder = decoder_for(model, cache)
        steps = [decoder.step(ids[:, place : place + width], [place] * 2) for place in range(0, 600, width)]
        return decoder.logits(torch.cat(steps, 1))

    assert torch.equal(all_logits(1, 0), all_logits(3, 4))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", ["mtp", "odd_mtp"])
@pytest.mark.parametrize("form", ["compiled", "packed"])
def test_a_round_is_what_its_parts_are(form: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drafting and verifying at once give the bits that they give apart, and so does the MTP head on rows that have
    different numbers of tokens to read and on one token after the other."""
    use_form(form, monkeypatch)
    model = build(CONFIGS["mtp"] if name == "mtp" else replace(CONFIGS["odd"], num_mtp_layers=1))
    ids = tokens(model.config, 3, 12).tolist()
    follow, positions = [row[10 - count : 10] for row, count in zip(ids, (3, 1, 2), strict=True)], [9, 9, 9]

    def ready() -> tuple[Decoder | CompiledDecoder, torch.Tensor]:
        cache = KVCache(model.config, slack=8, dtype=torch.float32)
        cache.reserve(3, 32)
        decoder = decoder_for(model, cache)
        states = decoder.step(torch.tensor(ids)[:, :9], [0] * 3)
        for row, count in enumerate((3, 1, 2)):
            states[row, :count] = states[row, 9 - count :].clone()
        decoder.prompts([row[: 10 - count] for row, count in zip(ids, (3, 1, 2), strict=True)], 0, draft=True)
        return decoder, states

    with torch.inference_mode():
        decoder, states = ready()
        drafted = decoder.draft(follow, states, positions)
        one = decoder.logits(drafted).argmax(-1, keepdim=True).tolist()
        two = decoder.logits(decoder.draft(one, drafted[:, None], [10] * 3)).argmax(-1, keepdim=True).tolist()
        after = decoder.step(
            torch.tensor([[row[9], *a, *b] for row, a, b in zip(ids, one, two, strict=True)]), positions
        )
        decoder, states = ready()
        found, wanted, together = decoder.advance(follow, states, positions, 2)
        assert found == [[*a, *b] for a, b in zip(one, two, strict=True)]
        assert torch.equal(together, after) and wanted == decoder.logits(after).argmax(-1).tolist()
        for row, count in enumerate((3, 1, 2)):
            decoder, states = ready()
            for place in range(count):
                alone = [given[min(place, len(given) - 1) :][:1] for given in follow]
                own = states[:, place : place + 1]
                got = decoder.draft(alone, own, [9 - count + 1 + place] * 3)[row]
            torch.testing.assert_close(got, drafted[row], atol=0 if form == "compiled" else 1e-5, rtol=0)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("draft", [False, True])
def test_short_prompts_are_read_by_the_kernels_as_by_the_model(draft: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of any lengths, one of a single token among them, in rows further on in the cache."""
    use_form("compiled", monkeypatch)
    model = build(replace(CONFIGS["mtp"], sliding_window=24))
    prompts = prompts_of(model.config, 3, 17, 1, 24)
    found = []
    for reader in ("kernels", "model"):
        cache = KVCache(model.config, slack=4, dtype=torch.float32)
        cache.reserve(6, 40)
        with torch.inference_mode():
            if reader == "kernels":
                monkeypatch.setattr("mellum_model.compiled.whole", None)  # not called
                states = decoder_for(model, cache).prompts(prompts, 2, draft=draft)
            else:
                states = whole(model, cache, prompts, 2, draft=draft)
        found.append((states, cache))
    (ours, own), (theirs, other) = found
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    for index, layer in enumerate(zip(own.keys + own.values, other.keys + other.values, strict=True)):
        assert not layer[0][:2].any()
        head = index % len(own.keys) == len(model.layers)
        for row, prompt in enumerate(prompts, 2):
            filled = (len(prompt) - 1) * draft if head else len(prompt)
            torch.testing.assert_close(layer[0][row, :, :filled], layer[1][row, :, :filled], atol=1e-5, rtol=0)


@pytest.mark.parametrize("speculative", [False, True])
def test_prompts_that_join_a_batch_are_read_by_the_kernels(speculative: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use_form("compiled", monkeypatch)
    model = build(replace(CONFIGS["mtp"], sliding_window=48))
    prompts = prompts_of(model.config, 3, 17, 1, 9, 30)
    settings = [Sampling(max_new_tokens=count) for count in (12, 3, 20, 7, 15)]
    monkeypatch.setattr("mellum_model.compiled.whole", None)  # not called
    results = generate(model, prompts, settings, max_batch=2, speculative=speculative)
    for prompt, setting, result in zip(prompts, settings, results, strict=True):
        assert result.tokens == uncached_greedy(model, prompt, setting.max_new_tokens)


@pytest.mark.parametrize("change", ["optimizer", "replaced", "written"])
def test_weights_that_changed_between_calls_are_seen(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their copies are kept from one call to the next, and made anew once they are stale."""
    use_form("compiled", monkeypatch)
    model = build(CONFIGS["mtp"])
    prompt = prompts_of(model.config, 6)[0]
    first = generate(model, prompt, max_new_tokens=12)[0].tokens
    cache = KVCache(model.config, dtype=torch.float32)
    assert decoder_for(model, cache)._weights is decoder_for(model, cache)._weights  # type: ignore[union-attr]
    if change == "optimizer":
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.3)
        model.loss(torch.tensor([prompt]), torch.tensor([prompt])).total.backward()
        optimizer.step()
    elif change == "replaced":
        down = model.layers[3].mlp.experts  # type: ignore[union-attr]
        down.down_proj = torch.nn.Parameter(down.down_proj.detach() * -30)  # type: ignore[union-attr, operator]
    else:
        with torch.no_grad():
            model.embed_tokens.weight.copy_(model.embed_tokens.weight.flip(0))
    changed = generate(model, prompt, max_new_tokens=12)[0].tokens
    assert changed == uncached_greedy(model, prompt, 12) != first


@pytest.mark.parametrize("speculative", [False, True])
@pytest.mark.parametrize("name", ["mtp", "mtp_full"])
def test_long_prompts_in_chunks_are_short_prompts_whole(name: str, speculative: bool) -> None:
    model = build(CONFIGS[name])
    prompts = prompts_of(model.config, 45, 3, 14, 7, 30)

    def run(prefill_tokens: int) -> list[Generated]:
        engine = Engine(model, max_batch=3, speculative=speculative, prefill_tokens=prefill_tokens)
        for prompt in prompts:
            engine.submit(prompt, Sampling(max_new_tokens=20, logprobs=0))
        found = [delta.result for _ in range(200) for delta in engine.step() if delta.result is not None]
        return sorted(found, key=lambda result: result.prompt_tokens)

    chunked, whole = run(7), run(8192)
    assert len(whole) == 5 and chunked == whole
    for ours, theirs in zip(chunked, whole, strict=True):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-5)
        assert ours.accepted == theirs.accepted  # the head's own cache is the same as well


def test_kernels_are_kept_in_the_cache_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build_anew = kernels.library.__wrapped__
    if build_anew() is None:
        pytest.skip("no C compiler (cc, gcc) to build the decoding kernels with")
    (built,) = (tmp_path / "mellum-model" / "kernels").iterdir()
    before = built.stat().st_mtime_ns
    assert build_anew() is not None and built.stat().st_mtime_ns == before
    monkeypatch.setenv("CC", "false")  # a compiler that fails: said once, and done without
    assert build_anew() is None and "no kernel from it" in caplog.text
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_anew() is None
    monkeypatch.setenv("MELLUM_KERNELS", "off")
    assert build_anew() is None
