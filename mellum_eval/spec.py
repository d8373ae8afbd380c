"""What a run is asked to do: flags over a YAML file over defaults, checked before anything is started."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mellum_eval.errors import UserError

_STRICT = ConfigDict(extra="forbid", frozen=True)


class BackendOptions(BaseModel):
    """How the model is driven; a backend ignores what it has no use for."""

    model_config = _STRICT

    base: bool = False
    """Treat the model as a base model: plain continuation, no chat template."""
    concurrency: int = Field(default=32, ge=1, le=4096)
    """Requests in flight at an endpoint, at most: fewer while it is overloaded."""
    stream: bool = False
    """Have an endpoint send its replies piece by piece, so that no proxy between takes long thought for death."""
    cache: str | None = None
    """Directory of completions that other runs asked for too: what is in it is not asked again."""
    guided_choice: bool = False
    """Where choices are ranked: have the server hold the model to them, instead of asking for log-probabilities."""
    thinking_budget: int | None = Field(default=None, ge=1, le=10_000_000)
    """Tokens for reasoning, on top of what a suite allows for the answer. 32768 is what Mellum 2's report gave."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Prompts a batch, where this process runs the model."""
    speculative: bool = False
    """Draft with the MTP head of a native: model: the same greedy answers, the same distribution of others."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    """`auto`, or what torch calls it: `cpu`, `cuda`, `cuda:1`."""
    revision: str | None = None
    """Revision of a model on the hub."""
    trust_remote_code: bool = False
    """Run Python code that comes with a model's files, unconfined. Only for models whose code you have read."""
    context: int | None = Field(default=None, ge=1)
    """Tokens of an endpoint's context, where it does not say: suites of longer prompts are not run."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Seconds for one reply of an endpoint."""
    retries: int = Field(default=6, ge=0, le=100)
    """Tries again at an endpoint after 429, 5xx, a disconnect or a timeout."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the endpoint's key; the key itself is never written anywhere."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Fields added to every request to an endpoint, such as {"chat_template_kwargs": {"enable_thinking": true}}."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Passed to the chat template where this process applies it, or its own server does."""
    vllm_python: str | None = None
    """Python that has vLLM; by default MELLUM_VLLM_PYTHON, else this one."""
    vllm_args: tuple[str, ...] = ()
    """Further arguments of vLLM's server, such as --tensor-parallel-size=2."""
    reasoning_parser: str | None = None
    """vLLM's parser that splits reasoning from the answer, such as qwen3."""
    tool_call_parser: str | None = None
    """vLLM's parser of tool calls, such as hermes."""
    start_timeout_s: float = Field(default=1800.0, gt=0)
    """Seconds for a server of ours to load its model."""


class RunSpec(BaseModel):
    """One run, as given. None means: what the suite or the machine calls for."""

    model_config = _STRICT

    model: str | None = None
    """SCHEME:REST, see `mellum-eval run --help`."""
    suites: tuple[str, ...] = ()
    """NAME or NAME:VARIANT, or a group such as `quick`."""
    skip_missing: bool = False
    """Leave out suites whose data is not at hand, and say so, instead of stopping."""
    limit: int | None = Field(default=None, ge=1)
    """Problems a suite at most, evenly spread over it."""
    samples: int | None = Field(default=None, ge=1, le=10_000)
    """Completions a problem."""
    temperature: tuple[Annotated[float, Field(ge=0, le=10)], ...] = ()
    """0 is greedy. With several, every suite is run at each, as NAME@tT."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    """0 keeps all."""
    max_tokens: int | None = Field(default=None, ge=1)
    """New tokens at most, reasoning included."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    sandbox: Literal["auto", "docker", "local"] = "auto"
    runtime: str | None = None
    """OCI runtime of the containers; by default the engine's own."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Sandbox workers, with `ray` on each node; by default one a CPU."""
    ray: str | None = None
    """Address of a Ray cluster: a replica of the model and a pool of sandboxes on each of its nodes."""
    judge: str | None = None
    """`openai:MODEL@URL` of a judge model; without one, rules decide what they can."""
    judge_api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the key of the judge's endpoint."""
    max_infra_rate: float = Field(default=0.01, ge=0, le=1)
    """Share of a suite's samples that may end as infra_error before the run counts as failed (exit code 1)."""
    price_in: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens, in whatever currency: for the cost in summary and `run.json`."""
    price_out: float | None = Field(default=None, ge=0)
    """Price of a million completion tokens."""
    backend: BackendOptions = BackendOptions()

    @field_validator("temperature")
    @classmethod
    def _each_once(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) < len(values):
            raise ValueError("the same value is given twice")
        return values


def make_spec(flags: Mapping[str, Any], config: Path | None = None) -> RunSpec:
    """The spec of a command line.

    Args:
        flags: Values by field name, `backend.FIELD` for the backend's; None where a flag was not given.
        config: YAML with the same names (`backend` as a mapping); flags win.

    Raises:
        UserError: Names the file and the key, or the flag, and what is wrong with it.
    """
    return spec_of(read_config(config) if config is not None else {}, flags, str(config))


def spec_of(values: Mapping[str, Any], flags: Mapping[str, Any], where: str) -> RunSpec:
    """The spec of a mapping, such as one model of a campaign; flags win.

    Args:
        values: By field name, as a configuration file has them.
        flags: As `make_spec`.
        where: Names the mapping in an error: the file, or the file and the place in it.

    Raises:
        UserError: As `make_spec`.
    """
    given = dict(values)
    from_flags = {name: value for name, value in flags.items() if value is not None and value != ()}
    for name, value in from_flags.items():
        head, _, field = name.partition(".")
        if field:
            inner = given.get(head)
            given[head] = {**(inner if isinstance(inner, dict) else {}), field: value}
        else:
            given[head] = value
    try:
        return RunSpec.model_validate(given)
    except ValidationError as error:
        raise UserError(_explain(error, from_flags, where)) from None


def _explain(error: ValidationError, flags: Mapping[str, Any], where: str) -> str:
    first = error.errors()[0]
    loc = [str(part) for part in first["loc"]]
    key = ".".join(loc)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        from difflib import get_close_matches

        model: type[BaseModel] = BackendOptions if loc[0] == "backend" and len(loc) > 1 else RunSpec
        near = get_close_matches(loc[-1], model.model_fields, n=1)
        message = f"no such key; did you mean {near[0]}?" if near else f"no such key; {', '.join(model.model_fields)}"
    by_flag = next((name for name in flags if key == name or key.startswith(f"{name}.")), None)
    if by_flag is not None:
        return f"--{by_flag.rpartition('.')[2].replace('_', '-')}: {message}"
    return f"{where}: {key}: {message}"


class _Loader:
    """YAML 1.1 as PyYAML's safe loader reads it, but a key given twice is an error and 1e-5 is a number."""

    @staticmethod
    def load(text: str) -> Any:
        import yaml

        class Loader(yaml.SafeLoader):
            pass

        def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = key_node.value
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
                seen.add(key)
            return dict(loader.construct_mapping(node, deep=True))

        Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
        Loader.add_implicit_resolver(
            "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
        )
        return yaml.load(text, Loader=Loader)


def read_config(path: Path) -> dict[str, Any]:
    """A configuration file as it stands.

    Raises:
        UserError: It cannot be read, or is no YAML mapping; names the line.
    """
    import yaml

    try:
        value = _Loader.load(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise UserError(f"{path}:{line}: {error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: not YAML ({error})") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{path}: a mapping of keys is needed, not a {type(value).__name__}")
    return {str(key): entry for key, entry in value.items()}
