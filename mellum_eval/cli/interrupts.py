"""Ctrl-C and SIGTERM end an asynchronous verb in order: tasks are cancelled, files closed, containers removed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_until_signal(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, with SIGTERM as good as Ctrl-C. A second one of either does not wait for the order to be made.

    Raises:
        KeyboardInterrupt: A signal came.
    """
    told = False

    async def wrapped() -> T:
        task = asyncio.current_task()

        def stop() -> None:
            # Not by way of SIGINT, which whoever was started in the background by a script has been told to ignore.
            nonlocal told
            if told or task is None:
                raise KeyboardInterrupt
            told = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        return await main

    try:
        return asyncio.run(wrapped())
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise
