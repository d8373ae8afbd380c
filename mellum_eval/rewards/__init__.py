"""Verifiers as rewards for RLVR: in the forms of TRL, verl and NeMo-RL (`nemo_rl`), and as a plain call (contract 5).

The graders of evaluation and the rewards of training are the same objects. What could not be judged is None (or
raised, in verl's form), never a zero: a broken machine must not teach the model anything. Checks whose tests would have
to share the candidate's process are refused unless they are allowed by name, since a policy under RL finds such holes.

One background thread owns one pool of warm sandboxes for the process. It starts with the first judgement and ends with
the process; any thread may call, also one that runs an event loop, and a forked child gets a pool of its own.
"""

from mellum_eval.rewards.background import close
from mellum_eval.rewards.options import NotJudged, Options
from mellum_eval.rewards.plain import feedback, judge, judge_async
from mellum_eval.rewards.trl import AsyncReward, Reward, make_reward, make_reward_async, reward, reward_async
from mellum_eval.rewards.turns import Attempt, attempt, attempt_async
from mellum_eval.rewards.verl import compute_score, compute_score_async, compute_scores

__all__ = [
    "AsyncReward",
    "Attempt",
    "NotJudged",
    "Options",
    "Reward",
    "attempt",
    "attempt_async",
    "close",
    "compute_score",
    "compute_score_async",
    "compute_scores",
    "feedback",
    "judge",
    "judge_async",
    "make_reward",
    "make_reward_async",
    "reward",
    "reward_async",
]
