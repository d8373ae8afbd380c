"""`mellum-eval model`: what a Mellum checkpoint costs, its other layout, and text from it."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mellum_eval.cli.model_errors import model_errors
from mellum_eval.terminal import printable

if TYPE_CHECKING:
    from mellum_model import MellumConfig
    from mellum_model.tokenizer import Tokenizer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show, convert and run a Mellum checkpoint.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

PRESETS = ("mellum2-12b", "mellum2-12b-8k", "mellum-18m")
"""Shapes without weights; the last is the one that `tests/benchmarks/model_speed.py` measures."""


class Layout(StrEnum):
    """The values of --to."""

    HUB = "hub"
    NATIVE = "native"


def _config(which: str) -> MellumConfig:
    from mellum_model import MellumConfig

    if which == "mellum2-12b":
        return MellumConfig.mellum2_12b()
    if which == "mellum2-12b-8k":
        return MellumConfig.mellum2_12b(long_context=False)
    if which == "mellum-18m":
        return MellumConfig.nano()
    path = _directory(which)
    config = MellumConfig.load(path)
    if any(path.glob("*.safetensors*")):  # a config.json alone may be asked about
        from mellum_model import Mellum
        from mellum_model.checkpoint import check

        check(Mellum, path)
    return config


def _directory(which: str) -> Path:
    """A checkpoint's directory: `nano`, `nano:base` and so on are the bundled ones, here as in `run`."""
    from mellum_model.errors import CheckpointError
    from mellum_model.nano import checkpoint

    name, _, variant = which.partition(":")
    if name != "nano":
        return Path(which)
    try:
        return checkpoint(variant)
    except ValueError as error:
        raise CheckpointError(str(error)) from None


@app.command()
def info(
    model: Annotated[
        str,
        typer.Argument(help=f"Checkpoint directory, its config.json, nano[:VARIANT] or a shape: {', '.join(PRESETS)}."),
    ],
    context: Annotated[
        int | None, typer.Option("--context", min=1, help="Tokens in the cache; the longest if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Show parameters, active parameters and cache bytes, by part."""
    with model_errors():
        config = _config(model)
        from mellum_model.info import model_info

        found = model_info(config, context)
    if as_json:
        parts = {part.name: {"parameters": part.total, "active": part.active} for part in found.parts}
        data: dict[str, Any] = {
            "parameters": found.total,
            "active_parameters": found.active,
            "parts": parts,
            "context": found.context,
            "kv_bytes": found.kv_bytes,
            "kv_bytes_full_layers": found.kv_bytes_full,
            "kv_bytes_sliding_layers": found.kv_bytes_sliding,
        }
        typer.echo(json.dumps(data, indent=2))
        return
    typer.echo(f"{'part':<22}{'parameters':>18}{'active a token':>18}")
    for part in found.parts:
        typer.echo(f"{part.name:<22}{part.total:>18,}{part.active:>18,}")
    apart = " (without the MTP head)" if config.num_mtp_layers else ""
    typer.echo(f"{'all':<22}{found.total:>18,}{found.active:>18,}{apart}")
    typer.echo(f"\ncache at {found.context:,} tokens, bfloat16, one sequence")
    typer.echo(f"{'full layers':<22}{found.kv_bytes_full:>18,} bytes")
    typer.echo(f"{'sliding layers':<22}{found.kv_bytes_sliding:>18,} bytes")
    typer.echo(f"{'all':<22}{found.kv_bytes:>18,} bytes")


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Checkpoint directory in either layout, or nano[:VARIANT].")],
    target: Annotated[Path, typer.Argument(help="Directory to write.")],
    to: Annotated[
        Layout, typer.Option("--to", help="hub: what transformers loads; native: mapped straight into memory.")
    ],
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32, bfloat16, float16; as stored if not given.")
    ] = None,
) -> None:
    """Rewrite a checkpoint in the other layout or dtype."""
    with model_errors():
        from mellum_model.conversion import convert as rewrite

        model = rewrite(_directory(source), target, to=to.value, dtype=dtype)
    count = sum(parameter.numel() for parameter in model.parameters())
    typer.echo(f"{target}: {to.value} layout, {count:,} parameters, {str(model.dtype).removeprefix('torch.')}")


@app.command()
def generate(
    model: Annotated[str, typer.Argument(help="Checkpoint directory with a tokenizer, or nano[:VARIANT].")],
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="What to continue or answer; stdin if not given.")
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="The prompt is a user's turn, not a text to continue.")] = False,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="New tokens at most.")] = 256,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Nucleus; 1 keeps all.")] = 1.0,
    top_k: Annotated[int, typer.Option("--top-k", min=0, help="0 keeps all.")] = 0,
    min_p: Annotated[float, typer.Option("--min-p", help="Tokens at least this probable relative to the best.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the random choices.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="Text that ends generation; may be given again.")
    ] = None,
    thinking_budget: Annotated[
        int | None, typer.Option("--thinking-budget", min=0, help="Tokens of reasoning at most.")
    ] = None,
    speculative: Annotated[bool, typer.Option("--speculative", help="Draft with the MTP head.")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1.")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32, bfloat16, float16; as stored if not given.")
    ] = None,
) -> None:
    """Write text from a checkpoint to stdout as it comes."""
    text = sys.stdin.read() if prompt is None else prompt
    with model_errors():
        from mellum_model import Mellum, MellumConfig, Sampling, stream
        from mellum_model.tokenizer import Tokenizer

        sampling = Sampling(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            seed=seed,
            stop=tuple(stop or ()),
            thinking_budget=thinking_budget,
        )
        path = _directory(model)
        MellumConfig.load(path)  # what is no checkpoint is called so, and not a missing tokenizer
        tokenizer = Tokenizer.load(path)
        if chat:
            text = _as_turn(tokenizer, text)
            end = tokenizer.id_of("<|im_end|>")
            sampling = sampling if end is None else _ending_at(sampling, end)
        weights = Mellum.from_pretrained(path, device=device, dtype=dtype)
        last = None
        for delta in stream(weights, [text], sampling, tokenizer=tokenizer, speculative=speculative):
            # A terminal obeys escape sequences; a pipe gets the text as it is.
            typer.echo(printable(delta.text) if sys.stdout.isatty() else delta.text, nl=False)
            last = delta.result or last
    typer.echo("")
    if last is not None:
        drafts = f", {last.accepted} of {last.drafted} drafts accepted" if last.drafted else ""
        typer.echo(f"{last.prompt_tokens} + {len(last.tokens)} tokens, {last.finish}{drafts}", err=True)


def _as_turn(tokenizer: Tokenizer, text: str) -> str:
    from mellum_model.chat import render, render_template

    turn = [{"role": "user", "content": text}]
    return render(turn) if tokenizer.chat_template is None else render_template(tokenizer.chat_template, turn)


def _ending_at(sampling: Any, token: int) -> Any:
    from dataclasses import replace

    return replace(sampling, stop_token_ids=(*sampling.stop_token_ids, token))
