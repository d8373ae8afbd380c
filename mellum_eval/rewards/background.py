"""The thread that judges: one event loop for the process, with one pool of warm sandboxes for each setting in use."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # before ours: what registers at exit is called in reverse, and closing uses threads
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from mellum_eval.rewards.options import Options
from sandboxes.sandbox import Sandbox
from sandboxes.verify import Judges, Verifiers

T = TypeVar("T")
Work = Callable[[Judges], Awaitable[T]]
log = logging.getLogger(__name__)

CLOSE_S = 30.0


class Background:
    """A daemon thread with an event loop, and judges by setting. Everything that is shared is touched only there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._judges: dict[tuple[Any, ...], Judges] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="mellum-eval-rewards", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes work."""
        return self._thread.is_alive() and not self._closing

    def submit(self, options: Options, work: Work[T]) -> Future[T]:
        """Have work done with the judges of these options.

        Raises:
            RuntimeError: Called from the thread itself, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a reward was called from inside the rewards' own thread")
        return asyncio.run_coroutine_threadsafe(self._do(options, work), self._loop)

    def close(self) -> None:
        """End all work and the sandboxes."""
        self._closing = True
        done = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        with contextlib.suppress(TimeoutError, concurrent.futures.TimeoutError):
            done.result(CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    async def _do(self, options: Options, work: Work[T]) -> T:
        key = (options.sandbox, options.workers, options.ray, options.service, options.patience_s)
        if key not in self._judges:
            self._judges[key] = _judges(options)
        return await work(self._judges[key])

    async def _end(self) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        users, self._judges = list(self._judges.values()), {}
        # The pools first: their own tasks must live to clean up. What still waits for a worker gets an error by that.
        await asyncio.gather(*(judges.close() for judges in users), return_exceptions=True)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


def _judges(options: Options) -> Judges:
    if options.service is not None:
        from mellum_eval.rewards.remote import RemoteVerifiers

        return RemoteVerifiers(options.service, options.patience_s)
    if options.ray is None:
        return Verifiers(lambda: _open(options))
    from mellum_eval.cluster import ClusterVerifiers

    return ClusterVerifiers(options.ray, options.sandbox, options.workers, say=lambda line: log.warning("%s", line))


async def _open(options: Options) -> Sandbox:
    from sandboxes.choose import open_sandbox

    pool = await open_sandbox(options.sandbox, options.workers)
    if pool.notice:
        log.warning("%s", pool.notice)
    return pool


class _Process:
    """This process's background, if it has one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.background: Background | None = None
        self.inherited: list[Background] = []
        """A forked child keeps its parent's, which is dead here, from being collected: that would close its files."""


_process = _Process()


def submit(options: Options, work: Work[T]) -> Future[T]:
    """Have work done in the background, which is started if need be."""
    with _process.lock:
        if _process.background is None or not _process.background.alive:
            if _process.background is None:
                _close_with_process()
            _process.background = Background()
        return _process.background.submit(options, work)


def wait(options: Options, work: Work[T]) -> T:
    """Have work done, and wait for it; what interrupts the waiting ends the work."""
    future = submit(options, work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def awaited(options: Options, work: Work[T]) -> T:
    """Have work done, and await it in the caller's event loop; cancelling that ends the work."""
    return await asyncio.wrap_future(submit(options, work))


def close() -> None:
    """End the background and its sandboxes now, and not when the process ends. The next judgement starts it anew."""
    with _process.lock:
        background, _process.background = _process.background, None
    if background is not None and background.alive:
        background.close()


def _close_with_process() -> None:
    # Closing removes containers in threads of an executor, and those are gone when atexit's callbacks run. What
    # CPython offers for being earlier has no public name; without it, closing is the engine's look for orphans.
    register = getattr(threading, "_register_atexit", atexit.register)
    pid = os.getpid()
    with contextlib.suppress(RuntimeError):  # the process is ending already
        register(lambda: close() if os.getpid() == pid else None)


def _forget_after_fork() -> None:
    inherited = [*_process.inherited, *([_process.background] if _process.background else [])]
    _process.lock = threading.Lock()  # another thread of the parent's may hold the old one
    _process.background = None
    _process.inherited = inherited


os.register_at_fork(after_in_child=_forget_after_fork)
