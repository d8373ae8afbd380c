"""The first of our code that runs inside: makes the shipped sources importable and starts the supervisor."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from typing import Any


class Shipped(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for the packages `sandboxes` and `sandboxes.runtime` from source texts."""

    PACKAGES = ("sandboxes", "sandboxes.runtime")

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = {"sandboxes.runtime." + name: text for name, text in sources.items()}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """A spec for what was shipped, None for all else."""
        if fullname in self.PACKAGES:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if fullname in self.sources:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def exec_module(self, module: Any) -> None:
        """Run the source text as the module."""
        text = self.sources.get(module.__name__)
        if text is not None:
            exec(compile(text, "<" + module.__name__ + ">", "exec", dont_inherit=True), module.__dict__)


def start(shipment: dict[str, Any]) -> None:
    """Never returns: this process becomes the supervisor."""
    sys.meta_path.insert(0, Shipped(shipment["sources"]))
    sys.path += [p for p in shipment["confinement"]["paths"] if p not in sys.path]
    from sandboxes.runtime.supervisor import main

    main(shipment)


if __name__ == "loader":
    start(globals()["shipment"])
