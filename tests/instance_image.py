"""An instance of SWE-bench's form with an image of its own: a tiny git repository, and git and pytest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import docker
import py

from sandboxes.engines.docker import IMAGE

FILES = {
    "calc/__init__.py": "",
    "calc/core.py": "def mean(xs):\n    return sum(xs) / len(xs)\n\n\ndef double(x):\n    return 2 * x\n",
    "tests/test_core.py": "from calc.core import double, mean\n\n\ndef test_mean():\n    assert mean([1, 3]) == 2\n\n\n"
    "def test_double():\n    assert double(4) == 8\n",
    "setup.cfg": "[tool:pytest]\naddopts = -p no:cacheprovider\n",
}


def diff(path: str, before: str, after: str) -> str:
    """A diff of a whole file; new where `before` is empty."""
    old, new = before.splitlines(), after.splitlines()
    head = f"diff --git a/{path} b/{path}\n" + ("" if before else "new file mode 100644\n")
    source = f"a/{path}" if before else "/dev/null"
    lines = "".join(f"-{line}\n" for line in old) + "".join(f"+{line}\n" for line in new)
    first = f"1,{len(old)}" if old else "0,0"
    return f"{head}--- {source}\n+++ b/{path}\n@@ -{first} +1,{len(new)} @@\n{lines}"


GOLD = diff("calc/core.py", FILES["calc/core.py"], FILES["calc/core.py"].replace("len(xs)", "len(xs) if xs else 0"))
HIDDEN = FILES["tests/test_core.py"] + "\n\ndef test_mean_of_nothing():\n    assert mean([]) == 0\n"
TEST_PATCH = diff("tests/test_core.py", FILES["tests/test_core.py"], HIDDEN)


def row(image: str, **changes: Any) -> dict[str, Any]:
    """The instance as a row of a file."""
    return {
        "instance_id": "made__calc-1",
        "repo": "made/calc",
        "base_commit": "HEAD",
        "version": "1.0",
        "problem_statement": "mean([]) raises ZeroDivisionError; it should be 0.",
        "patch": GOLD,
        "test_patch": TEST_PATCH,
        "FAIL_TO_PASS": '["tests/test_core.py::test_mean_of_nothing"]',
        "PASS_TO_PASS": '["tests/test_core.py::test_mean", "tests/test_core.py::test_double"]',
        "image_name": image,
        "test_cmd": "python3 -B -m pytest -rA",
        **changes,
    }


def build(client: docker.DockerClient, folder: Path) -> str:
    """Build the image from what this machine has; no registry is asked. Returns its tag."""
    _repository(folder)
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(folder, "root/testbed")
        git = os.path.realpath(str(_run("which", "git").strip()))
        libraries = re.findall(r"=> (/\S+)", _run("ldd", git))
        for path in (git, *(library for library in libraries if "libc.so" not in library)):
            folder_in_image = os.path.realpath(os.path.dirname(path))  # /lib is a link, which COPY would replace
            archive.add(os.path.realpath(path), f"root{folder_in_image}/{os.path.basename(path)}")
        for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
            spec = importlib.util.find_spec(name)
            assert spec is not None and spec.submodule_search_locations, name
            place = f"root/opt/tests/{name}"
            archive.add(spec.submodule_search_locations[0], place, filter=_sources)
        for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments"):
            found = Path(str(importlib.metadata.distribution(name).locate_file("")))
            for metadata in found.glob(f"{name}-*.dist-info"):
                archive.add(metadata, f"root/opt/tests/{metadata.name}", filter=_sources)
        archive.add(py.__file__, "root/opt/tests/py.py")
        dockerfile = f"FROM {IMAGE}\nCOPY root/ /\nENV PYTHONPATH=/opt/tests\n".encode()
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(dockerfile)
        archive.addfile(member, io.BytesIO(dockerfile))
    context.seek(0)
    tag = f"mellum-eval/test-instance:{os.getpid()}"
    client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True, network_mode="none")
    return tag


def _sources(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member


def _repository(folder: Path) -> None:
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "as it was"]):
        _run("git", "-C", str(folder), *command)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
