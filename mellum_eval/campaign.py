"""Many runs from one file: models × suites × seeds, each run a directory of its own below the campaign's.

A campaign keeps no state beside its runs: one that is complete is done, one that was begun is gone on with, one that is
not there is begun. So a campaign may be killed at any moment, and models and seeds may be added to its file later; what
a run was begun with is held to its own `run.json` (`mellum_eval.resuming`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mellum_eval.errors import UserError
from mellum_eval.launch import slug
from mellum_eval.spec import RunSpec, read_config, spec_of
from mellum_eval.store import RunStore

_OWN = ("models", "seeds")
_OF_A_MODEL = ("name", "expect")


class Expected(BaseModel):
    """What a model is expected to take, for the estimate before anything runs; what was measured is taken instead."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    completion_tokens: float | None = Field(default=None, gt=0)
    """Tokens of one answer, reasoning included."""
    tokens_per_s: float | None = Field(default=None, gt=0)
    """Completion tokens a second, all requests together."""
    price_in: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens, in whatever currency."""
    price_out: float | None = Field(default=None, ge=0)
    """Price of a million completion tokens."""


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a campaign.

    Attributes:
        name: Name of its directory.
        spec: What it does.
        expected: For the estimate.
    """

    name: str
    spec: RunSpec
    expected: Expected = field(default_factory=Expected)

    def state(self, root: Path) -> Literal["done", "begun", "new"]:
        """How far the run in a campaign's directory is; one of which too much could not be judged is not done.

        Raises:
            UserError: Its files were altered.
        """
        path = root / self.name
        if not (path / "run.json").exists():
            return "new"
        scores = RunStore.open(path).scores()
        if scores is None or scores.partial:
            return "begun"
        owed = any(suite.infra_error_rate > self.spec.max_infra_rate for suite in scores.suites.values())
        return "begun" if owed else "done"


def is_campaign(config: Mapping[str, Any]) -> bool:
    """Whether a configuration file is of many runs: it names `models`."""
    return "models" in config


def read_campaign(path: Path, flags: Mapping[str, Any]) -> list[Member]:
    """The runs of a campaign's file.

    The file has `models`, a list of names or of mappings with `model`, optionally `name` and `expect`, and any field of
    a run; optionally `seeds`; and any other field of a run, which all models share unless they have their own.

    Args:
        path: YAML.
        flags: Fields of all runs from the command line, which win; None where a flag was not given.

    Raises:
        UserError: Names the file, the place in it and what is wrong there.
    """
    config = read_config(path)
    shared = {key: value for key, value in config.items() if key not in _OWN}
    for key in ("model", "seed"):
        if shared.get(key) is not None or flags.get(key) is not None:
            raise UserError(f"{path}: {key}: a campaign has {key}s, a list, and no {key}")
    models, seeds = config["models"], config.get("seeds", [0])
    for key, values in (("models", models), ("seeds", seeds)):
        if not isinstance(values, list) or not values:
            raise UserError(f"{path}: {key}: a list with at least one entry is needed")
    members: dict[str, Member] = {}
    for number, entry in enumerate(models):
        where = f"{path}: models.{number}"
        own = {"model": entry} if isinstance(entry, str) else entry
        if not isinstance(own, dict) or not isinstance(own.get("model"), str):
            raise UserError(f"{where}: SCHEME:NAME is needed, or a mapping with `model`, not {entry!r}")
        expected = _expected(own.get("expect"), where)
        fields = {key: value for key, value in own.items() if key not in _OF_A_MODEL}
        for seed in seeds:
            spec = spec_of(_merged(shared, {"seed": seed, **fields}), flags, where)
            stem = slug(str(own.get("name", own["model"])))
            name = stem if len(seeds) == 1 else f"{stem}-seed{spec.seed}"
            if name in members:
                raise UserError(f"{where}: its directory would be {name}, as another's; give it a `name` of its own")
            members[name] = Member(name, spec, expected)
    return list(members.values())


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A model's own fields over those that all share; of `backend` field by field."""
    merged = {**shared, **own}
    if isinstance(shared.get("backend"), dict) and isinstance(own.get("backend"), dict):
        merged["backend"] = {**shared["backend"], **own["backend"]}
    return merged


def _expected(given: Any, where: str) -> Expected:
    try:
        return Expected.model_validate(given if given is not None else {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in ("expect", *first["loc"]))
        known = f"no such key; {', '.join(Expected.model_fields)}"
        raise UserError(f"{where}: {key}: {known if first['type'] == 'extra_forbidden' else first['msg']}") from None
