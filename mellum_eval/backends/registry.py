"""From SCHEME:REST to a backend. A scheme's module, and what it needs, is imported when the scheme is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from mellum_eval.backends.base import Backend
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.spec import BackendOptions

SCHEMES = {
    "nano": "nano, nano:base, nano:thinking, nano:instruct-sft or nano:thinking-sft (the bundled model)",
    "native": "native:PATH (this repository's own model)",
    "hf": "hf:ID_OR_PATH (transformers)",
    "vllm": "vllm:ID_OR_PATH (a vLLM server of our own)",
    "openai": "openai:MODEL@URL (any OpenAI-compatible endpoint)",
    "replay": "replay:RUN_DIR (generations of an earlier run)",
    "mock": "mock:gold, mock:empty or mock:mixed (no model)",
}

Opener = Callable[[str, BackendOptions], Awaitable[Backend]]

_provided: dict[str, Opener] = {}
_checks: dict[str, Callable[[str], None]] = {}


def provide(scheme: str, opener: Opener, check: Callable[[str], None] | None = None) -> None:
    """Let the command line, which may import every room, serve a scheme that needs one this package may not.

    Args:
        scheme: Its name.
        opener: Opens it.
        check: Raises for a name or a missing package, without loading anything: it is called before a run begins.
    """
    _provided[scheme] = opener
    if check is not None:
        _checks[scheme] = check


def check_scheme(model: str, options: BackendOptions | None = None) -> tuple[str, str]:
    """Scheme and rest of a model that can be opened here, as far as its name tells: costs nothing, so comes first.

    Raises:
        UserError: No such scheme, or nothing after it.
        PrerequisiteMissing: What the scheme needs is not installed.
    """
    scheme, _, rest = model.partition(":")
    if scheme not in SCHEMES and scheme not in _provided:
        raise UserError(f"unknown model scheme in {model!r}; a model is one of {'; '.join(SCHEMES.values())}")
    if scheme in _checks:
        _checks[scheme](rest)
    if not rest and scheme != "nano":
        raise UserError(f"model {model!r} names nothing after {scheme}:; it is {SCHEMES.get(scheme, scheme)}")
    if scheme == "vllm":
        from mellum_eval.backends.vllm_server import python_for

        python_for(options or BackendOptions())
    return scheme, rest


async def open_backend(model: str, options: BackendOptions, logs: Path | None = None) -> Backend:
    """Load the model, or reach for it.

    Args:
        model: SCHEME:REST.
        options: How it is driven.
        logs: A directory for what a server of ours logs.

    Raises:
        UserError: No such scheme or model.
        PrerequisiteMissing: A package is not installed, or the endpoint does not answer.
    """
    scheme, rest = check_scheme(model, options)
    if scheme in _provided:
        return await _provided[scheme](rest, options)
    if scheme == "mock":
        from mellum_eval.backends.mock import MockBackend

        return MockBackend(rest, options)
    if scheme == "replay":
        from mellum_eval.backends.replay import ReplayBackend

        return ReplayBackend(Path(rest))
    if scheme == "vllm":
        from mellum_eval.backends.vllm import VllmBackend

        return await VllmBackend.start(rest, options, logs)
    if scheme == "openai":
        from mellum_eval.backends.openai import OpenAIBackend

        return await OpenAIBackend.open(rest, options)
    if scheme in ("native", "nano"):
        # The command line provides them; a program of its own has to, too.
        raise PrerequisiteMissing(f"{model}: nobody provided the {scheme} backend", f"call provide({scheme!r}, opener)")
    from mellum_eval.backends.hf import HfBackend

    # Loading takes minutes for a large model: in a thread, so that Ctrl-C is heard.
    return await asyncio.to_thread(HfBackend.load, rest, options)
