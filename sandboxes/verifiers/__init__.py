"""Verifiers: one a kind of check, shared by evaluation and by RLVR. `verifier_for` finds the one a check needs."""
