"""`DecisionSet`: mixtures that may turn out to be optimal at the flagship, with their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bayesmix.acquisition.moments import expected_losses
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.objective import target_weights
from bayesmix.decision.per_draw import lowest_per_draw
from bayesmix.decision.problem import Problem
from bayesmix.decision.solve import baselines_by_name, solve
from bayesmix.design import Designs, Mixture, Scale, grow
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import thinned

OPTIMUM_DRAWS = 250
STEP = 1.1
"""Factor in FLOPs of the finite difference for the slope of the loss."""


@dataclass(frozen=True, eq=False)
class DecisionSet:
    """The decision at the flagship that further runs inform.

    Attributes:
        flagship: the scale to decide at.
        mixtures: the mixtures to choose from (decision, domain); the first is the best one now.
        losses: expected losses (draw, decision, target) of the mixtures at the flagship.
        weights: weight of each target (target).
        domains: names of the domains.
        slope: decrease of the loss of the best mixture per unit of log FLOPs at the flagship, in
            nats.
    """

    flagship: Scale
    mixtures: np.ndarray
    losses: np.ndarray
    weights: np.ndarray
    domains: tuple[str, ...]
    slope: float

    @property
    def combined(self) -> np.ndarray:
        """Weighted losses (draw, decision)."""
        return self.losses @ self.weights

    @property
    def designs(self) -> Designs:
        """The mixtures at the flagship (decision)."""
        return _at(self.domains, self.mixtures, self.flagship)

    @property
    def evpi(self) -> float:
        """Expected regret of choosing now: min E[L] − E[min L] over the decisions, in nats."""
        combined = self.combined
        return float(combined.mean(axis=0).min() - combined.min(axis=1).mean())

    def in_flops(self, nats: float) -> float:
        """Further FLOPs at the flagship that lower its loss by `nats`: C (e^(nats/slope) − 1)."""
        if not self.slope > 0:
            return float("inf") if nats > 0 else 0.0
        return self.flagship.flops * float(np.expm1(min(nats / self.slope, 700.0)))


def decision_set(
    posterior: Posterior,
    flagship: Scale,
    *,
    targets: Mapping[str, float] | None = None,
    feasible: FeasibleSet | None = None,
    count: int = 48,
    candidates: Sequence[Mixture] | None = None,
) -> DecisionSet:
    """The decision at the flagship: mixtures to choose from, and draws of their losses.

    The mixtures are the best one at present, the best ones of evenly spaced draws, and natural and
    uniform where they are feasible.

    Args:
        posterior: posterior of the losses.
        flagship: the scale to decide at.
        targets: target → weight; equal weights when not given.
        feasible: the allowed mixtures.
        count: number of draws whose own best mixture is included.
        candidates: the mixtures to choose from, instead of those above.
    """
    weights = np.array(target_weights(posterior.targets, targets))
    if candidates is None:
        mixtures = _possible_optima(
            posterior, flagship, weights, targets, feasible or FeasibleSet(), count
        )
    else:
        mixtures = np.array([m.on(posterior.domains) for m in candidates])
    losses = expected_losses(posterior, _at(posterior.domains, mixtures, flagship))
    order = np.argsort((losses.mean(axis=0) @ weights).round(12), kind="stable")
    slope = _slope(thinned(posterior, OPTIMUM_DRAWS), mixtures[order[0]], flagship, weights)
    return DecisionSet(
        flagship, mixtures[order], losses[:, order], weights, posterior.domains, slope
    )


def _possible_optima(
    posterior: Posterior,
    flagship: Scale,
    weights: np.ndarray,
    targets: Mapping[str, float] | None,
    feasible: FeasibleSet,
    count: int,
) -> np.ndarray:
    """Mixtures (decision, domain) that may turn out to be optimal."""
    region = feasible.at(flagship, posterior.domains)
    subsample = thinned(posterior, OPTIMUM_DRAWS)
    problem = Problem.of(subsample, flagship, targets=targets)
    best = solve(
        problem, region, tolerance=1e-4 * float(np.abs(problem.losses(region.centre)).mean())
    )
    spaced_draws = Problem.of(posterior, flagship, targets=targets, max_draws=count)
    optima, _ = lowest_per_draw(spaced_draws, region, tolerance=1e-5)
    baselines = [m.on(posterior.domains) for m in baselines_by_name(posterior, None).values()]
    feasible_baselines = [h for h in baselines if region.contains(h)]
    mixtures = np.vstack([best.mixture, optima, *(h[None] for h in feasible_baselines)])
    return mixtures / mixtures.sum(axis=1, keepdims=True)


def _at(domains: tuple[str, ...], mixtures: np.ndarray, *scales: Scale) -> Designs:
    size = [len(mixtures) // len(scales)] * len(scales)
    return Designs(
        domains,
        mixtures,
        np.repeat([s.params for s in scales], size),
        np.repeat([s.tokens for s in scales], size),
    )


def _slope(
    posterior: Posterior, mixture: np.ndarray, flagship: Scale, weights: np.ndarray
) -> float:
    """Slope −dL/d log C at the flagship, at fixed tokens per parameter."""
    pair = _at(
        posterior.domains, np.stack([mixture, mixture]), flagship, grow("flops")(flagship, STEP)
    )
    loss, next_loss = expected_losses(posterior, pair).mean(axis=0) @ weights
    return float((loss - next_loss) / np.log(STEP))
