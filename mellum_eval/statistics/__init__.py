"""Statistics of scores: pure functions, each with its formula's source, all deterministic.

Values are scores in [0, 1], one a problem; clusters name which problems are not independent. `None` as a cluster
means that the problem stands alone. Nothing here imports numpy or scipy before it is called.
"""

from mellum_eval.statistics.means import Estimate, mean_interval, wilson_interval
from mellum_eval.statistics.paired import (
    Comparison,
    bootstrap_difference,
    holm,
    mcnemar_exact,
    minimum_detectable_effect,
    paired_difference,
    problems_needed,
    unpaired_difference,
)
from mellum_eval.statistics.samples import avg_at_k, maj_at_k, pass_at_k

__all__ = [
    "Comparison",
    "Estimate",
    "avg_at_k",
    "bootstrap_difference",
    "holm",
    "maj_at_k",
    "mcnemar_exact",
    "mean_interval",
    "minimum_detectable_effect",
    "paired_difference",
    "pass_at_k",
    "problems_needed",
    "unpaired_difference",
    "wilson_interval",
]
