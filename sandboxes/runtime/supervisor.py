"""Process 1 of a confinement: relays one session at a time, holds it to its limits, and cleans up after it.

One loop over `poll`, no thread, no allocation that a child or a slow harness can grow: each direction holds at most
`WINDOW` bytes and then stops reading. Children are forked by the zygote, which knows nothing of what is relayed here.
Losing either the harness or the zygote ends this process, and with it, as process 1, everything in the confinement.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from sandboxes.runtime import frames, orders, zygote
from sandboxes.runtime.job import Job
from sandboxes.runtime.loop import WRITABLE, Loop
from sandboxes.runtime.meter import Meter
from sandboxes.runtime.traces import Traces
from sandboxes.runtime.ways import Ways

HOLD_S = 0.001
STUCK_S = 30.0
"""How long a fork, a death or a cleaning may take; far more than they do on any machine that gets on at all."""
SWEEPS = 400
CLEANINGS = 3
SWEEP_PAUSE_S = 0.005


def main(shipment: dict[str, Any]) -> NoReturn:
    """Fork the zygote, then serve sessions until the harness goes away."""
    if os.getpid() != 1:
        # The zygote kills whatever it can reach: only a process namespace of our own makes that the session.
        sys.exit(f"the supervisor must be process 1 of a process namespace, not {os.getpid()}")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            zygote.main(theirs, shipment)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    theirs.close()
    try:
        Supervisor(ours, pid, shipment["confinement"]).run()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    os._exit(1)


class Supervisor(Loop):
    """What the loop serves and what it holds."""

    def __init__(self, control: socket.socket, zygote_pid: int, confinement: dict[str, Any]) -> None:
        super().__init__()
        self.control = control
        self.zygote_pid = zygote_pid
        self.confinement = confinement
        self.traces = Traces(confinement["areas"], confinement["work"])
        self.job: Job | None = None
        self.served = 0
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.spare = 0
        self.wakeups, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.wakeups, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        self.harness = Ways(self, self.take_in)
        self.watch(control.fileno(), self.on_zygote)
        self.watch(self.wakeups, self.on_child_signal)

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        """Serve for ever."""
        while True:
            job = self.job
            timeout = None
            if job is not None:
                wake_at = min(job.wake_at, job.hold_until) if self.outgoing else job.wake_at
                timeout = max(0.0, wake_at - time.monotonic()) * 1000
            self.turn_once(timeout)
            job = self.job
            if job is not None:
                now = time.monotonic()
                if now >= job.wake_at:
                    self.on_time(job, now)
                if job.dead and self.job is job:
                    self.wind_up(job)
            if self.outgoing and not self.held():
                self.flush()

    def held(self) -> bool:
        """Whether to wait a moment with a session's first words, so that they can travel with its end.

        Most sessions say one thing and end; each write costs a walk through the engine's relays.
        """
        job = self.job
        if job is None or job.dead or len(self.outgoing) > frames.CHUNK:
            return False
        if not job.hold_until:
            job.hold_until = time.monotonic() + HOLD_S
        return time.monotonic() < job.hold_until

    # -- towards the harness --------------------------------------------------------------------------------------

    def emit(self, kind: int, payload: bytes = b"") -> None:
        """Queue a frame of the current session."""
        session = self.job.session if self.job is not None else 0
        self.outgoing += frames.HEADER.pack(kind, session, len(payload))
        self.outgoing += payload

    def flush(self) -> None:
        """Write what the harness takes; pause the child's outputs while it takes too little."""
        try:
            while self.outgoing:
                del self.outgoing[: os.write(self.harness.out, self.outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            os._exit(0)
        if self.outgoing:
            if self.harness.out not in self.handlers:
                self.watch(self.harness.out, self.flush, WRITABLE)
            if len(self.outgoing) >= frames.WINDOW and self.job is not None:
                self.pause(self.job.outbox, self.job.stdout)
                self.job.hold()
        else:
            self.forget(self.harness.out)
            self.resume()
            if self.job is not None:
                self.job.release()

    # -- from the harness -----------------------------------------------------------------------------------------

    def take_in(self, data: bytes) -> None:
        """Take frames in. Credit bounds what a session can pile up here."""
        self.incoming += data
        at = 0
        header = frames.HEADER.size
        while len(self.incoming) - at >= header:
            kind, session, length = frames.HEADER.unpack_from(self.incoming, at)
            if length > frames.WINDOW:
                raise ValueError(f"frame of {length} bytes")
            if len(self.incoming) - at < header + length:
                break
            payload = bytes(self.incoming[at + header : at + header + length])
            at += header + length
            self.on_frame(kind, session, payload)
        del self.incoming[:at]

    def on_frame(self, kind: int, session: int, payload: bytes) -> None:
        """Act on one frame. Those of a session that has ended are late, not wrong."""
        job = self.job
        if kind == frames.OPEN:
            if job is not None:
                raise ValueError(f"session {session} opened while {job.session} runs")
            self.open(session, payload)
        elif job is not None and job.session == session:
            if kind == frames.DATA:
                if not job.dead:
                    job.inbound += payload
                    self.feed()
            elif kind == frames.KILL:
                job.muted = True
                job.kill(frames.KILLED)

    # -- a session ------------------------------------------------------------------------------------------------

    def open(self, session: int, payload: bytes) -> None:
        """Make the pipes and set the spare child to work."""
        job = self.job = Job(session, payload)
        self.served += 1
        count = self.confinement["uid_count"]
        job.uid = self.confinement["uid_base"] + (self.served % count if count else 0)
        job.oom_kills = self.meter.oom_kills()
        given = job.make_pipes()
        order = orders.ORDER.pack(orders.BEGIN, job.uid, job.memory_mb, job.cpu_limit, job.canary)
        socket.send_fds(self.control, [order], given)
        for fd in given:
            os.close(fd)
        if self.spare:
            job.started(self.spare, self.meter)
            self.spare = 0
        self.watch(job.outbox, self.on_outbox)
        self.watch(job.stderr, self.on_stderr)
        if job.stdout >= 0:
            self.watch(job.stdout, self.on_stdout)

    def feed(self) -> None:
        """Write to the child's inbox what it takes, and give the harness credit for it."""
        job = self.job
        if job is None:
            return
        try:
            while job.inbound:
                taken = os.write(job.inbox, memoryview(job.inbound)[: frames.CHUNK])
                del job.inbound[:taken]
                job.owed += taken
        except BlockingIOError:
            pass
        except BrokenPipeError:
            # It closed its inbox: what it will never read counts as taken, or the harness would wait for credit.
            job.owed += len(job.inbound)
            job.inbound.clear()
        if job.inbound:
            if job.inbox not in self.handlers:
                self.watch(job.inbox, self.feed, WRITABLE)
        else:
            self.forget(job.inbox)
        if job.owed >= frames.WINDOW // 2:
            self.emit(frames.CREDIT, frames.CREDITS.pack(job.owed))
            job.owed = 0

    def take(self, fd: int) -> bytes:
        """Read a chunk of a child's output; at its end stop watching. b'' for nothing there."""
        try:
            data = os.read(fd, frames.CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            self.forget(fd)
        return data

    def on_outbox(self) -> bool:
        """Relay the child's messages, unseen but for their lengths. Whether there was anything."""
        job = self.job
        if job is None:
            return False
        data = self.take(job.outbox)
        if data and not job.muted:
            if job.measure(data):
                self.emit(frames.DATA, data)
            else:
                job.muted = True
                job.oversize()
        return bool(data)

    def on_stdout(self) -> bool:
        """Relay stdout up to the cap."""
        job = self.job
        if job is None or job.stdout < 0:
            return False
        data = self.take(job.stdout)
        if data and not job.muted:
            job.captured += len(data)
            if job.captured <= job.capture:
                self.emit(frames.STDOUT, data)
            else:
                job.muted = True
                job.oversize()
        return bool(data)

    def on_stderr(self) -> bool:
        """Keep the last words."""
        job = self.job
        if job is None:
            return False
        data = self.take(job.stderr)
        if data:
            job.tail = (job.tail + data)[-2000:]
        return bool(data)

    # -- limits ---------------------------------------------------------------------------------------------------

    def on_time(self, job: Job, now: float) -> None:
        """A tick: measure the tree, enforce, and let the harness hear from us."""
        if now >= job.beat_at:
            job.beat_at = now + frames.BEAT_S
            if not self.outgoing:
                self.emit(frames.BEAT)
        waits_for_zygote = job.busy or not job.pid or (job.end is not None and not job.dead)
        if waits_for_zygote and now - job.asked_at > STUCK_S:
            sys.stderr.write("the zygote, or a process that cannot be killed, is stuck\n")
            sys.stderr.flush()
            os._exit(1)  # and all else with us: the harness has other workers
        if job.dead:
            job.wake_at = now + SWEEP_PAUSE_S
            return
        job.wake_at = now + job.tick_s(now)
        if job.pid:
            breach = job.breach(self.meter, now)
            if breach is not None:
                job.kill(breach)

    # -- the end --------------------------------------------------------------------------------------------------

    def on_zygote(self) -> None:
        """A report of the zygote's."""
        record = self.control.recv(orders.REPORT.size)
        if not record:
            os._exit(1)  # the zygote is gone, and has said on stderr why
        kind, pid, status, cpu, rss_kb, alive = orders.REPORT.unpack(record)
        if kind == orders.WARM:
            self.meter = Meter(self.zygote_pid, cgroup=self.confinement["cgroup"])
            hello = {"python": sys.version.split()[0], "areas": self.traces.areas, "oom": self.meter.has_oom_counter}
            hello["door"] = self.harness.offer()
            self.emit(frames.READY, json.dumps(hello).encode())
            self.prepare()
            return
        job = self.job
        if kind == orders.FORKED:
            if job is None:
                self.spare = pid
            else:  # the session was quicker than the fork
                job.started(pid, self.meter)
        elif job is None:
            raise RuntimeError(f"report {kind} without a session")
        elif kind == orders.EXITED:
            job.exited(status, cpu, rss_kb, time.monotonic())
            job.alive = bool(alive)
            self.forget(job.inbox)
        elif kind == orders.SWEPT:
            job.alive = bool(alive)
            job.busy = False
        elif kind == orders.CLEANED:
            job.busy = False

    def on_child_signal(self) -> None:
        """Reap orphans that came to us as process 1, and count what they used."""
        try:
            os.read(self.wakeups, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, _, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.zygote_pid:
                raise RuntimeError("the zygote died")
            if self.job is not None:
                self.job.orphan_cpu += usage.ru_utime + usage.ru_stime
                self.job.peak_kb = max(self.job.peak_kb, usage.ru_maxrss)

    def wind_up(self, job: Job) -> None:
        """After the main process's death: kill the rest, drain the pipes, clean, report. Called until it is done."""
        if job.busy or time.monotonic() < job.pause_until:
            return
        if job.alive:
            job.sweeps += 1
            if job.sweeps > SWEEPS:
                self.end(job, "processes cannot be killed")
                return
            if job.sweeps > 2:
                job.pause_until = job.wake_at = time.monotonic() + SWEEP_PAUSE_S
                if job.sweeps % 2:
                    return
            self.on_child_signal()
            self.ask(job, orders.SWEEP)
            return
        # All writers are dead: what the pipes hold now is all there will be.
        for drain in (self.on_outbox, self.on_stdout, self.on_stderr):
            while len(self.outgoing) < frames.WINDOW or job.muted:
                if not drain():
                    break
            else:
                return
        left = self.traces.sweep()
        if left and job.cleanings < CLEANINGS:
            job.cleanings += 1
            self.ask(job, orders.CLEAN)
            return
        self.end(job, left)

    def ask(self, job: Job, kind: int) -> None:
        """Have the zygote sweep or clean; `wind_up` goes on when it has reported."""
        job.busy = True
        job.asked_at = time.monotonic()
        self.control.send(orders.ORDER.pack(kind, job.uid, 0, 0.0, 0))

    def end(self, job: Job, left: str) -> None:
        """Report, and be free for the next."""
        for fd in job.ours():
            self.forget(fd)
            os.close(fd)
        self.paused.clear()
        self.emit(frames.END, job.ending(self.meter, left))
        self.job = None
        self.flush()  # before the fork: the harness goes on while we do
        if not left:  # beside what could not be removed there is no next session
            self.prepare()

    def prepare(self) -> None:
        """Have the zygote fork the next session's child ahead: it waits for that session's order."""
        self.control.send(orders.ORDER.pack(orders.FORK, 0, 0, 0.0, 0))
