"""The records between supervisor and zygote, on a socket that keeps record boundaries."""

from __future__ import annotations

import struct

ORDER = struct.Struct("<BIIdB")
"""Kind, uid, memory_mb, cpu_s, 1 for the canary. A `BEGIN` brings inbox, outbox, stderr, perhaps stdout."""

REPORT = struct.Struct("<BiidIB")
"""Kind, pid, status as in `subprocess`, CPU seconds, peak RSS in KiB, 1 if other processes were alive (and killed)."""

# supervisor -> zygote
FORK = 1
SWEEP = 2
CLEAN = 3
# supervisor -> the child that the last FORK made, which reads from the same socket while the zygote waits for its death
BEGIN = 4
# zygote -> supervisor
WARM = 16
FORKED = 17
EXITED = 18
SWEPT = 19
CLEANED = 20
