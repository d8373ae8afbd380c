"""What the local engine's root is made of, and which ids live in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sandboxes.engines import local_plan
from sandboxes.errors import SandboxUnavailable
from sandboxes.sandbox import Role


def test_the_root_shows_python_and_nothing_of_the_user() -> None:
    pairs, _, hidden = local_plan.binds(Role.ARENA, local_plan.interpreter())
    targets = {target for _, target in pairs}
    assert not targets & {"/", "/usr", "/etc", "/home", "/root", "/var", "/sys", "/proc", "/dev", "/tmp", "/run"}
    assert all(os.path.realpath(source) == source for source, _ in pairs)
    allowed = ("/usr/", "/lib", "/bin", "/etc/ld.so.cache", "/etc/alternatives", "/opt/site-packages/", "/nix/store")
    prefix = os.path.realpath(sys.base_prefix)
    assert all(target.startswith((*allowed, prefix + "/")) for target in targets)
    for target in targets:
        for version in Path(target).glob("python3*"):
            for name in ("site-packages", "dist-packages"):
                if (version / name).is_dir():
                    assert str(version / name) in hidden
    packages = {target.rpartition("/")[2] for target in targets if target.startswith("/opt/site-packages/")}
    assert {name.partition("-")[0].partition(".")[0] for name in packages} == {"numpy"}


def test_only_the_judge_has_math_verify() -> None:
    judge, _, _ = local_plan.binds(Role.JUDGE, local_plan.interpreter())
    assert f"{local_plan.PACKAGE_HOME}/math_verify" in {target for _, target in judge}
    names = {target.rpartition("/")[2] for _, target in judge if target.startswith(local_plan.PACKAGE_HOME)}
    assert not {name for name in names if name.startswith(("pydantic", "pytest", "mellum", "httpx", "docker"))}


def test_workers_have_ids_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_plan, "privileged", lambda: True)
    monkeypatch.setattr(local_plan, "_world_readable", lambda python: True)
    monkeypatch.setattr(local_plan, "_extents", lambda kind: [(0, 0, 4294967295)])
    taken: set[int] = set()
    for slot in range(64):
        (line,) = local_plan.choose_ids(slot).inner["uid_map"]
        block = set(range(line[1], line[1] + line[2]))
        assert not block & taken and min(block) > 1 << 20 and max(block) < 1 << 31
        taken |= block


def test_a_nested_container_uses_the_far_end_of_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_plan, "privileged", lambda: True)
    monkeypatch.setattr(local_plan, "_world_readable", lambda python: True)
    monkeypatch.setattr(local_plan, "_extents", lambda kind: [(0, 1000, 1), (1, 100000, 65536)])
    ids = local_plan.choose_ids(0)
    assert ids.mode == "range" and ids.outer is None
    assert ids.inner["uid_map"] == [[0, 65537 - local_plan.IDS_PER_WORKER, local_plan.IDS_PER_WORKER]]
    monkeypatch.setattr(local_plan, "_extents", lambda kind: [(0, 0, 1)])
    assert local_plan.choose_ids(0).uid_count == 0


def test_a_range_of_the_users_own_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 61234)
    path = tmp_path / "subuid"
    assert local_plan._subordinate(str(path), 0) is None
    path.write_text("other:100000:65536\n61234:70000:10\nnonsense\n61234:x:y\n61234:200000:2048\n")
    assert local_plan._subordinate(str(path), 0) == 200000
    assert local_plan._subordinate(str(path), 1) == 201024
    assert local_plan._subordinate(str(path), 2) == 200000


def test_without_a_range_there_is_no_user_switching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_plan, "privileged", lambda: False)
    monkeypatch.setattr(local_plan, "_subordinate", lambda path, slot: None)
    ids = local_plan.choose_ids(3)
    assert (ids.mode, ids.uid_count) == ("single", 0)
    assert ids.user != 0 and ids.outer is not None


def test_a_python_that_others_cannot_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_plan, "privileged", lambda: True)
    monkeypatch.setattr(local_plan, "_world_readable", lambda python: False)
    with pytest.raises(SandboxUnavailable, match="chmod -R go"):
        local_plan.choose_ids(0)
