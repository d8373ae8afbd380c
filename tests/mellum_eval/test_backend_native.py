"""`native:PATH`: the model's own answers, whatever the batch, in chat and base form, and ranked choices."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pipeline_fakes import follow_on

from mellum_eval.backends.base import Completion, Failure, Request
from mellum_eval.backends.registry import open_backend
from mellum_eval.cli.native import provide_native
from mellum_eval.errors import UserError
from mellum_eval.spec import BackendOptions
from suites.problem import Message, Prompt
from suites.sampling import Sampling


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from mellum_model import Mellum, MellumConfig
    from mellum_model.chat import SPECIAL_TOKENS
    from mellum_model.tokenizer import Tokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("native")
    tokenizer = Tokenizer.train(["what is 2 + 2? a function"], 280, SPECIAL_TOKENS)
    config = replace(
        MellumConfig.nano(vocab_size=tokenizer.vocab_size),
        hidden_size=32,
        num_attention_heads=4,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        sliding_window=16,
        initializer_range=0.3,
    )
    Mellum(config).save_pretrained(folder)
    tokenizer.save(folder)
    provide_native()
    return folder


def request(number: int, text: str, *, chat: bool, **sampling: float) -> Request:
    prompt = Prompt(messages=(Message("user", text),)) if chat else Prompt(text=text)
    settings = Sampling(**{"max_tokens": 5 + number % 7, "seed": number, **sampling})  # type: ignore[arg-type]
    return Request(f"k{number}", "s", f"p{number}", 0, prompt, settings)


async def ask(
    checkpoint: Path, requests: list[Request], *, ranked: bool = False, slow: bool = False, **options: object
) -> list[Completion | Failure]:
    backend = await open_backend(f"native:{checkpoint}", BackendOptions(**options))  # type: ignore[arg-type]

    async def given() -> AsyncIterator[Request]:
        for one in requests:
            if slow:
                await asyncio.sleep(0.01)
            yield one

    replies = backend.loglikelihood(given()) if ranked else backend.generate(given())
    found = {one.key: reply async for one, reply in replies}
    await backend.aclose()
    return [found[one.key] for one in requests]


def texts(replies: list[Completion | Failure]) -> list[str]:
    assert all(isinstance(reply, Completion) for reply in replies), replies
    return [reply.text for reply in replies]  # type: ignore[union-attr]


@pytest.mark.parametrize("chat", [False, True])
async def test_answers_do_not_depend_on_the_batch(checkpoint: Path, chat: bool) -> None:
    asked = [request(number, "what is " + "x" * number, chat=chat, temperature=number % 2) for number in range(9)]
    together = await ask(checkpoint, asked, batch_size=4, base=not chat)
    alone = await ask(checkpoint, asked, batch_size=1, base=not chat, slow=True)
    drafted = await ask(checkpoint, asked[::2], base=not chat, speculative=True)
    assert texts(together) == texts(alone)
    assert texts(drafted) == texts(together)[::2]  # the greedy ones
    for one, reply in zip(asked, together, strict=True):
        assert isinstance(reply, Completion)
        assert reply.tokens["completion"] <= one.sampling.max_tokens and reply.tokens["prompt"] > len("what is ") // 3


async def test_end_tokens_of_the_generation_config_end_an_answer(checkpoint: Path) -> None:
    from mellum_model import Mellum, generate
    from mellum_model.tokenizer import Tokenizer

    asked = [replace(request(1, "what", chat=False), sampling=Sampling(max_tokens=12))]
    whole = texts(await ask(checkpoint, asked, base=True))[0]
    prompt = Tokenizer.load(checkpoint).encode("what")
    third = generate(Mellum.from_pretrained(checkpoint), prompt, max_new_tokens=12)[0].tokens[2]
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": [third]}))
    try:
        (got,) = await ask(checkpoint, asked, base=True)
    finally:
        (checkpoint / "generation_config.json").unlink()
    assert isinstance(got, Completion) and got.finish == "stop" and whole.startswith(got.text)
    assert got.tokens["completion"] <= 3


async def test_choices_are_ranked_by_their_likelihood(checkpoint: Path) -> None:
    import torch

    from mellum_model import Mellum
    from mellum_model.tokenizer import Tokenizer

    asked = request(0, "what is ", chat=False)
    asked = replace(asked, prompt=replace(asked.prompt, choices=("A", "B", "2 + 2", "C")))
    (got,) = await ask(checkpoint, [asked], ranked=True, base=True)
    assert isinstance(got, Completion)
    tokenizer, model = Tokenizer.load(checkpoint), Mellum.from_pretrained(checkpoint)
    context = tokenizer.encode("what is ")
    for choice, value in zip(asked.prompt.choices, got.loglikelihoods, strict=True):
        whole = tokenizer.encode("what is " + choice)
        with torch.no_grad():
            scores = model(torch.tensor([whole]))[0].log_softmax(-1)
        shared = next((i for i, (a, b) in enumerate(zip(context, whole[:-1], strict=False)) if a != b), len(context))
        shared = min(shared, len(whole) - 1)
        expected = sum(float(scores[i - 1, whole[i]]) for i in range(shared, len(whole)))
        assert value == pytest.approx(expected, abs=1e-4)
    assert got.text == "ABCD"[max(range(4), key=lambda i: got.loglikelihoods[i])]


async def test_too_long_prompts_and_bad_checkpoints(checkpoint: Path, tmp_path: Path) -> None:
    from mellum_model import Mellum

    long, empty = request(0, "x" * 2000, chat=False), request(1, "", chat=False)
    replies = await ask(checkpoint, [long, empty], base=True)
    assert isinstance(replies[0], Completion) and replies[0].finish == "length" and replies[0].text == ""
    assert isinstance(replies[1], Failure) and "empty" in replies[1].message
    with pytest.raises(UserError, match=r"native:.*no such file"):
        await open_backend(f"native:{tmp_path}", BackendOptions())
    Mellum.from_pretrained(checkpoint, mtp=False).save_pretrained(tmp_path)
    shutil.copy(checkpoint / "tokenizer.json", tmp_path)
    with pytest.raises(UserError, match=r"--speculative needs an MTP head"):
        await open_backend(f"native:{tmp_path}", BackendOptions(speculative=True))


async def test_the_manifest_names_the_weights(checkpoint: Path) -> None:
    backend = await open_backend(f"native:{checkpoint}", BackendOptions())
    identity = backend.info.identity
    assert backend.info.chat and identity["scheme"] == "native" and len(identity["sha256"]) == 64
    assert identity["parameters"]["active"] < identity["parameters"]["total"]
    await backend.aclose()


async def test_a_step_that_fails_costs_its_requests_and_failing_for_ever_ends() -> None:
    from mellum_eval.backends.base import BackendInfo
    from mellum_eval.backends.native import Finished, NativeBackend

    class Engine:
        def __init__(self, broken: bool) -> None:
            self.waiting: list[int] = []
            self.broken = broken

        @property
        def busy(self) -> bool:
            return bool(self.waiting)

        def submit(self, ids: object, sampling: Sampling, stop: tuple[str, ...]) -> int:
            self.waiting.append(len(self.waiting))
            return self.waiting[-1]

        def step(self) -> list[Finished]:
            if self.broken:
                raise RuntimeError("out of memory")
            return [Finished(self.waiting.pop(), "done", "stop", 1)]

    class Model:
        info, limit, broken = BackendInfo("fake", False, {}), 100, 1

        def render(self, prompt: Prompt) -> str:
            return prompt.text or ""

        def encode(self, text: str) -> list[int]:
            return [1]

        def engine(self) -> Engine:
            self.broken -= 1
            return Engine(self.broken >= 0)

        def loglikelihood(self, pairs: object) -> list[tuple[float, bool]]:
            return []

    async def given() -> AsyncIterator[Request]:
        for number in range(12):
            yield request(number, "x", chat=False)

    model = Model()
    replies = [reply async for _, reply in NativeBackend(model, batch_size=2).generate(given())]
    assert len(replies) == 12
    assert 1 <= sum(isinstance(reply, Failure) for reply in replies) <= 4
    model.broken = 100
    with pytest.raises(UserError, match="fails at every step"):
        [reply async for _, reply in NativeBackend(model, batch_size=2).generate(given())]


async def test_a_request_may_follow_on_a_reply(checkpoint: Path) -> None:
    backend = await open_backend(f"native:{checkpoint}", BackendOptions(batch_size=4))
    await follow_on(backend, lambda number: request(number, "what", chat=True))
