"""Simulated APIs of a data set, driven by calls that are data: names and values, never source text of a model's.

The APIs' own modules are trusted and travel with the job. Their objects hold the state; a call is a method's name with
arguments, looked up among the public methods, so a name with underscores, dots or brackets is just a name that nobody
has. The texts of results and errors are those that the reference (bfcl-eval 2026.3.23) gets by evaluating the call.

`run_apis` answers calls; `compare_apis` runs a model's calls and the right ones, each on objects of its own, and
compares after every turn as the reference does: all public attributes equal, and each result that the right calls gave
in this turn among the results that the model has seen so far.
"""

from __future__ import annotations

import copy
import importlib
import importlib.abc
import importlib.machinery
import inspect
import json
import sys
from typing import Any


class _Modules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for the modules of a job, and for the packages above them."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources
        self.packages = {name.rpartition(".")[0] for name in sources}
        for name in list(self.packages):
            while name:
                self.packages.add(name)
                name = name.rpartition(".")[0]

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """A spec for what the job brought, None for all else."""
        if fullname in self.sources:
            return importlib.machinery.ModuleSpec(fullname, self)
        if fullname in self.packages:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def exec_module(self, module: Any) -> None:
        """Run the source text as the module."""
        text = self.sources.get(module.__name__)
        if text is not None:
            exec(compile(text, module.__name__, "exec", dont_inherit=True), module.__dict__)


class Apis:
    """Objects of the classes that a task involves, in their first state."""

    def __init__(self, setting: dict[str, Any]) -> None:
        self.objects: dict[str, Any] = {}
        self.methods: dict[str, Any] = {}
        for name, module in setting["classes"].items():
            made = getattr(importlib.import_module(module), name)()
            if name not in setting["stateless"]:
                config = copy.deepcopy(setting["config"].get(name, {}))
                made._load_scenario(config, long_context=setting["long_context"])
            self.objects[name] = made
            for method, bound in inspect.getmembers(made, predicate=inspect.ismethod):
                if not method.startswith("_"):
                    self.methods[method] = bound

    def call(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> str:
        """The text of a call's result, or of its error."""
        method = self.methods.get(name)
        try:
            if method is None:
                raise NameError(f"name {name.partition('.')[0]!r} is not defined")
            return _text(method(*args, **kwargs))
        except Exception as error:
            return f"Error during execution: {error}"


def run_apis(sources: dict[str, str], setting: dict[str, Any], before: list[Any], calls: list[Any]) -> list[str]:
    """The results of `calls`, after those `before`, which are repeated: nothing lives from one job to the next."""
    apis = _open(sources, setting)
    for call in before:
        apis.call(*call)
    return [apis.call(*call) for call in calls]


def compare_apis(
    sources: dict[str, str], setting: dict[str, Any], turns: list[list[Any]], gold: list[list[Any]]
) -> dict[str, Any]:
    """Whether the model's calls do in every turn what the right ones do.

    Args:
        sources: Source text by module.
        setting: Classes and their modules, which of them have no state, the first state, whether it is a long one.
        turns: The model's calls of each turn: (name, arguments, keyword arguments).
        gold: The right ones.
    """
    models, rights = _open(sources, setting), Apis(setting)
    seen: list[str] = []
    for number, (made, right) in enumerate(zip(turns, gold)):
        seen += [models.call(*call) for call in made]
        wanted = [rights.call(*call) for call in right]
        if not right:
            continue  # whatever is called where nothing can be done yet; its effects are seen in the next turn
        if not made:
            return _failed(number, f"nothing was called in turn {number}")
        for name, theirs in rights.objects.items():
            for attribute, value in vars(theirs).items():
                if not attribute.startswith("_") and getattr(models.objects[name], attribute) != value:
                    return _failed(number, f"after turn {number}, {name}.{attribute} is another")
        left = list(seen)
        for result in wanted:
            if result not in left:
                return _failed(number, f"turn {number} never gave {result[:300]}")
            left.remove(result)
    return {"kind": "passed", "message": "", "turn": len(gold)}


def _open(sources: dict[str, str], setting: dict[str, Any]) -> Apis:
    sys.meta_path.insert(0, _Modules(sources))
    return Apis(setting)


def _failed(turn: int, message: str) -> dict[str, Any]:
    return {"kind": "failed", "message": message, "turn": turn}


def _text(result: Any) -> str:
    if isinstance(result, str):
        return result
    if type(result) is dict:
        try:
            return json.dumps(result)
        except Exception:
            return str(result)
    return str(result)
