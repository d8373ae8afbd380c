"""What BFCL's web-search tasks offer: a search engine by a provider's API, and pages by their address.

The reference's own code does the same with blocking libraries and cannot run where there is no network, which is where
everything else of the reference's runs. Forms of results and texts of errors are those that it gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from sandboxes.errors import SandboxError
from sandboxes.verifiers.tool_text import Call
from suites.tools.api_conversation import result_text
from suites.tools.public_web import BadPage, page

PROVIDER = "https://serpapi.com/search"
TRIES = 6
"""Of a search that the provider's rate limit or a broken connection stopped; the last after a minute in all."""
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0.0.0 "
    "Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.9",
}


class WebSearchAPI:
    """The functions on offer; named as the reference's class, which the texts of errors name."""

    def __init__(self, key: str, *, show_snippet: bool, provider: str = PROVIDER, pause_s: float = 2.0) -> None:
        """Prepare to ask.

        Args:
            key: The provider's; it is in no message.
            show_snippet: Whether results have a part of the page.
            provider: Address of its search.
            pause_s: Before the second try of a search; each further one waits twice as long.
        """
        self._key, self._show_snippet, self._provider, self._pause_s = key, show_snippet, provider, pause_s

    async def search_engine_query(self, keywords: str, max_results: int = 10, region: str = "wt-wt") -> Any:
        """Title and address of each result, and a part of its text; an error where the provider has none."""
        asked = {"engine": "duckduckgo", "q": keywords, "kl": region, "api_key": self._key, "output": "json"}
        found = (await self._asked(asked)).get("organic_results")
        if not isinstance(found, list):
            return {"error": "Failed to retrieve the search results from server. Please try again later."}
        results = []
        for entry in found[:max_results]:
            result = {"title": entry.get("title", ""), "href": entry.get("link", "")}
            results.append({**result, "body": entry.get("snippet", "")} if self._show_snippet else result)
        return results

    async def fetch_url_content(self, url: str, mode: str = "raw") -> dict[str, str]:
        """A page as it is (`raw`), as Markdown (`markdown`) or as its text alone (`truncate`)."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"Invalid URL: {url}")
        try:
            return {"content": _read(await page(url, _HEADERS), mode)}
        except (httpx.HTTPError, httpx.InvalidURL, BadPage, TimeoutError, ValueError) as error:
            return {"error": f"An error occurred while fetching {url}: {error}"}

    async def call(self, call: Call) -> str:
        """The text of a call's result, or of its error.

        Raises:
            SandboxError: The provider does not answer, which is not the model's doing.
        """
        offered: dict[str, Callable[..., Awaitable[Any]]] = {
            "search_engine_query": self.search_engine_query,
            "fetch_url_content": self.fetch_url_content,
        }
        return await result_text(offered, call)

    async def _asked(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        why = ""
        async with httpx.AsyncClient(timeout=60) as client:
            for attempt in range(TRIES):
                if attempt:
                    await asyncio.sleep(self._pause_s * 2 ** (attempt - 1))
                try:
                    reply = await client.get(self._provider, params=asked)
                    answer = reply.json()
                except (httpx.HTTPError, ValueError) as error:
                    why = type(error).__name__  # its text may hold the address, and with it the key
                    continue
                if not isinstance(answer, dict):
                    why = "no JSON object"
                elif reply.status_code in (401, 403):
                    raise SandboxError("the search provider refuses the key")
                elif reply.status_code == 429 or reply.status_code >= 500 or "429" in str(answer.get("error", "")):
                    why = f"HTTP {reply.status_code}"
                else:
                    return answer
        raise SandboxError(f"the search provider does not answer ({why})")


def _read(html: str, mode: str) -> str:
    if mode == "raw":
        return html
    if mode == "markdown":
        import html2text

        return str(html2text.HTML2Text().handle(html))
    if mode == "truncate":
        from bs4 import BeautifulSoup

        soup = BeautifulSoup(html, "html.parser")
        for unread in soup(["script", "style"]):
            unread.extract()
        return str(soup.get_text(separator="\n", strip=True))
    raise ValueError(f"Unsupported mode: {mode}")
