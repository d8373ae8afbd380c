"""BFCL's web search: against a provider and a web server of the test's own, and what must never be fetched."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from sandboxes.check import ContainsCheck
from sandboxes.errors import SandboxError
from sandboxes.verifiers.tool_text import Call
from suites import registry
from suites.conversation import GoOn, ModelTurn, Over
from suites.sources import SourceMissing
from suites.tools import web_search
from suites.tools.bfcl_web_search import FETCH_VARIABLE, KEY_VARIABLE, URL_VARIABLE
from suites.tools.public_web import LARGEST, BadPage, NotPublic, is_public, page
from suites.tools.web_search import WebSearchAPI

pytestmark = pytest.mark.usefixtures("data_dir", "bfcl_wheel")
RESULTS = [{"title": f"T{n}", "link": f"https://a.test/{n}", "snippet": f"S{n}"} for n in range(12)]
HTML = "<html><style>p{}</style><script>x()</script><h1>Da Hong Pao</h1><p>from <b>China</b></p></html>"


class Web(ThreadingHTTPServer):
    """A search provider at /search, pages elsewhere."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, str]] = []
        self.hosts: list[str] = []
        self.replies: list[tuple[int, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.hosts.append(self.headers["Host"])
        if parts.path == "/search":
            self.server.asked.append({name: values[0] for name, values in parse_qs(parts.query).items()})
            status, answer = self.server.replies.pop(0) if self.server.replies else (200, {"organic_results": RESULTS})
            self._send(status, json.dumps(answer).encode())
        elif parts.path == "/away":
            self.send_response(302)
            self.send_header("Location", parse_qs(parts.query)["to"][0])
            self.end_headers()
        else:
            self._send(
                200 if parts.path != "/gone" else 404, b"x" * (LARGEST + 1) if "large" in parts.path else HTML.encode()
            )

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with Web() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv(KEY_VARIABLE, "secret")
        monkeypatch.setenv(FETCH_VARIABLE, "1")
        monkeypatch.setenv(URL_VARIABLE, f"{server.url}/search")
        yield server
        server.shutdown()


@pytest.fixture
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this machine were on the public internet."""

    async def anywhere(url: str, headers: dict[str, str]) -> str:
        return await page(url, headers, allowed=lambda address: True)

    monkeypatch.setattr(web_search, "page", anywhere)


def test_there_are_100_of_each_and_a_question_is_one_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    suite = registry.get("bfcl_web_search")
    found = suite.problems()
    assert len({problem.id for problem in found}) == len(found) == 200
    assert len({problem.cluster for problem in found}) == 100
    assert {problem.metadata["category"] for problem in found} == {"web_search_base", "web_search_no_snippet"}
    assert all(isinstance(problem.check, ContainsCheck) for problem in found)
    prompt = suite.render(found[0], chat=True)
    assert [tool["function"]["name"] for tool in prompt.tools] == ["search_engine_query", "fetch_url_content"]
    assert "'answer'" in prompt.messages[0].content


def test_without_key_leave_or_readers_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = registry.get("bfcl_web_search")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv(FETCH_VARIABLE, raising=False)
    with pytest.raises(SourceMissing, match=f"no key; set {KEY_VARIABLE}, and {FETCH_VARIABLE}=1"):
        suite.require()
    monkeypatch.setenv(KEY_VARIABLE, "k")
    with pytest.raises(SourceMissing, match=f"not allowed; set {FETCH_VARIABLE}=1"):
        suite.require()
    monkeypatch.setenv(FETCH_VARIABLE, "1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceMissing, match=r"pip install \"mellum-eval\[web\]\""):
        suite.require()


@pytest.mark.parametrize(("variant", "first"), [("base", {**RESULTS[0]}), ("no_snippet", {"title": "T0"})])
async def test_a_question_is_searched_for(web: Web, variant: str, first: dict[str, str]) -> None:
    suite = registry.get(f"bfcl_web_search:{variant}")
    talk = suite.converse(suite.problems()[0], None)
    assert talk is not None
    call = {"name": "search_engine_query", "arguments": {"keywords": "tea", "max_results": 2}}
    step = await talk.step(ModelTurn("", [call, {"name": "os.system", "arguments": {}}, {**call, "arguments": {}}]))
    assert isinstance(step, GoOn)
    found, unknown, unasked = (message.content for message in step.messages)
    shown = ast.literal_eval(found)  # as the reference shows a list
    assert [entry["title"] for entry in shown] == ["T0", "T1"]
    assert shown[0].get("body") == first.get("snippet")
    assert unknown == "Error during execution: name 'os' is not defined"
    assert "search_engine_query() missing 1 required positional argument: 'keywords'" in unasked
    asked = {"engine": "duckduckgo", "q": "tea", "kl": "wt-wt", "api_key": "secret", "output": "json"}
    assert web.asked == [asked]
    over = await talk.step(ModelTurn("{'answer': 'Zhang Yiming', 'context': ''}"))
    assert isinstance(over, Over)
    assert "Zhang Yiming" in str(over.answer)


async def test_what_the_provider_does_is_not_the_models_doing(web: Web) -> None:
    api = WebSearchAPI("secret", show_snippet=True, provider=f"{web.url}/search", pause_s=0)
    search = Call("search_engine_query", {"keywords": "x"})
    web.replies = [(429, {}), (200, {"error": "429 Too Many Requests"}), (503, {})]
    assert "T11" not in await api.call(search)
    assert len(web.asked) == 4
    web.replies = [(200, {"error": "DuckDuckGo hasn't returned any results for this query."})]
    assert json.loads(await api.call(search))["error"].startswith("Failed to retrieve")
    web.replies = [(401, {"error": "Invalid API key."})]
    with pytest.raises(SandboxError, match="refuses the key"):
        await api.call(search)
    web.replies = [(429, {})] * web_search.TRIES
    with pytest.raises(SandboxError, match=r"does not answer \(HTTP 429\)"):
        await api.call(search)
    web.server_close()
    with pytest.raises(SandboxError) as broken:
        await api.call(search)
    assert "secret" not in str(broken.value)


@pytest.mark.usefixtures("no_limits")
async def test_pages_are_read(web: Web) -> None:
    api = WebSearchAPI("secret", show_snippet=True)
    raw = json.loads(
        await api.call(Call("fetch_url_content", {"url": f"http://localhost:{web.server_port}/away?to=/page"}))
    )
    assert raw == {"content": HTML}
    assert set(web.hosts) == {f"localhost:{web.server_port}"}
    assert "404" in (await api.fetch_url_content(f"{web.url}/gone"))["error"]
    assert "larger than" in (await api.fetch_url_content(f"{web.url}/large"))["error"]
    assert "Unsupported mode: pdf" in (await api.fetch_url_content(web.url, "pdf"))["error"]
    wrong = await api.call(Call("fetch_url_content", {"url": "file:///etc/passwd"}))
    assert wrong == "Error during execution: Invalid URL: file:///etc/passwd"
    with pytest.raises(BadPage):
        await page(f"{web.url}/large", {}, allowed=lambda address: True)


@pytest.mark.usefixtures("no_limits")
async def test_pages_are_read_as_markdown_and_as_text(web: Web) -> None:
    pytest.importorskip("html2text", reason='needs pip install "mellum-eval[web]"')
    pytest.importorskip("bs4", reason='needs pip install "mellum-eval[web]"')
    api = WebSearchAPI("secret", show_snippet=True)
    assert (await api.fetch_url_content(web.url, "markdown"))["content"].startswith("# Da Hong Pao\n\nfrom **China**")
    assert (await api.fetch_url_content(web.url, "truncate"))["content"] == "Da Hong Pao\nfrom\nChina"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff0e::1", "::ffff:127.0.0.1"),
        *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"),
    ],
)
def test_addresses_that_are_nobodys_business(address: str) -> None:
    assert not is_public(address)


def test_addresses_of_the_internet() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "0"])
async def test_nothing_of_this_machine_is_fetched(web: Web, host: str) -> None:
    result = await WebSearchAPI("secret", show_snippet=True).fetch_url_content(f"http://{host}:{web.server_port}/page")
    assert "Da Hong Pao" not in str(result)
    assert "error" in result
    assert web.hosts == []


async def test_no_redirect_leads_inside(web: Web) -> None:
    """The first address is let through, as a public one would be; what it sends us to is not."""
    seen: list[str] = []

    def only_the_first(address: str) -> bool:
        seen.append(address)
        return len(seen) == 1

    with pytest.raises(NotPublic):
        await page(f"{web.url}/away?to=http://localhost:{web.server_port}/page", {}, allowed=only_the_first)
    assert len(web.hosts) == 1
    with pytest.raises(httpx.UnsupportedProtocol):
        await page(f"{web.url}/away?to=file:///etc/passwd", {}, allowed=lambda address: True)
