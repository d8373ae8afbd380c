"""`mellum-eval rescore`: new verdicts on stored completions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mellum_eval.cli.choices import Judge, JudgeKey, MaxInfraRate, Sandbox, Workers

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def rescore(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run; its verdicts and scores are replaced.")],
    sandbox: Sandbox = None,
    workers: Workers = None,
    max_infra_rate: MaxInfraRate = None,
    judge: Judge = None,
    judge_api_key_env: JudgeKey = None,
) -> None:
    """Judge a run's stored generations again, without a model."""
    from mellum_eval import launch
    from mellum_eval.cli.finish import finish, say
    from mellum_eval.cli.interrupts import run_until_signal
    from mellum_eval.cli.progress import progress
    from mellum_eval.spec import make_spec

    flags: dict[str, Any] = {
        "sandbox": None if sandbox is None else sandbox.value,
        "workers": workers,
        "max_infra_rate": max_infra_rate,
        "judge": judge,
        "judge_api_key_env": judge_api_key_env,
    }
    spec = make_spec(flags)
    try:
        with progress() as watch:
            done = run_until_signal(launch.rescore(run_dir, spec, say=say, watch=watch))
    except KeyboardInterrupt:
        say("interrupted; the run has its old verdicts")
        raise typer.Exit(130) from None
    finish(done, spec.max_infra_rate)
