"""What is there, what is missing, and the command that mends it. Looks, but changes nothing."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from mellum_eval import __version__
from mellum_eval.backends.base import Completion, Failure, Request
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.manifest import host
from mellum_eval.probes import hub_endpoint, hub_is_reachable
from mellum_eval.spec import BackendOptions
from sandboxes.choose import open_sandbox
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.languages import LANGUAGES
from suites import registry
from suites.problem import Message, Prompt
from suites.sampling import Sampling
from suites.sources import MIRROR_VARIABLE, cache_root, find, mirror_root

MIN_FREE_GIB = 2.0
LOOK_S = 60.0


class State(StrEnum):
    """How a finding stands."""

    OK = "ok"
    ABSENT = "absent"
    """Not there; what needs it cannot be done, the rest can."""
    MISSING = "missing"
    """Not there, and hardly anything can be done without it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        state: How it stands.
        detail: Version, number, or what is wrong.
        mend: The command that changes that; empty where all is well.
    """

    name: str
    state: State
    detail: str
    mend: str = ""


async def examine_model(model: str, options: BackendOptions) -> Finding:
    """Whether a backend opens and answers: one token of one reply, and a ranking where it is asked as a base model.

    Args:
        model: SCHEME:REST.
        options: How it is driven.
    """
    from mellum_eval.backends.registry import open_backend

    name = f"model: {model}"
    try:
        backend = await open_backend(model, options)
    except PrerequisiteMissing as missing:
        return Finding(name, State.MISSING, missing.what, missing.mend)
    except UserError as error:
        return Finding(name, State.MISSING, str(error), "see `mellum-eval run --help` for what a model may be")
    try:
        info = backend.info
        plain = Prompt(text="The sky is") if not info.chat else Prompt(messages=(Message("user", "Say yes."),))
        said = await _one_reply(backend.generate, plain)
        if isinstance(said, Failure):
            return Finding(name, State.MISSING, f"opens, but fails ({said.message})", "mend the endpoint")
        ranks = "ranks choices"
        if not info.loglikelihood:
            ranks = "cannot rank choices: --base or --guided-choice may"
        else:
            ranked = await _one_reply(backend.loglikelihood, replace(plain, choices=(" A", " B")))
            if isinstance(ranked, Failure):
                ranks = f"cannot rank choices ({ranked.message})"
        counts = "" if said.tokens else ", counts no tokens"
        asked = "chat" if info.chat else "plain continuation"
        detail = f"{info.name}: {asked}, first token in {said.latency_s:.2f} s, {ranks}{counts}"
        return Finding(name, State.OK, "; ".join([detail, *info.notices, *info.tool_notices]))
    except PrerequisiteMissing as missing:
        return Finding(name, State.MISSING, missing.what, missing.mend)
    except UserError as error:
        return Finding(name, State.MISSING, f"opens, but refuses one token ({error})", "mend the model's name or flags")
    finally:
        await backend.aclose()


async def _one_reply(ask: Callable[[AsyncIterator[Request]], Any], prompt: Prompt) -> Completion | Failure:
    async def requests() -> AsyncIterator[Request]:
        yield Request("doctor", "doctor", "probe", 0, prompt, Sampling(max_tokens=1))

    replies = ask(requests())
    try:
        async for _, reply in replies:
            answer: Completion | Failure = reply
            return answer
        return Failure("no reply at all")
    finally:
        await replies.aclose()


async def examine() -> list[Finding]:
    """All findings; a minute at most."""
    docker, local = await asyncio.gather(_sandbox("docker"), _sandbox("local"))
    if docker.state is not State.OK and local.state is not State.OK:
        docker = Finding(docker.name, State.MISSING, docker.detail, docker.mend)
        local = Finding(local.name, State.MISSING, local.detail, local.mend)
    gpu, hub = await asyncio.gather(asyncio.to_thread(_gpu), asyncio.to_thread(_hub))
    return [_python(), _machine(), docker, local, *_packages(), gpu, hub, _data(), *_disks()]


def _python() -> Finding:
    return Finding("python", State.OK, f"{platform.python_version()}, mellum-eval {__version__}")


def _machine() -> Finding:
    facts = host()
    memory = f", {facts['memory_gib']} GiB" if "memory_gib" in facts else ""
    return Finding("machine", State.OK, f"{facts['cpus']} CPUs{memory}, {facts['platform']}")


async def _sandbox(choice: str) -> Finding:
    name = f"sandbox: {choice}"
    try:
        async with asyncio.timeout(LOOK_S):
            pool = await open_sandbox(choice, 1)  # type: ignore[arg-type]
            async with pool:
                facts = pool.describe()
                if not await pool.healthy():
                    return Finding(name, State.ABSENT, "starts, but its trial job fails", "mellum-eval sandbox status")
                languages = []
                for language in LANGUAGES.values():
                    with suppress(SandboxUnavailable):
                        await pool.require(language)
                        languages.append(language.title)
    except SandboxUnavailable as missing:
        return Finding(name, State.ABSENT, missing.what, missing.mend)
    except (SandboxError, TimeoutError) as error:
        detail = str(error) or f"does not start within {LOOK_S:g} s"
        return Finding(name, State.ABSENT, detail, f"mellum-eval sandbox status --sandbox {choice}")
    shown = [str(facts[key]) for key in ("engine_version", "image", "made_by") if facts.get(key)]
    return Finding(name, State.OK, ", ".join([*shown, f"languages: {', '.join(languages)}"]))


def _packages() -> list[Finding]:
    findings = []
    for package, extra, what in (
        ("torch", "model", "the model itself, hf:"),
        ("transformers", "hf", "hf:"),
        ("datasets", "data", "data from the hub"),
    ):
        try:
            findings.append(Finding(package, State.OK, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(package, State.ABSENT, f"needed for {what}", f'pip install "mellum-eval[{extra}]"'))
    return findings


def _gpu() -> Finding:
    command = shutil.which("nvidia-smi")
    if command is None:
        return Finding("gpu", State.ABSENT, "no nvidia-smi; hf: runs on the CPU")
    try:
        listing = subprocess.run(
            [command, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("gpu", State.ABSENT, f"nvidia-smi fails ({type(error).__name__})", "nvidia-smi")
    cards = [" ".join(line.split()) for line in listing.splitlines() if line.strip()]
    return Finding("gpu", State.OK if cards else State.ABSENT, "; ".join(cards) or "none listed")


def _hub() -> Finding:
    if hub_is_reachable():
        return Finding("hub", State.OK, hub_endpoint())
    why = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else f"{hub_endpoint()} does not answer"
    return Finding("hub", State.ABSENT, f"{why}; local models and data work")


def _data() -> Finding:
    mirror = mirror_root()
    if mirror is not None and not mirror.is_dir():
        return Finding("data", State.ABSENT, f"{MIRROR_VARIABLE}={mirror} is no directory", f"unset {MIRROR_VARIABLE}")
    absent, there = [], 0
    for entry in registry.entries():
        suite = registry.get(entry.name)
        if not suite.data():
            continue
        if all(find(source) is not None for source in suite.data()):
            there += 1
        else:
            absent.append(entry.name)
    total = there + len(absent)
    where = f"{mirror}" if mirror is not None else f"{cache_root() / 'data'}"
    if absent:
        detail = f"{there} of {total} suites in {where}; not {', '.join(absent)}"
        return Finding("data", State.ABSENT, detail, "mellum-eval data fetch")
    return Finding("data", State.OK, f"{total} suites in {where}")


def _disks() -> list[Finding]:
    findings = []
    for name, path in (("disk: here", Path.cwd()), ("disk: cache", cache_root())):
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(there).free / 2**30
        writable = os.access(there, os.W_OK)
        state = State.OK if writable and free >= MIN_FREE_GIB else State.ABSENT
        mend = "" if state is State.OK else "free some space" if writable else "choose another --out"
        text = f"{free:.1f} GiB free under {there}" + ("" if writable else ", not writable")
        findings.append(Finding(name, state, text, mend))
    return findings
