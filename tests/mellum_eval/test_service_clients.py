"""The service and clients that behave badly, or as real trainers do."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from serving import serving

pytest.importorskip("uvicorn", reason="pip install 'mellum-eval[serve]'")

RIGHT = {"id": "1", "kind": "exact", "completion": "a", "answer": "a"}
HEAD = b"POST /verify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextlib.contextmanager
def connections(url: str, count: int) -> Iterator[list[socket.socket]]:
    port = int(url.rsplit(":", 1)[1])
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


def test_slow_senders_hold_no_place_and_are_ended() -> None:
    """Half a head, a body that never comes, one without a length: others are served meanwhile."""
    with serving("--queue", "2", "--body-s", "2") as served, connections(served.url, 30) as opened:
        for number, connection in enumerate(opened):
            connection.sendall((HEAD[:40], HEAD + b"Content-Length: 100\r\n\r\n", HEAD + b"\r\n")[number % 3])
            if number % 3 == 1:
                connection.sendall(b'{"id": ')
        started = time.monotonic()
        for _ in range(5):
            assert httpx.post(served.url + "/verify", json=RIGHT).json()["passed"]
        assert httpx.get(served.url + "/health").json()["jobs"] == 0
        opened[1].settimeout(30)
        assert opened[1].recv(100).startswith(b"HTTP/1.1 408 ")
        opened[0].settimeout(30)
        assert opened[0].recv(100) == b"", "half a head is ended too"
        assert 1 < time.monotonic() - started < 25
        assert served.stop() == 0
