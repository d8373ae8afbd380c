"""What is known of single tasks of BigCodeBench: how they must be judged, and which gold answers cannot pass, and why.

Found by judging every canonical solution in the image of `mellum-eval sandbox build --libraries bigcodebench`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


def _ids(numbers: str) -> list[str]:
    return [f"BigCodeBench/{number}" for number in numbers.split()]


BESIDE = frozenset(_ids("166 323 656 687 699"))
"""Their tests only call, but with or for values that cannot cross: pandas timestamps, numpy numbers, a mock."""

WRONG_GOLD: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            _ids("177 290 332 334 376 383 633 635 655 658 726 734 806 808 849 940 1109"),
            "wants NLTK's texts (stopwords, punkt, words, a tagger), which only a download brings",
        ),
        **dict.fromkeys(
            _ids("101 590 1005 1006 1012"), "its tests download a page or a file: the sandbox has no network"
        ),
        **dict.fromkeys(
            _ids("459 460"), "executes a script in a temporary folder, where the sandbox lets nothing be executed"
        ),
        **dict.fromkeys(
            _ids("579 743"), "its tests patch `open` for themselves, but their builtins are out of reach here"
        ),
        "BigCodeBench/111": "wants zeros where matplotlib 3.7 has a masked array's None",
        "BigCodeBench/176": "asks the DNS whose address 8.8.8.8 is: the sandbox has no network",
        "BigCodeBench/276": "wants a skewness of equal numbers, which is not a number since scipy 1.9",
        "BigCodeBench/314": "connects to a server by its name: the sandbox has no network",
        "BigCodeBench/562": "calls pip, which the image has not",
        "BigCodeBench/760": "says `datetime.datetime` of a class: right only where the tests' import replaces its own",
    }
)
