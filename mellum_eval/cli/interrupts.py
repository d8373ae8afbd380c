"""Ctrl-C and SIGTERM end an asynchronous verb in order: tasks are cancelled, files closed, containers removed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_until_signal(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, with SIGTERM as good as Ctrl-C. A second signal does not wait for the order to be made.

    Raises:
        KeyboardInterrupt: A signal came.
    """

    async def wrapped() -> T:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, os.kill, os.getpid(), signal.SIGINT)
        return await main

    return asyncio.run(wrapped())
