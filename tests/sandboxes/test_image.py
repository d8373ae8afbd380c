"""The image: what goes into it, what is in it, and what is said when it cannot be built."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from arena_jobs import PoolOf
from engines import engine_called

from sandboxes.check import Limits
from sandboxes.engines.docker import connect
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.images import build as build_module
from sandboxes.images.build import CONTENT_LABEL, build, judge_files
from sandboxes.sandbox import Role


def test_the_judges_files_are_source_text_and_metadata() -> None:
    names = [name for name, _ in judge_files()]
    assert "math_verify/__init__.py" in names and "sympy/__init__.py" in names and "antlr4/__init__.py" in names
    assert any(name.startswith("sympy-") and name.endswith("/METADATA") for name in names)
    assert not [name for name in names if name.startswith(("/", "..")) or name.endswith((".so", ".pyc", "RECORD"))]
    assert names == sorted(set(names))


def test_a_missing_distribution_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "JUDGE_DISTRIBUTIONS", ("no-such-distribution",))
    with pytest.raises(SandboxUnavailable, match="no-such-distribution is not installed here; install it"):
        judge_files()


@pytest.mark.docker
async def test_the_same_content_builds_on_a_local_base_and_is_labelled() -> None:
    engine = await engine_called("docker")
    await engine.close()
    tag = "mellum-eval/sandbox-test:build"
    client = connect()
    try:
        first = build(base_image=engine.image, tag=tag)
        second = build(base_image=engine.image, tag=tag)
        assert first == second
        assert client.images.get(tag).labels[CONTENT_LABEL] == first.content
    finally:
        with contextlib.suppress(Exception):
            client.images.remove(tag, force=True)
        client.close()


@pytest.mark.docker
async def test_a_missing_base_is_named_with_its_mend() -> None:
    await (await engine_called("docker")).close()
    with pytest.raises(SandboxUnavailable, match="no image nobody/nothing:0; get it: `docker load`"):
        build(base_image="nobody/nothing:0")


@pytest.mark.docker
async def test_a_failing_debootstrap_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    await (await engine_called("docker")).close()
    program = tmp_path / "debootstrap"
    program.write_text("#!/bin/sh\necho I: start\necho 'E: no such mirror'\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(build_module.shutil, "which", lambda *_, **__: str(program))
    with pytest.raises(SandboxError, match=r"debootstrap failed \(3\): E: no such mirror"):
        build(from_debian=True, fresh=True)
    monkeypatch.setattr(build_module.shutil, "which", lambda *_, **__: None)
    with pytest.raises(SandboxUnavailable, match="apt install debootstrap"):
        build(from_debian=True, fresh=True)


@pytest.fixture
def engine_name() -> str:
    return "docker"


@pytest.mark.docker
async def test_candidates_have_numpy_and_only_the_judge_has_math_verify(pool_of: PoolOf) -> None:
    limits = Limits(cpu_s=20, memory_mb=512)
    found = {}
    async with pool_of() as pool:
        for role in Role:
            async with pool.session(role, limits) as session:
                await session.send(
                    b"import importlib.util as u\n"
                    b"import numpy\n"
                    b"send(str([u.find_spec(n) is not None for n in ('numpy', 'math_verify', 'sympy')]).encode())"
                )
                found[role] = await session.receive()
                await session.finish()
    assert found == {Role.ARENA: b"[True, False, False]", Role.JUDGE: b"[True, True, True]"}
