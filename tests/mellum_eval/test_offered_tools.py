"""Tools at a vLLM server without a parser of their calls: offered all the same, or refused alone and in clear words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from unruly_server import chat, unruly

from mellum_eval import launch
from mellum_eval.backends.base import Completion, Failure, Request
from mellum_eval.backends.openai import OpenAIBackend
from mellum_eval.errors import UserError
from mellum_eval.pipeline import Watcher
from mellum_eval.spec import BackendOptions, RunSpec
from mellum_eval.store import RunStore
from suites.problem import Message, Prompt
from suites.sampling import Sampling

NO_PARSER = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
WITH_TOOL = Prompt(messages=(Message("user", "q"),), tools=(TOOL,))


def without_parser(*, owner: str = "vllm", shows_tools: bool = True) -> Callable[[str, dict[str, Any], int], Any]:
    """A script of such a server; one that is said to be another's; one that leaves tools out of the prompt."""

    def script(path: str, body: dict[str, Any], number: int) -> Any:
        if path.endswith("/models"):
            return 200, {"data": [{"id": "m", "owned_by": owner}]}
        if path == "/tokenize":
            return 404, {}
        if body.get("tools") and body.get("tool_choice") != "none":
            return 400, {"error": {"message": NO_PARSER, "type": "BadRequestError"}}
        reply = chat("<tool_call>{}</tool_call>" if body.get("tools") else "ok")
        reply["usage"] = {"prompt_tokens": 5 + 20 * (bool(body.get("tools")) and shows_tools), "completion_tokens": 1}
        return 200, reply

    return script


def request(number: int, prompt: Prompt | None = None) -> Request:
    prompt = prompt or Prompt(messages=(Message("user", f"question {number}"),))
    return Request(f"k{number}", "s", f"p{number}", 0, prompt, Sampling(max_tokens=64))


async def replies_of(backend: OpenAIBackend, *requests: Request) -> list[Completion | Failure]:
    async def stream() -> AsyncIterator[Request]:
        for one in requests:
            yield one

    found = {one.key: reply async for one, reply in backend.generate(stream())}
    return [found[one.key] for one in requests]


async def test_calls_are_read_in_the_text_where_a_server_has_no_parser_of_them() -> None:
    async with unruly(without_parser()) as server:
        backend = await OpenAIBackend.open(f"m@{server.url}", BackendOptions())
        looked = len(server.seen)
        replies = await replies_of(backend, request(0, WITH_TOOL), request(1))
        await backend.aclose()
    assert [reply.text for reply in replies] == ["<tool_call>{}</tool_call>", "ok"]  # type: ignore[union-attr]
    bodies = [body for _, body, _ in server.seen[looked:]]
    offering = next(body for body in bodies if "tools" in body)
    assert offering["tools"] == [TOOL] and offering["tool_choice"] == "none"
    assert not any("tool_choice" in body for body in bodies if "tools" not in body)
    assert all(body["skip_special_tokens"] is False for body in bodies), "the calls' tags would be left out"
    assert backend.info.identity["tool_calls"] == "in the text"
    (notice,) = backend.info.tool_notices
    assert "--enable-auto-tool-choice --tool-call-parser hermes" in notice and not backend.info.notices


async def test_calls_that_a_server_parses_are_left_to_it() -> None:
    def script(path: str, body: dict[str, Any], number: int) -> Any:
        return (200, {"data": [{"id": "m", "owned_by": "vllm"}]}) if path.endswith("/models") else (200, chat("ok"))

    async with unruly(script) as server:
        backend = await OpenAIBackend.open(f"m@{server.url}", BackendOptions())
        await replies_of(backend, request(0, WITH_TOOL))
        await backend.aclose()
    assert "tool_choice" not in server.seen[-1][1]
    assert backend.info.identity["tool_calls"] == "parsed" and not backend.info.tool_notices


@pytest.mark.parametrize("case", [{"shows_tools": False}, {"owner": "a proxy"}])
async def test_tools_that_cannot_be_offered_fail_alone_and_name_the_flags(case: dict[str, Any]) -> None:
    # More of them than end a run whose every request is refused, and before all others.
    tools = [request(number, WITH_TOOL) for number in range(5)]
    async with unruly(without_parser(**case)) as server:
        backend = await OpenAIBackend.open(f"m@{server.url}", BackendOptions(concurrency=1))
        *refused, plain = await replies_of(backend, *tools, request(9))
        await backend.aclose()
    assert isinstance(plain, Completion) and plain.text == "ok"
    mend = "start the server with --enable-auto-tool-choice --tool-call-parser hermes"
    assert refused == [Failure(f"HTTP 400: {NO_PARSER}; {mend}")] * 5
    assert "tool_calls" not in backend.info.identity and not backend.info.tool_notices


async def run(url: str, out: Path, *suites: str, resume: bool = False) -> tuple[launch.Finished, list[str]]:
    lines: list[str] = []
    spec = RunSpec() if resume else RunSpec(model=f"openai:m@{url}", suites=suites, limit=6)
    done = await launch.run(spec, out, resume=resume, say=lines.append, watch=lambda planned: Watcher())
    return done, [line for line in lines if "tool" in line]


async def test_a_run_says_once_where_calls_are_read_and_its_manifest_keeps_it(tmp_path: Path) -> None:
    async with unruly(without_parser()) as server:
        done, said = await run(server.url, tmp_path / "tools", "quick_tools", "quick_knowledge")
        _, nothing = await run(server.url, tmp_path / "knowledge", "quick_knowledge")
    assert len(said) == 1 and not nothing, "it matters to those who offer tools"
    assert not done.troubles
    assert RunStore.open(tmp_path / "tools").manifest.model["tool_calls"] == "in the text"


async def test_a_run_does_not_go_on_where_calls_come_back_another_way(tmp_path: Path) -> None:
    parses = False
    textual = without_parser()

    def script(path: str, body: dict[str, Any], number: int) -> Any:
        return textual(path, {**body, "tool_choice": "none"} if parses else body, number)

    async with unruly(script) as server:
        for name in ("tools", "knowledge"):
            await run(server.url, tmp_path / name, f"quick_{name}")
        parses = True
        with pytest.raises(UserError, match="tool_calls is parsed now and was in the text"):
            await run(server.url, tmp_path / "tools", resume=True)
        await run(server.url, tmp_path / "knowledge", resume=True)


async def test_suites_beside_those_whose_tools_are_refused_are_run(tmp_path: Path) -> None:
    async with unruly(without_parser(owner="a proxy")) as server:
        done, _ = await run(server.url, tmp_path / "run", "quick_tools", "quick_knowledge")
    assert done.scores.suites["quick_knowledge"].infra_error_rate == 0
    assert done.scores.suites["quick_tools"].infra_error_rate == 1
    assert list(done.troubles) == ["quick_tools"] and "--tool-call-parser hermes" in done.troubles["quick_tools"]
