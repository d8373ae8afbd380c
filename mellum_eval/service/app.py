"""The routes, over judges that somebody else opened and will close."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mellum_eval import __version__
from mellum_eval.service import fusion
from mellum_eval.service.gate import Disconnected, Queue, admit, body_of, unless_disconnected
from mellum_eval.service.openapi import describe
from mellum_eval.service.settings import Refused, Settings
from mellum_eval.terminal import printable
from sandboxes.check import Answer, Check
from sandboxes.errors import SandboxError
from sandboxes.job import Job, JobError, parse_job
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Verdict, infra_error
from sandboxes.verify import Verifiers

HEALTH_S = 10.0
"""How long a look at the sandbox's health is good for: it costs a session."""
LOOK_S = 60.0
Handler = Callable[[Request], Awaitable[Response]]


class Judges(Protocol):
    """What stands behind the routes: one sandbox here, or the nodes of a cluster."""

    @property
    def engine(self) -> str:
        """`docker` or `local`."""
        ...

    async def verify_twice(self, check: Check, answer: Answer) -> Verdict:
        """The verdict on an answer, for `/verify`."""
        ...

    async def run_code(self, request: fusion.RunCodeRequest) -> fusion.RunCodeResponse:
        """How a program went, for `/run_code`."""
        ...

    async def healthy(self) -> bool:
        """Whether a known-good job works now, for `/health`."""
        ...


class Here(Verifiers):
    """One sandbox, which somebody else opened and will close."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox=sandbox)
        self._here = sandbox
        self._runner = fusion.Runner(sandbox)

    @property
    def engine(self) -> str:
        """The sandbox's."""
        return self._here.engine

    async def run_code(self, request: fusion.RunCodeRequest) -> fusion.RunCodeResponse:
        """Run a program in it."""
        return await self._runner.run(request)

    async def healthy(self) -> bool:
        """Whether it works."""
        return await self._here.healthy()


class Service:
    """What the routes share.

    Attributes:
        queue: Set its `draining` to take no more jobs.
    """

    def __init__(self, judges: Judges, settings: Settings) -> None:
        self.settings = settings
        self.queue = Queue(settings)
        self._judges = judges
        self._description = describe(settings)
        self._healthy = True  # it has just started
        self._looked = time.monotonic()
        self._looking: asyncio.Task[None] | None = None

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/verify", self._guarded(self._verify), methods=["POST"]),
            Route("/run_code", self._guarded(self._run_code), methods=["POST"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/openapi.json", self._openapi, methods=["GET"]),
        ]
        return Starlette(
            routes=routes,
            exception_handlers={404: _not_found, 405: _not_allowed, 500: _bug},
        )

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                admit(request, self.settings)
                return await handler(request)
            except Refused as refused:
                return _error(refused)
            except SandboxError as error:
                return _error(Refused(503, f"no sandbox: {error}", retry_s=5))
            except asyncio.CancelledError:
                if not self.queue.draining:
                    raise
                return _error(Refused(503, "the service is shutting down", retry_s=5))
            except Disconnected:
                return Response(status_code=499)  # nobody reads it

        return guarded

    async def _verify(self, request: Request) -> Response:
        data = await body_of(request, self.settings)
        many = isinstance(data, list)
        with self.queue.places(len(data) if many else 1):
            jobs = [await self._job(item) for item in (data if many else [data])]
            verdicts = await unless_disconnected(request, self._judge(jobs))
        lines = [verdict.as_line(job.id) for job, verdict in zip(jobs, verdicts, strict=True)]
        if many:
            for number, (job, line) in enumerate(zip(jobs, lines, strict=True)):
                if isinstance(job, JobError):
                    line["message"] = f"[{number}].{line['message']}"
            return _json(lines)
        # A lone job is refused by the status too, for clients that look at nothing else; of a list the rest goes on.
        return _json(lines[0], 422 if isinstance(jobs[0], JobError) else 200)

    async def _job(self, data: Any) -> Job | JobError:
        """The job, or what is wrong with it."""
        await asyncio.sleep(0)  # parsing a long list must not hold up the others
        try:
            job = parse_job(data)
        except JobError as error:
            return error
        limits, most = job.check.limits, self.settings
        for name, asked, given in (
            ("cpu_s", limits.cpu_s, most.max_cpu_s),
            ("wall_s", limits.wall_s, most.max_wall_s),
            ("memory_mb", limits.memory_mb, most.max_memory_mb),
        ):
            if asked > given:
                return JobError(f"limits.{name}: at most {given:g} is given here", job.id)
        return job

    async def _judge(self, jobs: list[Job | JobError]) -> list[Verdict]:
        work = [asyncio.ensure_future(self._verdict(job)) for job in jobs]
        try:
            return list(await asyncio.gather(*work))
        finally:
            for task in work:
                task.cancel()

    async def _verdict(self, job: Job | JobError) -> Verdict:
        if isinstance(job, JobError):
            return infra_error(printable(str(job)))
        return await self._judges.verify_twice(job.check, job.answer)

    async def _run_code(self, request: Request) -> Response:
        wanted = fusion.parse(await body_of(request, self.settings), self.settings)
        # 504 and no other status makes verl's client try again; anything else it takes for a wrong answer.
        with self.queue.places(1, full=504):
            reply = await unless_disconnected(request, self._judges.run_code(wanted))
        return _json(reply.model_dump(mode="json"))

    async def _health(self, request: Request) -> Response:
        # Answered from the last look: a prober must not wait in line behind the jobs.
        if self._looking is None and time.monotonic() - self._looked > HEALTH_S:
            self._looking = asyncio.ensure_future(self._look())
        status = "draining" if self.queue.draining else "ok" if self._healthy else "unhealthy"
        facts = {
            "status": status,
            "version": __version__,
            "engine": self._judges.engine,
            "jobs": self.queue.held,
            "queue": self.queue.size,
        }
        return _json(facts, 200 if status == "ok" else 503)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                self._healthy = await self._judges.healthy()
        except TimeoutError:
            self._healthy = self.queue.held > 0  # all workers are taken, which is no illness
        finally:
            self._looked, self._looking = time.monotonic(), None

    async def _openapi(self, request: Request) -> Response:
        return _json(self._description)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    # ASCII: lone surrogates and control characters of hostile strings stay escapes.
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return Response(text, status, headers, media_type="application/json")


def _error(refused: Refused) -> Response:
    error = {"message": printable(refused.message)}
    if refused.field is not None:
        error["field"] = printable(refused.field)
    headers = {} if refused.retry_s is None else {"Retry-After": str(refused.retry_s)}
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _json({"error": error}, refused.status, headers)


async def _not_found(request: Request, error: Exception) -> Response:
    return _error(Refused(404, "there is /verify, /run_code, /health and /openapi.json"))


async def _not_allowed(request: Request, error: Exception) -> Response:
    response = _error(Refused(405, f"{request.method} is not for {request.url.path}"))
    response.headers.update(getattr(error, "headers", None) or {})
    return response


async def _bug(request: Request, error: Exception) -> Response:
    return _error(Refused(500, f"internal error, {type(error).__name__}"))
