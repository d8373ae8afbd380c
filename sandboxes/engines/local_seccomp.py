"""The seccomp filter of the `local` sandbox, as classic BPF assembled here: no libseccomp needed.

A deny list in the spirit of Docker's default profile, for x86_64 and aarch64 (system call numbers are those of the
kernel's `unistd` headers). It is tighter where no container of ours needs more: System V IPC, POSIX message queues and
`memfd_create` are refused because what they hold outlives or escapes the counting of a session's memory, and sockets
other than local and internet ones because the network namespace does not confine them all (AF_VSOCK reaches the
hypervisor). A refused call fails with EPERM; ENOSYS stands where a C library then takes another way.
"""

from __future__ import annotations

import errno
import struct

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_X32_BIT = 0x40000000

# Numbers on x86_64 and aarch64, -1 where the architecture has no such call.

_REFUSED: dict[str, tuple[int, int]] = {
    "_sysctl": (156, -1),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, -1),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, -1),
    "get_mempolicy": (239, 236),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, -1),
    "iopl": (172, -1),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, -1),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, -1),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, -1),
    "userfaultfd": (323, 282),
    "ustat": (136, -1),
    "vhangup": (153, 58),
}
"""EPERM."""

_ABSENT: dict[str, tuple[int, int]] = {
    "clone3": (435, 435),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "modify_ldt": (154, -1),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "semget": (64, 190),
    "shmget": (29, 194),
}
"""ENOSYS. clone3 passes its flags in memory, where a filter cannot look: C libraries then fall back to clone."""

_LOOKED_AT: dict[str, tuple[int, int]] = {
    "clone": (56, 220),
    "ioctl": (16, 29),
    "personality": (135, 92),
    "socket": (41, 198),
}
"""Refused by their arguments."""

JOB_NAMESPACE_CALLS = frozenset({"mount", "unshare"})
"""What a supervisor without a range of user ids still needs, to give each session a pid namespace of its own."""

_CLONE_NEW = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_IOCTLS = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: they type on the terminal of whoever started us

# Classic BPF: load word at an absolute offset of seccomp_data, jumps, return.
_LD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # both architectures are little-endian: the low half of an argument comes first
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def _op(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, k)


def _refuse(number: int) -> bytes:
    return _op(_RET, _ERRNO | number)


def program(machine: str, *, allow: frozenset[str] = frozenset()) -> bytes:
    """The filter for one architecture, as an array of `struct sock_filter` (8 bytes an instruction).

    Args:
        machine: As `platform.machine()` says: `x86_64` or `aarch64`.
        allow: Calls left out of the deny list.

    Raises:
        KeyError: There is no table for that architecture.
    """
    column = {"x86_64": 0, "aarch64": 1}[machine]
    nr = {name: numbers[column] for name, numbers in _LOOKED_AT.items()}

    # A call by way of another architecture's table (int 0x80) has other numbers: no honest program does it.
    out = [_op(_LD, _ARCH), _op(_JEQ, AUDIT_ARCH[machine], yes=1), _op(_RET, _KILL), _op(_LD, _NR)]
    if machine == "x86_64":
        out += [_op(_JGE, _X32_BIT, no=1), _refuse(errno.ENOSYS)]
    for calls, number in ((_REFUSED, errno.EPERM), (_ABSENT, errno.ENOSYS)):
        for name, numbers in calls.items():
            if numbers[column] >= 0 and name not in allow:
                out += [_op(_JEQ, numbers[column], no=1), _refuse(number)]

    out += _argument(nr["clone"], _ARG0, [_op(_JSET, _CLONE_NEW, no=1), _refuse(errno.EPERM), _op(_RET, _ALLOW)])
    out += _argument(nr["personality"], _ARG0, [*_one_of(_PERSONALITIES), _refuse(errno.EPERM), _op(_RET, _ALLOW)])
    out += _argument(nr["socket"], _ARG0, [*_one_of(_FAMILIES), _refuse(errno.EAFNOSUPPORT), _op(_RET, _ALLOW)])
    out += _argument(nr["ioctl"], _ARG1, [*_one_of(_IOCTLS, refuse=True), _refuse(errno.EPERM), _op(_RET, _ALLOW)])
    out.append(_op(_RET, _ALLOW))
    return b"".join(out)


def _argument(number: int, offset: int, tail: list[bytes]) -> list[bytes]:
    """If the call is this one, look at one argument: `tail` decides and always returns."""
    return [_op(_JEQ, number, no=1 + len(tail)), _op(_LD, offset), *tail]


def _one_of(values: tuple[int, ...], *, refuse: bool = False) -> list[bytes]:
    """Jump over the refusal that follows if the loaded word is (or with `refuse`: is not) one of the values."""
    n = len(values)
    if not refuse:
        return [_op(_JEQ, value, yes=n - i) for i, value in enumerate(values)]
    jumps = [_op(_JEQ, value, yes=n - 1 - i) for i, value in enumerate(values[:-1])]
    return [*jumps, _op(_JEQ, values[-1], no=1)]
