"""The service against what its own OpenAPI description allows, and against what it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from serving import Served, serving

schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
openapi_checks = pytest.importorskip("schemathesis.specs.openapi.checks")
pytest.importorskip("uvicorn", reason="pip install 'mellum-eval[serve]'")

EXAMPLES = int(os.environ.get("MELLUM_FUZZ_EXAMPLES", "60"))
"""Requests for each operation and mode."""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving("--max-cpu-s", "1", "--max-memory-mb", "128", "--queue", "64") as served:
        yield served


def operation(served: Served, path: str, method: str) -> Any:
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")[path][method]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        ("/verify", "POST", "positive"),
        ("/verify", "POST", "negative"),
        ("/run_code", "POST", "positive"),
        ("/run_code", "POST", "negative"),
        ("/health", "GET", "positive"),
    ],
)
def test_no_request_breaks_it_and_every_reply_is_as_described(
    served: Served, path: str, method: str, mode: str
) -> None:
    modes = schemathesis.GenerationMode
    strategy = operation(served, path, method).as_strategy(
        generation_mode=modes.POSITIVE if mode == "positive" else modes.NEGATIVE
    )
    statuses: dict[int, int] = {}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def fuzz(case: Any) -> None:
        reply = case.call(timeout=120)
        statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1
        # Some of what the description allows is refused all the same (two forms of one field, counts that differ),
        # but never by a status that it does not name, and never by a failure.
        case.validate_response(
            reply,
            checks=[
                openapi_checks.status_code_conformance,
                openapi_checks.content_type_conformance,
                openapi_checks.response_schema_conformance,
            ],
        )

    fuzz()
    assert not {status for status in statuses if status >= 500}, statuses
    assert statuses.get(200 if mode == "positive" else 422), statuses
    health = httpx.get(served.url + "/health", timeout=60).json()
    assert (health["status"], health["jobs"]) == ("ok", 0)
    assert len(served.said) == 1, served.said
