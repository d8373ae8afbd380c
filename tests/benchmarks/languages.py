"""Compile and run times of every language: the first job on a fresh worker, a new source, and one compiled before.

    python -m tests.benchmarks.languages [--sandbox docker] [LANGUAGE…]

Prints medians of wall seconds, and the CPU seconds of the build and of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from sandboxes.choose import open_sandbox
from sandboxes.errors import SandboxUnavailable
from sandboxes.languages import LANGUAGES, LanguageName, named
from sandboxes.limits import Limits
from sandboxes.pool import SandboxPool
from sandboxes.programs import Program, Programs
from tests.language_programs import SAMPLES

COMMENT = {"bash": "#", "php": "//"}


async def timed(pool: SandboxPool, programs: Programs, program: Program) -> tuple[float, float]:
    """Wall and CPU seconds of one run, the build's wall too where there is one to make."""
    began = time.perf_counter()
    execution = await programs.run(program, b"20 22\n", Limits(), capture_stdout=1 << 16)
    if execution.ending.stdout.strip() != b"42":
        raise SystemExit(f"{program.language.name} printed {execution.ending.stdout!r} ({execution.words})")
    return time.perf_counter() - began, execution.ending.cpu_s


async def measure(pool: SandboxPool, name: LanguageName, rounds: int) -> str:
    """One row of the table."""
    language, code = LANGUAGES[name], SAMPLES[name].right
    programs = Programs(pool)
    first, _ = await timed(pool, programs, Program.of(language, code))
    new, kept, build_cpu, run_cpu = [], [], [], []
    for number in range(rounds):
        program = Program.of(language, f"{code}\n{COMMENT.get(name, '//')} {number}\n")
        if language.build:
            began = time.perf_counter()
            built = await programs.build(program)
            build_cpu.append(built.ending.cpu_s if built.ending else 0.0)
            new.append(time.perf_counter() - began)
        wall, cpu = await timed(pool, programs, program)
        kept.append(wall)
        run_cpu.append(cpu)
    build = f"{statistics.median(new):7.3f} {statistics.median(build_cpu):7.3f}" if new else f"{'-':>7} {'-':>7}"
    return f"{language.title:<11} {first:7.2f} {build} {statistics.median(kept):7.3f} {statistics.median(run_cpu):7.3f}"


async def main(sandbox: str, names: list[str], rounds: int) -> None:
    """Print the table."""
    print(f"{'seconds':<11} {'first':>7} {'build':>7} {'(CPU)':>7} {'run':>7} {'(CPU)':>7}")
    async with await open_sandbox("docker" if sandbox == "docker" else "local", 1) as pool:
        for name in names or list(SAMPLES):
            try:
                print(await measure(pool, named(name).name, rounds), flush=True)
            except SandboxUnavailable as missing:
                print(f"{name}: {missing}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sandbox", choices=["docker", "local"], default="docker")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("languages", nargs="*")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.sandbox, arguments.languages, arguments.rounds))
