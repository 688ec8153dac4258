"""Local minimisation of functions with kinks and without convexity."""

from __future__ import annotations

import numpy as np

from bayesmix.decision.solvers.cutting_plane import Evaluate, Minimum, above_planes
from bayesmix.decision.solvers.entropic_step import entropic_step
from bayesmix.decision.solvers.region import Region

MEMORY = 40  # planes


def minimise_locally(
    evaluate: Evaluate, region: Region, start: np.ndarray, *, tolerance: float, budget: int
) -> Minimum:
    r"""Minimise a function locally by an entropic proximal bundle method in the manner of Kiwiel.

    The model of f around the best mixture h₀ is the maximum of the latest tangent planes, each
    lowered where it would pass above f(h₀), which can only happen without convexity. The next
    mixture minimises the model plus t KL(h‖h₀). When f falls by a tenth of the predicted decrease
    or more, it is the new h₀ and t halves; else its plane joins the model, and t doubles where the
    plane had to be lowered. The search ends when the predicted decrease stays below the tolerance
    while t halves three times.

    Args:
        evaluate: mixture (domain) → value and (sub)gradient (domain).
        region: the allowed mixtures.
        start: an allowed mixture (domain), positive where it may be.
        tolerance: tolerance on the predicted decrease, in nats.
        budget: the most evaluations.

    Returns:
        The mixture it ended at, without a gap.
    """
    best, (value, slope) = start, evaluate(start)
    slope = np.where(region.free, slope, 0.0)
    slopes, offsets = slope[None], np.array([value - slope @ best])
    stiffness, quiet, evaluations = max(float(np.ptp(slope)), 1e-9), 0, 1
    while evaluations < budget and quiet < 3 and region.free.any():
        lowered = np.minimum(offsets, value - slopes @ best)
        trial, promise = _propose(region, slopes, lowered, best, value, stiffness)
        trial_value, trial_slope = evaluate(trial)
        evaluations += 1
        trial_slope = np.where(region.free, trial_slope, 0.0)
        if not (np.isfinite(trial_value) and np.isfinite(trial_slope).all()):
            stiffness *= 8.0
            continue
        slopes = np.vstack([slopes[-MEMORY + 1 :], trial_slope])
        offsets = np.append(offsets[-MEMORY + 1 :], trial_value - trial_slope @ trial)
        quiet = quiet + 1 if promise < tolerance else 0
        bent = trial_value + trial_slope @ (best - trial) > value + 1e-12
        if trial_value <= value - 0.1 * promise:
            best, value = trial, trial_value
            stiffness *= 0.5
        else:
            stiffness *= 0.5 if quiet else 2.0 if bent else 1.0
    return Minimum(best, value, None, evaluations, quiet >= 3 or not region.free.any())


def _propose(
    region: Region,
    slopes: np.ndarray,
    offsets: np.ndarray,
    best: np.ndarray,
    value: float,
    stiffness: float,
) -> tuple[np.ndarray, float]:
    """Minimiser of the model plus stiffness · KL, and the predicted decrease there."""
    floor = (
        float((offsets + slopes[:, region.free].min(axis=1)).max())
        if region.free.all()
        else value - 1.0
    )
    floor = min(floor, value) - 1.0
    centre = np.append(region.lift(best), 1.0)[None]
    stiff = np.append(region.lift(np.full(region.size, stiffness)), 0.0)[None]
    up = np.append(np.zeros(centre.shape[1] - 1), 1.0)[None]
    trial = entropic_step(up, centre, stiff, above_planes(region, slopes, offsets, floor, value))[
        0, : region.size
    ]
    return trial, max(value - float((slopes @ trial + offsets).max()), 0.0)
