"""Batching, padding, templates and seeds leave no trace in what a transformers model answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pipeline_fakes import follow_on
from tiny_hf import save_tiny

from mellum_eval.backends.base import Completion, Failure, Request
from mellum_eval.backends.hf import HfBackend
from mellum_eval.backends.hf_decoding import cut, keep_likely
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.spec import BackendOptions
from suites.problem import Message, Prompt
from suites.sampling import Sampling

QUESTIONS = ["hi", "what is 2 + 2?", "x" * 70, "naïve 漢字", "write a function", "a", "b", "longer " * 8]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_tiny(tmp_path_factory.mktemp("tiny"))


def load(checkpoint: Path, **options: Any) -> HfBackend:
    return HfBackend.load(str(checkpoint), BackendOptions(**{"batch_size": 4, **options}))


def chat(number: int, **sampling: Any) -> Request:
    prompt = Prompt(messages=(Message("user", QUESTIONS[number % len(QUESTIONS)]),))
    return Request(
        f"k{number}", "s", f"p{number}", 0, prompt, Sampling(**{"max_tokens": 12, "seed": number, **sampling})
    )


def base(number: int, text: str | None = None, stop: tuple[str, ...] = (), **sampling: Any) -> Request:
    prompt = Prompt(text=QUESTIONS[number % len(QUESTIONS)] if text is None else text, stop=stop)
    return replace(chat(number, **sampling), prompt=prompt)


async def ask(backend: HfBackend, *requests: Request, ranked: bool = False) -> list[Completion | Failure]:
    async def stream() -> AsyncIterator[Request]:
        for request in requests:
            yield request

    replies = backend.loglikelihood(stream()) if ranked else backend.generate(stream())
    found = {request.key: reply async for request, reply in replies}
    return [found[request.key] for request in requests]


def texts(replies: list[Completion | Failure]) -> list[str]:
    assert all(isinstance(reply, Completion) for reply in replies), replies
    return [reply.text for reply in replies]  # type: ignore[union-attr]


def reference(checkpoint: Path, text: str, new: int, *, special: bool) -> str:
    """Greedy decoding as simply as can be: one prompt, no cache, no padding, no generate()."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    ids = tokenizer(text, add_special_tokens=special)["input_ids"]
    start = len(ids)
    with torch.inference_mode():
        while len(ids) < start + new and (len(ids) == start or ids[-1] != 1):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return str(tokenizer.decode([token for token in ids[start:] if token != 1]))


async def test_greedy_chat_is_what_one_prompt_at_a_time_gives(checkpoint: Path) -> None:
    backend = load(checkpoint)
    assert backend.info.chat
    got = texts(await ask(backend, *map(chat, range(8))))
    for number, text in enumerate(got):
        rendered = f"<s><user>{QUESTIONS[number]}</s><assistant>"  # one BOS, the template's
        assert text == reference(checkpoint, rendered, 12, special=False)
    assert len(set(got)) > 4, "a model that always says the same proves nothing"


async def test_greedy_text_is_continued_after_the_tokenizers_own_bos(checkpoint: Path) -> None:
    backend = load(checkpoint, base=True)
    assert not backend.info.chat
    got = texts(await ask(backend, *map(base, range(8))))
    assert got == [reference(checkpoint, question, 12, special=True) for question in QUESTIONS]


async def test_tools_and_calls_reach_the_template(checkpoint: Path) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    turns = (Message("user", "q"), Message("assistant", "", ({"name": "f", "arguments": {}},)), Message("tool", "4"))
    request = replace(chat(0), prompt=Prompt(messages=turns, tools=(tool,)))
    rendered = (
        '<s><tools>[{"type": "function", "function": {"name": "f"}}]</tools>'
        "<user>q</s><assistant><tool_call>f</tool_call></s><tool>4</s><assistant>"
    )
    got = texts(await ask(load(checkpoint), request))
    assert got == [reference(checkpoint, rendered, 12, special=False)]


async def test_a_drawn_sample_does_not_depend_on_its_batch(checkpoint: Path) -> None:
    backend = load(checkpoint)
    requests = [chat(n, temperature=1.0 if n % 2 else 0.7, top_p=0.9, top_k=50) for n in range(8)]
    together = texts(await ask(backend, *requests))
    alone = [texts(await ask(backend, request))[0] for request in requests]
    assert together == alone == texts(await ask(load(checkpoint, batch_size=3), *reversed(requests)))[::-1]
    greedy = texts(await ask(backend, *map(chat, range(8))))
    assert sum(a != b for a, b in zip(together, greedy, strict=True)) >= 6
    other = texts(await ask(backend, *(chat(n, temperature=1.0, seed=99) for n in range(8))))
    assert sum(a != b for a, b in zip(together, other, strict=True)) >= 6


async def test_draws_follow_the_models_probabilities(checkpoint: Path) -> None:
    backend = load(checkpoint, base=True, batch_size=64)
    requests = (replace(base(n, "hi", max_tokens=1, temperature=1.0), key=str(n)) for n in range(600))
    got = texts(await ask(backend, *requests))
    with torch.inference_mode():
        ids = backend._tokenizer("hi", return_tensors="pt")["input_ids"]
        expected = backend._model(ids).logits[0, -1].softmax(-1)
    # Bytes that are no character alone all look the same in a text.
    likely = [token for token in expected.argsort(descending=True).tolist() if token > 2]
    for token in [token for token in likely if backend._tokenizer.decode([token]).isascii()][:5]:
        p = float(expected[token])
        assert abs(got.count(backend._tokenizer.decode([token])) / 600 - p) < 4 * (p * (1 - p) / 600) ** 0.5 + 0.002


def test_top_k_and_top_p_keep_what_they_should() -> None:
    logits = torch.log(torch.tensor([0.1, 0.4, 0.2, 0.3]))
    kept = lambda x: [i for i, v in enumerate(x.tolist()) if v > float("-inf")]  # noqa: E731
    assert kept(keep_likely(logits, 2, 1.0)) == [1, 3]
    assert kept(keep_likely(logits, 0, 0.69)) == [1, 3]
    assert kept(keep_likely(logits, 0, 0.71)) == [1, 2, 3]
    assert kept(keep_likely(logits, 0, 0.01)) == [1]
    assert kept(keep_likely(logits, 0, 1.0)) == [0, 1, 2, 3]


async def test_stop_strings_end_a_row_and_are_cut_off(checkpoint: Path) -> None:
    backend = load(checkpoint, base=True)
    free = texts(await ask(backend, *(base(n, max_tokens=20) for n in range(8))))
    stop = free[1][5:7]
    replies = await ask(backend, *(base(n, max_tokens=20, stop=(stop, "never there")) for n in range(8)))
    assert texts(replies) == [cut(text, (stop,))[0] for text in free]
    assert isinstance(replies[1], Completion) and replies[1].finish == "stop"
    assert replies[1].tokens["completion"] < 20


async def test_finish_and_counts_are_told(checkpoint: Path) -> None:
    backend = load(checkpoint, base=True)
    (reply,) = await ask(backend, base(0, "hi"))
    assert isinstance(reply, Completion) and reply.latency_s > 0
    assert reply.tokens["prompt"] == 3  # <s> h i
    assert (reply.finish, reply.tokens["completion"]) == ("length", 12) or reply.finish == "stop"
    fits, nearly, beyond = await ask(backend, base(0, "x" * 200), base(1, "y" * 253), base(2, "z" * 256))
    assert isinstance(nearly, Completion) and nearly.tokens["completion"] <= 2
    assert beyond == Completion("", finish="length", tokens={"prompt": 257}, latency_s=beyond.latency_s)  # type: ignore[union-attr]
    assert isinstance(fits, Completion) and fits.text


@pytest.mark.parametrize("batch_size", [1, 4, 16])
async def test_choices_are_ranked_as_one_pass_a_choice_would(checkpoint: Path, batch_size: int) -> None:
    backend = load(checkpoint, base=True, batch_size=batch_size)
    choices = [(" A", " B", " C", " D"), (" yes", " no, never"), ("1", "22", "333")]
    requests = [replace(base(n), prompt=Prompt(text=QUESTIONS[n], choices=choices[n % 3])) for n in range(7)]
    replies = await ask(backend, *requests, ranked=True)
    for request, reply in zip(requests, replies, strict=True):
        assert isinstance(reply, Completion)
        expected = []
        for choice in request.prompt.choices:
            context = backend._tokenizer(request.prompt.text)["input_ids"]
            whole = backend._tokenizer((request.prompt.text or "") + choice)["input_ids"]
            with torch.inference_mode():
                logprobs = backend._model(torch.tensor([whole])).logits[0].log_softmax(-1)
            expected.append(sum(float(logprobs[i - 1, whole[i]]) for i in range(len(context), len(whole))))
        assert list(reply.loglikelihoods) == pytest.approx(expected, abs=1e-3)
        assert reply.text == "ABCD"[expected.index(max(expected))]


async def test_too_little_memory_makes_smaller_batches(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = load(checkpoint, batch_size=8)
    whole, sizes = backend._generate_batch, []

    def tight(batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return whole(batch)

    monkeypatch.setattr(backend, "_generate_batch", tight)
    got = texts(await ask(backend, *map(chat, range(8))))
    assert got == texts(await ask(load(checkpoint), *map(chat, range(8))))
    assert sizes == [8, 4, 2, 2, 2, 2]


async def test_a_batch_that_fails_is_a_failure_and_all_failing_ends_the_run(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load(checkpoint, batch_size=1)
    whole = backend._generate_batch

    def sometimes(batch: Any) -> Any:
        if batch[0].request.key == "k3":
            raise ValueError("bad luck")
        return whole(batch)

    monkeypatch.setattr(backend, "_generate_batch", sometimes)
    replies = await ask(backend, *map(chat, range(5)))
    assert [isinstance(reply, Failure) for reply in replies] == [n == 3 for n in range(5)]
    hopeless = load(checkpoint, batch_size=1)
    monkeypatch.setattr(hopeless, "_generate_batch", lambda batch: 1 / 0)
    with pytest.raises(UserError, match="fails on every batch"):
        await ask(hopeless, *map(chat, range(5)))


async def test_letting_go_ends_a_running_batch(checkpoint: Path) -> None:
    backend = load(checkpoint)

    async def stream() -> AsyncIterator[Request]:
        yield chat(0, max_tokens=10_000)

    backend._limit = 100_000
    backend._ends = [258]
    replies = backend.generate(stream())
    task = asyncio.create_task(anext(replies))
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        await backend.aclose()
    assert not any(thread.is_alive() for thread in backend._thread._threads)


async def test_the_identity_says_which_weights(checkpoint: Path, tmp_path: Path) -> None:
    identity = load(checkpoint).info.identity
    assert identity["model_type"] == "mellum" and identity["dtype"] == "float32" and len(identity["sha256"]) == 64
    assert len(identity["chat_template_sha256"]) == 64
    plain = load(save_tiny(tmp_path, chat=False))
    assert not plain.info.chat and plain.info.identity["chat_template_sha256"] is None
    assert plain.info.identity["sha256"] == identity["sha256"]
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    assert load(tmp_path).info.identity["sha256"] != identity["sha256"]


def test_a_model_that_is_not_there_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="cannot be loaded"):
        load(tmp_path)
    with pytest.raises(UserError, match="no such directory"):
        HfBackend.load("./nowhere", BackendOptions())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be loaded"):
        load(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PrerequisiteMissing, match="hf:nobody/nothing is not on this machine"):
        HfBackend.load("nobody/nothing", BackendOptions())


async def test_a_request_may_follow_on_a_reply(checkpoint: Path) -> None:
    await follow_on(load(checkpoint), chat)
