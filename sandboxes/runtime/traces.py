"""What a session left behind: files in the areas, System V IPC. Cheap to find nothing, which is the usual case."""

from __future__ import annotations

import os

_IPC = ("shm", "sem", "msg")


class Traces:
    """Looks for leftovers, and removes those that need no more than the areas' ownership."""

    def __init__(self, areas: list[str], work: str) -> None:
        self.areas = [area for area in areas if os.path.isdir(area)]
        self.job = work + "/job"
        self._tables = {}
        for kind in _IPC:
            try:
                self._tables[kind] = os.open("/proc/sysvipc/" + kind, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
        self._headers = {kind: os.pread(fd, 4096, 0).count(b"\n") for kind, fd in self._tables.items()}

    def sweep(self) -> str:
        """Remove the session's own directory and what lies openly in the areas. What is still there, '' for nothing."""
        try:
            os.rmdir(self.job)
        except FileNotFoundError:
            pass
        except OSError:
            return self.job + " is not empty"
        for area in self.areas:
            for name in os.listdir(area):
                path = area + "/" + name
                try:
                    os.unlink(path)
                except OSError:
                    return f"{area} holds {name[:100]!r}"
        for kind, fd in self._tables.items():
            if os.pread(fd, 4096, 0).count(b"\n") > self._headers[kind]:
                return f"System V IPC ({kind}) is left"
        return ""
