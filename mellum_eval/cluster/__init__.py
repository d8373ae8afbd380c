"""Judging spread over the nodes of a Ray cluster: one pool of sandboxes a node, whole jobs to whichever has room.

A job is a check and an answer; a verdict comes back. Both cross as JSON text between processes of the harness: nothing
that a candidate made is ever unpickled, and no check leaves the trusted side of any node. `ClusterVerifiers` has the
face of `sandboxes.verify.Verifiers`, so that rewards, the service and the verbs take either.
"""

from mellum_eval.cluster.verifiers import ClusterVerifiers

__all__ = ["ClusterVerifiers"]
