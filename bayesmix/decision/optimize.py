"""`optimize`: the mixture with the least risk at a scale, with an optimality gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import jax.numpy as jnp
import numpy as np

from bayesmix.decision.constraint import ChanceConstraint
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.objective import Objective, criterion_text
from bayesmix.decision.optimum import BaselineComparison, Optimum
from bayesmix.decision.problem import Penalty, Problem
from bayesmix.decision.protocols import PosteriorLike
from bayesmix.decision.risk import Risk
from bayesmix.decision.solve import baselines_by_name, solve, with_baseline
from bayesmix.decision.solvers.cutting_plane import Minimum
from bayesmix.decision.solvers.region import Region
from bayesmix.deprecation import renamed
from bayesmix.design import Mixture, Scale
from bayesmix.errors import DiagnosticsError, DiagnosticsWarning, InfeasibleError, InputError, warn
from bayesmix.runtime.compute import enable_x64
from bayesmix.summary import Band

NOT_FINITE = "the loss of some allowed mixtures is not finite"
PRICES = (10.0, 100.0, 1000.0)
CONSERVATIVE = "among the mixtures that keep the chance constraints in their conservative CVaR form"


class Options(TypedDict, total=False):
    """Keyword arguments of `optimize`, for functions that pass them on."""

    targets: Mapping[str, float] | None
    objective: Objective | None
    risk: Risk | None
    feasible: FeasibleSet | None
    chance_constraints: Sequence[ChanceConstraint]
    baselines: Mapping[str, Mixture] | None
    noise: bool
    max_draws: int | None
    tolerance: float
    starts: int
    seed: int
    strict: bool


@renamed(within="feasible", promises="chance_constraints", against="baselines")
def optimize(
    posterior: PosteriorLike,
    scale: Scale,
    *,
    targets: Mapping[str, float] | None = None,
    objective: Objective | None = None,
    risk: Risk | None = None,
    feasible: FeasibleSet | None = None,
    chance_constraints: Sequence[ChanceConstraint] = (),
    baselines: Mapping[str, Mixture] | None = None,
    noise: bool = False,
    max_draws: int | None = None,
    tolerance: float = 1e-6,
    starts: int = 8,
    seed: int = 0,
    strict: bool = False,
) -> Optimum:
    r"""The mixture that minimises the risk of the target loss, min over h of ρ(Σ wₜ Lₜ(h)).

    Where every draw's loss, the objective and the risk are convex in the mixture, the answer
    carries a certificate: an upper bound on how far it can be from the best possible. Otherwise it
    is the best of several starts and says so.

    Args:
        posterior: the fitted losses.
        scale: parameters and tokens of the run the mixture is for.
        targets: target → weight; equal weights when not given.
        objective: how targets are combined; `WeightedLoss` when not given.
        risk: risk measure over the draws; `Mean` when not given.
        feasible: the allowed mixtures; all when not given.
        chance_constraints: chance constraints.
        baselines: name → mixture to compare with; uniform and natural are always included.
        noise: whether run noise counts as a risk.
        max_draws: use at most this many draws.
        tolerance: the gap to reach, as a share of the loss.
        starts: number of starts where the problem is not convex.
        seed: random seed of the starts.
        strict: raise when the optimiser does not converge, instead of a warning.

    Returns:
        The optimum; losses and gap are in nats.

    Raises:
        InputError: unknown targets or domains.
        InfeasibleError: no mixture meets the constraints, or none found meets the chance
            constraints.
        DiagnosticsError: with `strict`, the optimiser did not converge.
    """
    region = (feasible or FeasibleSet()).at(scale, posterior.domains)
    problem = Problem.of(
        posterior,
        scale,
        targets=targets,
        objective=objective,
        risk=risk,
        max_draws=max_draws,
        noise=noise,
    )
    nats = tolerance * problem.loss_scale(region.centre)
    problem = with_baseline(problem, region, nats)
    ceilings = {
        promise: _ceiling(problem, promise, posterior.natural) for promise in chance_constraints
    }
    all_baselines = baselines_by_name(posterior, baselines)
    minimum = _keep_promises(problem, region, ceilings, nats, starts, seed)
    if not minimum.converged:
        _complain(minimum, strict)
    losses = problem.losses(minimum.mixture)
    finite = minimum.gap is None or bool(np.isfinite(minimum.gap))
    return Optimum(
        mixture=Mixture.of(posterior.domains, minimum.mixture / minimum.mixture.sum()),
        scale=scale,
        risk=criterion_text(problem.objective, problem.risk),
        value=minimum.value,
        targets=dict(zip(posterior.targets, problem.weights.tolist(), strict=True)),
        loss=Band.of(problem.combined(losses)),
        by_target={t: Band.of(losses[:, i]) for i, t in enumerate(posterior.targets)},
        gap=minimum.gap if finite else None,
        gap_reason=problem.why_not_convex
        or (NOT_FINITE if not finite else CONSERVATIVE if chance_constraints else ""),
        converged=minimum.converged,
        spread=minimum.spread,
        evaluations=minimum.evaluations,
        baselines={name: _compare(problem, m, losses) for name, m in all_baselines.items()},
        chances={str(p): _chance(losses, ceiling) for p, ceiling in ceilings.items()},
    )


def _compare(problem: Problem, other: Mixture, losses: np.ndarray) -> BaselineComparison:
    """Comparison of another mixture with the losses (draw, target) of the optimum."""
    other_losses = problem.losses(other.on(problem.surface.domains))
    return BaselineComparison.of(other, problem.combined(other_losses), problem.combined(losses))


def _chance(losses: np.ndarray, ceiling: np.ndarray) -> float:
    """Share of the draws whose losses (draw, target) all stay below a ceiling."""
    return float(np.mean((losses <= ceiling).all(axis=1)))


def _ceiling(problem: Problem, promise: ChanceConstraint, natural: Mixture | None) -> np.ndarray:
    """Losses (draw, target) that a chance constraint allows, +∞ for targets it does not cover."""
    baseline = promise.baseline or natural
    if baseline is None:
        raise InputError(
            "the natural mixture is not known, so nothing can be promised against it",
            expected="a mixture to compare with",
            got="none",
            advice="Give ChanceConstraint(baseline=...).",
        )
    covered = promise.targets or problem.surface.targets
    unknown = [t for t in covered if t not in problem.surface.targets]
    if unknown:
        raise InputError(
            "a promise names unknown targets",
            expected=f"targets among {list(problem.surface.targets)}",
            got=unknown,
        )
    ceiling = (1 + promise.margin) * problem.losses(baseline.on(problem.surface.domains))
    return np.where([t in covered for t in problem.surface.targets], ceiling, np.inf)


def _keep_promises(
    problem: Problem,
    region: Region,
    ceilings: Mapping[ChanceConstraint, np.ndarray],
    tolerance: float,
    starts: int,
    seed: int,
) -> Minimum:
    """Minimise with an exact penalty on every chance constraint, raised until all are met."""
    if not ceilings:
        return solve(problem, region, tolerance=tolerance, starts=starts, seed=seed)
    levels = tuple(promise.probability for promise in ceilings)
    chances = [0.0]
    for price in PRICES:
        with enable_x64():
            penalties = tuple(Penalty(jnp.asarray(ceiling), price) for ceiling in ceilings.values())
        priced = replace(problem, penalties=penalties, levels=levels)
        minimum = solve(priced, region, tolerance=tolerance, starts=starts, seed=seed)
        losses = problem.losses(minimum.mixture)
        chances = [_chance(losses, ceiling) for ceiling in ceilings.values()]
        if all(chance >= level for chance, level in zip(chances, levels, strict=True)):
            return replace(minimum, value=problem.value(minimum.mixture))
    worst = int(np.argmin(np.array(chances) - np.array(levels)))
    raise InfeasibleError(
        "no mixture found keeps every promise",
        expected=f"{list(ceilings)[worst]}, with probability {levels[worst]:g}",
        got=f"probability {chances[worst]:.3f} at best",
        advice="Widen the margin, lower the probability, or relax the other constraints.",
    )


def _complain(minimum: Minimum, strict: bool) -> None:
    gap = "no certificate" if minimum.gap is None else f"a gap of {minimum.gap:.2g} nats"
    message = (
        f"the optimiser stopped before its tolerance, with {gap}; loosen `tolerance` or the"
        " constraints"
    )
    if strict:
        raise DiagnosticsError(message)
    warn(message, DiagnosticsWarning)
