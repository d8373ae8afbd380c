"""`native:PATH` and `nano` for runs: hands this repository's model to the harness, which may not import it itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellum_eval.backends.base import Backend, BackendInfo
from mellum_eval.backends.native import Finished, NativeBackend, messages_of
from mellum_eval.backends.registry import provide
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.spec import BackendOptions
from suites.problem import Prompt
from suites.sampling import Sampling

if TYPE_CHECKING:
    from mellum_model import Mellum
    from mellum_model.engine import Engine
    from mellum_model.tokenizer import Tokenizer

TURNS = ("<|im_start|>", "<|im_end|>")
NEEDED = ("torch", "safetensors", "tokenizers")
INSTALL = 'pip install "mellum-eval[model]"'
PROVIDER = "mellum_eval.cli.native:provide_native"
"""For a node of a cluster, which provides the same schemes in a process of its own."""
NANO_BATCH = 64
"""Rows of the bundled model decoded together, unless told otherwise: it is so small that more are hardly slower."""


class _Engine:
    def __init__(self, engine: Engine, ends: tuple[int, ...]) -> None:
        self._engine, self._ends = engine, ends

    @property
    def busy(self) -> bool:
        return self._engine.busy

    def submit(self, ids: Sequence[int], sampling: Sampling, stop: tuple[str, ...]) -> int:
        from mellum_model import Sampling as Settings

        settings = Settings(
            max_new_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=sampling.seed,
            stop=stop,
            stop_token_ids=self._ends,
        )
        return self._engine.submit(ids, settings)

    def step(self) -> list[Finished]:
        found = []
        for delta in self._engine.step():
            if delta.result is not None:
                text = delta.result.text or ""
                found.append(Finished(delta.index, text, delta.result.finish, len(delta.result.tokens)))
        return found


class _Model:
    def __init__(
        self, path: Path, model: Mellum, tokenizer: Tokenizer, options: BackendOptions, scheme: str, name: str
    ) -> None:
        self._model, self._tokenizer, self._options = model, tokenizer, options
        self._turn_ids = [tokenizer.id_of(token) for token in TURNS]
        chat = not options.base and (tokenizer.chat_template is not None or None not in self._turn_ids)
        self._ends = _end_tokens(path) + tuple(token for token in self._turn_ids[1:] if chat and token is not None)
        self.limit = model.config.max_position_embeddings
        ends = model.config.eos_token_ids
        self.beginning = model.config.bos_token_id if model.config.bos_token_id is not None else next(iter(ends), None)
        self.info = BackendInfo(
            name, chat, {"scheme": scheme, "name": name, **_identity(path, model, tokenizer)}, context=self.limit
        )

    def render(self, prompt: Prompt) -> str:
        from mellum_model.chat import render, render_template

        if not self.info.chat:
            return prompt.text or ""
        turns, options = messages_of(prompt), self._options.chat_template_kwargs
        if self._tokenizer.chat_template is not None:
            return render_template(self._tokenizer.chat_template, turns, prompt.tools, **options)
        return render(turns, prompt.tools, enable_thinking=bool(options.get("enable_thinking", True)))

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    def engine(self) -> _Engine:
        from mellum_model.engine import Engine

        engine = Engine(
            self._model,
            tokenizer=self._tokenizer,
            max_batch=self._options.batch_size,
            speculative=self._options.speculative,
        )
        return _Engine(engine, self._ends)

    def loglikelihood(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        from mellum_model import loglikelihood

        return [(result.logprob, result.greedy) for result in loglikelihood(self._model, pairs)]


def _load(path: Path, options: BackendOptions, scheme: str, name: str) -> Backend:
    try:
        import torch

        from mellum_model import Mellum, MellumConfig, ModelError
        from mellum_model.tokenizer import Tokenizer
    except ModuleNotFoundError as error:
        raise PrerequisiteMissing(f"{scheme}: needs {error.name}", INSTALL) from None
    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    # A bfloat16 checkpoint is exact in float32 as well, and a CPU is faster with it.
    dtype = options.dtype if options.dtype != "auto" else "float32" if device == "cpu" else None
    try:
        MellumConfig.load(path)  # what is no checkpoint is called so, and not a missing tokenizer
        tokenizer = Tokenizer.load(path)
        model = Mellum.from_pretrained(path, device=device, dtype=dtype)
    except ModelError as error:
        raise UserError(f"{scheme}:{path}: {error}") from None
    if options.speculative and model.mtp is None:
        raise UserError(f"{scheme}:{path}: --speculative needs an MTP head, and this checkpoint has no mtp.* keys")
    return NativeBackend(_Model(path, model, tokenizer, options, scheme, name), batch_size=options.batch_size)


async def open_native(rest: str, options: BackendOptions) -> Backend:
    """Load a checkpoint directory.

    Raises:
        UserError: The checkpoint or its tokenizer cannot be read.
        PrerequisiteMissing: torch, safetensors or tokenizers is not installed.
    """
    path = Path(rest)
    return await asyncio.to_thread(_load, path, options, "native", path.resolve().name)


async def open_nano(rest: str, options: BackendOptions) -> Backend:
    """Load a bundled checkpoint: the Instruct model, or `base` or `thinking`.

    Raises:
        UserError: No such variant.
        PrerequisiteMissing: torch, safetensors or tokenizers is not installed.
    """
    path = _bundled(rest)
    changes: dict[str, Any] = {} if "batch_size" in options.model_fields_set else {"batch_size": NANO_BATCH}
    if rest == "base":
        changes["base"] = True
    name = f"nano-{rest}" if rest else "nano"
    return await asyncio.to_thread(_load, path, options.model_copy(update=changes), "nano", name)


def _bundled(rest: str) -> Path:
    from mellum_model.nano import checkpoint

    try:
        return checkpoint(rest)
    except ValueError as error:
        raise UserError(str(error)) from None


def _check_nano(rest: str) -> None:
    """Whether the bundled model can be run, before anything else of a run is done."""
    from importlib.util import find_spec

    _bundled(rest)
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise PrerequisiteMissing(
            f"the bundled model needs {' and '.join(missing)}", f"{INSTALL}, or do without a model: run mock:mixed"
        )


def provide_native() -> None:
    """Make `native:` and `nano` known to `open_backend`."""
    provide("native", open_native)
    provide("nano", open_nano, _check_nano)


def _end_tokens(path: Path) -> tuple[int, ...]:
    """End tokens of `generation_config.json`, beside those of `config.json`."""
    file = path / "generation_config.json"
    try:
        value: Any = json.loads(file.read_text("utf-8")).get("eos_token_id") if file.is_file() else None
    except (ValueError, AttributeError):
        raise UserError(f"{file}: not a JSON object") from None
    ends = [] if value is None else value if isinstance(value, list) else [value]
    if wrong := [end for end in ends if not isinstance(end, int)]:
        raise UserError(f"{file}: eos_token_id: {wrong[0]!r} is no token id")
    return tuple(ends)


def _identity(path: Path, model: Mellum, tokenizer: Tokenizer) -> dict[str, Any]:
    from mellum_eval.backends.hf import weights_sha256
    from mellum_model.info import model_info

    found = model_info(model.config)
    template = tokenizer.chat_template
    return {
        "model_type": "mellum",
        "parameters": {"total": found.total, "active": found.active},
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "sha256": weights_sha256(path),
        "chat_template_sha256": hashlib.sha256(template.encode()).hexdigest() if template is not None else None,
    }
