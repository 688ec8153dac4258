"""`compute_multiplier`: the gain of a better mixture, expressed in compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmix.decision.problem import Problem
from bayesmix.decision.protocols import PosteriorLike
from bayesmix.deprecation import renamed
from bayesmix.design import Axis, Mixture, Scale, grow
from bayesmix.errors import InputError
from bayesmix.summary import Band

# step of log2 of the multiplier; linear interpolation in log compute errs by less than 0.001 of it
STEP = 0.125


@dataclass(frozen=True)
class Multiplier:
    """Factor of compute that one mixture needs to match another.

    Attributes:
        median: median over the draws; infinite when most draws never catch up.
        q05: 5 % quantile.
        q95: 95 % quantile.
        gain: the difference in loss at equal compute, in nats.
        failure_rate: share of the draws in which the worse mixture does not catch up within the
            range of multipliers.
        along: what grows: ``flops`` at fixed tokens per parameter, ``params`` or ``tokens`` alone.
    """

    median: float
    q05: float
    q95: float
    gain: Band
    failure_rate: float
    along: Axis

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON; a multiplier that is not finite becomes None."""
        numbers = {
            k: v if np.isfinite(v) else None
            for k, v in vars(self).items()
            if k in ("median", "q05", "q95")
        }
        return {
            **numbers,
            "gain": self.gain.as_dict(),
            "never": self.failure_rate,
            "along": self.along,
        }

    def __str__(self) -> str:
        resource = {"flops": "FLOPs", "params": "parameters", "tokens": "tokens"}[self.along]
        caveat = (
            f"; in {100 * self.failure_rate:.0f}% of the draws it never would"
            if self.failure_rate > 0
            else ""
        )
        if np.isinf(self.q05):
            return f"would not catch up with more {resource}"
        if np.isinf(self.median):
            return (
                f"would need at least {self.q05:.2f}× the {resource}, most likely far more{caveat}"
            )
        high = f"{self.q95:.2f}" if np.isfinite(self.q95) else "∞"
        return f"would need {self.median:.2f}× [{self.q05:.2f}, {high}] the {resource}{caveat}"


@renamed(than="baseline")
def compute_multiplier(
    posterior: PosteriorLike,
    scale: Scale,
    mixture: Mixture,
    *,
    baseline: Mixture | None = None,
    targets: Mapping[str, float] | None = None,
    along: Axis = "flops",
    limit: float = 64.0,
    max_draws: int | None = None,
) -> Multiplier:
    """Factor of compute that `baseline` needs to reach the loss of `mixture` at `scale`.

    The factor is found draw by draw.

    Args:
        posterior: the fitted losses.
        scale: the scale at which `mixture` is trained.
        mixture: the mixture to match.
        baseline: the other mixture; the natural one when not given.
        targets: target → weight; equal weights when not given.
        along: grow FLOPs at fixed tokens per parameter, or parameters or tokens alone.
        limit: multipliers between 1/limit and `limit` are searched.
        max_draws: use at most this many draws.

    Raises:
        InputError: `baseline` is not given and the natural mixture is not known.
    """
    other = baseline or posterior.natural
    if other is None:
        raise InputError(
            "there is nothing to compare with",
            expected="a mixture, or a known natural one",
            got="neither",
            advice="Give baseline=....",
        )
    steps = int(np.ceil(np.log2(limit) / STEP))
    factors = 2.0 ** (STEP * np.arange(-steps, steps + 1))

    def losses(scale: Scale, mixture: Mixture) -> np.ndarray:
        problem = Problem.of(posterior, scale, targets=targets, max_draws=max_draws)
        return problem.combined(problem.losses(mixture.on(posterior.domains)))

    aim = losses(scale, mixture)
    curve = np.stack([losses(grow(along)(scale, f), other) for f in factors])
    multipliers = 2.0 ** first_crossing(np.log2(factors), curve, aim)
    low, median, high = np.quantile(multipliers, [0.05, 0.5, 0.95], method="inverted_cdf")
    gain = Band.of(curve[steps] - aim)
    return Multiplier(
        float(median), float(low), float(high), gain, float(np.mean(np.isinf(multipliers))), along
    )


def first_crossing(axis: np.ndarray, curve: np.ndarray, aim: np.ndarray | float) -> np.ndarray:
    """Position at which each draw's curve first falls to its aim, by linear interpolation.

    Args:
        axis: positions (point), increasing.
        curve: values (point, draw).
        aim: values (draw) to reach.

    Returns:
        Positions (draw): −∞ where the curve is below from the start, +∞ where it never gets there.
    """
    at_aim = curve <= aim
    first = np.argmax(at_aim, axis=0)
    end = np.clip(first, 1, len(axis) - 1)
    draw = np.arange(curve.shape[1])
    high, low = curve[end - 1, draw], curve[end, draw]
    share = (high - aim) / np.where(high > low, high - low, 1.0)
    position = axis[end - 1] + np.clip(share, 0, 1) * (axis[end] - axis[end - 1])
    return np.where(at_aim[0], -np.inf, np.where(at_aim.any(axis=0), position, np.inf))
