"""The supervisor's record of the session that runs: its limits, its pipes, how it goes and how it ended."""

from __future__ import annotations

import os
import signal
import time

from sandboxes.runtime import frames
from sandboxes.runtime.meter import Meter

FIRST_TICK_S = 0.06
TICK_S = 0.1
WALL_PATIENCE = 20
"""However long it was kept waiting, a session ends after this many times its wall limit."""
GROUP_SLACK_S = 0.25
"""The group's clock also counts rounding and what is ours; only a clear excess over the processes' times is used."""


class Job:
    """One session."""

    def __init__(self, session: int, payload: bytes) -> None:
        self.session = session
        limits = frames.LIMITS.unpack(payload)
        self.cpu_limit, self.wall_limit, self.memory_mb, self.max_message, self.capture, self.canary = limits
        self.uid = 0
        self.inbox = self.outbox = self.stdout = self.stderr = -1
        self.pid = 0
        self.dead = False
        self.end: int | None = None
        self.inbound = bytearray()
        self.owed = 0
        self.muted = False
        self._message_left = 0
        self._length = b""
        self.captured = 0
        self.tail = b""
        self.status = 0
        self.main_cpu = 0.0
        self.orphan_cpu = 0.0
        self.seen_cpu = 0.0
        self.peak_kb = 0
        self.oom_kills = 0
        self.group_cpu: float | None = None
        self.delay = 0.0
        self.delays: dict[str, float] = {}
        self._unheard = 0.0
        self._unheard_since: float | None = None
        now = time.monotonic()
        self.opened = now
        self.closed = now
        self.asked_at = now
        self.wake_at = now + FIRST_TICK_S
        self.beat_at = now + frames.BEAT_S
        self.hold_until = 0.0
        self.alive = False
        self.busy = False
        self.sweeps = 0
        self.cleanings = 0
        self.pause_until = 0.0

    def make_pipes(self) -> list[int]:
        """Open the pipes; returns the child's ends, in the order in which the zygote expects them."""
        theirs_in, self.inbox = os.pipe()
        self.outbox, theirs_out = os.pipe()
        self.stderr, theirs_err = os.pipe()
        given = [theirs_in, theirs_out, theirs_err]
        if self.capture:
            self.stdout, theirs_stdout = os.pipe()
            given.append(theirs_stdout)
        for fd in self.ours():
            os.set_blocking(fd, False)
        return given

    def ours(self) -> list[int]:
        """Our ends of the pipes."""
        return [fd for fd in (self.inbox, self.outbox, self.stderr, self.stdout) if fd >= 0]

    def started(self, pid: int, meter: Meter) -> None:
        """The zygote has forked it."""
        self.pid = pid
        self.opened = time.monotonic()
        self.group_cpu = meter.group_cpu()
        if self.end is not None:
            os.kill(pid, signal.SIGKILL)

    def kill(self, end: int) -> None:
        """Kill the main process; the zygote kills the rest when it has reaped it. The first reason counts."""
        if self.dead or self.end is not None:
            return
        self.end = end
        self.asked_at = time.monotonic()
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself just now, and the report is on its way

    def oversize(self) -> None:
        """It wrote more than the caps allow; as its last act too, which is read only after its death."""
        if self.dead and self.end is None:
            self.end = frames.OVERSIZE
        self.kill(frames.OVERSIZE)

    def hold(self) -> None:
        """Nobody takes its words for now: it may be standing at a full pipe, which is not its time."""
        if self._unheard_since is None and not self.dead:
            self._unheard_since = time.monotonic()

    def release(self) -> None:
        """Its words are taken again."""
        if self._unheard_since is not None:
            self._unheard += time.monotonic() - self._unheard_since
            self._unheard_since = None

    def own_s(self, now: float) -> float:
        """Wall seconds that passed until then, less those in which it was kept waiting for a CPU or a reader."""
        unheard = self._unheard + (now - self._unheard_since if self._unheard_since is not None else 0.0)
        return max(0.0, now - self.opened - self.delay - unheard)

    def measure(self, data: bytes) -> bool:
        """Follow the lengths of the messages in a piece of the outbox's stream. False: one is over the cap."""
        at = 0
        while at < len(data):
            if self._message_left:
                step = min(self._message_left, len(data) - at)
                self._message_left -= step
                at += step
                continue
            need = frames.MESSAGE.size - len(self._length)
            self._length += data[at : at + need]
            at += need
            if len(self._length) == frames.MESSAGE.size:
                (self._message_left,) = frames.MESSAGE.unpack(self._length)
                self._length = b""
                if self._message_left > self.max_message:
                    return False
        return True

    def tick_s(self, now: float) -> float:
        """Seconds to the next tick: finer while the job is young, since most limits are short."""
        return TICK_S if now - self.opened > 1 else TICK_S / 2

    def breach(self, meter: Meter, now: float) -> int | None:
        """Measure the live tree; the end to put to it, if it is over a limit."""
        cpu, private, largest = meter.live()
        if cpu + self.orphan_cpu > self.cpu_limit:
            # A child that was reaped between two readings counts twice, in its own times and its parent's: look again.
            cpu = min(cpu, meter.live()[0])
        self.peak_kb = max(self.peak_kb, largest // 1024)
        cpu += self.orphan_cpu
        self.seen_cpu = cpu
        group = meter.group_cpu()
        if group is not None and self.group_cpu is not None:
            cpu = max(cpu, group - self.group_cpu - GROUP_SLACK_S)
        if cpu > self.cpu_limit:
            return frames.CPU_LIMIT
        if meter.oom_kills() > self.oom_kills or (not meter.has_oom_counter and private > self.memory_mb << 20):
            return frames.MEMORY_LIMIT
        elapsed = now - self.opened
        # Of each tick, what the thread that was kept waiting longest stood in line: a job that waits for its own
        # children or threads waits as long as they do. It cannot make this up: whoever it stands behind uses CPU.
        delays = meter.delays()
        waited = max((delay - self.delays.get(path, 0.0) for path, delay in delays.items()), default=0.0)
        self.delay = min(self.delay + waited, elapsed)
        self.delays = delays
        if self.own_s(now) > self.wall_limit or elapsed > WALL_PATIENCE * self.wall_limit:
            return frames.WALL_LIMIT
        return None

    def exited(self, status: int, cpu: float, rss_kb: int, now: float) -> None:
        """The zygote has reaped the main process."""
        self.release()
        self.dead = True
        self.status = status
        self.main_cpu = cpu
        self.peak_kb = max(self.peak_kb, rss_kb)
        self.closed = now

    def ending(self, meter: Meter, left: str) -> bytes:
        """The payload of `END`."""
        cpu = self.main_cpu + self.orphan_cpu
        if self.end is not None:
            # What we kill together with its pid namespace is reaped uncounted: then the last tick knows more.
            cpu = max(cpu, self.seen_cpu)
        group = meter.group_cpu()
        if group is not None and self.group_cpu is not None:
            excess = group - self.group_cpu
            if excess - GROUP_SLACK_S > cpu:
                cpu = excess
        end = self.end
        if end is None:
            # In this order: what a limit did to it must not look like its own doing, however the race went.
            if cpu > self.cpu_limit or self.status == -signal.SIGXCPU:
                end = frames.CPU_LIMIT
            elif meter.oom_kills() > self.oom_kills or (self.status == -signal.SIGKILL and not meter.has_oom_counter):
                end = frames.MEMORY_LIMIT
            elif self._message_left or self._length:
                end = frames.PROTOCOL
            else:
                end = frames.EXITED
        wall = self.own_s(self.closed)
        reason = left.encode("utf-8", "replace")[:300]
        head = frames.ENDING.pack(
            end, self.status, cpu, wall, self.peak_kb / 1024, meter.own_mb(), not left, len(reason)
        )
        return head + reason + self.tail
