"""Generated suites: the same every time, both sides apart, balanced, and gold that says what its check asks."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.check import CallsCheck, ChoiceCheck, MathCheck, RefusalCheck, ToolCallCheck
from sandboxes.extract import choice_letter, final_answer, python_code
from suites import registry
from suites.quick import QuickSuite, side_of
from suites.quick.knowledge import LETTERS, TOWNS, WORLD

NAMES = registry.GROUPS["quick"]
TRAIN = 20_000


def quick(name: str) -> type[QuickSuite]:
    suite = type(registry.get(name))
    assert issubclass(suite, QuickSuite)
    return suite


PINNED = {
    "quick_code": "75dd51ffa4d9347a",
    "quick_math": "78b4c553ffdd09f4",
    "quick_tools": "f8892104e453bf84",
    "quick_knowledge": "c95d1dbadfc08215",
    "quick_safety": "006558d3deb48648",
    "quick_chat": "2be1fdc45d90eed6",
}
"""sha256 of the fixed 500, its first digits."""
