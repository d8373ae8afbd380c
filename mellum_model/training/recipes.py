"""What a training run is: one YAML file, checked field by field before anything is started.

A recipe names a model and its stages (`pretrain`, `long_context`, `sft_instruct`, `sft_thinking`), each with data,
batch, optimiser, schedule, precision, losses and checkpointing. `defaults` holds what stages share; a stage's own
fields win. Defaults of the fields themselves are Mellum 2's where its report gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ..config import MellumConfig, layer_pattern
from ..errors import ConfigError
from ..rope_config import RopeConfig
from .data_sections import (
    TAGS,
    Count,
    Dedup,
    Filters,
    Fim,
    Packing,
    Phase,
    PretrainData,
    Section,
    SftData,
    Share,
    Source,
    StageData,
    near,
)
from .errors import RecipeError

__all__ = [
    "Adam", "Alarms", "BatchSection", "Checkpointing", "Dedup", "Evaluation", "Filters", "Fim", "Losses",
    "ModelSection", "Muon", "OptimiserSection", "Packing", "Parallel", "Phase", "Precision", "PretrainData", "Recipe",
    "Schedule", "SftData", "Source", "Stage", "StageData", "load_recipe", "recipe_file",
]  # fmt: skip

BUILT_IN = Path(__file__).resolve().parent.parent / "recipes"
StageName = Literal["pretrain", "long_context", "sft_instruct", "sft_thinking"]


class ModelSection(Section):
    """Which model is trained."""

    preset: Literal["mellum2_12b", "nano"] = "mellum2_12b"
    """Where the sizes start from; the context before extension."""
    sizes: dict[str, Any] = Field(default_factory=dict)
    """Fields of `MellumConfig` that differ; `layer_types: 4` is S,S,S,F repeated over the layers."""

    def config(self) -> MellumConfig:
        """The configuration of the first stage, with its MTP head.

        Raises:
            ConfigError: A size is unknown or impossible.
        """
        from dataclasses import fields, replace

        base = MellumConfig.nano() if self.preset == "nano" else MellumConfig.mellum2_12b(long_context=False)
        sizes = dict(self.sizes)
        known = {field.name for field in fields(MellumConfig)}
        for name in sizes:
            if name not in known:
                raise ConfigError(f"model.sizes.{name}: no such field{near(name, known)}")
        for name in ("full_rope", "sliding_rope"):
            if isinstance(sizes.get(name), Mapping):
                sizes[name] = RopeConfig(**sizes[name])
        layers = sizes.get("num_hidden_layers", base.num_hidden_layers)
        if isinstance(sizes.get("layer_types"), int):
            sizes["layer_types"] = layer_pattern(layers, sizes["layer_types"])
        elif "num_hidden_layers" in sizes and "layer_types" not in sizes:
            sizes["layer_types"] = layer_pattern(layers)
        sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}
        return replace(base, **{"num_mtp_layers": 1, **sizes})


class BatchSection(Section):
    """How large a step is."""

    tokens: Count
    """Of a whole step over all ranks: a multiple of the sequence length."""
    ramp_from: Count | None = None
    """Tokens of the first steps; None: no ramp."""
    ramp_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the batch grows, linearly in whole rows."""
    micro: Count = 1
    """Rows of one forward pass on one rank."""


class Muon(Section):
    """Muon's settings, for hidden matrices."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    nesterov: bool = True
    newton_schulz_steps: Annotated[int, Field(ge=1, le=20)] = 5
    scale: Annotated[float, Field(gt=0)] = 0.2
    """An update is multiplied by scale · √max(rows, columns) (Moonlight: the size of AdamW's update)."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the Newton–Schulz products."""


class Adam(Section):
    """AdamW's settings, for embedding, output matrix, norms and biases."""

    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    lr_scale: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate as a multiple of Muon's."""


class OptimiserSection(Section):
    """Who updates what."""

    kind: Literal["muon", "adamw"] = "muon"
    """`adamw` gives it the hidden matrices too."""
    muon: Muon = Muon()
    adam: Adam = Adam()
    router: Literal["muon", "adamw"] = "muon"
    """Moonlight's rule (every matrix but embedding and output) has it under Muon; the report does not say."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Decoupled; of matrices only."""
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Norm of the whole gradient."""


class Schedule(Section):
    """The learning rate."""

    kind: Literal["whd", "cosine", "constant"] = "whd"
    """Warm-up, hold, linear decay; warm-up, cosine; warm-up, hold."""
    peak: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    decay_steps: Annotated[int, Field(ge=0)] | None = None
    """Of `whd`; `cosine` decays from the end of the warm-up."""
    final: Annotated[float, Field(ge=0)] = 0.0
    """What it decays to."""


class Precision(Section):
    """Number formats."""

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of matrix products and activations. Master weights, gradient sums, optimiser and router are float32 always."""
    fp8: Literal["off", "hybrid", "emulated"] = "off"
    """Hybrid: E4M3 forward, E5M2 gradients, one scale a tensor, in linear layers and experts; emulated: the same
    numbers on hardware without FP8."""


class Losses(Section):
    """Weights of the parts beside the next token."""

    mtp: Annotated[float, Field(ge=0)] = 0.1
    balance: Annotated[float, Field(ge=0)] = 1e-3
    z: Annotated[float, Field(ge=0)] = 1e-3


class Checkpointing(Section):
    """What is kept of a run."""

    every_steps: Count = 1000
    keep: Count = 2
    """The newest of them."""
    background: bool = True
    """Write while training goes on."""


class Evaluation(Section):
    """Held-out loss on the way."""

    every_steps: Count = 1000
    tokens: Count = 65_536
    data: StageData | None = None
    """What the rows are made of, of other documents than the stage's; None: no evaluation."""


class Alarms(Section):
    """When the log calls for a person. An alarm never stops a run."""

    spike_sigma: Annotated[float, Field(gt=0)] = 6.0
    """A loss this many standard deviations above the last `window` steps'."""
    window: Annotated[int, Field(ge=8)] = 100
    dead_share: Share = 0.1
    """An expert with less than this part of its even share of the tokens over `window` steps is dead."""


class Parallel(Section):
    """Many processes under `torchrun`; on one, nothing of it is used."""

    experts: bool = False
    """Whole experts on each rank, tokens travel; otherwise all matrices are sharded (FSDP2)."""


class Stage(Section):
    """One stage of training."""

    start_from: str | None = None
    """A stage of this recipe, or a checkpoint directory; None: random weights."""
    context_factor: Annotated[float, Field(ge=1)] = 1.0
    """The context grows by this: YaRN on full layers only."""
    data: StageData
    sequence_length: Annotated[int, Field(ge=4)]
    steps: Count | None = None
    tokens: Count | None = None
    """Of the whole stage; exactly one of `steps` and `tokens`."""
    batch: BatchSection
    optimiser: OptimiserSection = OptimiserSection()
    schedule: Schedule
    precision: Precision = Precision()
    losses: Losses = Losses()
    parallel: Parallel = Parallel()
    activation_checkpointing: bool = False
    compile: bool = False
    checkpoints: Checkpointing = Checkpointing()
    evaluation: Evaluation = Evaluation()
    alarms: Alarms = Alarms()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    export_dtype: Literal["float32", "bfloat16"] = "bfloat16"

    @model_validator(mode="after")
    def _fits(self) -> Stage:
        if (self.steps is None) == (self.tokens is None):
            raise ValueError("give exactly one of steps and tokens")
        for name in ("tokens", "ramp_from"):
            value = getattr(self.batch, name)
            if value is not None and value % self.sequence_length:
                raise ValueError(f"batch.{name} {value} is no multiple of sequence_length {self.sequence_length}")
        if self.batch.ramp_from is not None and self.batch.ramp_from > self.batch.tokens:
            raise ValueError(f"batch.ramp_from {self.batch.ramp_from} is above batch.tokens {self.batch.tokens}")
        return self


class Recipe(Section):
    """A model and its stages."""

    name: str
    model: ModelSection
    tokenizer: str | None = None
    """Directory with a `tokenizer.json`, relative to the recipe; None: the first stage's data learns one."""
    stages: Annotated[dict[StageName, Stage], Field(min_length=1)]

    def stage(self, name: str) -> Stage:
        """One stage.

        Raises:
            RecipeError: The recipe has none of that name.
        """
        for known, stage in self.stages.items():
            if known == name:
                return stage
        raise RecipeError(f"recipe {self.name!r} has no stage {name!r}; it has {', '.join(self.stages)}")


def load_recipe(which: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a built-in recipe by name, or a file.

    Args:
        which: `nano`, `mellum2_12b`, or a YAML file.
        overrides: Dotted fields and values, such as {"stages.pretrain.steps": 10}.

    Raises:
        RecipeError: No such recipe, not YAML, or a field is unknown or wrong; the message names it.
    """
    file = recipe_file(which)
    data = read_yaml(file)
    defaults = data.pop("defaults", {})
    stages = data.get("stages")
    if isinstance(stages, dict) and isinstance(defaults, dict):
        data["stages"] = {
            name: _merged(defaults, stage) if isinstance(stage, dict) else stage for name, stage in stages.items()
        }
    for field, value in (overrides or {}).items():
        overridden(data, field, value)
    try:
        recipe = Recipe.model_validate(data)
        recipe.model.config()
    except ValidationError as error:
        raise RecipeError(f"{file}: {first_problem(error, Recipe)}") from None
    except (ConfigError, TypeError) as error:
        raise RecipeError(f"{file}: model.sizes: {error}") from None
    return recipe


def read_yaml(file: Path) -> dict[str, Any]:
    """The fields of a recipe's file.

    Raises:
        RecipeError: It cannot be read, or is no mapping.
    """
    import yaml

    try:
        data = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise RecipeError(f"{file}: {error.strerror}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"{file}: expected a mapping of fields")
    return data


def recipe_file(which: str | Path, folder: Path = BUILT_IN) -> Path:
    """Where a recipe lies.

    Args:
        which: The name of a built-in recipe, or a file.
        folder: Of the built-in ones.

    Raises:
        RecipeError: Neither a built-in name nor a file.
    """
    built_in = {path.stem: path for path in folder.glob("*.yaml")}
    if str(which) in built_in:
        return built_in[str(which)]
    if not Path(which).is_file():
        raise RecipeError(f"{which}: no such recipe file, and built in are {', '.join(sorted(built_in))}")
    return Path(which)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, section by section."""
    found = dict(base)
    for key, value in own.items():
        held = found.get(key)
        found[key] = _merged(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return found


def overridden(data: dict[str, Any], field: str, value: Any) -> None:
    """Set a dotted field of a recipe's data, in place.

    Raises:
        RecipeError: What the field would lie in is no section.
    """
    *path, last = field.split(".")
    place = data
    for name in path:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"{field}: {name} is no section of the recipe")
        place = inner
    place[last] = value


def first_problem(error: ValidationError, recipe: type[Section]) -> str:
    """The first thing that is wrong with a recipe, as one line that names the field as the file writes it."""
    problems = error.errors()
    # An unknown field is the likeliest slip, and the others are often its consequence (a missing field, misspelt).
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    place = [str(part) for part in problem["loc"] if part not in TAGS]
    where = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(place[:-1], recipe)
        return f"{where}: no such field{near(place[-1], known)}"
    if problem["type"] == "missing":
        return f"{where}: is missing"
    if problem["type"] == "value_error":  # our own words
        return f"{where or 'recipe'}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{where or 'recipe'}: {problem['msg'][:1].lower()}{problem['msg'][1:]}, not {problem['input']!r}"


def _fields_at(place: list[str], recipe: type[Section]) -> set[str]:
    """Names of the fields of the section that a place in the file leads to."""
    kinds: list[Any] = [recipe]
    for part in place:
        kinds = [inner for kind in kinds for inner in _inner(kind, part)]
    return {name for kind in kinds for name in getattr(kind, "model_fields", {})}


def _inner(kind: Any, part: str) -> list[Any]:
    """The sections that field `part` of a section, or entry `part` of a mapping of sections, may be."""
    from typing import get_args

    def sections(annotation: Any) -> list[Any]:
        if isinstance(annotation, type) and issubclass(annotation, Section):
            return [annotation]
        return [found for argument in get_args(annotation) for found in sections(argument)]

    fields = kind.model_fields
    return sections(fields[part].annotation) if part in fields else [kind]
