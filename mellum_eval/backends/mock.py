"""Models that are none: they answer with the suites' own gold answers, to try everything else.

`mock:gold` answers right, `mock:empty` with nothing, `mock:mixed` right for a fixed share of the problems, by a hash of
the problem's id: the same problems on every machine. Of a conversation they play the suite's script, turn by turn.
Settings follow commas: `mock:mixed,share=0.3,latency=0.05`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator

from mellum_eval.backends.base import BackendInfo, Completion, Reply, Request, concurrently
from mellum_eval.errors import UserError
from mellum_eval.spec import BackendOptions

_SHARES = {"gold": 1.0, "empty": 0.0, "mixed": 0.7}


class MockBackend:
    """Gold answers, for a share of the problems."""

    def __init__(self, name: str, options: BackendOptions) -> None:
        """Parse `NAME[,share=S][,latency=SECONDS]`.

        Raises:
            UserError: Names the part that is wrong.
        """
        kind, *settings = name.split(",")
        if kind not in _SHARES:
            raise UserError(f"mock:{name}: no mock model named {kind!r}; there are {', '.join(_SHARES)}")
        values = {"share": _SHARES[kind], "latency": 0.0}
        for setting in settings:
            field, _, value = setting.partition("=")
            try:
                values[field] = {"share": _unit, "latency": _seconds}[field](value)
            except KeyError:
                raise UserError(f"mock:{name}: {field!r} is none of share and latency") from None
            except ValueError:
                raise UserError(f"mock:{name}: {setting!r} is out of range") from None
        self._share, self._latency, self._limit = values["share"], values["latency"], options.concurrency
        self._info = BackendInfo(f"mock:{kind}", chat=not options.base, identity={"scheme": "mock", "name": name})

    @property
    def info(self) -> BackendInfo:
        """What it is."""
        return self._info

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Gold, or nothing."""
        return concurrently(requests, self._limit, self._answer)

    def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Gold as text, as in `generate`: there are no probabilities here."""
        return concurrently(requests, self._limit, self._answer)

    async def aclose(self) -> None:
        """Nothing to let go of."""

    async def _answer(self, request: Request) -> Completion:
        if self._latency:
            await asyncio.sleep(self._latency)
        if not self._knows(request):
            return Completion("", tokens={"prompt": 0, "completion": 0})
        text, calls = request.gold or "", request.gold_calls
        return Completion(
            text,
            tool_calls=calls,
            finish="tool_calls" if calls else "stop",
            tokens={"prompt": 0, "completion": len(text.split())},
        )

    def _knows(self, request: Request) -> bool:
        digest = hashlib.sha256(f"{request.problem}\0{request.sample}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self._share * 2**64


def _unit(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError(text)
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 3600.0:
        raise ValueError(text)
    return value
