"""Certified minimisation of a convex function over the allowed mixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayesmix.decision.solvers.entropic_step import entropic_step
from bayesmix.decision.solvers.polytope import Polytope, divergence, lowest
from bayesmix.decision.solvers.region import Region

LP_ERROR = 1e-9  # nats; the solver of linear programs works to 1e-10
Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Minimum:
    """Result of a minimisation.

    Attributes:
        mixture: the best weights (domain).
        value: the objective there.
        gap: an upper bound on `value` minus the lowest possible value; None without convexity.
        evaluations: how often the objective was evaluated.
        converged: whether the tolerance was reached.
        spread: highest minus lowest final value of the three best of several starts; None with one
            start.
    """

    mixture: np.ndarray
    value: float
    gap: float | None
    evaluations: int
    converged: bool
    spread: float | None = None


def minimise_convex(
    evaluate: Evaluate,
    region: Region,
    *,
    tolerance: float,
    budget: int,
    start: np.ndarray | None = None,
) -> Minimum:
    r"""Minimise a convex function by the entropic level method, with a certified gap.

    The method is mirror descent with a memory of all planes (Ben-Tal and Nemirovski 2005, *Math.
    Program.* 102).

    Every evaluation of a convex f gives a supporting plane f(hₖ) + gₖ·(h − hₖ) ≤ f(h). The lowest
    point of all planes over the allowed mixtures, a linear program, bounds the optimum from below:
    the Frank–Wolfe gap is this bound with one plane. The next mixture is the Kullback–Leibler
    projection of the best one so far onto the mixtures where all planes lie at most half-way
    between the bound and the best value. There is no step size, kinks (CVaR, worst target) do no
    harm, and weights stay positive, so a slope that is infinite at weight 0 is never evaluated.

    Args:
        evaluate: mixture (domain) → value and subgradient (domain); convex and finite inside the
            region.
        region: the allowed mixtures.
        tolerance: the gap to reach, in nats.
        budget: the most evaluations.
        start: an allowed mixture (domain), positive where it may be; the centre of the region when
            not given.

    Returns:
        The best mixture with a certified gap.
    """
    mixture = best = region.centre if start is None else start
    relaxation, value, bound, evaluations = region.polytope, np.inf, -np.inf, 0
    slopes, offsets = np.zeros((0, region.size)), np.zeros(0)
    while evaluations < budget:
        new_value, slope = evaluate(mixture)
        evaluations += 1
        slope = np.where(region.free, slope, 0.0)
        if not (np.isfinite(new_value) and np.isfinite(slope).all()):
            break
        slopes, offsets = (
            np.vstack([slopes, slope]),
            np.append(offsets, new_value - slope @ mixture),
        )
        if new_value < value:
            best, value = mixture, new_value
        relaxation = _with_tangent(relaxation, region, slopes, offsets, value)
        bound = max(bound, lowest(relaxation, region.lift(slopes), offsets)[0] - LP_ERROR)
        if value - bound <= tolerance or not region.free.any():
            return Minimum(best, value, max(value - bound, 0.0), evaluations, True)
        level = 0.5 * (value + bound)
        reach = Region(
            region.domains, region.polytope.with_rows(region.lift(slopes), level - offsets)
        )
        mixture = reach.project(best[None])[0]
    return Minimum(best, value, value - bound, evaluations, False)


def _with_tangent(
    relaxation: Polytope, region: Region, slopes: np.ndarray, offsets: np.ndarray, value: float
) -> Polytope:
    """`relaxation` with one more tangent half-space of the Kullback–Leibler ball, if there is one.

    In a linear program tangents stand for the ball. The planes are minimised over the ball itself
    by the interior-point method; with the tangent at that mixture the linear program gives the same
    answer, and its bound is tight.
    """
    ball = region.polytope.ball
    if ball is None:
        return relaxation
    floor, _ = lowest(relaxation, region.lift(slopes), offsets)
    up = np.append(np.zeros(len(relaxation.lower)), 1.0)[None]
    minimiser = entropic_step(
        up, np.ones_like(up), np.zeros_like(up), above_planes(region, slopes, offsets, floor, value)
    )
    mixture, reference = minimiser[0, : region.size], ball[0][: region.size]
    inside = (reference > 0) & (mixture > 0)
    tangent = np.where(
        inside, np.log(np.where(inside, mixture, 1.0) / np.where(inside, reference, 1.0)) + 1.0, 0.0
    )
    limit = ball[1] - divergence(mixture, reference) + tangent @ mixture
    return relaxation.with_rows(region.lift(tangent[None]), np.array([limit]))


def above_planes(
    region: Region, slopes: np.ndarray, offsets: np.ndarray, floor: float, value: float
) -> Polytope:
    """Epigraph of the planes over the allowed mixtures; the last variable is height − `floor`."""
    p = region.polytope
    return Polytope(
        lower=np.append(p.lower, 0.0),
        upper=np.append(p.upper, max(value - floor, 0.0) + 1.0),
        equal=np.hstack([p.equal, np.zeros((len(p.total), 1))]),
        total=p.total,
        rows=np.block(
            [
                [p.rows, np.zeros((len(p.limit), 1))],
                [region.lift(slopes), -np.ones((len(slopes), 1))],
            ]
        ),
        limit=np.concatenate([p.limit, floor - offsets]),
        ball=None if p.ball is None else (np.append(p.ball[0], 0.0), p.ball[1]),
    )
