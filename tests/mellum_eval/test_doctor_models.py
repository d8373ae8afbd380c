"""What doctor says of a model: one token tells."""

from __future__ import annotations

from typing import Any

import pytest
from unruly_server import chat, unruly

from mellum_eval.cli.native import provide_native
from mellum_eval.doctor import State, examine_model
from mellum_eval.spec import BackendOptions

MODELS = (200, {"data": [{"id": "m"}]})


async def look(answer: Any, **options: Any) -> tuple[State, str]:
    def script(path: str, body: dict[str, Any], number: int) -> Any:
        return MODELS if path.endswith("/models") else answer

    async with unruly(script) as server:
        found = await examine_model(f"openai:m@{server.url}", BackendOptions(**{"retries": 0, **options}))
    return found.state, found.detail


async def test_a_model_that_answers_is_fine_and_what_it_cannot_is_said() -> None:
    state, detail = await look((200, chat("yes")))
    assert state is State.OK and "cannot rank choices: --base" in detail
    state, detail = await look((200, {"choices": [{"text": " blue"}]}), base=True)
    assert state is State.OK
    assert "plain continuation" in detail and "no log-probabilities" in detail and "counts no tokens" in detail


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, {"error": {"message": "no such model"}}), "has no m"),
        ((401, {}), "wants a key"),
        ((500, {"error": "CUDA error"}), "CUDA error"),
        ((400, {"detail": "temperature must be 1"}), "temperature must be 1"),
        ((200, {"choices": []}), "a reply without choices"),
    ],
)
async def test_what_is_wrong_is_named(answer: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    state, detail = await look(answer)
    assert state is State.MISSING and said in detail


async def test_other_schemes_are_asked_too() -> None:
    provide_native()
    assert (await examine_model("mock:gold", BackendOptions())).state is State.OK
    assert (await examine_model("mock:nothing", BackendOptions())).state is State.MISSING
    found = await examine_model("nano", BackendOptions())
    assert found.state is State.OK and "chat" in found.detail
    assert (await examine_model("vllm:./no-such", BackendOptions(vllm_python="python3"))).state is State.MISSING
