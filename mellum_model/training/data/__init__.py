"""Training data: sources, mixture by phase, filters, fill in the middle, packing; all of it resumable to the sample.

`open_stream` makes the stream of a stage. What it needs of other rooms is handed in: generators of records, and the
index of what the suites ask.
"""

from __future__ import annotations

from .decontaminate import SuiteIndex
from .opening import OpenStream, open_stream
from .sources import Generator

__all__ = ["Generator", "OpenStream", "SuiteIndex", "open_stream"]
