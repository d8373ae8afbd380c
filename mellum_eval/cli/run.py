"""`mellum-eval run`: a model through suites to scores and a report."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mellum_eval.cli.choices import Judge, JudgeKey, MaxInfraRate, Runtime, Sandbox, Workers, runtime_for
from mellum_eval.errors import UserError

if TYPE_CHECKING:
    from mellum_eval.launch import Finished
    from mellum_eval.spec import RunSpec

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog="MODEL is one of: nano, nano:base, nano:thinking, nano:instruct-sft, nano:thinking-sft (the bundled "
    "model); native:PATH (our own model); hf:ID_OR_PATH (transformers); "
    "vllm:ID_OR_PATH (a vLLM server of our own); openai:MODEL@URL (any OpenAI-compatible endpoint); "
    "replay:RUN_DIR (generations of an earlier run); mock:gold, mock:empty or mock:mixed (no model)."
)
def run(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="SCHEME:NAME, see below. [default: nano]")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", "-s", metavar="NAME[:VARIANT]", help="Suite or group, repeatable. [default: quick]"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="YAML with the same names, or of a campaign; flags win over it."),
    ] = None,
    skip_missing: Annotated[
        bool | None, typer.Option("--skip-missing", help="Leave out suites whose data is not at hand, and say so.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Problems a suite at most, evenly spread over it.")
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", metavar="K", help="Completions a problem.")] = None,
    temperature: Annotated[
        list[str] | None,
        typer.Option("--temperature", metavar="T...", help="0 is greedy; several make a row of scores each."),
    ] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", metavar="P", help="Nucleus sampling.")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", metavar="K", help="0 keeps all tokens.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", help="New tokens at most, reasoning included.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Each sample's own seed follows from it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Run directory. [default: runs/TIME-MODEL]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, in samples, tokens, time and money; ask nothing.")
    ] = False,
    sandbox: Sandbox = None,
    runtime: Runtime = None,
    workers: Workers = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="A replica of the model and a sandbox pool on each node of Ray."),
    ] = None,
    max_infra_rate: MaxInfraRate = None,
    judge: Judge = None,
    judge_api_key_env: JudgeKey = None,
    base: Annotated[
        bool | None, typer.Option("--base/--chat", help="Plain continuation, or the chat template. [default: chat]")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", metavar="N", help="Requests in flight at an endpoint. [default: 32]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="N", help="Prompts a batch with hf:, native:. [default: 16]")
    ] = None,
    speculative: Annotated[
        bool | None, typer.Option("--speculative", help="Draft with the MTP head of a native: model.")
    ] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="auto, float32, bfloat16, float16.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1.")] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Revision of a model on the hub.")] = None,
    trust_remote_code: Annotated[
        bool | None, typer.Option("--trust-remote-code", help="Run the code that comes with a model, unconfined.")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", metavar="N", help="Tokens of an endpoint's context, where it does not say."),
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout-s", metavar="S", help="For one reply of an endpoint. [default: 600]")
    ] = None,
    retries: Annotated[
        int | None, typer.Option("--retries", metavar="N", help="Tries again at an endpoint. [default: 6]")
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option("--api-key-env", metavar="NAME", help="Variable with the key. [default: OPENAI_API_KEY]"),
    ] = None,
    extra_body: Annotated[
        str | None, typer.Option("--extra-body", metavar="JSON", help="Fields added to every request to an endpoint.")
    ] = None,
    chat_template_kwargs: Annotated[
        str | None,
        typer.Option("--chat-template-kwargs", metavar="JSON", help="For the chat template, not of openai:."),
    ] = None,
    price_in: Annotated[
        float | None, typer.Option("--price-in", metavar="P", help="Price of a million prompt tokens.")
    ] = None,
    price_out: Annotated[
        float | None, typer.Option("--price-out", metavar="P", help="Price of a million completion tokens.")
    ] = None,
    thinking_budget: Annotated[
        int | None,
        typer.Option("--thinking-budget", metavar="N", help="Tokens for reasoning, on top of a suite's own."),
    ] = None,
    cache: Annotated[
        str | None, typer.Option("--cache", metavar="DIR", help="Completions to take from, and to add to.")
    ] = None,
    stream: Annotated[
        bool | None, typer.Option("--stream", help="Have an endpoint send its replies piece by piece.")
    ] = None,
    guided_choice: Annotated[
        bool | None, typer.Option("--guided-choice", help="Hold the model to the choices instead of ranking them.")
    ] = None,
    vllm_python: Annotated[
        str | None,
        typer.Option("--vllm-python", metavar="PATH", help="Python with vLLM. [default: MELLUM_VLLM_PYTHON, this one]"),
    ] = None,
    vllm_args: Annotated[
        str | None,
        typer.Option("--vllm-args", metavar="ARGS", help="Further arguments of vLLM's server, as in a shell."),
    ] = None,
    reasoning_parser: Annotated[
        str | None, typer.Option("--reasoning-parser", metavar="NAME", help="vLLM's, such as qwen3.")
    ] = None,
    tool_call_parser: Annotated[
        str | None, typer.Option("--tool-call-parser", metavar="NAME", help="vLLM's, such as hermes.")
    ] = None,
) -> None:
    """Evaluate a model on suites and write a run directory and a report."""
    from mellum_eval.campaign import Member, is_campaign, read_campaign
    from mellum_eval.launch import DEFAULT_MODEL, default_out
    from mellum_eval.spec import make_spec, read_config

    named, drawn = _names_and_numbers(model, more or [], temperature or [])
    flags: dict[str, Any] = {
        "model": named,
        "suites": tuple(name.strip() for given in suites or [] for name in given.split(",") if name.strip()),
        "skip_missing": skip_missing,
        "limit": limit,
        "samples": samples,
        "temperature": drawn,
        "top_p": top_p,
        "top_k": top_k,
        "max_tokens": max_tokens,
        "seed": seed,
        "sandbox": None if sandbox is None else sandbox.value,
        "runtime": runtime_for(sandbox, runtime, ray),
        "workers": workers,
        "ray": ray,
        "max_infra_rate": max_infra_rate,
        "judge": judge,
        "judge_api_key_env": judge_api_key_env,
        "price_in": price_in,
        "price_out": price_out,
        "backend.base": base,
        "backend.concurrency": concurrency,
        "backend.batch_size": batch_size,
        "backend.speculative": speculative,
        "backend.dtype": dtype,
        "backend.device": device,
        "backend.revision": revision,
        "backend.trust_remote_code": trust_remote_code,
        "backend.context": context,
        "backend.timeout_s": timeout_s,
        "backend.retries": retries,
        "backend.api_key_env": api_key_env,
        "backend.extra_body": _json("--extra-body", extra_body),
        "backend.chat_template_kwargs": _json("--chat-template-kwargs", chat_template_kwargs),
        "backend.thinking_budget": thinking_budget,
        "backend.stream": stream,
        "backend.cache": cache,
        "backend.guided_choice": guided_choice,
        "backend.vllm_python": vllm_python,
        "backend.vllm_args": _words("--vllm-args", vllm_args),
        "backend.reasoning_parser": reasoning_parser,
        "backend.tool_call_parser": tool_call_parser,
    }
    config = _bundled(config)
    if config is not None and is_campaign(read_config(config)):
        from mellum_eval.cli.campaign import run_campaign

        root = out or Path("runs") / config.stem
        run_campaign(read_campaign(config, flags), root, resume=resume, dry_run=dry_run)
    elif dry_run:
        from mellum_eval.cli.campaign import show_plan

        spec = make_spec(flags, config)
        path = out or default_out(spec.model or DEFAULT_MODEL)
        raise typer.Exit(show_plan([Member(path.name, spec)], path.parent, to_stderr=False))
    else:
        _run(make_spec(flags, config), out, resume)


def _bundled(config: Path | None) -> Path | None:
    """A campaign that comes with the baselines, where a name is given and no such file is there."""
    if config is None or config.exists():
        return config
    from reports.baselines import campaign_path

    return campaign_path(str(config)) or config


def _run(spec: RunSpec, out: Path | None, resume: bool) -> None:
    from mellum_eval import launch
    from mellum_eval.cli.finish import finish, say
    from mellum_eval.cli.interrupts import run_until_signal
    from mellum_eval.cli.native import PROVIDER, provide_native
    from mellum_eval.cli.progress import progress

    provide_native()
    if resume and out is None:
        raise UserError("--resume needs --out DIR, the directory of the run to go on with")
    path = out or launch.default_out(spec.model or launch.DEFAULT_MODEL)
    try:
        with progress() as watch:
            done: Finished = run_until_signal(
                launch.run(spec, path, resume=resume, say=say, watch=watch, provider=PROVIDER)
            )
    except KeyboardInterrupt:
        begun = (path / "run.json").exists()
        say(f"interrupted; continue with `mellum-eval run --resume --out {path}`" if begun else "interrupted")
        raise typer.Exit(130) from None
    from mellum_eval.store import RunStore

    rate = spec.max_infra_rate if not resume or "max_infra_rate" in spec.model_fields_set else float(
        RunStore.open(path).manifest.spec.get("max_infra_rate", 0.01)
    )  # fmt: skip
    finish(done, rate)


def _names_and_numbers(
    model: str | None, more: list[str], temperature: list[str]
) -> tuple[str | None, tuple[float, ...]]:
    """Sort what stands without a flag: `--temperature 0 0.8` leaves 0.8 to the arguments.

    Raises:
        UserError: Something is neither a model nor a temperature.
    """
    numbers = [_number(part) for given in temperature for part in given.split(",")]
    names = []
    for given in [*([model] if model is not None else []), *more]:
        try:
            # No model's name is a number, so next to --temperature a number is one more of those.
            numbers.append(float(given if temperature else "no"))
        except ValueError:
            names.append(given)
    if len(names) > 1:
        raise UserError(f"one MODEL at a time, not {' and '.join(names)}")
    return (names[0] if names else None), tuple(numbers)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--temperature: {text!r} is not a number") from None


def _words(flag: str, text: str | None) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text or ""))
    except ValueError as error:
        raise UserError(f"{flag}: {error}") from None


def _json(flag: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{flag}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f'{flag}: a JSON object is needed, such as {{"key": 1}}')
    return value
