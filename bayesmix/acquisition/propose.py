"""`propose`: the runs to make next, by what they do to the decision per FLOP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.acquisition.candidates import Candidates
from bayesmix.acquisition.cost import CostOf
from bayesmix.acquisition.criteria import Acquisition, RegretReduction, View, after_all, after_one, each, score
from bayesmix.acquisition.moments import Pending, gram, logdet, whiten_all
from bayesmix.acquisition.pool import Pool
from bayesmix.acquisition.proposal import Decision, Proposal
from bayesmix.acquisition.second import bracket, by_importance, by_regression
from bayesmix.acquisition.stakes import Stakes
from bayesmix.compute import double
from bayesmix.deprecation import renamed
from bayesmix.design import Design, Designs, count
from bayesmix.errors import InputError
from bayesmix.inference.posterior import Posterior
from bayesmix.inference.reweight import thinned

DRAWS = 1000
SHORTLIST = 64
EXCHANGES = 2
EXCHANGED = 10
"""Runs of larger sets are not exchanged: greedy choice loses little there, and all pairs would be tried."""
GAIN = 0.01
"""Relative gain that an exchange has to bring."""
WORTHLESS = 1e-3
"""A further run that adds a smaller share than this of what the set brings already is not added."""


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

    One run is the candidate with the highest score per cost. With a budget it is the best set found within it: greedy
    by score per cost, greedy by score, the best single run, and exchanges of single runs, whichever scores highest
    as a set; a ratio alone would always buy the smallest runs. Scores are conditional: a run counts for what it adds to
    the runs that are pending or chosen already.

    Args:
        posterior: what is believed now.
        candidates: `candidates(...)`, a pool, or designs.
        acquisition: what a run is worth, `RegretReduction(flagship)` for the decision at the flagship.
        cost: what a run costs, such as `flops`; None counts every run alike.
        budget: cost that all the chosen runs together may have, in the unit of `cost`.
        count: at most so many runs; 1 when there is no budget.
        pending: runs that were started and have not reported.
        checks: whether to make the second estimates and the bracket, for the first run.
        max_draws: at most so many posterior draws are used.
        seed: of candidates and nodes; the same seed gives the same proposal, whatever the order of the candidates.

    Returns:
        The proposal. It has no runs when none is affordable, and says `stop` when the set is not worth its cost.

    Raises:
        InputError: there is no candidate, the budget has no cost to be measured in, a cost is not a number above 0, or
            a size makes no sense.
    """
    few = thinned(posterior, max_draws)
    pool = _pool(candidates, few, seed)
    if not len(pool):
        raise InputError("there is nothing to choose from", expected="candidates", got="none", advice="Add some.")
    if budget is not None and cost is None:
        raise InputError(
            "the budget has no unit", expected="per=flops, or another cost", got="none", advice="Say what runs cost."
        )
    most = len(pool) if count is None and budget is not None else count or 1
    costs = np.asarray((cost or _alike)(pool.last), float)
    wrong = costs[~(np.isfinite(costs) & (costs > 0))]
    if len(wrong):
        raise InputError(
            "a run has no usable cost",
            expected="numbers above 0",
            got=f"{wrong[0]:g}",
            advice="Look at what `per` returns.",
        )
    at = acquisition.stakes(few)
    with double():
        begin = acquisition.view(few, at, int(np.bincount(pool.run).max()), seed)
        before: list[Pending] = []
        for run in () if pending is None or not len(pending) else whiten_all(few, pending):
            begin, new = begin.after(after_all(before, run[None])[0])
            before.append(new)
    afford = costs <= (np.inf if budget is None else budget)
    if not afford.any():
        return _nothing(pool, acquisition, costs, budget)
    first = np.where(afford, score(acquisition, begin, few, pool, before), -np.inf)
    listed = shortlist(first, costs, pool) if most > 1 else np.array([_best(first / costs, pool)])
    with double():
        near = pool.take(listed)
        runs = after_all(before, whiten_all(few, near))
        search = _Search(acquisition, near, costs[listed], np.inf if budget is None else budget, most)
        found = _search(search, _Set((), (), begin, runs), first[listed])
        return _report(found, search, begin, runs, at, few, len(pool), cost is not None, checks, seed)


@dataclass(frozen=True, eq=False)
class _Search:
    """What a set may be made of, and its limits."""

    acquisition: Acquisition
    pool: Pool
    cost: np.ndarray  # (run)
    budget: float
    size: int


@dataclass(frozen=True, eq=False)
class _Set:
    """Chosen runs, what each adds to those before it, and the view and all runs once these are pending."""

    chosen: tuple[int, ...]
    gains: tuple[float, ...]
    view: View
    runs: jax.Array  # (run, target, draw, point)

    @property
    def value(self) -> float:
        return float(sum(self.gains))

    def scores(self, by: Acquisition) -> np.ndarray:
        return np.asarray(each(by.of_one, replace(self.view, seed=0, made=0), self.runs))

    def cost(self, search: _Search) -> float:
        return float(search.cost[list(self.chosen)].sum())

    def adding(self, run: int, gain: float) -> _Set:
        view, new = self.view.after(self.runs[run])
        return _Set((*self.chosen, run), (*self.gains, gain), view, after_one(new, self.runs))


def _search(search: _Search, nothing: _Set, first: np.ndarray) -> _Set:
    sets = [_greedy(search, nothing, search.cost, first)]
    if search.size > 1 and np.isfinite(search.budget):
        sets.append(_greedy(search, nothing, np.ones_like(search.cost), first))
    best = max(sets, key=lambda s: s.value)
    return _exchange(search, nothing, best) if 1 < len(best.chosen) <= EXCHANGED else best


def _greedy(search: _Search, found: _Set, per: np.ndarray, first: np.ndarray | None = None) -> _Set:
    """Add the run with the highest gain per `per` until nothing is affordable, wanted, or worth anything."""
    while len(found.chosen) < search.size:
        gains = first if first is not None and not found.chosen else found.scores(search.acquisition)
        allowed = search.cost + found.cost(search) <= search.budget * (1 + 1e-9)
        if not allowed.any():
            break
        pick = _best(np.where(allowed, gains, -np.inf) / per, search.pool)
        if found.chosen and gains[pick] <= WORTHLESS * sum(found.gains):
            break
        found = found.adding(pick, float(gains[pick]))
    return found


def _exchange(search: _Search, nothing: _Set, found: _Set) -> _Set:
    """Take out one run at a time and put in what is best for the rest, while the set gains by it."""
    for _ in range(EXCHANGES):
        before = found.value
        for out in range(len(found.chosen)):
            rest = nothing
            for run in (r for i, r in enumerate(found.chosen) if i != out):
                rest = rest.adding(run, float(rest.scores(search.acquisition)[run]))
            trial = _greedy(search, rest, search.cost)  # what is freed may be worth several runs
            found = trial if trial.value > found.value * (1 + GAIN) else found
        if found.value <= before * (1 + GAIN):
            break
    return found


def _best(scores: np.ndarray, pool: Pool) -> int:
    """The position of the highest score; ties, up to rounding, go to the run that is first by what it is."""
    top = scores.max()
    near = scores >= top - 1e-9 * abs(top)
    return int(pool.order[near[pool.order].argmax()])


def shortlist(scores: np.ndarray, cost: np.ndarray, pool: Pool) -> np.ndarray:
    """Runs that a set may be made of: the best by score and the best by score per cost."""
    keep = np.full(len(pool), False)
    able = np.isfinite(scores)
    for value in (scores, scores / cost):
        relative = value[pool.order] / (np.abs(value[able]).max(initial=0.0) or 1.0)
        keep[pool.order[np.argsort(-relative.round(12), kind="stable")[:SHORTLIST]]] = True
    return pool.order[(keep & able)[pool.order]]


def _pool(among: Candidates | Pool | Designs | Sequence[Design], posterior: Posterior, seed: int) -> Pool:
    if isinstance(among, Candidates):
        return among.on(posterior, seed)
    pool = among if isinstance(among, Pool) else Pool.of(among)
    return replace(pool, designs=pool.designs.on(posterior.domains))


def _alike(designs: Designs) -> np.ndarray:
    return np.ones(len(designs))


def _nothing(pool: Pool, by: Acquisition, cost: np.ndarray, budget: float | None) -> Proposal:
    reason = f"no candidate is affordable: the cheapest costs {cost.min():.3g}, and {budget or 0:.3g} is left"
    none = np.zeros(0)
    return Proposal(
        pool.take(np.zeros(0, dtype=int)), 0.0, by.unit, none, none, len(pool), None, (), 0.0, None, True, reason
    )


def _report(
    found: _Set,
    search: _Search,
    begin: View,
    runs: jax.Array,
    at: Stakes | None,
    posterior: Posterior,
    candidates: int,
    priced: bool,
    checks: bool,
    seed: int,
) -> Proposal:
    picked = list(found.chosen)
    cost = search.cost[picked]
    decision = (
        _decision(at, begin, found) if at is not None and isinstance(search.acquisition, RegretReduction) else None
    )
    stop = bool(decision is not None and priced and decision.worth < cost.sum())
    first = runs[picked[0]]
    estimates, bounds = (), None
    if checks and not begin.made:
        if at is not None and decision is not None:
            estimates = tuple(other(at, np.asarray(first), seed) for other in (by_regression, by_importance))
        bounds = bracket(np.asarray(first), float(logdet(gram(first))), seed)
    return Proposal(
        runs=search.pool.take(np.array(picked)),
        score=found.value,
        unit=search.acquisition.unit,
        scores=np.array(found.gains),
        costs=cost if priced else search.pool.take(np.array(picked)).last.flops,
        candidates=candidates,
        decision=decision,
        checks=estimates,
        first=found.gains[0],
        bracket=bounds,
        stop=stop,
        reason=_reason(search, found, decision, float(cost.sum()), priced, stop),
    )


def _decision(at: Stakes, begin: View, found: _Set) -> Decision:
    made = float(begin.level.min() - jnp.mean(jnp.min(begin.level + begin.shift, axis=1)))
    before = max(at.evpi - made, 0.0)
    gain = min(found.value, before)  # no run is worth more than perfect information, whatever the Gaussian says
    return Decision(at.flagship, before, before - gain, at.in_flops(gain), _between(at, begin, found.view))


def _between(at: Stakes, begin: View, end: View) -> tuple[str, str] | None:
    """The domain whose share the outcome moves most, and the one that moves most against it."""
    moved = end.shift - begin.shift
    chosen = at.mixtures[np.argmin(np.asarray(end.level + moved), axis=1)]
    covariance = np.cov(chosen.T)
    if not covariance.max() > 1e-12:
        return None
    direction = np.linalg.eigh(covariance)[1][:, -1]
    pair = at.domains[int(np.argmax(direction))], at.domains[int(np.argmin(direction))]
    return (min(pair), max(pair))


def _reason(search: _Search, found: _Set, decision: Decision | None, cost: float, priced: bool, stop: bool) -> str:
    runs = "this run" if len(found.chosen) == 1 else f"these {len(found.chosen)} runs"
    verb = "s" if len(found.chosen) == 1 else ""
    if decision is None:
        return f"{runs} bring{verb} {found.value:.3g} {search.acquisition.unit}" + (
            f" for {cost:.2g} FLOPs" if priced else ""
        )
    where = f"at {count(decision.flagship.params)}"
    what = f"settle{verb} {' against '.join(decision.between)}" if decision.between else f"hardly move{verb} the choice"
    regret = f"expected regret {decision.before:.3g} → {decision.after:.3g} nats"
    price = f" for {cost:.2g} FLOPs" if priced else ""
    worth = f"as much as {decision.worth:.2g} more FLOPs would gain there"
    if stop:
        which = "affordable set of runs" if np.isfinite(search.budget) else "run"
        return f"no {which} is worth its cost; the best costs {cost:.2g} FLOPs and lowers the {regret} {where}, {worth}"
    return f"{runs} {what} {where}: {regret}{price}; {worth}"
