"""Endpoints fail in every way there is; passing trouble is told from lasting, and neither is a wrong answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from unruly_server import Unruly, chat, unruly

from mellum_eval.backends import endpoint
from mellum_eval.backends import openai_wire as wire
from mellum_eval.backends.base import Completion, Failure, Request
from mellum_eval.backends.endpoint import split_address
from mellum_eval.backends.openai import OpenAIBackend
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.spec import BackendOptions
from sandboxes.extract.reasoning import split
from suites.problem import Message, Prompt
from suites.sampling import Sampling

MODELS = (200, {"data": [{"id": "m", "owned_by": "me", "max_model_len": 2048}, {"id": "other"}]}, {"server": "unruly"})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE_S", 0.001)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def request(number: int = 0, prompt: Prompt | None = None, **sampling: Any) -> Request:
    prompt = prompt or Prompt(messages=(Message("user", f"question {number}"),))
    return Request(
        f"k{number}", "s", f"p{number}", 0, prompt, Sampling(**{"max_tokens": 64, "seed": number, **sampling})
    )


async def ask(
    script: Callable[[str, dict[str, Any], int], Any], *requests: Request, ranked: bool = False, **options: Any
) -> tuple[list[Completion | Failure], Unruly]:
    """Replies in the order of the requests, and the server for what it saw."""

    def with_models(path: str, body: dict[str, Any], number: int) -> Any:
        return MODELS if path.endswith("/models") else script(path, body, number)

    async def stream() -> AsyncIterator[Request]:
        for one in requests or (request(),):
            yield one

    async with unruly(with_models) as server:
        backend = await OpenAIBackend.open(f"m@{server.url}", BackendOptions(**{"retries": 3, **options}))
        run = backend.loglikelihood if ranked else backend.generate
        try:
            replies = {r.key: reply async for r, reply in run(stream())}
        finally:
            await backend.aclose()
    return [replies[one.key] for one in requests or (request(),)], server


async def test_a_chat_request_has_what_is_needed_and_nothing_that_servers_refuse() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    turns = (
        Message("user", "q"),
        Message("assistant", "", ({"name": "f", "arguments": {"x": 1}},)),
        Message("tool", "42"),
    )
    prompt = Prompt(messages=turns, tools=(tool,))
    (reply,), server = await ask(lambda p, b, n: (200, chat("hi")), request(7, prompt, top_p=0.9, top_k=20))
    path, body, headers = server.seen[0]
    assert path == "/v1/chat/completions" and "authorization" not in headers
    assert body["messages"][1]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x": 1}'}
    assert body["messages"][2]["tool_call_id"] == body["messages"][1]["tool_calls"][0]["id"]
    del body["messages"]
    assert body == {
        "model": "m", "max_tokens": 64, "temperature": 0.0, "seed": 7, "top_p": 0.9, "top_k": 20, "tools": [tool],
    }  # fmt: skip
    assert isinstance(reply, Completion)
    assert (reply.text, reply.finish) == ("hi", "stop")
    assert reply.tokens == {"prompt": 5, "completion": 7, "reasoning": 3} and reply.latency_s > 0
    _, server = await ask(lambda p, b, n: (200, chat("hi")))
    assert set(server.seen[0][1]) == {"model", "messages", "max_tokens", "temperature", "seed"}


async def test_a_base_model_is_sent_text_and_stops() -> None:
    prompt = Prompt(text="def f(", stop=("\nclass",))
    reply_body = {"choices": [{"text": "x): pass", "finish_reason": "length"}]}
    (reply,), server = await ask(lambda p, b, n: (200, reply_body), request(0, prompt), base=True)
    path, body, _ = server.seen[0]
    assert path == "/v1/completions" and body["prompt"] == "def f(" and body["stop"] == ["\nclass"]
    assert isinstance(reply, Completion) and (reply.text, reply.finish) == ("x): pass", "length")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_is_taken_under_either_name_and_null_content_is_no_text(field: str) -> None:
    (reply,), _ = await ask(lambda p, b, n: (200, chat(None, finish_reason="length", **{field: "hm"})))
    assert reply == Completion("", "hm", (), "length", reply.tokens, reply.latency_s)  # type: ignore[union-attr]


async def test_tool_calls_are_parsed_or_kept_as_written() -> None:
    calls = [
        {"function": {"name": "f", "arguments": '{"x": [1]}'}},
        {"function": {"name": "g", "arguments": "{oops"}},
        {"function": {"name": "h", "arguments": "[" * 100_000}},
        {"function": {"name": "i", "arguments": '{"n": ' + "9" * 5000 + "}"}},
        {"function": {"name": "j", "arguments": ""}},
        {"function": {"name": "k", "arguments": {"already": 1}}},
        "nonsense",
    ]
    (reply,), _ = await ask(lambda p, b, n: (200, chat(None, tool_calls=calls, finish_reason="tool_calls")))
    assert isinstance(reply, Completion) and reply.finish == "tool_calls"
    assert [call["name"] for call in reply.tool_calls] == ["f", "g", "h", "i", "j", "k"]
    assert [call["arguments"] for call in reply.tool_calls][:2] == [{"x": [1]}, "{oops"]
    assert reply.tool_calls[4]["arguments"] == {} and reply.tool_calls[5]["arguments"] == {"already": 1}


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"error": "slow down"}),
        (429, {}, {"retry-after": "0"}),
        (429, {}, {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}),
        (429, {}, {"retry-after": "soon"}),
        (500, b"<html>"),
        (503, {"error": {"message": "loading"}}),
        "reset",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"choi",
        b"not http at all\r\n\r\n",
        (200, b"{\"choices\": ["),
        (200, b"[" * 200_000),
        (200, {"choices": []}),
        (200, {"choices": [{"message": None}]}),
        (200, {"choices": [{"message": {"content": 7}}]}),
        (200, ["list"]),
        (200, b"\xff\xfe"),
    ],
)  # fmt: skip
async def test_passing_trouble_is_tried_again(trouble: Any) -> None:
    (reply,), server = await ask(lambda p, b, n: trouble if n < 2 else (200, chat("ok")))
    assert isinstance(reply, Completion) and reply.text == "ok"
    assert len(server.seen) == 3


async def test_lasting_trouble_of_one_request_is_its_own_failure() -> None:
    def script(path: str, body: dict[str, Any], number: int) -> Any:
        return (500, {"error": "no"}) if "question 3" in str(body) else (200, chat("ok"))

    replies, _ = await ask(script, *map(request, range(8)))
    assert [isinstance(reply, Failure) for reply in replies] == [n == 3 for n in range(8)]
    assert replies[3] == Failure("HTTP 500: no, after 3 retries")


async def test_the_server_is_given_the_time_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    start = time.monotonic()
    await ask(lambda p, b, n: (429, {}, {"retry-after": "0.4"}) if n == 0 else (200, chat("ok")))
    assert 0.4 <= time.monotonic() - start < 5


@pytest.mark.parametrize("action", ["hang", "drip"])
async def test_a_server_that_does_not_finish_is_given_up_on(action: str) -> None:
    start = time.monotonic()
    (reply,), server = await ask(lambda p, b, n: action, timeout_s=0.2, retries=1, concurrency=4)
    assert reply == Failure("no reply within 0.2 s, after 1 retries") or "no reply" in str(reply)
    assert len(server.seen) == 2 and time.monotonic() - start < 5


async def test_no_more_requests_are_in_flight_than_allowed() -> None:
    _, server = await ask(lambda p, b, n: (200, chat("ok")), *map(request, range(40)), concurrency=5)
    assert 1 < server.most <= 5


async def test_an_endpoint_that_fails_whatever_it_is_asked_ends_the_run() -> None:
    with pytest.raises(PrerequisiteMissing, match=r"keeps failing.*--resume"):
        await ask(lambda p, b, n: (500, {}), *map(request, range(40)), concurrency=4, retries=1)


async def test_an_endpoint_that_dies_ends_the_run() -> None:
    async with unruly(lambda p, b, n: MODELS) as server:
        backend = await OpenAIBackend.open(f"m@{server.url}", BackendOptions(retries=1))

    async def stream() -> AsyncIterator[Request]:
        yield request()

    with pytest.raises(PrerequisiteMissing, match=r"127\.0\.0\.1:.* keeps failing \(no connection"):
        async for _ in backend.generate(stream()):
            pass
    await backend.aclose()


async def test_an_address_where_nobody_is_is_a_missing_prerequisite() -> None:
    with pytest.raises(PrerequisiteMissing, match=r"http://127\.0\.0\.1:9/v1 does not answer"):
        await OpenAIBackend.open("m@http://127.0.0.1:9", BackendOptions())


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_wanted_or_wrong_is_named(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PrerequisiteMissing, match=r"wants a key .*OPENAI_API_KEY"):
        await ask(lambda p, b, n: (status, {}))
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with pytest.raises(PrerequisiteMissing, match="refuses the key in MY_KEY") as caught:
        await ask(lambda p, b, n: (status, {}), api_key_env="MY_KEY")
    assert "very-secret" not in str(caught.value)


async def test_the_key_is_sent_and_kept_out_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    _, server = await ask(lambda p, b, n: (200, chat("ok")))
    assert server.seen[0][2]["authorization"] == "Bearer sk-very-secret"
    async with unruly(lambda p, b, n: MODELS) as other:
        host = other.url.removeprefix("http://")
        backend = await OpenAIBackend.open(f"m@http://user:hunter2@{host}", BackendOptions())
        await backend.aclose()
    assert backend.info.name == "m" and "secret" not in str(backend.info) and "hunter2" not in str(backend.info)
    assert backend.info.identity["served"] == {"owned_by": "me", "max_model_len": 2048}


async def test_a_model_that_is_not_there_is_a_users_error() -> None:
    with pytest.raises(UserError, match=r"has no m .*serves m, other"):
        await ask(lambda p, b, n: (404, {"error": {"message": "no such model"}}))


async def test_requests_that_are_all_refused_end_the_run_but_one_is_a_failure() -> None:
    refusal = (400, {"detail": "temperature must be 1"})
    with pytest.raises(UserError, match=r"refuses every request .*temperature must be 1"):
        await ask(lambda p, b, n: refusal, *map(request, range(8)), concurrency=2)
    replies, server = await ask(lambda p, b, n: refusal if "question 5" in str(b) else (200, chat("ok")),
                                *map(request, range(8)), concurrency=1)  # fmt: skip
    assert replies[5] == Failure("HTTP 400: temperature must be 1") and len(server.seen) == 8


async def test_a_prompt_too_long_for_the_model_is_the_models_answer() -> None:
    long = (400, {"error": {"message": "This model's maximum context length is 2048 tokens"}})
    (reply,), server = await ask(lambda p, b, n: long)
    assert reply == Completion("", finish="length") and len(server.seen) == 2
    (reply,), server = await ask(lambda p, b, n: long if "max_tokens" in b else (200, chat("fits")))
    assert isinstance(reply, Completion) and reply.text == "fits"


async def test_a_server_that_wants_the_newer_field_gets_it() -> None:
    refusal = (400, {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead"}})
    replies, server = await ask(
        lambda p, b, n: refusal if "max_tokens" in b else (200, chat("ok")), *map(request, range(4)), concurrency=1
    )
    assert all(isinstance(reply, Completion) for reply in replies) and len(server.seen) == 5
    assert server.seen[-1][1]["max_completion_tokens"] == 64


async def test_choices_are_ranked_by_what_their_tokens_are_worth() -> None:
    def script(path: str, body: dict[str, Any], number: int) -> Any:
        assert body["echo"] and path == "/v1/completions"
        worth = {" A": -3.0, " B": -1.0, " C": -2.0}[body["prompt"][-2:]]
        # "Q: what" + ":" + " X" + one generated token that must not count
        logprobs = {"token_logprobs": [None, -9.0, worth, -50.0], "text_offset": [0, 7, 8, 10]}
        return 200, {"choices": [{"text": body["prompt"] + "!", "logprobs": logprobs}]}

    prompt = Prompt(text="Q: what:", choices=(" A", " B", " C"))
    (reply,), _ = await ask(script, request(0, prompt), ranked=True, base=True)
    assert isinstance(reply, Completion)
    assert reply.text == "B" and list(reply.loglikelihoods) == [-3.0, -1.0, -2.0]


async def test_a_server_without_echo_is_a_failure_and_a_chat_endpoint_an_error() -> None:
    prompt = Prompt(text="Q:", choices=(" A", " B"))
    replies, _ = await ask(lambda p, b, n: (200, {"choices": [{"text": "x"}]}), request(0, prompt),
                           ranked=True, base=True)  # fmt: skip
    assert isinstance(replies[0], Failure) and "no log-probabilities" in replies[0].message
    with pytest.raises(UserError, match="--base"):
        await ask(lambda p, b, n: (200, chat("x")), request(0, prompt), ranked=True)


async def test_cancelling_leaves_no_request_running() -> None:
    async with unruly(lambda p, b, n: MODELS if p.endswith("/models") else "hang") as server:
        backend = await OpenAIBackend.open(f"m@{server.url}", BackendOptions())

        async def consume() -> None:
            async def stream() -> AsyncIterator[Request]:
                for number in range(10):
                    yield request(number)

            replies = backend.generate(stream())
            try:
                async for _ in replies:
                    pass
            finally:
                await replies.aclose()

        before = len(asyncio.all_tasks())
        task = asyncio.create_task(consume())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await backend.aclose()
        assert not [t for t in asyncio.all_tasks() if "concurrently" in str(t.get_coro())]
        assert len(asyncio.all_tasks()) <= before + len(server.seen)


@pytest.mark.parametrize(
    ("rest", "model", "url"),
    [
        ("m@http://h:1", "m", "http://h:1/v1"),
        ("m@http://h:1/", "m", "http://h:1/v1"),
        ("org/m@x@https://h/api/v3/", "org/m@x", "https://h/api/v3"),
        ("gpt", "gpt", "https://api.openai.com/v1"),
    ],
)
def test_addresses_are_read_as_people_write_them(
    rest: str, model: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert split_address(rest) == (model, url)


@pytest.mark.parametrize("rest", ["@http://h", "m@localhost:8000/v1", "m@http://", "m@http://[::1", "m@http://h:x/"])
def test_an_address_that_is_none_is_a_users_error(rest: str) -> None:
    with pytest.raises(UserError, match="openai:"):
        split_address(rest)


def test_results_answer_the_calls_just_before_them_or_are_said_as_text() -> None:
    call = {"name": "f", "arguments": {}}
    turns = (
        Message("user", "q"),
        Message("assistant", "", (call, call)),
        Message("tool", "1"),
        Message("assistant", "", (call,)),
        Message("tool", "2"),
        Message("assistant", '<tool_call>{"name": "f", "arguments": {}}</tool_call>'),
        Message("tool", "3"),
    )
    sent = wire.messages(turns)
    assert sent[2]["tool_call_id"] == sent[1]["tool_calls"][0]["id"]
    assert sent[4]["tool_call_id"] == sent[3]["tool_calls"][0]["id"]
    assert sent[6] == {"role": "user", "content": "<tool_response>\n3\n</tool_response>"}


# -- pieces, counts, and thought ----------------------------------------------------------------------------------


def pieces(*events: object, end: bytes = b"data: [DONE]\n\n") -> bytes:
    """A stream of events, without a length: it ends with its connection."""
    lines = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n: hello\n\n" + lines + end


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


STREAM = (
    delta(role="assistant", reasoning_content="h"),
    delta(reasoning_content="m"),
    delta(content="an"),
    delta(content="swer"),
    delta(tool_calls=[{"index": 0, "id": "1", "function": {"name": "f", "arguments": '{"x"'}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
    delta("tool_calls"),
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}},
)


async def test_a_streamed_reply_is_the_one_that_would_have_come_whole() -> None:
    (reply,), server = await ask(lambda p, b, n: pieces(*STREAM), stream=True)
    assert server.seen[0][1]["stream"] is True
    assert isinstance(reply, Completion)
    assert (reply.text, reply.reasoning, reply.finish) == ("answer", "hm", "tool_calls")
    assert list(reply.tool_calls) == [{"name": "f", "arguments": {"x": 1}}]
    assert reply.tokens == {"prompt": 3, "completion": 9, "reasoning_estimated": 2}
    text = ({"choices": [{"text": "ab"}]}, {"choices": [{"text": "c", "finish_reason": "stop"}]})
    (reply,), _ = await ask(lambda p, b, n: pieces(*text), request(0, Prompt(text="q")), stream=True, base=True)
    assert isinstance(reply, Completion) and reply.text == "abc"
    (reply,), _ = await ask(lambda p, b, n: (200, chat("whole all the same")), stream=True)
    assert isinstance(reply, Completion) and reply.text == "whole all the same"


@pytest.mark.parametrize(
    "half",
    [
        pieces(*STREAM[:4], end=b""),
        pieces(*STREAM[:4]),
        pieces(delta(content="x"), {"error": {"message": "CUDA error"}}),
        pieces(end=b'data: {"choi'),
        pieces(end=b"data: [1]\n\n"),
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\ndata: {}\n\n",
    ],
)
async def test_half_a_stream_is_no_reply(half: bytes) -> None:
    (reply,), server = await ask(lambda p, b, n: half if n < 2 else pieces(*STREAM), stream=True)
    assert isinstance(reply, Completion) and reply.text == "answer" and len(server.seen) == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_a_first_token_that_takes_its_time_is_waited_for(stream: bool) -> None:
    whole = pieces(*STREAM) if stream else (200, chat("answer"))
    (reply,), server = await ask(lambda p, b, n: ("late", 0.3, whole), stream=stream, timeout_s=20.0)
    assert isinstance(reply, Completion) and reply.text == "answer" and len(server.seen) == 1
    assert reply.latency_s >= 0.3


@pytest.mark.parametrize(
    ("usage", "kept"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 64}, {"prompt": 5, "completion": 64}),
        ({"prompt_tokens": 0, "completion_tokens": 0}, {}),
        ({"prompt_tokens": 5, "completion_tokens": 65}, {"prompt": 5}),
        ({"prompt_tokens": -1, "completion_tokens": "7"}, {}),
        ({"prompt_tokens": True, "completion_tokens": 1.5}, {}),
        (
            {"prompt_tokens": 5, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 8}},
            {"prompt": 5, "completion": 7},
        ),
        ("many", {}),
    ],
)
async def test_counts_that_cannot_be_right_are_left_out(usage: Any, kept: dict[str, int]) -> None:
    (reply,), _ = await ask(lambda p, b, n: (200, {**chat("hi"), "usage": usage}))
    assert isinstance(reply, Completion) and reply.tokens == kept


async def test_thought_is_alike_in_every_spelling() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 20}
    spellings = (
        chat("42", reasoning="1234567890 1234567890"),
        chat("42", reasoning_content="1234567890 1234567890"),
        chat("<think>1234567890 1234567890</think>42"),
        chat("1234567890 1234567890</think>42"),
    )
    for spelling in spellings:
        (reply,), _ = await ask(lambda p, b, n, spelling=spelling: (200, {**spelling, "usage": usage}))  # type: ignore[misc]
        assert isinstance(reply, Completion)
        parted = split(reply.text, reply.reasoning)
        assert (parted.reasoning, parted.answer) == ("1234567890 1234567890", "42")
        assert 10 <= reply.tokens["reasoning_estimated"] <= 19


@pytest.mark.parametrize(
    "cut_off",
    [
        chat("<think>so 42", finish_reason="length"),
        chat("so 42", finish_reason="length"),
        chat(None, finish_reason="length", reasoning="so 42"),
        chat("", finish_reason="length", reasoning_content="so 42"),
    ],
)
async def test_thought_that_was_cut_off_is_no_answer(cut_off: dict[str, Any]) -> None:
    (reply,), _ = await ask(lambda p, b, n: (200, cut_off), thinking_budget=32768)
    assert isinstance(reply, Completion) and reply.finish == "length"
    assert not split(reply.text, reply.reasoning).answer


async def test_choices_can_be_made_by_a_server_that_guides() -> None:
    prompt = Prompt(messages=(Message("user", "q"),), choices=(" A", " B"))

    def script(path: str, body: dict[str, Any], number: int) -> Any:
        assert body["structured_outputs"] == {"choice": ["A", "B"]}
        return 200, chat("B")

    (reply,), _ = await ask(script, request(0, prompt), ranked=True, guided_choice=True)
    assert isinstance(reply, Completion) and reply.text == "B"
    (reply,), _ = await ask(lambda p, b, n: (200, chat("Well, B")), request(0, prompt), ranked=True, guided_choice=True)
    assert isinstance(reply, Failure) and "does not guide" in reply.message


async def test_two_beginnings_are_noticed() -> None:
    served = (200, {"data": [{"id": "m", "owned_by": "vllm"}]})
    for tokens, noticed in (([1, 1, 5], 1), ([1, 5, 1], 0), ([7], 0)):

        def script(path: str, body: dict[str, Any], number: int, tokens: list[int] = tokens) -> Any:
            return served if path.endswith("/models") else (200, {"tokens": tokens})

        async with unruly(script) as server:
            backend = await OpenAIBackend.open(f"m@{server.url}", BackendOptions())
            await backend.aclose()
        assert server.seen[0][0] == "/tokenize" and len(backend.info.notices) == noticed


async def test_an_overloaded_endpoint_is_asked_less_and_no_answer_is_lost() -> None:
    def script(path: str, body: dict[str, Any], number: int) -> Any:
        # Takes four at a time.
        return (429, {"error": "busy"}) if server_of[0].running >= 4 else (200, chat("ok"))

    server_of: list[Unruly] = []

    def with_models(path: str, body: dict[str, Any], number: int) -> Any:
        return MODELS if path.endswith("/models") else script(path, body, number)

    async def stream() -> AsyncIterator[Request]:
        for number in range(120):
            yield request(number)

    async with unruly(with_models) as server:
        server_of.append(server)
        server.busy_s = 0.01
        backend = await OpenAIBackend.open(f"m@{server.url}", BackendOptions(concurrency=64, retries=30))
        replies = [reply async for _, reply in backend.generate(stream())]
        await backend.aclose()
    assert [type(reply) for reply in replies] == [Completion] * 120
    assert backend._endpoint.pace.cuts >= 2 and backend._endpoint.pace.limit < 32
