"""Deletes what a session left, as that session's user, once all its processes are dead.

The supervisor is root without DAC_OVERRIDE: it cannot look into a `chmod 000` directory of another user, its owner can.
"""

from __future__ import annotations

import os
import stat


def clean(areas: list[str], work: str) -> bool:
    """Delete all files of this user in the areas and all its System V IPC. Whether nothing was in the way."""
    fine = True
    for area in areas:
        fine = _empty(area) and fine
    return _remove_ipc() and fine


def _empty(area: str) -> bool:
    """Delete breadth first: a directory's subdirectories are moved up before it goes, so that depth costs nothing."""
    fine = True
    serial = 0
    pending = [os.path.join(area, name) for name in os.listdir(area)]
    while pending:
        path = pending.pop()
        try:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                os.unlink(path)
                continue
            os.chmod(path, 0o700)
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        os.chmod(entry.path, 0o700)
                        serial += 1
                        moved = os.path.join(area, f".cleaning-{os.getpid()}-{serial}")
                        os.rename(entry.path, moved)
                        pending.append(moved)
                    else:
                        os.unlink(entry.path)
            os.rmdir(path)
        except OSError:
            fine = False
    return fine


def _remove_ipc() -> bool:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    remove = 0  # IPC_RMID
    fine = True
    for kind in ("shm", "sem", "msg"):
        try:
            with open("/proc/sysvipc/" + kind, encoding="ascii", errors="replace") as table:
                ids = [int(line.split()[1]) for line in table.readlines()[1:]]
        except OSError:
            continue
        for identifier in ids:
            if kind == "sem":
                done = libc.semctl(identifier, 0, remove, 0)
            else:
                done = getattr(libc, kind + "ctl")(identifier, remove, 0)
            fine = fine and done == 0
    return fine
