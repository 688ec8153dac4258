"""`replay`: decisions of a strategy on a recorded pool, evaluated at a held-out scale.

The pool is revealed to the strategy run by run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from scipy.stats import bootstrap

from bayesmix.acquisition.cost import CostOf, flops
from bayesmix.acquisition.pool import Pool
from bayesmix.campaign.strategies import Strategy
from bayesmix.decision.objective import target_weights
from bayesmix.deprecation import renamed
from bayesmix.errors import InputError
from bayesmix.inference.fit import fit
from bayesmix.inference.laplace import laplace
from bayesmix.model.model import Model
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import KHAT_LIMIT
from bayesmix.runs.runs import Runs
from bayesmix.runtime.parallel import parallel_map


class RefitModel(Protocol):
    """Function that updates the posterior after runs were revealed."""

    def __call__(self, model: Model, runs: Runs, seed: int) -> tuple[Posterior, float]:
        """Posterior given the runs, and its Pareto k̂, which is 0 where the draws are exact."""
        ...


def by_laplace(model: Model, runs: Runs, seed: int) -> tuple[Posterior, float]:
    """Laplace approximation with importance weights, and the largest k̂ over the targets."""
    posterior, khat = laplace(model, runs, seed=seed, draws=500, starts=2)
    return posterior, float(np.max(khat))


def by_nuts(model: Model, runs: Runs, seed: int) -> tuple[Posterior, float]:
    """Full fit by NUTS, and k̂ = 0."""
    return fit(model, runs, seed=seed), 0.0


def by_laplace_or_nuts(model: Model, runs: Runs, seed: int) -> tuple[Posterior, float]:
    """Laplace approximation where its k̂ is below 0.7, else a full fit by NUTS."""
    posterior, khat = by_laplace(model, runs, seed)
    return (posterior, khat) if khat < KHAT_LIMIT else by_nuts(model, runs, seed)


REFITS: dict[str, RefitModel] = {
    "laplace": by_laplace,
    "nuts": by_nuts,
    "laplace-or-nuts": by_laplace_or_nuts,
}


@dataclass(frozen=True)
class Step:
    """Evaluation of the decision of a strategy after some runs.

    Attributes:
        runs: number of revealed runs.
        flops: cost of the revealed runs.
        regret: measured loss of the mixture it would choose among the judged ones, minus the lowest
            of them, in nats.
        error: mean |predicted − measured| / measured over judged runs and weighted targets.
        khat: Pareto k̂ of the posterior.
    """

    runs: int
    flops: float
    regret: float
    error: float
    khat: float


@dataclass(frozen=True)
class Trace:
    """Decisions of one strategy as runs were revealed, with one seed."""

    strategy: str
    seed: int
    steps: tuple[Step, ...]

    def at(self, budgets: np.ndarray, metric: str = "regret") -> np.ndarray:
        """Metric of the latest step within each budget (budget); NaN before the first."""
        spent = np.array([s.flops for s in self.steps])
        values = np.array([getattr(s, metric) for s in self.steps])
        place = np.searchsorted(spent, budgets * (1 + 1e-12), side="right") - 1
        return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)

    def area(self, low: float, high: float, metric: str = "regret", points: int = 200) -> float:
        """Mean of a metric over log FLOPs between two budgets: the area under its curve."""
        return float(np.nanmean(self.at(np.geomspace(low, high, points), metric)))

    def as_dict(self) -> dict[str, Any]:
        """Dictionary of the trace, ready for JSON."""
        return {
            "strategy": self.strategy,
            "seed": self.seed,
            "steps": [vars(s) for s in self.steps],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Trace:
        """Trace from the dictionary given by `as_dict`."""
        return cls(stored["strategy"], stored["seed"], tuple(Step(**s) for s in stored["steps"]))


@renamed(judged="test_runs", first="initial", until="count", every="looks")
def replay(
    model: Model,
    pool: Runs,
    test_runs: Runs,
    strategy: Strategy,
    *,
    targets: Mapping[str, float] | None = None,
    initial: int = 10,
    count: int | None = None,
    looks: Callable[[int], bool] = lambda runs: True,
    refit: RefitModel | str = "laplace",
    cost: CostOf = flops,
    seed: int = 0,
) -> Trace:
    """Reveal a recorded pool run by run and evaluate the decisions of a strategy.

    All strategies with the same seed begin with the same random runs. A training run is revealed
    with all its checkpoints at once. The decision is the judged run with the lowest expected loss
    under the posterior; its regret is measured, not predicted, so it carries the scatter of the
    judged runs.

    Args:
        model: law, prior and noise.
        pool: recorded runs to choose from.
        test_runs: recorded runs at the scale to decide at; only the last checkpoint of each counts.
        strategy: strategy that chooses the runs.
        targets: target → weight; equal weights when not given. Targets without weight are left out
            altogether.
        initial: number of random runs that every strategy begins with.
        count: number of runs to reveal; all when not given.
        looks: number of runs → whether to evaluate the decision; the last is always evaluated.
        refit: update of the posterior: ``laplace``, ``nuts``, ``laplace-or-nuts``, or a function.
        cost: cost of runs.
        seed: seed of the first runs and of the strategy.

    Raises:
        InputError: `initial` is not between 1 and the size of the pool, a name is unknown, or a
            judged loss is missing.
    """
    update = refit_named(refit)
    weights = dict(zip(pool.targets, target_weights(pool.targets, targets), strict=True))
    names = [t for t, w in weights.items() if w > 0]
    pool, test_runs = pool.only(names), test_runs.only(names)
    weighing = np.array([weights[t] for t in names])
    units = Pool.of_runs(pool)
    end = len(units) if count is None else min(count, len(units))
    if not 1 <= initial <= end:
        raise InputError(
            "the replay cannot begin",
            expected=f"initial between 1 and {end}",
            got=initial,
            advice="Fix it.",
        )
    test, measured = _judged(test_runs)
    order = np.random.default_rng(seed).permutation(len(units))
    history, steps, price = list(order[:initial]), [], np.asarray(cost(units.last), float)
    while True:
        look = looks(len(history)) or len(history) >= end
        posterior = None
        if look or (strategy.needs_posterior and len(history) < end):
            # rows not revealed yet stay in the table as not measured, so that every step has the
            # same shapes
            observed = np.isin(units.run, history)
            posterior, khat = update(model, _hidden(pool, ~observed), seed)
            if look:
                steps.append(
                    _step(
                        posterior,
                        khat,
                        test,
                        measured,
                        weighing,
                        len(history),
                        float(price[history].sum()),
                    )
                )
        if len(history) >= end:
            return Trace(strategy.name, seed, tuple(steps))
        remaining = np.setdiff1d(np.arange(len(units)), history)
        history.append(strategy.pick(posterior, units, remaining, np.array(history), seed))


def refit_named(refit: RefitModel | str) -> RefitModel:
    """Refit function of that name, or the function itself."""
    if not isinstance(refit, str):
        return refit
    if refit not in REFITS:
        raise InputError(
            "the way to refit is unknown", expected=f"one of {list(REFITS)}", got=refit
        )
    return REFITS[refit]


def _hidden(runs: Runs, rows: np.ndarray) -> Runs:
    return replace(runs, loss=np.where(rows[:, None], np.nan, runs.loss))


def _judged(test_runs: Runs) -> tuple[Runs, np.ndarray]:
    last = Pool.of_runs(test_runs).last
    place = [test_runs.designs.ids.index(i) for i in last.ids]
    test = test_runs.take(np.array(place))
    if not np.isfinite(test.loss).all():
        raise InputError(
            "a judged run has no loss",
            expected="all losses measured",
            got="a missing one",
            advice="Drop the run.",
        )
    return test, test.loss


def _step(
    posterior: Posterior,
    khat: float,
    test: Runs,
    measured: np.ndarray,
    weights: np.ndarray,
    runs: int,
    spent: float,
) -> Step:
    expected = posterior.predict(test.designs, posterior.seed, noise=False).mean
    truth = measured @ weights
    regret = truth[int(np.argmin(expected @ weights))] - truth.min()
    error = np.abs(expected - measured) / measured @ weights
    return Step(runs, spent, float(regret), float(error.mean()), khat)


@dataclass(frozen=True)
class Paired:
    """Paired difference of a metric between two strategies over the same seeds.

    Negative values favour the first strategy.

    Attributes:
        mean: mean over the seeds.
        low: lower end of the 95 % bootstrap interval (BCa) of the mean.
        high: upper end of the interval.
        seeds: number of pairs.
    """

    mean: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}] over {self.seeds} seeds"


def paired(mine: Sequence[float], theirs: Sequence[float]) -> Paired:
    """Paired difference with its interval; values at one position belong to one seed."""
    difference = np.asarray(mine, float) - np.asarray(theirs, float)
    if len(difference) < 2 or np.ptp(difference) == 0:
        value = float(difference.mean())
        return Paired(
            value,
            value if len(difference) > 1 else -np.inf,
            value if len(difference) > 1 else np.inf,
            len(difference),
        )
    interval = bootstrap((difference,), np.mean, rng=0, n_resamples=4999).confidence_interval
    return Paired(
        float(difference.mean()), float(interval.low), float(interval.high), len(difference)
    )


@dataclass(frozen=True)
class Replays:
    """Traces of several strategies and seeds."""

    traces: tuple[Trace, ...]

    def by_strategy(self) -> dict[str, dict[int, Trace]]:
        """Traces by strategy and seed: strategy → seed → trace."""
        groups: dict[str, dict[int, Trace]] = {}
        for trace in self.traces:
            groups.setdefault(trace.strategy, {})[trace.seed] = trace
        return groups

    def spans(self) -> dict[int, tuple[float, float]]:
        """Range of budgets in FLOPs for the comparison of strategies: seed → (low, high).

        For the seeds that all strategies have: from the cost of the first runs, which all
        strategies of a seed share, to the lowest amount that any of them spent.
        """
        groups = list(self.by_strategy().values())
        shared = sorted(set.intersection(*map(set, groups)))
        return {
            s: (groups[0][s].steps[0].flops, min(seeds[s].steps[-1].flops for seeds in groups))
            for s in shared
        }

    def areas(self, metric: str = "regret") -> dict[str, list[float]]:
        """Means of a metric over log FLOPs: strategy → one value for each shared seed."""
        spans = self.spans()
        groups = self.by_strategy()
        return {
            name: [seeds[s].area(*span, metric) for s, span in spans.items()]
            for name, seeds in groups.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Dictionary of the traces and their areas, ready for JSON."""
        areas = self.areas()
        first = next(iter(areas))
        differences = {
            name: vars(paired(areas[first], areas[name])) for name in areas if name != first
        }
        return {
            "areas": areas,
            "first_minus": differences,
            "traces": [t.as_dict() for t in self.traces],
        }

    def __str__(self) -> str:
        areas = self.areas()
        further = np.median([high / low for low, high in self.spans().values()])
        first = next(iter(areas))
        width = max(len(name) for name in areas)
        lines = [
            f"mean measured regret in nats, up to {further:.3g} times the FLOPs of the first runs",
            "",
            f"{'strategy':<{width}}  regret  {first} minus it [95 %]",
        ]
        for name, values in areas.items():
            difference = "" if name == first else str(paired(areas[first], values))
            lines.append(f"{name:<{width}}  {np.mean(values):.4f}  {difference}".rstrip())
        doubtful = np.mean([step.khat >= KHAT_LIMIT for t in self.traces for step in t.steps])
        if doubtful > 0:
            lines += [
                "",
                (
                    f"k̂ was {KHAT_LIMIT} or more in {100 * doubtful:.0f}% of the looks: --refit"
                    " laplace-or-nuts is safer"
                ),
            ]
        return "\n".join(lines)


@renamed(judged="test_runs", done="on_trace", first="initial", until="count", every="looks")
def replays(
    model: Model,
    pool: Runs,
    test_runs: Runs,
    strategies: Sequence[Strategy],
    *,
    seeds: Sequence[int] = range(20),
    executor: Executor | None = None,
    on_trace: Callable[[Trace], object] = lambda trace: None,
    **options: Any,
) -> Replays:
    """Run `replay` for every seed and strategy.

    Args:
        model: law, prior and noise.
        pool: recorded runs to choose from.
        test_runs: recorded runs at the scale to decide at.
        strategies: strategies that choose the runs.
        seeds: seeds, each with other random first runs.
        executor: executor of the replays, with one task for each strategy and seed; sequential in
            this process when not given.
        on_trace: called with every trace as it ends.
        **options: as for `replay`; functions among them must pickle where the executor has
            processes of its own.

    Raises:
        InputError: as for `replay`.
        WorkerError: workers of the executor died.
    """
    items = [(strategy, seed) for seed in seeds for strategy in strategies]
    names = [f"{strategy.name} with seed {seed}" for strategy, seed in items]
    return Replays(
        tuple(
            parallel_map(
                partial(_replay, model, pool, test_runs, options), items, executor, on_trace, names
            )
        )
    )


def _replay(
    model: Model,
    pool: Runs,
    test_runs: Runs,
    options: Mapping[str, Any],
    item: tuple[Strategy, int],
) -> Trace:
    strategy, seed = item
    return replay(model, pool, test_runs, strategy, seed=seed, **options)
