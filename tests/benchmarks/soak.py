"""Honest, hostile and slow jobs for minutes, with three containers killed and the engine restarted in the middle.

    python -m tests.benchmarks.soak --minutes 20

Each job's true verdict is known beforehand. It ends with a table, and with exit code 1 unless every job was judged
once, truly or as `infra_error`, no process, file or container of any job is left, and the harness's own memory stayed
flat. The engine is one of its own, on its own socket: the machine's is neither restarted nor filled. Needs root,
dockerd, and the images of `FAMILIES`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from language_programs import SAMPLES
from own_engine import OwnEngine, own_engine

from sandboxes.check import CHECK, Check
from sandboxes.engines.docker import IMAGE, LABEL, DockerEngine, family_image
from sandboxes.languages import LANGUAGES, Family, LanguageName
from sandboxes.pool import SandboxPool
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Verifiers
from tests.benchmarks.soak_traces import container_traces, processes_left
from tests.redteam.cheats import SQUARE_CHEATS
from tests.redteam.foreign import ATTACKS, carried
from tests.redteam.honest import FUNCTION_ONLY, HONEST
from tests.redteam.kinds import ARGUMENTS, KINDS, TIGHT, answer_of, check_of

SQUARES = {x: x * x + 1 for x in ARGUMENTS}
GROWTH_MB = 64
"""What the harness may hold more at the end than after a tenth of the time."""
MAX_INFRA = 0.02
OUTSTANDING = 6
LANGUAGES_MIXED: tuple[LanguageName, ...] = ("bash", "cpp", "java", "javascript")
FAMILIES: tuple[Family, ...] = tuple(dict.fromkeys(LANGUAGES[name].family for name in LANGUAGES_MIXED))
PRINTS_OTHERWISE = ("float_result", "numpy_scalar")  # right values that a program prints in another way


@dataclass(frozen=True, slots=True)
class Soaked:
    """One job of the mix: what is asked, what is answered, and whether a true verdict credits it."""

    name: str
    check: Check
    answer: str
    right: bool


def _slow(seconds: float) -> str:
    return f"def f(x):\n    import time\n    time.sleep({seconds / len(SQUARES)})\n    return x * x + 1\n"


def honest() -> list[Soaked]:
    """Odd-looking programs that are right, on every split kind."""
    limits = {"cpu_s": 10, "memory_mb": 512}
    return [
        Soaked(f"honest/{kind}/{name}", check_of(kind, SQUARES, limits), answer_of(kind, code), True)
        for kind in KINDS
        for name, code in (HONEST if kind == "stdio" else HONEST | FUNCTION_ONLY).items()
        if not (kind == "stdio" and name in PRINTS_OTHERWISE)
    ]


def hostile() -> list[Soaked]:
    """The red team's cheats, on every split kind."""
    return [
        Soaked(f"hostile/{kind}/{name}", check_of(kind, SQUARES, TIGHT), answer_of(kind, code), False)
        for kind in KINDS
        for name, code in SQUARE_CHEATS.items()
    ]


def slow() -> list[Soaked]:
    """Right but slow, and endless."""
    limits = {"cpu_s": 5, "wall_s": 30, "memory_mb": 256}
    endless = {"cpu_s": 0.5, "wall_s": 3, "memory_mb": 256}
    return [
        *(Soaked(f"slow/{kind}", check_of(kind, SQUARES, limits), answer_of(kind, _slow(2)), True) for kind in KINDS),
        *(
            Soaked(f"endless/{kind}", check_of(kind, SQUARES, endless), "def f(x):\n    while True: pass\n", False)
            for kind in ("calls", "check", "asserts")
        ),
    ]


def plain() -> list[Soaked]:
    """The simplest jobs, right and wrong: most of the traffic."""
    limits = {"cpu_s": 10, "memory_mb": 512}
    return [
        Soaked(f"plain/{kind}/{right}", check_of(kind, SQUARES, limits), answer_of(kind, code), right)
        for kind in KINDS
        for right, code in ((True, "def f(x): return x * x + 1\n"), (False, "def f(x): return x * x\n"))
    ]


def program() -> list[Soaked]:
    """A program beside its own tests: `isolation: shared`."""

    def job(code: str, right: bool) -> Soaked:
        tests = "def test():\n    assert f(3) == 10\ntest()\n"
        check = CHECK.validate_python({"kind": "program", "language": "python", "tests": tests})
        return Soaked(f"program/{right}", check, code, right)

    return [job("def f(x): return x * x + 1\n", True), job("def f(x): return 10 + x\n", False)]


def languages() -> list[Soaked]:
    """Programs of other languages: right, wrong, broken, crashing, endless, greedy, and carriers of hostile scripts."""

    def job(name: str, language: LanguageName, code: str, right: bool) -> Soaked:
        limits = {"cpu_s": 5 if right else 1, "wall_s": 60 if right else 10, "memory_mb": 256}
        case = {"stdin": "3 4\n", "stdout": "7\n"}
        check = CHECK.validate_python({"kind": "stdio", "language": language, "cases": [case], "limits": limits})
        return Soaked(f"{language}/{name}", check, code, right)

    found = []
    for language in LANGUAGES_MIXED:
        samples = SAMPLES[language]
        for name in ("right", "wrong", "broken", "crash", "loop", "hoard"):
            found.append(job(name, language, getattr(samples, name), name == "right"))
        found += [job(name, language, carried(language, script), False) for name, script in ATTACKS.items()]
    return found


MIX: tuple[tuple[int, Callable[[], list[Soaked]]], ...] = (
    (8, plain),
    (4, honest),
    (4, hostile),
    (1, slow),
    (1, program),
    (3, languages),
)
"""How often each group is drawn from. Further kinds: a function above, and one line here."""


def draw(seed: int) -> Iterator[Soaked]:
    """Jobs without end, the same for the same seed; a group's jobs come in turn, so none is left out."""
    dice = random.Random(seed)
    groups = []
    for weight, make in MIX:
        jobs = make()
        dice.shuffle(jobs)
        groups.append((weight, itertools.cycle(jobs)))
    while True:
        yield next(dice.choices([jobs for _, jobs in groups], [weight for weight, _ in groups])[0])


@dataclass(slots=True)
class Tally:
    """What came of it."""

    given: int = 0
    judged: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    infra: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    events: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    def add(self, number: int, job: Soaked, verdict: Verdict, seconds: float) -> None:
        self.judged[number] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        self.outcomes[job.name.split("/")[0], str(verdict.outcome)] += 1
        if verdict.outcome is Outcome.INFRA_ERROR:
            self.infra.append(f"{job.name}: {verdict.message}")
        elif verdict.passed is not job.right:
            self.wrong.append(f"{job.name}: {verdict.outcome} {verdict.message}")


def rss_mb() -> float:
    """Resident memory of this process, MiB, after what is garbage has gone."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def disturb(engine: OwnEngine, seconds: float, tally: Tally) -> None:
    """Kill three containers, each in another way, and restart the engine, spread over the middle."""
    began = time.monotonic()

    async def at(share: float) -> None:
        await asyncio.sleep(max(0.0, began + share * seconds - time.monotonic()))

    def one() -> object:
        running = engine.client().containers.list(filters={"label": LABEL}, ignore_removed=True)
        return random.choice(running) if running else None

    for share, way in ((0.25, "docker kill"), (0.4, "docker rm -f"), (0.75, "SIGKILL of its process 1")):
        if share == 0.75:
            await at(0.55)
            tally.events.append("the engine is restarted")
            await asyncio.to_thread(engine.stop)
            await asyncio.to_thread(engine.start)
        await at(share)
        container = await asyncio.to_thread(one)
        if container is None:
            tally.wrong.append(f"there was no container for `{way}`")
            continue
        tally.events.append(way)
        if way == "docker kill":
            await asyncio.to_thread(container.kill)
        elif way == "docker rm -f":
            await asyncio.to_thread(container.remove, force=True)
        else:
            os.kill(container.attrs["State"]["Pid"] or 0, signal.SIGKILL)


async def soak(engine: OwnEngine, image: str, seconds: float, workers: int, seed: int) -> Tally:
    """Judge for so long; the jobs under way at the end are finished."""
    tally = Tally()
    jobs = draw(seed)
    end = time.monotonic() + seconds
    async with SandboxPool(DockerEngine(image=image, client=engine.client()), workers) as pool:
        verifiers = Verifiers(sandbox=pool)

        async def loop() -> None:
            while time.monotonic() < end:
                job, number, began = next(jobs), tally.given, time.monotonic()
                tally.given += 1
                verdict = await verifiers.verify(job.check, job.answer)
                tally.add(number, job, verdict, time.monotonic() - began)

        async def weigh() -> None:
            while True:
                await asyncio.sleep(seconds / 20)
                tally.memory_mb.append(rss_mb())

        beside = [asyncio.create_task(disturb(engine, seconds, tally)), asyncio.create_task(weigh())]
        await asyncio.gather(*(loop() for _ in range(OUTSTANDING)))
        await beside[0]
        beside[1].cancel()
        if not await pool.healthy():
            tally.wrong.append("the pool is not healthy in the end")
        await asyncio.sleep(1)  # abandoned sessions are wound up beside us
        tally.wrong += await asyncio.to_thread(traces, engine)
    left = await asyncio.to_thread(engine.client().containers.list, all=True, ignore_removed=True)
    tally.wrong += [f"container {container.name} is left" for container in left]
    return tally


def traces(engine: OwnEngine) -> list[str]:
    """What jobs have left in the containers that stand, and on the host."""
    found = processes_left()
    running = engine.client().containers.list(filters={"label": LABEL}, ignore_removed=True)
    for container in running:
        found += container_traces(container.name, container.attrs["State"]["Pid"])
    return found if running else [*found, "no container stands in the end"]


def report(tally: Tally, seconds: float) -> list[str]:
    """Print the table; what is not as it must be."""
    faults = list(tally.wrong)
    lost = tally.given - len(tally.judged)
    twice = sum(count > 1 for count in tally.judged.values())
    early, late = tally.memory_mb[1] if len(tally.memory_mb) > 1 else 0.0, max(tally.memory_mb[-2:], default=0.0)
    rows: dict[str, object] = {
        "seconds": f"{seconds:g}",
        "jobs": tally.given,
        "judged once": sum(count == 1 for count in tally.judged.values()),
        "lost": lost,
        "judged twice": twice,
        "verdicts that are not true": len(tally.wrong),
        "infra_error": len(tally.infra),
        "slowest, s": f"{tally.slowest_s:.1f}",
        "harness, MiB": f"{early:.0f} -> {late:.0f}",
        "events": ", ".join(tally.events),
    }
    for (group, outcome), count in sorted(tally.outcomes.items()):
        rows[f"  {group}: {outcome}"] = count
    for name, value in rows.items():
        print(f"{name:<34}{value}")
    if lost or twice:
        faults.append(f"{lost} jobs were lost and {twice} judged twice")
    if late - early > GROWTH_MB:
        faults.append(f"the harness grew from {early:.0f} to {late:.0f} MiB")
    if len(tally.infra) > max(2, MAX_INFRA * tally.given):
        faults.append(f"{len(tally.infra)} jobs could not be judged: {tally.infra[:3]}")
    if len(tally.events) < 4:
        faults.append(f"not all faults were injected: {tally.events}")
    return faults


def main() -> int:
    """Parse the options, soak, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the engine is taken down then too
    seconds = options.minutes * 60
    image = os.environ.get("MELLUM_SANDBOX_IMAGE", IMAGE)
    with own_engine(image) as engine:
        for family in FAMILIES:
            if family != "python":
                engine.load(family_image(family))
        tally = asyncio.run(soak(engine, image, seconds, options.workers, options.seed))
    faults = report(tally, seconds)
    for fault in faults[:40]:
        print(f"FAULT {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
