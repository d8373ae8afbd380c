"""Why the `local` sandbox cannot be set up on this machine, and the command that changes that."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path

from sandboxes.engines import local_seccomp
from sandboxes.engines.local_plan import privileged
from sandboxes.errors import SandboxUnavailable

_DOCKER = "or install Docker (`apt install docker.io`) and `mellum-eval sandbox build`"

_SYSCTLS = (
    # file, value that forbids, name and value that allow
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
    ("user/max_mnt_namespaces", "0", "user.max_mnt_namespaces=15000"),
    ("user/max_pid_namespaces", "0", "user.max_pid_namespaces=15000"),
    ("user/max_net_namespaces", "0", "user.max_net_namespaces=15000"),
)


def check_platform() -> None:
    """What no setting changes.

    Raises:
        SandboxUnavailable: This machine, or its Python, cannot have this sandbox.
    """
    if sys.platform != "linux" or platform.machine() not in local_seccomp.AUDIT_ARCH:
        raise SandboxUnavailable(
            f"the local sandbox is for Linux on x86_64 and aarch64, not {sys.platform} on {platform.machine()}",
            "install Docker and run `mellum-eval sandbox build`",
        )
    if importlib.util.find_spec("_ctypes") is None:
        raise SandboxUnavailable(
            "this Python was built without ctypes, which the local sandbox needs",
            "install libffi's headers (`apt install libffi-dev`) and build Python again, " + _DOCKER,
        )


def mend(proc_sys: Path = Path("/proc/sys")) -> str:
    """The command that most likely helps.

    Args:
        proc_sys: Where the kernel's settings are.
    """
    for name, forbids, allows in _SYSCTLS:
        try:
            value = (proc_sys / name).read_text("ascii").strip()
        except OSError:
            continue
        if value == forbids and (not privileged() or name.startswith("user/")):
            return f"allow user namespaces with `sudo sysctl -w {allows}`, {_DOCKER}"
    if privileged():
        return f"that is a fault of this program: please report it, {_DOCKER}"
    if _in_container():
        return (
            "this is a container that may make none of its own: start it with `--cap-add SYS_ADMIN --security-opt "
            "seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined` "
            "(or `--privileged`), or use Docker on the host"
        )
    return f"install bubblewrap (`apt install bubblewrap`), run as root, {_DOCKER}"


def _in_container() -> bool:
    if any(os.path.exists(path) for path in ("/.dockerenv", "/run/.containerenv")):
        return True
    try:
        return b"container=" in Path("/proc/1/environ").read_bytes()
    except OSError:
        return False
