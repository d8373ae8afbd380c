"""Pages of the public web, for a model that asks for them by address: never one of this machine or of its network.

Whatever address is asked for, or redirected to, is resolved here, held to be public, and connected to as it was
resolved: a name that means something else a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

import httpx

LARGEST = 2 * 2**20
"""Bytes of a page at most."""
TIMEOUT_S = 20
_TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "2001::/32", "2002::/16")))
"""IPv6 addresses that stand for IPv4 ones, which may be anybody's: NAT64, Teredo, 6to4."""

Allowed = Callable[[str], bool]


class NotPublic(httpx.TransportError):
    """The address is of this machine, of a private network, or of nobody."""


class BadPage(Exception):
    """The page is too large, or no text."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return parsed.is_global and not parsed.is_multicast and not any(parsed in network for network in _TRANSLATED)


async def page(url: str, headers: dict[str, str], *, allowed: Allowed = is_public) -> str:
    """The text of a page, after at most five redirects.

    Args:
        url: http or https.
        headers: Of the request.
        allowed: Whether an IP address may be connected to.

    Raises:
        httpx.HTTPError, httpx.InvalidURL: It cannot be had; `NotPublic` among them.
        BadPage: It is none.
    """
    async with (
        httpx.AsyncClient(
            transport=_Public(allowed),
            trust_env=False,  # a proxy would resolve names by itself
            follow_redirects=True,
            max_redirects=5,
            timeout=TIMEOUT_S,
        ) as client,
        asyncio.timeout(2 * TIMEOUT_S),
        client.stream("GET", url, headers=headers) as reply,
    ):
        reply.raise_for_status()
        received = bytearray()
        async for chunk in reply.aiter_bytes():
            received += chunk
            if len(received) > LARGEST:
                raise BadPage(f"the page is larger than {LARGEST} bytes")
        return bytes(received).decode(reply.charset_encoding or "utf-8", "replace")


class _Public(httpx.AsyncBaseTransport):
    """Connects to the address that was checked; the name stays that of the certificate and of the Host header."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._inner = httpx.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One hop."""
        host = request.url.host
        address = await self._resolved(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        there = httpx.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
        return await self._inner.handle_async_request(there)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _resolved(self, host: str, port: int) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"{host}: {error}") from None
        addresses = [str(entry[4][0]) for entry in found]
        # All of them: which of several a name gives first is its owner's choice.
        if not addresses or not all(map(self._allowed, addresses)):
            raise NotPublic(f"{host} is not on the public internet")
        return addresses[0]
