"""The command line: one file a verb, imported when the verb is called.

The names and the one-line helps of the verbs are written here, so that `--help` reads no verb's module: importing all
of them would cost more than everything else together. The price is that a verb's first line stands twice; a test
compares them.

Exit codes: 0 done; 1 ran, but too many answers could not be judged; 2 bad usage or bad input; 3 a prerequisite is
missing; 130 interrupted; 70 a bug of ours (sysexits' EX_SOFTWARE: it must not look like 1); 141 the reader of our
output went away, as a shell reports it. Whatever the error, stderr gets one line; MELLUM_DEBUG=1 adds the traceback.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from mellum_eval import __version__

VERBS = {
    "run": "Evaluate a model on suites and write a run directory and a report.",
    "rescore": "Judge a run's stored generations again, without a model.",
    "report": "Make a leaderboard from run directories.",
    "compare": "Compare two runs problem by problem, with intervals.",
    "suites": "List, show and validate the suites.",
    "data": "Show, fetch and verify the suites' data.",
    "judge": "Measure how far a judge model, or the rules, agree with labelled answers.",
    "verify": "Judge JSONL jobs from stdin, verdicts to stdout.",
    "serve": "Serve the verifiers over HTTP, as rewards for trainers.",
    "sandbox": "Build, inspect and measure the sandbox.",
    "model": "Show, convert and run a Mellum checkpoint.",
    "train": "Train a Mellum model by a recipe.",
    "doctor": "Show what is installed, what is missing, and the command that mends it.",
}


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports a command's module only to run it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs, in the order of a user's first day."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the verb's module and make its command."""
        if cmd_name not in VERBS:
            return None
        module = import_module(f"mellum_eval.cli.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Help's list of verbs, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb, or fail with the nearest name."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the verbs are {', '.join(VERBS)}"
            ctx.fail(f"no verb named {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mellum-eval {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    ctx: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Evaluate code models: verdicts that cannot be forged, numbers with honest intervals."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with contract 2's exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character gets an escape, never a traceback at the end of a long run.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        # Not command.main(): it answers Ctrl-C, a closed pipe and Abort with exit codes and lines of its own.
        with command.make_context("mellum-eval", arguments) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as end:
        return _flushed(end.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return 130
    except BrokenPipeError:
        return _reader_gone()
    except Exception as error:
        from mellum_eval.cli.failures import explain

        if os.environ.get("MELLUM_DEBUG"):
            import traceback

            traceback.print_exc()
        code, line = explain(error)
        _say(line)
        return code
    return 0


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    except OSError as error:
        _say(f"stdout: {error.strerror}")
        return 2
    return code


def _reader_gone() -> int:
    # What is still buffered has no reader; without this Python complains about it at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _say(line: str) -> None:
    from mellum_eval.terminal import one_line

    typer.echo(f"mellum-eval: {one_line(line)}", err=True)
