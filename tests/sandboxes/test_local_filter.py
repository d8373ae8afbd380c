"""The seccomp filter, run by an interpreter of classic BPF: what it decides for any call on either architecture."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.engines import local_seccomp

ALLOW, KILL = "allow", "kill"
MACHINES = sorted(local_seccomp.AUDIT_ARCH)
COLUMN = {"x86_64": 0, "aarch64": 1}
TABLES = (local_seccomp._REFUSED, local_seccomp._ABSENT, local_seccomp._LOOKED_AT)


def decide(program: bytes, arch: int, number: int, *arguments: int) -> str | int:
    """What the kernel would do: `allow`, `kill`, or an errno."""
    words = [0] * 6
    words[: len(arguments)] = arguments
    data = struct.pack("<iIQ6Q", number if number < 1 << 31 else number - (1 << 32), arch, 0, *words)
    at = accumulator = 0
    for _ in range(4096):
        code, yes, no, k = struct.unpack_from("<HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x06:
            if k == 0x7FFF0000:
                return ALLOW
            return KILL if k == 0x80000000 else k & 0xFFFF
        else:
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[code]
            at += yes if holds else no
    raise AssertionError("the program does not end")


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_everything_on_the_lists_is_refused(machine: str) -> None:
    program = local_seccomp.program(machine)
    arch = local_seccomp.AUDIT_ARCH[machine]
    for table, number in ((local_seccomp._REFUSED, errno.EPERM), (local_seccomp._ABSENT, errno.ENOSYS)):
        for name, numbers in table.items():
            if numbers[COLUMN[machine]] >= 0:
                assert decide(program, arch, numbers[COLUMN[machine]]) == number, name


@pytest.mark.parametrize(
    ("name", "fine", "wrong", "number"),
    [
        (
            "clone",
            [(0x01200011,), (0x003D0F00,)],
            [(0x10000011,), (0x20000,), (0x40000000,), (0x7C020011,)],
            errno.EPERM,
        ),
        ("personality", [(0,), (0xFFFFFFFF,)], [(0x0040000,), (0x0400000,)], errno.EPERM),
        ("socket", [(1, 1), (2, 2), (10, 1)], [(16, 3), (17, 3), (38, 5), (40, 1), (0, 0)], errno.EAFNOSUPPORT),
        ("ioctl", [(0, 0x5401), (0, 0x5421)], [(0, 0x5412), (0, 0x541C), (0, 0x1_0000_5412)], errno.EPERM),
    ],
)
def test_arguments_decide(
    machine: str, name: str, fine: list[tuple[int, ...]], wrong: list[tuple[int, ...]], number: int
) -> None:
    program, arch = local_seccomp.program(machine), local_seccomp.AUDIT_ARCH[machine]
    call = local_seccomp._LOOKED_AT[name][COLUMN[machine]]
    assert {decide(program, arch, call, *arguments) for arguments in fine} == {ALLOW}
    assert {decide(program, arch, call, *arguments) for arguments in wrong} == {number}


@given(number=st.integers(0, 1000), arguments=st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_everything_else_is_allowed(number: int, arguments: list[int]) -> None:
    for machine in MACHINES:
        listed = {numbers[COLUMN[machine]] for table in TABLES for numbers in table.values()}
        if number not in listed:
            program, arch = local_seccomp.program(machine), local_seccomp.AUDIT_ARCH[machine]
            assert decide(program, arch, number, *arguments) == ALLOW


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_another_architectures_calls_kill(arch: int, number: int) -> None:
    for machine in MACHINES:
        if arch != local_seccomp.AUDIT_ARCH[machine]:
            assert decide(local_seccomp.program(machine), arch, number) == KILL


@given(st.integers(0x40000000, 2**32 - 1))
def test_x32_calls_do_not_exist(number: int) -> None:
    assert decide(local_seccomp.program("x86_64"), local_seccomp.AUDIT_ARCH["x86_64"], number) == errno.ENOSYS


def test_what_a_zygote_needs_can_be_left_out_and_no_more(machine: str) -> None:
    strict = local_seccomp.program(machine)
    lenient = local_seccomp.program(machine, allow=local_seccomp.JOB_NAMESPACE_CALLS)
    arch = local_seccomp.AUDIT_ARCH[machine]
    differ = {n for n in range(600) if decide(strict, arch, n) != decide(lenient, arch, n)}
    assert differ == {local_seccomp._REFUSED[name][COLUMN[machine]] for name in ("mount", "unshare")}


def test_the_kernel_takes_it(machine: str) -> None:
    assert len(local_seccomp.program(machine)) // 8 < 4096  # BPF_MAXINSNS
    names = [name for table in TABLES for name in table]
    assert len(names) == len(set(names))
