"""What runs inside the confinement. Shipped as source text, so no image ever goes stale with the harness.

Files here use the standard library only (the judge may import math-verify lazily), run on Python 3.9 to 3.14, and
import one another as `from sandboxes.runtime.X import …`: inside, the loader of `sandboxes.bootstrap` answers for the
packages `sandboxes` and `sandboxes.runtime` from the shipped sources; on the host they are ordinary modules.

Child programs are `candidate` (role arena) and `judge` (role judge). The zygote imports one of them before any job,
calls its `warm()` if it has one, and each forked child runs `serve(inbox, outbox)`: two pipe descriptors that carry
messages as a u32 little-endian length and that many bytes. When `serve` returns, the child exits with status 0.
"""
