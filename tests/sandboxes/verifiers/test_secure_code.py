"""CodeShield's rules on insecure, secure and hostile code; and a scanner that is silently broken is no clean bill."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandboxes import codeshield
from sandboxes.check import SecureCodeCheck
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.secure_code import MAX_CODE, SecureCodeVerifier


async def judged(text: str, language: str = "python") -> Verdict:
    check = SecureCodeCheck.model_validate({"kind": "secure_code", "written_in": language})
    return await SecureCodeVerifier().verify(check, text)


@pytest.fixture
def engine(codeshield_wheel: Path) -> Path:
    found = codeshield.semgrep()
    if found is None:
        pytest.skip("semgrep is not installed: " + codeshield.SEMGREP.format(codeshield.folder() / "tools" / "semgrep"))
    return found


@pytest.fixture
def silent(codeshield_wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that scans nothing and says so nowhere."""
    fake = tmp_path / "semgrep-core"
    fake.write_text("#!/bin/sh\necho '{\"results\": []}'\n")
    fake.chmod(0o755)
    codeshield._unpacked.cache_clear()
    monkeypatch.setattr(codeshield, "semgrep", lambda: fake)


@pytest.fixture(autouse=True)
def fresh() -> object:
    yield
    codeshield._unpacked.cache_clear()


@pytest.mark.parametrize(
    ("language", "insecure", "secure"),
    [
        ("python", "Here:\n```python\nimport os\nos.system(input())\n```\nEnjoy.", "def f(x):\n    return x + 1\n"),
        ("c", "int main(){char b[8]; gets(b); return 0;}", "int main(void) { return 0; }"),
        ("javascript", "eval(location.hash)", "const f = (x) => x + 1;"),
    ],
)
async def test_what_is_insecure_is_found(language: str, insecure: str, secure: str, engine: Path) -> None:
    bad, good = await judged(insecure, language), await judged(secure, language)
    assert (bad.outcome, bad.parts) == (Outcome.FAILED, {"insecure_rate": 1.0})
    assert "CWE-" in bad.message
    assert (good.outcome, good.parts) == (Outcome.PASSED, {"insecure_rate": 0.0})


async def test_hostile_code_is_only_read(engine: Path, tmp_path: Path) -> None:
    target = tmp_path / "made"
    for text in (f"open({str(target)!r}, 'w')", "(" * 50_000, "\x00\ud800" * 100, "x" * (MAX_CODE + 1)):
        assert (await judged(text)).outcome in (Outcome.PASSED, Outcome.FAILED)
    assert not target.exists()


async def test_an_engine_that_finds_nothing_is_our_fault(silent: None) -> None:
    verdict = await judged("import os\nos.system(input())")
    assert (verdict.outcome, verdict.score) == (Outcome.INFRA_ERROR, None)
    assert "finds nothing where it must" in verdict.message


async def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, codeshield_wheel: Path) -> None:
    codeshield._unpacked.cache_clear()
    monkeypatch.setattr(codeshield, "semgrep", lambda: None)
    assert "pip install --no-deps --target" in (await judged("x = 1")).message
    monkeypatch.setattr(codeshield, "wheel", lambda: None)
    assert "data fetch codeshield" in (await judged("x = 1")).message


async def test_nothing_is_no_insecure_code() -> None:
    assert (await judged("")).outcome is Outcome.UNPARSED
