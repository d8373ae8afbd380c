"""Runs the service until it is told to stop, and then lets it finish what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mellum_eval.service.app import Service


def is_loopback(host: str) -> bool:
    """Whether a host to bind to can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: It cannot be had; the message names host and port.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
        # Connections inherit it. Asyncio sets it only on sockets whose protocol is named, and a reply in two writes
        # would wait 40 ms for the client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), f"{host}:{port}") from error


def _impatient(head_s: float) -> type[H11Protocol]:
    """Uvicorn's HTTP/1.1, but a connection on which no request's head comes is ended, as it ends idle ones."""

    class Impatient(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._look(None)

        def _look(self, before: int | None) -> None:
            if self.transport.is_closing():
                return
            unfinished = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
            now = id(self.cycle) if unfinished else None
            if unfinished and now == before:
                self.transport.close()
                return
            self.loop.call_later(head_s, self._look, now)

    return Impatient


class _Server(uvicorn.Server):
    """Uvicorn's, with its signals handled by us: it would raise them again when it is done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(service: Service, listener: socket.socket, drain_s: int, started: Callable[[], None]) -> int | None:
    """Serve until a signal comes. The first lets running jobs end, the second does not.

    Args:
        service: What to serve.
        listener: Where.
        drain_s: Seconds that running requests are given.
        started: Called once requests are taken.

    Returns:
        The signal, or None where the server ended without one.
    """
    config = uvicorn.Config(
        service.app(),
        lifespan="off",
        http=_impatient(service.settings.body_s),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=2 * service.settings.queue + 64,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=drain_s,
    )
    server = _Server(config)
    got: list[int] = []

    def on_signal(number: int) -> None:
        server.force_exit = bool(got)
        got.append(number)
        service.queue.draining = True
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)

    async def tell() -> None:
        while not server.started:
            await asyncio.sleep(0.02)
        started()

    telling = asyncio.create_task(tell())
    try:
        await server.serve(sockets=[listener])
    finally:
        telling.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return got[0] if got else None
