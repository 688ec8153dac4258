r"""Checks of a score: bounds on the information, and two further estimators of regret reduction.

The Gaussian estimate takes the law's losses as jointly Gaussian. The bounds (nested Monte Carlo)
and estimators of this module simulate outcomes from the draws instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from bayesmix.acquisition.decision_set import DecisionSet
from bayesmix.posterior.resample import KHAT_LIMIT, smoothed

OUTCOMES = 200
EFFECTIVE = 100.0
"""Lowest effective number of draws of a usable importance estimate."""
SPLITS = 2
TOLERANCE = 0.3
"""Relative difference at which two estimates still agree; two standard errors always do."""


@dataclass(frozen=True)
class Bracket:
    """Bounds on the information of a run about all parameters, in nats.

    Attributes:
        gaussian: the estimate by moment matching.
        lower: prior contrastive estimate, a lower bound on average (Foster et al. 2020, *AISTATS*).
        upper: nested Monte Carlo without the true draw, an upper bound on average.
        saturated: whether the lower bound is near log(draws), its largest possible value; it then
            says nothing.
    """

    gaussian: float
    lower: float
    upper: float
    saturated: bool

    def __str__(self) -> str:
        bounds = f"between {self.lower:.2f} and {self.upper:.2f} nats by nested Monte Carlo"
        return f"{self.gaussian:.2f} nats of information, {bounds}" + (
            " (saturated)" if self.saturated else ""
        )


@dataclass(frozen=True)
class Estimate:
    """Estimate of the regret reduction by another method.

    Attributes:
        name: name of the method.
        value: regret reduction, in nats.
        error: Monte Carlo standard error, in nats.
        khat: 90 % quantile of the Pareto k̂ over the outcomes; None for methods without weights.
        effective: 10 % quantile of the effective number of draws over the outcomes; None for
            methods without weights.
    """

    name: str
    value: float
    error: float
    khat: float | None = None
    effective: float | None = None

    @property
    def usable(self) -> bool:
        """Whether the estimate is reliable enough for a comparison."""
        return (self.khat is None or self.khat < KHAT_LIMIT) and (
            self.effective is None or self.effective >= EFFECTIVE
        )

    def agrees(self, value: float) -> bool:
        """Whether another estimate of the same quantity agrees with this one."""
        return abs(self.value - value) <= max(TOLERANCE * max(self.value, value), 2 * self.error)

    def __str__(self) -> str:
        khat = (
            ""
            if self.khat is None
            else f", k̂ {self.khat:.2f}, {self.effective:.0f} effective draws"
        )
        return f"{self.name} {self.value:.3g} ± {self.error:.1g}{khat}" + (
            "" if self.usable else ", not usable"
        )


def bracket(run: np.ndarray, gaussian: float, seed: int = 0, outcomes: int = OUTCOMES) -> Bracket:
    """Bounds on the information of one run (target, draw, point), whitened and centred.

    E[log p(y | θ₀) − log(1/S Σₛ p(y | θₛ))], where the sum over the S draws has the true draw θ₀ in
    the lower bound and leaves it out in the upper one. Targets are independent, so their bounds add
    up; each saturates by itself.
    """
    rng = np.random.default_rng(seed)
    lower = upper = 0.0
    saturated = False
    draws = run.shape[1]
    for losses in run:
        true = rng.choice(draws, size=min(outcomes, draws), replace=False)
        outcome = losses[true] + rng.normal(size=(len(true), losses.shape[1]))
        fit = _log_fit(outcome, losses)
        log_likelihood = fit[np.arange(len(true)), true]
        mine = float(np.mean(log_likelihood - logsumexp(fit, axis=1))) + np.log(draws)
        fit[np.arange(len(true)), true] = -np.inf
        upper += float(np.mean(log_likelihood - logsumexp(fit, axis=1))) + np.log(draws - 1)
        lower += mine
        saturated |= mine > np.log(draws) - 1
    return Bracket(gaussian, lower, upper, bool(saturated))


def by_importance(
    decision_set: DecisionSet, run: np.ndarray, seed: int = 0, outcomes: int = OUTCOMES
) -> Estimate:
    """Regret reduction by Pareto-smoothed importance weights of the draws for each outcome.

    Args:
        decision_set: the decision.
        run: losses of the run (target, draw, point), whitened and centred.
        seed: seed of the outcomes.
        outcomes: number of simulated outcomes.
    """
    rng = np.random.default_rng(seed)
    targets, draws, points = run.shape
    true = rng.choice(draws, size=min(outcomes, draws), replace=False)
    expected = np.zeros((len(true), len(decision_set.mixtures)))
    khats, effective = (
        np.full((targets, len(true)), -np.inf),
        np.full((targets, len(true)), float(draws)),
    )
    for t in np.flatnonzero(decision_set.weights):
        outcome = run[t, true] + rng.normal(size=(len(true), points))
        fit = _log_fit(outcome, run[t])
        # the true draw of an outcome gets the lowest weight
        fit[np.arange(len(true)), true] = fit.min(axis=1)
        weights, khats[t] = smoothed(fit)
        effective[t] = 1 / np.sum(weights**2, axis=1)
        expected += decision_set.weights[t] * (weights @ decision_set.losses[:, :, t])
    value, error = _gain(decision_set, true, expected)
    worst = np.quantile(khats.max(axis=0), 0.9), np.quantile(effective.min(axis=0), 0.1)
    return Estimate("importance weights", value, error, *map(float, worst))


def by_regression(decision_set: DecisionSet, run: np.ndarray, seed: int = 0) -> Estimate:
    """Regret reduction by regression of losses on simulated outcomes (Strong et al. 2014).

    The regression is cubic in the two most informative directions of each target's outcome, fitted
    on one half of the draws and evaluated on the other.
    """
    rng = np.random.default_rng(seed)
    _, draws, points = run.shape
    halves = np.array_split(rng.permutation(draws), SPLITS)
    expected = np.zeros((draws, len(decision_set.mixtures)))
    for t in np.flatnonzero(decision_set.weights):
        outcome = run[t] + rng.normal(size=(draws, points))
        features = _cubic(_directions(run[t], outcome))
        for half in halves:
            rest = np.setdiff1d(np.arange(draws), half)
            coefficients, *_ = np.linalg.lstsq(
                features[rest], decision_set.losses[rest][:, :, t], rcond=1e-8
            )
            expected[half] += decision_set.weights[t] * (features[half] @ coefficients)
    value, error = _gain(decision_set, np.arange(draws), expected)
    return Estimate("regression", value, error)


def _gain(decision_set: DecisionSet, true: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Gain of a choice by `expected` (outcome, decision), and its standard error.

    The gain is evaluated on the draws `true` (outcome) that the outcomes were made from. They have
    no part in the choice, which avoids optimism bias.
    """
    combined = decision_set.combined
    now = int(np.argmin(combined.mean(axis=0)))
    gain = combined[true, now] - combined[true, np.argmin(expected, axis=1)]
    return float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))


def _log_fit(outcome: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Log-likelihood −½ |y − u|² (outcome, draw), up to a constant, with scatter I.

    Outcomes y are (outcome, point), draws u are (draw, point).
    """
    square = (outcome**2).sum(axis=1)[:, None] - 2 * outcome @ losses.T + (losses**2).sum(axis=1)
    return -0.5 * square


def _directions(losses: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Outcomes along the (at most two) directions of largest variance of the draws.

    In units of their standard deviation (outcome, direction).
    """
    _, _, axes = np.linalg.svd(losses, full_matrices=False)
    along = outcome @ axes[:2].T
    return along / np.maximum(along.std(axis=0), 1e-12)


def _cubic(along: np.ndarray) -> np.ndarray:
    """All monomials up to the third degree (draw, feature)."""
    degrees = [(a, b) for a in range(4) for b in range(4 - a) if along.shape[1] > 1 or b == 0]
    return np.column_stack([along[:, 0] ** a * along[:, -1] ** b for a, b in degrees])
