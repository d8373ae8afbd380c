"""Kind `calls`: results of calls equal expected values.

The arena gets the code and the arguments; what it sends back is met here byte by byte with what a right candidate
sends, which reads nothing hostile. Where bytes differ, small results are decoded and compared here by the rule (bounded
work, builtin values only) and large ones in the judge.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from sandboxes import prepared
from sandboxes.check import Answer, CallsCheck
from sandboxes.endings import breach, not_loaded, one_line, raised, unanswered
from sandboxes.prepared import Prepared
from sandboxes.runtime import wire
from sandboxes.runtime.codec import CodecError, encode
from sandboxes.runtime.settle import settle
from sandboxes.sandbox import Ending, Role, Sandbox, Session
from sandboxes.verdict import Outcome, Verdict, infra_error
from sandboxes.verifiers.attempts import JUDGE_LIMITS, Overrun, verdict_message, verdict_of

SMALL_NODES = 5000
JUDGE_BATCH = 32 << 20


@dataclass(slots=True)
class _Failure:
    outcome: Outcome
    message: str
    got: str = ""
    expected: str = ""


@dataclass(slots=True)
class _Progress:
    """How far the judging has come."""

    check: CallsCheck
    ready: Prepared
    answered: int = 0
    held: list[bool | None] = field(default_factory=list)
    """For each answered call: True, False, or None while it is open."""
    failures: dict[int, _Failure] = field(default_factory=dict)
    open: dict[int, bytes | None] = field(default_factory=dict)
    """Calls for the judge: the result's encoding, None where it must be asked for in full."""
    whole: tuple[Outcome, str] | None = None
    """What befell the job as a whole."""
    digests: bool = False
    """Whether a result came as its digest, so that the candidate's process waits to be asked for it in full."""

    def fail(self, index: int, outcome: Outcome, message: str, got: str = "", expected: str = "") -> None:
        self.held[index] = False
        self.open.pop(index, None)
        self.failures[index] = _Failure(outcome, message, got, expected)

    @property
    def decided(self) -> bool:
        """Whether no further call is wanted. Open ones, all before the first failure, still are."""
        return self.check.stop_at_first_failure and bool(self.failures)


class CallsVerifier:
    """Judges code by the results of its calls."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def verify(self, check: CallsCheck, answer: Answer) -> Verdict:
        """Judge one answer; see `sandboxes.verifiers.base.Verifier`."""
        try:
            ready = prepared.ready(check)
        except ValueError as error:
            return infra_error(f"the check is malformed: {error}", engine=self._sandbox.engine, isolation="split")
        return await verdict_of(self._sandbox, "split", lambda: self._attempt(check, ready, str(answer)))

    async def _attempt(self, check: CallsCheck, ready: Prepared, code: str) -> Verdict:
        progress = _Progress(check, ready)
        async with self._sandbox.session(Role.ARENA, check.limits) as session:
            await session.send(encode(("calls", code, check.entry_point, ready.calls)))
            await self._collect(progress, session)
            if progress.whole is None:
                await self._fetch(progress, session)
            if progress.digests or ready.digests:
                await session.send(wire.DONE)
            ending = await session.finish(kill=True)
        if progress.whole is None:
            progress.whole = breach(ending)
        if progress.whole is None and progress.answered < len(ready.calls) and not progress.decided:
            progress.whole = unanswered(ending)
        if progress.open:
            await self._judge(progress)
        return self._verdict(progress, ending)

    async def _collect(self, progress: _Progress, session: Session) -> None:
        total = len(progress.ready.calls)
        while progress.answered < total and not progress.decided:
            message = await session.receive()
            if message is None:
                return
            if message[:1] == b"R":
                try:
                    self._take(progress, message)
                except ValueError as error:
                    progress.whole = (Outcome.TAMPERED, f"malformed reply: {error}")
            elif message[:1] == b"X" and progress.answered == 0:
                progress.whole = not_loaded(message[1:])
            else:
                progress.whole = (Outcome.TAMPERED, "a reply of no known kind")
            if progress.whole is not None:
                await session.finish(kill=True)
                return

    def _take(self, progress: _Progress, message: bytes) -> None:
        """Go through the records of one message, from the first call that is not answered yet."""
        ready, first = progress.ready, progress.answered
        start = ready.offsets[first]
        end = start + len(message) - 1
        body = message[1:]
        if ready.stream.startswith(body, start):
            after = bisect_left(ready.offsets, end)
            if after < len(ready.offsets) and ready.offsets[after] == end:
                progress.held.extend([True] * (after - first))
                progress.answered = after
                return
        records = wire.records(body)
        if first + len(records) > len(ready.calls):
            raise ValueError("more answers than calls")
        for status, payload in records:
            self._meet(progress, status, payload)
            if progress.decided:
                return

    def _meet(self, progress: _Progress, status: bytes, body: bytes) -> None:
        """One record that is perhaps not what a right candidate sends."""
        ready, index = progress.ready, progress.answered
        progress.answered += 1
        progress.held.append(None)
        offsets = ready.offsets
        right = ready.stream[offsets[index] : offsets[index + 1]]
        if right[: wire.HEAD.size] == wire.HEAD.pack(status, len(body)) and right[wire.HEAD.size :] == body:
            progress.held[index] = True
        elif status == wire.VALUE:
            if index in ready.only_digest:
                progress.fail(index, Outcome.FAILED, "a wrong result", "", "<known by its digest>")
            elif len(body) > wire.INLINE:
                raise ValueError("a long value that was not asked for")
            else:
                self._settle(progress, index, body)
        elif status == wire.OPAQUE:
            self._settle(progress, index, b"H\0\0\0\0", f"<{one_line(body.decode('utf-8', 'replace'), 80)} object>")
        elif status == wire.DIGEST_OF:
            progress.digests = True
            if len(body) != wire.DIGEST.size:
                raise ValueError("a digest of the wrong size")
            length = wire.DIGEST.unpack(body)[0]
            # Values that are equal by the contract's rule differ in size by what a bool, an int and a float take.
            hopeless = progress.check.compare == "equal" and length > 16 * len(ready.expected[index]) + 4096
            if index in ready.only_digest or hopeless or length > wire.LONGEST:
                progress.fail(index, Outcome.FAILED, "a wrong result", f"<a value of {length} bytes>")
            else:
                progress.open[index] = None
        elif status == wire.RAISED:
            progress.fail(index, *raised(body))
        elif status == wire.UNSENDABLE:
            progress.fail(index, Outcome.FAILED, one_line(body.decode("utf-8", "replace")))
        else:
            raise ValueError("a record of unknown status")

    def _settle(self, progress: _Progress, index: int, body: bytes, shown: str = "") -> None:
        """Compare a small result here, or leave it to the judge where that could run other code than ours."""
        check, ready = progress.check, progress.ready
        try:
            right, got, wanted = settle(
                check.compare,
                check.atol,
                ready.calls[index] if check.compare == "root" else b"",
                ready.expected[index],
                ready.also[index],
                body,
                SMALL_NODES,
                plain=True,
            )
        except (CodecError, RecursionError):
            progress.open[index] = body
            return
        if right:
            progress.held[index] = True
        else:
            progress.fail(index, Outcome.FAILED, "a wrong result", shown or got, wanted)

    async def _fetch(self, progress: _Progress, session: Session) -> None:
        """Ask for those long results in full that are not the expected bytes."""
        for index in [i for i, body in progress.open.items() if body is None]:
            await session.send(b"F" + wire.LENGTH.pack(index))
            message = await session.receive()
            if message is None:
                ending = await session.finish()
                progress.fail(index, *unanswered(ending))
                return
            try:
                ((status, body),) = wire.records(message[1:]) if message[:1] == b"f" else [(b"", b"")]
            except ValueError:
                status, body = b"", b""
            if status == wire.VALUE:
                progress.open[index] = body
            elif status == wire.RAISED:
                progress.fail(index, *raised(body))
            elif status == wire.UNSENDABLE:
                progress.fail(index, Outcome.FAILED, one_line(body.decode("utf-8", "replace")))
            else:
                progress.whole = (Outcome.TAMPERED, "malformed reply")
                return

    async def _judge(self, progress: _Progress) -> None:
        """Compare what is open in the judge, in as many sessions as its size asks for."""
        waiting = [(index, body) for index, body in progress.open.items() if body is not None]
        while waiting:
            batch: list[tuple[int, bytes]] = []
            size = 0
            while waiting and (not batch or size + len(waiting[0][1]) <= JUDGE_BATCH):
                batch.append(waiting.pop(0))
                size += len(batch[-1][1])
            for (index, _), (kind, got, wanted) in zip(batch, await self._compared(progress, batch), strict=True):
                if kind == "passed":
                    progress.held[index] = True
                    progress.open.pop(index)
                elif kind == "failed":
                    progress.fail(index, Outcome.FAILED, "a wrong result", got, wanted)
                else:
                    progress.fail(index, Outcome.TAMPERED, f"malformed reply: {got}")

    async def _compared(self, progress: _Progress, batch: list[tuple[int, bytes]]) -> list[tuple[str, str, str]]:
        check, ready = progress.check, progress.ready
        root = check.compare == "root"
        items = [(ready.calls[i] if root else b"", ready.expected[i], ready.also[i], body) for i, body in batch]
        async with self._sandbox.session(Role.JUDGE, JUDGE_LIMITS) as session:
            await session.send(encode(("compare", check.compare, check.atol, items)))
            try:
                value = await verdict_message(self._sandbox, session, await session.receive())
                found = [(str(kind), one_line(str(got)), one_line(str(wanted))) for kind, got, wanted in value]
                if len(found) == len(batch):
                    return found
                raise Overrun("the judge sent no verdict")
            except (Overrun, TypeError, ValueError) as error:
                return [("tampered", str(error), "")] * len(batch)

    def _verdict(self, progress: _Progress, ending: Ending) -> Verdict:
        check, total = progress.check, len(progress.ready.calls)
        held = [it is True for it in progress.held]
        passed = sum(held)
        first = min(progress.failures, default=None)
        outcome, message, evidence = Outcome.PASSED, "", dict[str, object]()
        if first is not None:
            failure = progress.failures[first]
            outcome, message = failure.outcome, f"call {first}: {failure.message}"
            if failure.got:
                message += f": {failure.got}"
            arguments = one_line(_shown(progress.ready.calls[first]))
            evidence = {"call": first, "arguments": arguments, "got": failure.got, "expected": failure.expected}
        if progress.whole is not None and (first is None or progress.whole[0] is Outcome.TAMPERED):
            outcome, message = progress.whole
            if progress.answered and progress.answered < total:
                message = f"call {progress.answered}: {message}"
        if outcome is not Outcome.PASSED and ending.stderr_tail.strip():
            evidence["stderr"] = ending.stderr_tail[-2000:]
        score = 1.0
        judged = max(1, progress.answered) if check.stop_at_first_failure and first is not None else total
        if outcome is Outcome.TAMPERED:
            score = 0.0
        elif outcome is not Outcome.PASSED:  # a limit may have been broken after the last right answer
            score = min(passed, judged - 1) / judged
        return Verdict(
            outcome,
            score,
            passed,
            total,
            message,
            cpu_s=ending.cpu_s,
            wall_s=ending.wall_s,
            engine=self._sandbox.engine,
            isolation="split",
            parts={name: sum(held[:size]) / size for name, size in check.groups.items()},
            evidence=evidence,
        )


def _shown(arguments: bytes) -> str:
    from sandboxes.runtime.codec import loads
    from sandboxes.runtime.show import brief

    return brief(loads(arguments))
