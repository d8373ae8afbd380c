"""The supervisor's loop: which file descriptors are watched, and who is called when one is ready."""

from __future__ import annotations

import select
from collections.abc import Callable

READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
WRITABLE = select.POLLOUT | select.POLLERR


class Loop:
    """One `poll` and the handlers of its descriptors."""

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[], object]] = {}
        self.paused: list[tuple[int, Callable[[], object]]] = []
        self._poll = select.poll()

    def watch(self, fd: int, handler: Callable[[], object], events: int = READABLE) -> None:
        """Have `handler` called when `fd` is ready."""
        self.handlers[fd] = handler
        self._poll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching; does nothing for what is not watched."""
        if self.handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def pause(self, *fds: int) -> None:
        """Do not watch those, as far as they are watched, until `resume`."""
        for fd in fds:
            if fd in self.handlers:
                self.paused.append((fd, self.handlers[fd]))
                self.forget(fd)

    def resume(self) -> None:
        """Watch again what was paused, for reading."""
        for fd, handler in self.paused:
            self.watch(fd, handler)
        self.paused.clear()

    def turn_once(self, timeout_ms: float | None) -> None:
        """Wait until something is ready, or so long, and call the handlers of what is."""
        for fd, _ in self._poll.poll(timeout_ms):
            handler = self.handlers.get(fd)  # an earlier handler of this round may have closed it
            if handler is not None:
                handler()
