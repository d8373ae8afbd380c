"""The local engine for ordinary users: with a range of ids, with none, and where namespaces are forbidden."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ordinary_user import run_as_user

from sandboxes.engines import local_mend

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become an ordinary user")


@pytest.fixture
def scratch() -> Iterator[Path]:
    # Not pytest's own, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="eve-", dir="/var/tmp") as directory:
        yield Path(directory)


PROGRAM = """
import asyncio, json, sys
from arena_jobs import SCRIPTED, run
from redteam.escapes import ESCAPES, LOCAL_ESCAPES, program
from sandboxes.check import Limits
from sandboxes.engines.local import LocalEngine
from sandboxes.errors import SandboxUnavailable
from sandboxes.pool import SandboxPool
from sandboxes.sandbox import Role
LIMITS = Limits(cpu_s=20, wall_s=120, memory_mb=256)
async def main(maker):
    engine = LocalEngine(maker=maker or None)
    try:
        async with SandboxPool(engine, 1, children={r: "extra" for r in Role}, extra=SCRIPTED) as pool:
            print(json.dumps(dict(engine.describe())))
            wrong = {}
            for name, body in (ESCAPES | LOCAL_ESCAPES).items():
                if "the host's sockets" in name: continue
                said, ending = await run(pool, program(body), LIMITS)
                if said != [b"[]"]: wrong[name] = f"{said} {ending}"
            print(json.dumps(wrong))
            said, ending = await run(pool, "import os; send(open('/proc/self/uid_map').read().encode())", LIMITS)
            print(said[0].split())
            said, ending = await run(pool, "import numpy; send(numpy.__version__.encode())", LIMITS)
            print(len(said), ending.stderr_tail[-100:])
            for roles in (Role.JUDGE,):
                async with pool.session(roles, LIMITS) as session:
                    await session.send(b"import math_verify; send(b'has math')")
                    print(await session.receive())
            assert len(pool._all) == 2, "a worker was lost"
    except SandboxUnavailable as missing:
        print("unavailable:", missing.what); print("mend:", missing.mend)
asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("ids", [True, False], ids=["range", "no-range"])
@pytest.mark.parametrize("maker", ["bwrap", "unshare"])
def test_an_ordinary_user_is_as_well_confined(scratch: Path, maker: str, ids: bool) -> None:
    done = run_as_user(PROGRAM, maker, scratch=scratch, ids=ids)
    assert done.returncode == 0, done.stderr
    described, wrong, ids_map, numpy, judge = done.stdout.splitlines()
    facts = json.loads(described)
    assert facts["maker"] == maker
    assert ("/etc/subuid" in facts["user_ids"]) == ids
    assert ("pid namespace" in facts["user_ids"]) != ids
    assert json.loads(wrong) == {}
    assert numpy.startswith("1 "), numpy
    assert judge == "b'has math'"
    assert ids_map.startswith("[b'0', b'1', b'1024']" if ids else "[b'1000', b'0', b'1']")


def test_where_user_namespaces_are_forbidden_it_refuses_and_says_what_to_do(scratch: Path) -> None:
    # In a user namespace of the test's own, whose limit is not the machine's.
    inner = """
import os, sys
script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
os.execvp("unshare", ["unshare", "-r", "sh", "-c", script, "sh", sys.executable, "-B", "-c", sys.argv[1], ""])
"""
    done = run_as_user(inner, PROGRAM, scratch=scratch, ids=False)
    lines = done.stdout.splitlines()
    assert lines and lines[0].startswith("unavailable: the local sandbox cannot be set up (by bwrap"), done
    assert "by unshare" in lines[0]
    assert "sudo sysctl -w user.max_user_namespaces=" in lines[1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces="),
    ],
)
def test_the_setting_that_forbids_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setattr(local_mend, "privileged", lambda: False)
    for other, harmless in (("kernel/unprivileged_userns_clone", "1"), ("user/max_user_namespaces", "96000")):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_text(harmless + "\n")
    (tmp_path / name).write_text(value + "\n")
    assert says in local_mend.mend(tmp_path)
    (tmp_path / name).unlink()
    assert says not in local_mend.mend(tmp_path)
