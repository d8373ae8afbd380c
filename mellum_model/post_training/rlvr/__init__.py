"""Reinforcement learning from verifiable rewards: rollouts are judged by verifiers, and the policy learns from groups.

`loss`, `advantage` and `shaping` are the algorithm, as pure functions; `rollouts` and `gather` make what it learns
from; `loop` has generation, verification and training overlap. What is asked and how answers are judged is an
`Environment`, handed in: nothing here knows of suites or sandboxes.
"""
