"""The samples viewer: a small server on this machine that shows every answer of some runs, page by page.

Pages are made here, whole, by the same template engine as the report; there is no script in them but the theme's. The
server is for the person who started it: it listens on loopback alone, answers only requests that name loopback as
their host (a page elsewhere cannot reach it by a name of its own), and only reads.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mellum_eval.errors import UserError
from mellum_eval.terminal import one_line
from reports.html import facts
from reports.index import Question, SampleIndex
from reports.page import template

_PAGE = 50
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def viewer(index: SampleIndex, report: Path | None) -> Starlette:
    """The application: `/` lists and finds, `/sample/N` shows one answer, `/report` the leaderboard."""
    listing, single = template("samples.html"), template("sample.html", facts=facts)

    def found(request: Request) -> Response:
        asked = request.query_params
        question = Question(*(asked.get(name, "") for name in ("run", "suite", "outcome", "text")))
        numbers = index.find(question)
        pages = max(1, -(-len(numbers) // _PAGE))
        given = asked.get("page", "1")
        page = min(pages, max(1, int(given))) if given.isascii() and given.isdigit() and len(given) < 9 else 1

        def link(other: int) -> str:
            fields = {name: value for name, value in asdict(question).items() if value}
            return "/?" + urlencode(fields | {"page": other}, errors="surrogatepass")

        shown = numbers[(page - 1) * _PAGE : page * _PAGE]
        text = listing(
            index=index,
            question=question,
            total=len(numbers),
            rows=[(number, index.entries[number]) for number in shown],
            page=page,
            pages=pages,
            previous=link(page - 1) if page > 1 else None,
            following=link(page + 1) if page < pages else None,
            report=report is not None,
        )
        return HTMLResponse(text, headers=_HEADERS)

    def sample(request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(index.entries):
            return _trouble("There is no such answer.", 404)
        entry = index.entries[number]
        label = index.labels[entry.run]
        return HTMLResponse(
            single(entry=entry, label=label, answer=index.sample(number), number=number), headers=_HEADERS
        )

    def leaderboard(request: Request) -> Response:
        if report is None:
            return _trouble("There is no report.", 404)
        return HTMLResponse(report.read_text("utf-8"), headers=_HEADERS)

    def altered(request: Request, error: Exception) -> Response:
        return _trouble(one_line(str(error)), 500)

    return Starlette(
        routes=[Route("/", found), Route("/sample/{number:int}", sample), Route("/report", leaderboard)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)],
        exception_handlers={UserError: altered},
    )


def _trouble(text: str, status: int) -> Response:
    return HTMLResponse(template("trouble.html")(text=text), status_code=status, headers=_HEADERS)


def serve(index: SampleIndex, report: Path | None, port: int) -> None:
    """Serve until interrupted; the address is printed once it answers.

    Raises:
        UserError: The port is taken.
    """
    import socket

    import uvicorn

    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise UserError(f"port {port}: {error.strerror}; choose another --port") from None
    with listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)  # noqa: T201
        config = uvicorn.Config(viewer(index, report), log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])
