"""The algorithm's switches. The defaults are Mellum 2's (report, section 4.2); other methods are a `method` away.

| method | baseline | / std | normalise | ratio | clip | correction | KL | even groups | over the cap |
|---|---|---|---|---|---|---|---|---|---|
| `mellum2` | leave one out | no | token | token | 0.2, 0.28 | IcePop 0.5 … 5 | 0 | dropped, 1.5 × drawn | dropped |
| `grpo` (2402.03300) | mean | yes | sequence | token | 0.2 | none | 0.04 | kept | kept |
| `dr_grpo` (2503.20783) | mean | no | constant | token | 0.2 | none | 0 | kept | kept |
| `dapo` (2503.14476) | mean | yes | token | token | 0.2, 0.28 | none | 0 | dropped, 1.5 × drawn | kept |
| `gspo` (2507.18071) | mean | yes | sequence | sequence | 3e-4, 4e-4 | none | 0 | kept | kept |

DAPO draws until a batch is full; here it draws 1.5 times as many prompts, as Mellum 2 approximates it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ...training.data_sections import Section

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class Correction(Section):
    """What is done about tokens being drawn by one program, at one age of the weights, and trained by another.

    rho is the trainer's probability of a token, before the step, over the sampler's when it drew it.
    """

    kind: Literal["icepop", "tis", "none"] = "icepop"
    """IcePop (2510.18855): a token counts rho times, and not at all where rho is outside [low, high]. Truncated
    importance sampling: min(rho, high) times."""
    low: NonNegative = 0.5
    high: Positive = 5.0


class Overlong(Section):
    """The soft penalty on answers that come near the cap (DAPO, equation 13). Mellum 2's sizes are not published."""

    buffer: Annotated[int, Field(ge=0)] = 0
    """Tokens below the cap over which the reward falls; 0 is no penalty."""
    floor: Annotated[float, Field(le=0)] = -1.0
    """What is added to the reward at the cap."""


class Concision(Section):
    """Less reward for a correct answer without reasoning that thinks aloud in its text, by words such as `wait`.

    Mellum 2 uses three tiers (after ARLCP); its bounds and multipliers are not published.
    """

    words: tuple[str, ...] = (
        "wait", "actually", "hmm", "hold on", "let me think", "let me check", "let me reconsider", "on second thought",
        "alternatively", "double-check",
    )  # fmt: skip
    bounds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 2)
    """Up to so many such words: the first multiplier, the second; beyond the last bound: the last multiplier."""
    multipliers: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (1.0, 0.8, 0.5)

    @model_validator(mode="after")
    def _fits(self) -> Concision:
        if len(self.multipliers) != len(self.bounds) + 1 or list(self.bounds) != sorted(self.bounds):
            raise ValueError("bounds must rise, and there must be one multiplier more than bounds")
        return self


_METHODS: dict[str, dict[str, Any]] = {
    "mellum2": {},
    "grpo": {
        "baseline": "mean", "scale_by_std": True, "normalise": "sequence", "clip_high": 0.2, "kl": 0.04,
        "correction": {"kind": "none"}, "oversample": 1.0, "drop_even_groups": False, "over_cap": "keep",
        "concision": None,
    },
    "dr_grpo": {
        "baseline": "mean", "normalise": "constant", "clip_high": 0.2, "correction": {"kind": "none"},
        "oversample": 1.0, "drop_even_groups": False, "over_cap": "keep", "concision": None,
    },
    "dapo": {
        "baseline": "mean", "scale_by_std": True, "correction": {"kind": "none"}, "over_cap": "keep",
        "concision": None,
    },
    "gspo": {
        "baseline": "mean", "scale_by_std": True, "normalise": "sequence", "ratio": "sequence", "clip_low": 3e-4,
        "clip_high": 4e-4, "correction": {"kind": "none"}, "oversample": 1.0, "drop_even_groups": False,
        "over_cap": "keep", "concision": None,
    },
}  # fmt: skip


class Algorithm(Section):
    """Group-relative policy optimisation, and what it may vary in."""

    method: Literal["mellum2", "grpo", "dr_grpo", "dapo", "gspo"] = "mellum2"
    """Sets the defaults of all the others; fields that are given win."""
    baseline: Literal["leave_one_out", "mean"] = "leave_one_out"
    """A rollout's reward is measured against the mean of the others of its group, or of the whole group."""
    scale_by_std: bool = False
    """Divide by the group's standard deviation. That weighs groups more the less their rewards differ."""
    normalise: Literal["token", "sequence", "constant"] = "token"
    """A mean over the batch's tokens; over sequences of the mean over their tokens; a sum over a constant, sequences
    times the cap."""
    ratio: Literal["token", "sequence"] = "token"
    """Of new to old probability, a token's own or the geometric mean over its sequence."""
    clip_low: NonNegative = 0.2
    clip_high: NonNegative = 0.28
    correction: Correction = Correction()
    kl: NonNegative = 0.0
    """Weight of the divergence from the start (Schulman's k3). Above 0 a copy of the start is held in memory."""
    oversample: Annotated[float, Field(ge=1)] = 1.5
    """Prompts drawn a step, as a multiple of those trained on."""
    drop_even_groups: bool = True
    """Leave out groups whose rewards are all equal: they have nothing to teach, and dilute a mean."""
    over_cap: Literal["drop", "keep"] = "drop"
    """Whether the tokens of an answer that was cut off at the cap are left out of the loss. Its reward counts for the
    others of its group all the same."""
    overlong: Overlong = Overlong()
    concision: Concision | None = Concision()
    """Of answers without reasoning; None is none."""

    @model_validator(mode="before")
    @classmethod
    def _of_method(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("method", "mellum2") in _METHODS:
            return {**_METHODS[data.get("method", "mellum2")], **data}
        return data
