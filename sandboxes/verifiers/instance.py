"""Kind `instance`: an answer's changes to a repository in an image of its own, judged by that repository's tests.

First the changes, by git and before anything of them is run; then every file that decides what the tests are is set
back (those of the hidden tests, and those that pytest obeys); then the hidden tests; then the test command. Tests and
candidate share a process, so that its verdicts are `shared`: a candidate that knows of it can forge them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from sandboxes.check import Answer, InstanceCheck
from sandboxes.errors import ContainerLost, SandboxError, SandboxUnavailable
from sandboxes.extract import split
from sandboxes.instances import InstanceContainer, Instances, Ran
from sandboxes.repository import BadChange, changes_in
from sandboxes.sandbox import End, Sandbox
from sandboxes.test_logs import statuses
from sandboxes.verdict import Outcome, Verdict, infra_error

LONGEST_DIFF = 2_000_000
RUNNER_FILES = ("conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml")
"""What pytest obeys, in whichever folder."""
STARTUP_FILES = ("sitecustomize.py", "usercustomize.py")
PLACE = "mellum"
APPLY = ("git apply", "git apply --recount", "git apply --3way")
TRIES = 3
_FENCE = re.compile(r"^```(?:diff|patch)?[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_HEAD = re.compile(r"^(?:diff --git |--- )", re.MULTILINE)
_NAMES = re.compile(r'^(?:--- "?a/|\+\+\+ "?b/|rename (?:from|to) |copy to )([^"\t\n]+)', re.MULTILINE)
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_PASSES = frozenset({"PASSED", "XFAIL"})
_KILLED = 137
_ENDS = {
    End.CPU_LIMIT: (Outcome.TIMEOUT, "the tests took more CPU time than they may"),
    End.WALL_LIMIT: (Outcome.TIMEOUT, "the tests took longer than they may"),
    End.MEMORY_LIMIT: (Outcome.OUT_OF_MEMORY, "the tests took more memory than they may"),
    End.OVERSIZE: (Outcome.FAILED, "the tests printed more than is read"),
}


class Unusable(Exception):
    """The answer cannot be taken, which is its own fault."""


class Unplaced(SandboxError):
    """The hidden tests do not fit the repository as it is now."""


@dataclass(frozen=True, slots=True)
class _Tested:
    """A run of the tests, and what its output says of each."""

    ran: Ran
    found: Mapping[str, str]


class InstanceVerifier:
    """Judges each answer in a container of its own."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        del sandbox  # an instance's image is not the sandbox's
        self._instances = Instances()

    async def verify(self, check: InstanceCheck, answer: Answer) -> Verdict:
        """Judge one answer: a diff, alone or in the last fenced block of a text, or a list of changed files.

        Raises:
            SandboxUnavailable: There is no Docker engine, or it has not the image.
        """
        try:
            given = diff_in(answer) if isinstance(answer, str) else changes_in(answer)
        except (Unusable, BadChange) as error:
            return Verdict(Outcome.UNPARSED, 0.0, 0, _total(check), str(error))
        if not given:
            return Verdict(Outcome.FAILED, 0.0, 0, _total(check), "nothing is changed")
        lost = ""
        for _ in range(TRIES):
            try:
                return await self._judged(check, given)
            except Unusable as error:
                return _verdict(Outcome.FAILED, check, str(error))
            except ContainerLost as error:
                lost = str(error)
            except SandboxUnavailable:
                raise
            except SandboxError as error:
                return infra_error(str(error), engine="docker", isolation="shared")
        return infra_error(lost, engine="docker", isolation="shared")

    async def _judged(self, check: InstanceCheck, given: str | Mapping[str, str | None]) -> Verdict:
        try:
            tested = await self._tested(check, given)
        except Unplaced as error:
            await self._tested(check, None)  # raises the same where it is the image's doing
            raise Unusable("these changes leave no place for the hidden tests") from error
        over = _ENDS.get(tested.ran.end)
        if over is not None:
            return _verdict(over[0], check, over[1], tested)
        if not tested.found and check.pass_to_pass and not (await self._tested(check, None)).found:
            raise SandboxError(
                f"the tests of {check.image} report nothing, whatever the answer (status {tested.ran.status}: "
                f"{_last_line(tested.ran)})"
            )
        return _compared(check, tested)

    async def _tested(self, check: InstanceCheck, given: str | Mapping[str, str | None] | None) -> _Tested:
        """The tests' run on the answer, or on the repository as it was."""
        async with self._instances.container(check.image, check.limits) as container:
            if given is not None:
                await _apply(container, check, given)
            hidden = {f"{PLACE}/tests.diff": check.test_patch.encode("utf-8", "surrogatepass")}
            await container.put(hidden, "/")
            ran = await container.run(_bash(f"git apply /{PLACE}/tests.diff && rm -r /{PLACE}"), check.folder)
            if ran.status != 0:
                raise Unplaced(f"the hidden tests do not fit {check.image}: {_last_line(ran)}")
            script = f"set -uo pipefail\n{{\n:\n{check.setup}\n}} >/dev/null 2>&1\n{check.command}"
            ran = await container.run(_bash(script), check.folder, measured=True)
        return _Tested(ran, await statuses(ran.text, check.log))


async def _apply(container: InstanceContainer, check: InstanceCheck, given: str | Mapping[str, str | None]) -> None:
    """Make the answer's changes, but for those that would change what the tests are.

    Raises:
        Unusable: They do not fit the repository.
    """
    # An image may have changed files of its own since its last commit: what is set back, is set back to those.
    found = await _listed(container, check.folder, "git stash create || true; printf '\\0'; git ls-files --others -z")
    base = found[0].strip() if _COMMIT.fullmatch(found[0].strip()) else "HEAD"
    others = set(found[1:])
    if isinstance(given, str):
        await _apply_diff(container, check, given)
    else:
        await _write(container, check, given)
    hidden = set(paths_in(check.test_patch))
    now = await _listed(
        container, check.folder, f"git diff --name-only --no-renames -z {base}; printf '\\0'; git ls-files --others -z"
    )
    changed = now[: now.index("")]
    made = set(now[len(changed) :]) - others
    for path in changed:
        if _is_left_out(path, hidden, check.may_change):
            quoted = shlex.quote(path)
            # `--3way` adds new files to the index; what was not there before has nothing to be set back to.
            back = f"git checkout -q {base} -- {quoted} 2>/dev/null || git rm -qf -- {quoted}"
            await _done(container, check, back)
    gone = [path for path in made if _is_left_out(path, hidden, check.may_change)]
    if gone:
        await _done(container, check, f"rm -f -- {shlex.join(gone)}")


async def _apply_diff(container: InstanceContainer, check: InstanceCheck, diff: str) -> None:
    await container.put({f"{PLACE}/answer.diff": diff.encode("utf-8", "replace")}, "/")
    command = " || ".join(f"{command} /{PLACE}/answer.diff" for command in APPLY)
    ran = await container.run(_bash(command), check.folder)
    if ran.end is not End.EXITED:
        raise Unusable("the diff takes more to apply than it may")
    if ran.status != 0:
        raise Unusable(f"the diff does not apply: {' '.join(ran.text.split())[:300]}")


async def _write(container: InstanceContainer, check: InstanceCheck, changes: Mapping[str, str | None]) -> None:
    for path in changes:
        if ".git" in PurePosixPath(path).parts:
            raise Unusable(f"{path} is not the repository's to change")
    deleted = [path for path, text in changes.items() if text is None]
    if deleted:
        await _done(container, check, f"rm -f -- {shlex.join(deleted)}")
    written = {path: text.encode("utf-8", "replace") for path, text in changes.items() if text is not None}
    if written:
        try:
            await container.put(written, check.folder)
        except ValueError as error:
            raise Unusable(f"the files cannot be written: {error}") from error


def diff_in(answer: str) -> str:
    """The diff of a completion: its last fenced block, or all of it; empty where it says nothing.

    Raises:
        Unusable: There is none.
    """
    text = split(answer).answer
    if text is None:
        raise Unusable("the reasoning was never closed, so there is no answer")
    blocks = [block for block in _FENCE.findall(text) if _HEAD.search(block)]
    found = blocks[-1] if blocks else text
    if not found.strip():
        return ""
    head = _HEAD.search(found)
    if head is None:
        raise Unusable("the answer has no diff")
    if len(found) > LONGEST_DIFF:
        raise Unusable(f"the diff has {len(found):,} characters; at most {LONGEST_DIFF:,} are taken")
    return found[head.start() :].rstrip("\n") + "\n"


def paths_in(patch: str) -> tuple[str, ...]:
    """The files that a diff names."""
    return tuple(dict.fromkeys(path.strip() for path in _NAMES.findall(patch)))


def _is_left_out(path: str, hidden: Collection[str], may_change: Collection[str]) -> bool:
    name = PurePosixPath(path).name
    decides = name in RUNNER_FILES or name in STARTUP_FILES or name.endswith(".pth")
    return path in hidden or (decides and path not in may_change)


def _compared(check: InstanceCheck, tested: _Tested) -> Verdict:
    found, ran = tested.found, tested.ran
    failing = [test for test in (*check.fail_to_pass, *check.pass_to_pass) if found.get(test) not in _PASSES]
    parts = {
        name: sum(found.get(test) in _PASSES for test in tests) / len(tests)
        for name, tests in (("fail_to_pass", check.fail_to_pass), ("pass_to_pass", check.pass_to_pass))
        if tests
    }
    if ran.status == _KILLED:
        words = f"the tests were killed, most likely for more memory than {check.limits.memory_mb} MiB"
        return _verdict(Outcome.OUT_OF_MEMORY, check, words, tested)
    if failing:
        first = failing[0]
        words = f"{len(failing)} of {_total(check)} tests, first {first} ({found.get(first, 'no result')})"
    elif ran.status != 0 and not {"FAILED", "ERROR"} & set(found.values()):
        # Somebody printed results that are not those of this run.
        words = f"no test failed, and yet the tests ended with status {ran.status}"
        return _verdict(Outcome.TAMPERED, check, words, tested)
    else:
        return _verdict(Outcome.PASSED, check, "", tested, passed=_total(check), parts=parts)
    return _verdict(Outcome.FAILED, check, words, tested, passed=_total(check) - len(failing), parts=parts)


def _verdict(
    outcome: Outcome,
    check: InstanceCheck,
    words: str,
    tested: _Tested | None = None,
    *,
    passed: int = 0,
    parts: Mapping[str, float] | None = None,
) -> Verdict:
    total = _total(check)
    return Verdict(
        outcome,
        passed / total,
        passed,
        total,
        words,
        cpu_s=tested.ran.cpu_s if tested else 0.0,
        wall_s=tested.ran.wall_s if tested else 0.0,
        engine="docker",
        isolation="shared",
        parts=parts or {},
        evidence={"tail": tested.ran.text[-2000:]} if tested and outcome is not Outcome.PASSED else {},
    )


def _total(check: InstanceCheck) -> int:
    return len(check.fail_to_pass) + len(check.pass_to_pass)


async def _listed(container: InstanceContainer, folder: str, command: str) -> list[str]:
    """What a command prints, parted by zero bytes."""
    ran = await container.run(_bash(f"set -e; {command}"), folder)
    if ran.end is not End.EXITED or ran.status != 0:
        raise SandboxError(f"git failed in {folder}: {_last_line(ran)}")
    return ran.text.removesuffix("\0").split("\0")


async def _done(container: InstanceContainer, check: InstanceCheck, command: str) -> None:
    ran = await container.run(_bash(command), check.folder)
    if ran.end is not End.EXITED or ran.status != 0:
        raise Unusable(f"`{command[:80]}` failed after these changes: {_last_line(ran)}")


def _bash(script: str) -> list[str]:
    return ["bash", "-c", script]


def _last_line(ran: Ran) -> str:
    return (ran.text.strip().splitlines() or ["nothing printed"])[-1][:300]
