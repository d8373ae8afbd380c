"""CodeShield's insecure-code detector (Meta, MIT): its rules on code that is only ever read, in a process of its own.

The rules and the driver come from the pinned wheel, unpacked into a folder that goes with this process; semgrep, which
runs a part of them, is whatever the user installed. A scan is static analysis: the code is a file that semgrep parses
and regular expressions search, under limits on CPU, memory and file size, in an empty folder, without the environment.

CodeShield trusts semgrep's silence, and with current releases (1.185) its own call of it scans nothing and says so
nowhere. Here the code lies at a relative path, which mends that, and a canary that must be found is scanned first.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sandboxes.errors import SandboxError, SandboxUnavailable

FILE = "codeshield/codeshield-1.0.1-py3-none-any.whl"
SHA256 = "cd3516a5006002e0e7400a98e5a4592256a37ce6caf5e162d45ed093eb548377"
LANGUAGES = ("c", "cpp", "csharp", "java", "javascript", "php", "python", "rust")
FETCH = "mellum-eval data fetch codeshield"
SEMGREP = "pip install --no-deps --target {} semgrep==1.185.0"
CPU_S, WALL_S, MEMORY_GIB = 60, 300, 8
CANARY = "import os\nos.system(input())\n"

_DRIVER = """\
import asyncio, json, os, resource, sys
from pathlib import Path
package, language, cpu, memory = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
resource.setrlimit(resource.RLIMIT_AS, (memory << 30, memory << 30))
resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
sys.path.insert(0, package)
from codeshield.insecure_code_detector import insecure_code_detector, languages
kind = languages.Language(language)
path = Path("answer" + languages.get_file_extension(kind))
path.write_bytes(sys.stdin.buffer.read())
code = path.read_text("utf-8", "replace")
found = asyncio.run(insecure_code_detector.analyze(kind, code, path=path))
print(json.dumps([[str(i.cwe_id), str(i.pattern_id), i.line] for i in found]))
"""


@dataclass(frozen=True, slots=True)
class Issue:
    """Something insecure that a rule found."""

    cwe: str
    rule: str
    line: int | None


def folder() -> Path:
    """The cache's folder, where semgrep is looked for besides the packages and the path."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mellum-eval"


def wheel() -> Path | None:
    """The wheel, in the mirror or in the cache; None where it is in neither."""
    mirror = os.environ.get("MELLUM_DATA_DIR")
    roots = [Path(mirror)] if mirror else []
    return next((root / FILE for root in [*roots, folder() / "data"] if (root / FILE).is_file()), None)


def semgrep() -> Path | None:
    """The engine's binary: of the package semgrep, of a folder of its own in the cache, or on the path."""
    spec = importlib.util.find_spec("semgrep")
    places = [Path(place) for place in spec.submodule_search_locations or ()] if spec is not None else []
    binaries = [place / "bin" / "semgrep-core" for place in [*places, folder() / "tools" / "semgrep" / "semgrep"]]
    found = shutil.which("semgrep-core")
    return next((binary for binary in [*binaries, *([Path(found)] if found else [])] if binary.is_file()), None)


@cache
def _unpacked() -> tuple[tempfile.TemporaryDirectory[str], str]:
    """A folder with the package, and one for the path with the engine in it.

    Raises:
        SandboxUnavailable: Wheel or engine is missing, or the wheel is another one.
    """
    archive, engine = wheel(), semgrep()
    if archive is None:
        raise SandboxUnavailable("CodeShield's rules are not at hand", f"run `{FETCH}`")
    if engine is None:
        place = folder() / "tools" / "semgrep"
        raise SandboxUnavailable("CodeShield's rules need semgrep", f"run `{SEMGREP.format(place)}`")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise SandboxUnavailable(f"{archive} is not the pinned wheel", f"delete it and run `{FETCH}`")
    made = tempfile.TemporaryDirectory(prefix="codeshield-")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(Path(made.name) / "package")
    bin_ = Path(made.name) / "bin"
    bin_.mkdir()
    (bin_ / "semgrep-core").symlink_to(engine.resolve())
    (bin_ / "osemgrep").symlink_to(engine.resolve())  # CodeShield would make it, in races with itself
    return made, str(bin_)


async def scan(code: str, language: str) -> list[Issue]:
    """What the rules find in code of a language.

    Raises:
        SandboxUnavailable: Something is not installed.
        Overrun: The code takes more than a scan may.
        SandboxError: The scanner does not work.
    """
    await _canary_found()
    return await _scan(code, language)


class Overrun(Exception):
    """The scan of this code did not end within its limits, while others do."""


_canary_passed: set[Path | None] = set()


async def _canary_found() -> None:
    """See that semgrep's rules work at all, once for each engine."""
    engine = semgrep()
    if engine not in _canary_passed:
        found = await _scan(CANARY, "python")
        if not any(issue.cwe == "CWE-78" for issue in found):
            raise SandboxError(f"semgrep finds nothing where it must (`os.system` of an input): {engine}")
        _canary_passed.add(engine)


async def _scan(code: str, language: str) -> list[Issue]:
    package, path = _unpacked()
    with tempfile.TemporaryDirectory(prefix="scan-") as empty:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", _DRIVER, f"{package.name}/package", language, str(CPU_S), str(MEMORY_GIB)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=empty,
            env={"PATH": f"{path}:/usr/bin:/bin", "HOME": empty, "LANG": "C.UTF-8", "SEMGREP_SEND_METRICS": "off"},
            start_new_session=True,
        )
        try:
            text = code.encode("utf-8", "replace")
            out, err = await asyncio.wait_for(process.communicate(text), WALL_S)
        except TimeoutError:
            raise Overrun(f"the scan took more than {WALL_S} s") from None
        finally:
            _end(process)
    if process.returncode:
        if process.returncode < 0:
            raise Overrun(f"the scan ended by signal {-process.returncode}")
        last = err.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        raise SandboxError(f"CodeShield failed: {last[0][:300]}")
    return [Issue(cwe, rule, line) for cwe, rule, line in json.loads(out)]


def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the scan and semgrep with it, if anything is left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
