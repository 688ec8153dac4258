"""`propose`: choice of the next runs by their score per cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.acquisition.candidates import Candidates
from bayesmix.acquisition.cost import CostOf
from bayesmix.acquisition.decision_set import DecisionSet
from bayesmix.acquisition.estimators import bracket, by_importance, by_regression
from bayesmix.acquisition.functions import (
    Acquisition,
    RegretReduction,
    View,
    score_each,
    score_pool,
    updated_by,
    updated_by_all,
)
from bayesmix.acquisition.moments import DrawUpdate, covariance, information, whiten_all
from bayesmix.acquisition.pool import Pool
from bayesmix.acquisition.proposal import DecisionValue, Proposal
from bayesmix.deprecation import renamed
from bayesmix.design import Design, Designs, count
from bayesmix.errors import InputError
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import thinned
from bayesmix.runtime.compute import enable_x64

DRAWS = 1000
SHORTLIST = 64
EXCHANGES = 2
EXCHANGED = 10
"""Size of the largest set whose runs are exchanged.

Greedy choice loses little in larger sets, and all pairs would be tried.
"""
GAIN = 0.01
"""Lowest relative gain of an exchange."""
WORTHLESS = 1e-3
"""Lowest gain of a further run, relative to the gain of the set so far."""


@renamed(among="candidates", by="acquisition", per="cost")
def propose(
    posterior: Posterior,
    candidates: Candidates | Pool | Designs | Sequence[Design],
    *,
    acquisition: Acquisition,
    cost: CostOf | None = None,
    budget: float | None = None,
    count: int | None = None,
    pending: Pool | None = None,
    checks: bool = True,
    max_draws: int = DRAWS,
    seed: int = 0,
) -> Proposal:
    """Choose the runs to make next.

    One run is the candidate with the highest score per cost. With a budget it is the best set found
    within it: greedy by score per cost, greedy by score, the best single run, and exchanges of
    single runs, whichever scores highest as a set; a ratio alone would always buy the smallest
    runs. Scores are conditional: a run counts for what it adds to the runs that are pending or
    chosen already.

    Args:
        posterior: present posterior.
        candidates: `candidates(...)`, a pool, or designs.
        acquisition: acquisition function, `RegretReduction(flagship)` for the decision at the
            flagship.
        cost: cost of a run in FLOPs, such as `flops`: the stopping rule compares it with FLOPs at
            the flagship. None gives every run the same cost, and no stopping rule.
        budget: highest total cost of the chosen runs, in FLOPs.
        count: largest number of runs; 1 when there is no budget.
        pending: runs that were started and have not reported.
        checks: whether to make the second estimates and the bracket, for the first run.
        max_draws: largest number of posterior draws used.
        seed: seed of candidates and nodes; the same seed gives the same proposal, whatever the
            order of the candidates.

    Returns:
        The proposal. It has no runs when none is affordable, and says `stop` when the set is not
        worth its cost.

    Raises:
        InputError: there is no candidate, the budget has no cost to be measured in, a cost is not a
            number above 0, or count is below 1.
    """
    subsample = thinned(posterior, max_draws)
    pool = _pool(candidates, subsample, seed)
    if not len(pool):
        raise InputError(
            "there is nothing to choose from", expected="candidates", got="none", advice="Add some."
        )
    if count is not None and count < 1:
        raise InputError("count is too small", expected="at least 1", got=count)
    max_runs = count or (1 if budget is None else len(pool))
    costs = _costs(pool, cost, budget)
    limit = np.inf if budget is None else budget
    if costs.min() > limit:
        return _unaffordable(pool, acquisition, costs, limit)
    decision_set = acquisition.decision_set(subsample)
    with enable_x64():
        start = acquisition.view(subsample, decision_set, pool.max_points, seed)
        view, updates = _given_pending(start, subsample, pending)
    scores = score_pool(acquisition, view, subsample, pool, updates)
    scores = np.where(costs <= limit, scores, -np.inf)
    if max_runs > 1:
        positions = shortlist(scores, costs, pool)
    else:
        positions = np.array([_best(scores / costs, pool)])
    with enable_x64():
        selection = pool.take(positions)
        runs = updated_by_all(updates, whiten_all(subsample, selection))
        problem = _BatchProblem(acquisition, selection, costs[positions], limit, max_runs)
        empty = _Batch((), (), view, runs)
        batch = _best_batch(problem, empty, scores[positions])
        return _report(
            batch,
            problem,
            empty,
            decision_set=decision_set,
            n_candidates=len(pool),
            priced=cost is not None,
            checks=checks,
            seed=seed,
        )


def _costs(pool: Pool, cost: CostOf | None, budget: float | None) -> np.ndarray:
    """Costs of the runs (run), all 1 without a cost function.

    Raises:
        InputError: there is a budget but no cost function, or a cost is not a number above 0.
    """
    if budget is not None and cost is None:
        raise InputError(
            "the budget has no unit",
            expected="cost=flops, or another cost",
            got="none",
            advice="Say what runs cost.",
        )
    costs = np.asarray((cost or _unit_cost)(pool.last), float)
    wrong = costs[~(np.isfinite(costs) & (costs > 0))]
    if len(wrong):
        raise InputError(
            "a run has no usable cost",
            expected="numbers above 0",
            got=f"{wrong[0]:g}",
            advice="Look at what `cost` returns.",
        )
    return costs


def _given_pending(
    view: View, posterior: Posterior, pending: Pool | None
) -> tuple[View, list[DrawUpdate]]:
    """The view with the pending runs counted as made, and what each does to other draws."""
    updates: list[DrawUpdate] = []
    if pending is None or not len(pending):
        return view, updates
    for run in whiten_all(posterior, pending):
        view, update = view.condition_on(updated_by_all(updates, run[None])[0])
        updates.append(update)
    return view, updates


@dataclass(frozen=True, eq=False)
class _BatchProblem:
    """Runs that a set may consist of, and the limits of the set."""

    acquisition: Acquisition
    pool: Pool
    costs: np.ndarray  # (run)
    budget: float
    max_runs: int


@dataclass(frozen=True, eq=False)
class _Batch:
    """Set of chosen runs, with the gain of each over those before it.

    The view and the draws of all runs are those given that the chosen runs are pending.
    """

    chosen: tuple[int, ...]
    gains: tuple[float, ...]
    view: View
    runs: jax.Array  # (run, target, draw, point)

    @property
    def value(self) -> float:
        return float(sum(self.gains))

    def scores(self, acquisition: Acquisition) -> np.ndarray:
        return np.asarray(
            score_each(acquisition.of_one, replace(self.view, seed=0, n_pending=0), self.runs)
        )

    def cost(self, problem: _BatchProblem) -> float:
        return float(problem.costs[list(self.chosen)].sum())

    def adding(self, run: int, gain: float) -> _Batch:
        view, update = self.view.condition_on(self.runs[run])
        return _Batch((*self.chosen, run), (*self.gains, gain), view, updated_by(update, self.runs))


def _best_batch(problem: _BatchProblem, empty: _Batch, first: np.ndarray) -> _Batch:
    sets = [_greedy(problem, empty, problem.costs, first)]
    if problem.max_runs > 1 and np.isfinite(problem.budget):
        sets.append(_greedy(problem, empty, np.ones_like(problem.costs), first))
    best = max(sets, key=lambda s: s.value)
    return _exchange(problem, empty, best) if 1 < len(best.chosen) <= EXCHANGED else best


def _greedy(
    problem: _BatchProblem, batch: _Batch, denominator: np.ndarray, first: np.ndarray | None = None
) -> _Batch:
    """Set extended greedily by the run with the highest gain per `denominator`.

    It ends when the set is full, no run is affordable, or the highest gain is negligible.
    """
    while len(batch.chosen) < problem.max_runs:
        gains = (
            first if first is not None and not batch.chosen else batch.scores(problem.acquisition)
        )
        affordable = problem.costs + batch.cost(problem) <= problem.budget * (1 + 1e-9)
        if not affordable.any():
            break
        pick = _best(np.where(affordable, gains, -np.inf) / denominator, problem.pool)
        if batch.chosen and gains[pick] <= WORTHLESS * sum(batch.gains):
            break
        batch = batch.adding(pick, float(gains[pick]))
    return batch


def _exchange(problem: _BatchProblem, empty: _Batch, batch: _Batch) -> _Batch:
    """Set improved by exchanges: one run at a time is replaced by the best runs for the rest."""
    for _ in range(EXCHANGES):
        previous = batch.value
        for out in range(len(batch.chosen)):
            rest = empty
            for run in (r for i, r in enumerate(batch.chosen) if i != out):
                rest = rest.adding(run, float(rest.scores(problem.acquisition)[run]))
            # the freed budget may pay for several runs
            trial = _greedy(problem, rest, problem.costs)
            batch = trial if trial.value > batch.value * (1 + GAIN) else batch
        if batch.value <= previous * (1 + GAIN):
            break
    return batch


def _best(scores: np.ndarray, pool: Pool) -> int:
    """Position of the highest score; ties, up to rounding, go to the first run by key."""
    top = scores.max()
    ties = scores >= top - 1e-9 * abs(top)
    return int(pool.order[ties[pool.order].argmax()])


def shortlist(scores: np.ndarray, cost: np.ndarray, pool: Pool) -> np.ndarray:
    """Positions of the runs that a set may consist of: the best by score and by score per cost."""
    keep = np.full(len(pool), False)
    able = np.isfinite(scores)
    for value in (scores, scores / cost):
        relative = value[pool.order] / (np.abs(value[able]).max(initial=0.0) or 1.0)
        keep[pool.order[np.argsort(-relative.round(12), kind="stable")[:SHORTLIST]]] = True
    return pool.order[(keep & able)[pool.order]]


def _pool(
    candidates: Candidates | Pool | Designs | Sequence[Design], posterior: Posterior, seed: int
) -> Pool:
    if isinstance(candidates, Candidates):
        return candidates.on(posterior, seed)
    pool = candidates if isinstance(candidates, Pool) else Pool.of(candidates)
    return replace(pool, designs=pool.designs.on(posterior.domains))


def _unit_cost(designs: Designs) -> np.ndarray:
    return np.ones(len(designs))


def _unaffordable(
    pool: Pool, acquisition: Acquisition, costs: np.ndarray, budget: float
) -> Proposal:
    reason = (
        f"no candidate is affordable: the cheapest costs {costs.min():.3g}, and {budget:.3g} is"
        " left"
    )
    none = np.zeros(0)
    return Proposal(
        pool.take(np.zeros(0, dtype=int)),
        0.0,
        acquisition.unit,
        none,
        none,
        len(pool),
        None,
        (),
        0.0,
        None,
        True,
        reason,
    )


def _report(
    batch: _Batch,
    problem: _BatchProblem,
    empty: _Batch,
    *,
    decision_set: DecisionSet | None,
    n_candidates: int,
    priced: bool,
    checks: bool,
    seed: int,
) -> Proposal:
    picked = list(batch.chosen)
    cost = problem.costs[picked]
    decision = (
        _decision(decision_set, empty.view, batch)
        if decision_set is not None and isinstance(problem.acquisition, RegretReduction)
        else None
    )
    stop = bool(decision is not None and priced and decision.worth < cost.sum())
    first_draws = empty.runs[picked[0]]
    estimates, bounds = (), None
    if checks and not empty.view.n_pending:
        if decision_set is not None and decision is not None:
            estimates = tuple(
                other(decision_set, np.asarray(first_draws), seed)
                for other in (by_regression, by_importance)
            )
        bounds = bracket(np.asarray(first_draws), float(information(covariance(first_draws))), seed)
    return Proposal(
        runs=problem.pool.take(np.array(picked)),
        score=batch.value,
        unit=problem.acquisition.unit,
        scores=np.array(batch.gains),
        costs=cost if priced else problem.pool.take(np.array(picked)).last.flops,
        candidates=n_candidates,
        decision=decision,
        checks=estimates,
        first=batch.gains[0],
        bracket=bounds,
        stop=stop,
        reason=_reason(problem, batch, decision, float(cost.sum()), priced, stop),
    )


def _decision(decision_set: DecisionSet, view: View, batch: _Batch) -> DecisionValue:
    pending_gain = float(view.level.min() - jnp.mean(jnp.min(view.level + view.shift, axis=1)))
    regret = max(decision_set.evpi - pending_gain, 0.0)
    # the Gaussian estimate may exceed the value of perfect information
    gain = min(batch.value, regret)
    return DecisionValue(
        decision_set.flagship,
        regret,
        regret - gain,
        decision_set.in_flops(gain),
        _between(decision_set, view, batch.view),
    )


def _between(decision_set: DecisionSet, start: View, end: View) -> tuple[str, str] | None:
    """Domains whose shares the outcome moves most, in opposite directions; None if none moves."""
    moved = end.shift - start.shift
    chosen = decision_set.mixtures[np.argmin(np.asarray(end.level + moved), axis=1)]
    covariance = np.cov(chosen.T)
    if not covariance.max() > 1e-12:
        return None
    direction = np.linalg.eigh(covariance)[1][:, -1]
    pair = (
        decision_set.domains[int(np.argmax(direction))],
        decision_set.domains[int(np.argmin(direction))],
    )
    return (min(pair), max(pair))


def _reason(
    problem: _BatchProblem,
    batch: _Batch,
    decision: DecisionValue | None,
    cost: float,
    priced: bool,
    stop: bool,
) -> str:
    runs = "this run" if len(batch.chosen) == 1 else f"these {len(batch.chosen)} runs"
    verb = "s" if len(batch.chosen) == 1 else ""
    if decision is None:
        return f"{runs} bring{verb} {batch.value:.3g} {problem.acquisition.unit}" + (
            f" for {cost:.2g} FLOPs" if priced else ""
        )
    where = f"at {count(decision.flagship.params)}"
    effect = (
        f"settle{verb} {' against '.join(decision.domain_pair)}"
        if decision.domain_pair
        else f"hardly move{verb} the choice"
    )
    regret = f"expected regret {decision.regret:.3g} → {decision.remaining_regret:.3g} nats"
    price = f" for {cost:.2g} FLOPs" if priced else ""
    worth = f"as much as {decision.worth:.2g} more FLOPs would gain there"
    if stop:
        item = "affordable set of runs" if np.isfinite(problem.budget) else "run"
        return (
            f"no {item} is worth its cost; the best costs {cost:.2g} FLOPs and lowers the {regret}"
            f" {where}, {worth}"
        )
    return f"{runs} {effect} {where}: {regret}{price}; {worth}"
