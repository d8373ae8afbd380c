"""Rollouts by vLLM's protocol, against a server of a few lines: what it is sent, and what is said where it is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from rlvr.toy import CONFIG, recipe

from mellum_model import Mellum
from mellum_model.errors import PromptError
from mellum_model.nano import checkpoint
from mellum_model.post_training.rlvr.rollouts import snapshot
from mellum_model.post_training.rlvr.run import open_sampler
from mellum_model.post_training.rlvr.vllm_sampler import VllmSampler, restart_by
from mellum_model.tokenizer import Tokenizer
from mellum_model.training.errors import RecipeError, TrainingStopped
from mellum_model.training.ranks import Ranks

CHOICE = {"token_ids": [4, 2], "logprobs": {"token_logprobs": [-0.5, -0.25]}, "finish_reason": "stop"}


class Server:
    """What vLLM answers, and what it was asked."""

    def __init__(self, **replies: Any) -> None:
        mode = {"vllm_config": {"model_config": {"logprobs_mode": "raw_logprobs"}}}
        self.replies: dict[str, Any] = {
            "/v1/models": {"data": [{"id": "served", "max_model_len": 40}]}, "/server_info": mode,
            "/reset_prefix_cache": {"success": True}, "/v1/completions": {"choices": [CHOICE]},
            "/pause": {}, "/resume": {}, "/collective_rpc": {}, **replies,
        }  # fmt: skip
        self.asked: list[tuple[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, json.loads(request.content) if request.content else None))
        reply = self.replies[request.url.path]
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)


@pytest.fixture
def model() -> Mellum:
    torch.manual_seed(0)
    return Mellum(replace(CONFIG, num_mtp_layers=1, eos_token_ids=(2,)))


@pytest.fixture
def drawn(model: Mellum, tmp_path: Path) -> Iterator[Any]:
    made: list[VllmSampler] = []

    def open_at(server: Server, temperature: float = 1.0) -> VllmSampler:
        settings = recipe(rollouts={"max_tokens": 6, "max_batch": 4, "temperature": temperature}).rollouts
        sampler = VllmSampler(
            model.config, settings, Tokenizer.load(checkpoint()), tmp_path, server="http://there:1",
            dtype=torch.float32, transport=httpx.MockTransport(server),
        )  # fmt: skip
        made.append(sampler)
        return sampler

    yield open_at
    for sampler in made:
        sampler.close()


def test_weights_are_handed_over_before_anything_is_asked(drawn: Any, model: Mellum, tmp_path: Path) -> None:
    server = Server()
    sampler = drawn(server)
    sampler.load(snapshot(model))
    paths = [path for path, _ in server.asked]
    assert paths == ["/pause", "/collective_rpc", "/reset_prefix_cache", "/resume", "/v1/models"]
    order = dict(server.asked)["/collective_rpc"]
    assert order["method"] == "reload_weights"
    served = Mellum.from_pretrained(Path(order["kwargs"]["weights_path"]))
    assert served.config.num_mtp_layers == 0 and (tmp_path / "a" / "tokenizer.json").exists()
    for name, parameter in served.named_parameters():
        assert torch.equal(parameter, dict(model.named_parameters())[name])
    sampler.load(snapshot(model))  # a file that a server may still have open is left alone
    assert server.asked[6][1]["kwargs"]["weights_path"] == str(tmp_path / "b")


def test_answers_come_with_what_they_were_drawn_with(drawn: Any, model: Mellum) -> None:
    server = Server()
    sampler = drawn(server)
    sampler.load(snapshot(model))
    for key in (7, 8):
        sampler.submit(key, [5] * (30 + key), seed=9, temperature=1.0, max_tokens=6)
    found: dict[int, Any] = {}
    while sampler.busy:
        found |= dict(sampler.poll())
    assert sorted(found) == [7, 8]
    assert (found[7].tokens, found[7].logprobs, found[7].finish) == ([4, 2], [-0.5, -0.25], "stop")
    asked = sorted((body for path, body in server.asked if path == "/v1/completions"), key=lambda body: body["prompt"])
    assert [body["max_tokens"] for body in asked] == [3, 2]  # no more than has room
    assert all(body["stop_token_ids"] == [2] and body["seed"] == 9 and body["top_p"] == 1.0 for body in asked)
    with pytest.raises(PromptError):
        sampler.submit(9, [5] * 40, seed=9, temperature=1.0, max_tokens=6)
    assert not sampler.busy


@pytest.mark.parametrize(
    ("replies", "temperature", "says"),
    [
        ({"/pause": httpx.Response(404)}, 1.0, "it has no /pause; start it with VLLM_SERVER_DEV_MODE=1"),
        ({"/collective_rpc": httpx.Response(500, text="size 192")}, 1.0, "/collective_rpc: HTTP 500: size 192"),
        ({"/reset_prefix_cache": {"success": False}}, 1.0, "cache could not be emptied"),
        ({}, 0.7, "it gives raw_logprobs, .* start it with --logprobs-mode processed_logprobs"),
        ({"/pause": httpx.ConnectError("refused")}, 1.0, r"at http://there:1: it does not answer \(refused\)"),
    ],
)
def test_a_server_that_takes_no_weights_stops_training(
    drawn: Any, model: Mellum, replies: dict[str, Any], temperature: float, says: str
) -> None:
    with pytest.raises(TrainingStopped, match=says) as stopped:
        drawn(Server(**replies), temperature).load(snapshot(model))
    assert str(stopped.value).endswith("; continue with --resume") and len(str(stopped.value).splitlines()) == 1


@pytest.mark.parametrize("reply", [httpx.ReadError("gone"), {"choices": [{**CHOICE, "finish_reason": "abort"}]}])
def test_a_server_that_goes_away_is_not_asked_again(drawn: Any, model: Mellum, reply: Any) -> None:
    server = Server(**{"/v1/completions": reply})
    sampler = drawn(server)
    sampler.load(snapshot(model))
    sampler.submit(1, [5], seed=1, temperature=1.0, max_tokens=6)
    with pytest.raises(TrainingStopped, match="continue with --resume"):
        while sampler.busy:
            sampler.poll()
    assert sum(path == "/v1/completions" for path, _ in server.asked) == 1


def test_a_restart_that_fails_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no card for ' + sys.argv[1])"]
    with pytest.raises(TrainingStopped, match=r"exited with 1: no card for .*/model"):
        restart_by(command, "http://127.0.0.1:9")(tmp_path / "model")


def test_every_rank_has_a_server_of_its_own(model: Mellum, tmp_path: Path) -> None:
    settings = recipe(rollouts={"max_tokens": 6, "sampler": "vllm", "servers": ["http://a:1"]})
    place = Ranks(rank=1, count=2, device="cpu", mesh=None)
    with pytest.raises(RecipeError, match=r"rollouts\.servers: 1 for 2 ranks"):
        open_sampler(settings, model.config, Tokenizer.load(checkpoint()), place, tmp_path)
    with pytest.raises(ValueError, match=r"given where rollouts\.sampler is vllm"):
        recipe(rollouts={"max_tokens": 6, "sampler": "vllm"})
