"""Replays on runs of a linear law, where refitting is a closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bayesmix.acquisition.functions import InformationGain
from bayesmix.campaign.replay import Replays, Step, Trace, paired, replay
from bayesmix.campaign.strategies import D_OPTIMAL, AtRandom, ByCriterion, SpaceFilling
from bayesmix.design import Designs
from bayesmix.errors import InputError
from bayesmix.runs.runs import Runs
from tests.acquisition.linear import DOMAINS, SCATTER, Linear, features, some_designs

# (target, feature)
THETA = np.array([[0.4, -0.2, 0.1, -0.1, -0.05], [-0.3, 0.3, 0.2, -0.1, -0.02]])
TARGETS = ("t0", "t1")


def measured(designs: Designs, seed: int, train_run: tuple[str, ...] = ()) -> Runs:
    noise = np.random.default_rng(seed).normal(size=(len(designs), 2))
    return Runs(designs, TARGETS, 3.0 + features(designs) @ THETA.T + SCATTER * noise, train_run)


@pytest.fixture(scope="module")
def pool() -> Runs:
    """Thirty runs of two checkpoints each."""
    ends = some_designs(30)
    points = Designs(
        DOMAINS,
        np.repeat(ends.mixture, 2, axis=0),
        np.repeat(ends.params, 2),
        (ends.tokens[:, None] * [0.5, 1.0]).reshape(-1),
    )
    return measured(points, 2, tuple(f"run{i // 2}" for i in range(60)))


@pytest.fixture(scope="module")
def holdout() -> Runs:
    mixtures = np.random.default_rng(9).dirichlet(np.ones(3), 12)
    return measured(Designs(DOMAINS, mixtures, np.full(12, 1e9), np.full(12, 2e10)), 3)


def conjugate(model: Any, runs: Runs, seed: int) -> tuple[Any, float]:
    """Draws of the exact posterior of a linear law with a wide prior."""
    rng = np.random.default_rng(seed)
    theta = []
    for target in runs.loss.T:
        observed = np.isfinite(target)
        x = features(runs.designs)[observed]
        precision = np.eye(5) + x.T @ x / SCATTER**2
        mean = np.linalg.solve(precision, x.T @ (target[observed] - 3.0) / SCATTER**2)
        theta.append(rng.multivariate_normal(mean, np.linalg.inv(precision), size=400))
    return Linear(np.stack(theta, axis=1), np.eye(5), runs.targets), 0.0


def one(pool: Runs, holdout: Runs, strategy: Any, seed: int = 0, **options: Any) -> Trace:
    return replay(None, pool, holdout, strategy, refit=conjugate, initial=4, seed=seed, **options)  # type: ignore[arg-type]


def test_everyone_begins_alike_and_ends_alike(pool: Runs, holdout: Runs) -> None:
    traces = [
        one(pool, holdout, s, looks=lambda runs: runs == 4) for s in (AtRandom(), SpaceFilling())
    ]
    assert traces[0].steps[0] == traces[1].steps[0]
    assert traces[0].steps[-1] == traces[1].steps[-1]
    assert traces[0].steps[-1].runs == 30


def test_steps_are_priced_and_judged(pool: Runs, holdout: Runs) -> None:
    trace = one(pool, holdout, AtRandom(), count=12)
    spent = np.array([s.flops for s in trace.steps])
    assert [s.runs for s in trace.steps] == list(range(4, 13))
    assert (np.diff(spent) > 0).all()
    assert all(s.regret >= 0 and s.error >= 0 for s in trace.steps)
    whole = one(pool, holdout, AtRandom()).steps[-1]
    ends = pool.take(np.arange(1, 60, 2))
    assert whole.flops == pytest.approx(ends.designs.flops.sum())  # checkpoints cost nothing more


def test_the_same_seed_replays_the_same(pool: Runs, holdout: Runs) -> None:
    assert one(pool, holdout, AtRandom(), 3, count=8) == one(pool, holdout, AtRandom(), 3, count=8)
    assert (
        one(pool, holdout, AtRandom(), 3, count=8).steps
        != one(pool, holdout, AtRandom(), 4, count=8).steps
    )


def test_information_is_bought_faster_than_at_random(pool: Runs, holdout: Runs) -> None:
    """With the cost left out, a D-optimal strategy predicts better than a random one on average."""
    greedy = ByCriterion(InformationGain(), cost=None, label="greedy", draws=400)
    errors = {
        s.name: [one(pool, holdout, s, seed, count=9).steps[-1].error for seed in range(5)]
        for s in (greedy, AtRandom())
    }
    assert np.mean(errors["greedy"]) < np.mean(errors["random"])


def test_figures_between_looks_are_those_of_the_last_look(pool: Runs, holdout: Runs) -> None:
    trace = one(pool, holdout, AtRandom(), count=6)
    first, second = trace.steps[0], trace.steps[1]
    budgets = np.array(
        [0.5 * first.flops, first.flops, 0.5 * (first.flops + second.flops), second.flops]
    )
    np.testing.assert_array_equal(
        trace.at(budgets), [np.nan, first.regret, first.regret, second.regret]
    )
    assert Trace.from_dict(trace.as_dict()) == trace


def test_paired_differences() -> None:
    theirs = np.random.default_rng(0).normal(size=20)
    clear = paired(theirs - 1.0 + 0.01 * np.arange(20), theirs)
    assert clear.low <= clear.mean <= clear.high < 0
    assert clear.seeds == 20
    assert paired([1.0], [2.0]).high == np.inf  # one pair says nothing about the scatter


def test_replays_print_a_table(pool: Runs, holdout: Runs) -> None:
    traces = [
        one(pool, holdout, s, seed, count=7)
        for s in (AtRandom(), SpaceFilling())
        for seed in range(3)
    ]
    result = Replays(tuple(traces))
    assert "random minus it" in str(result)
    assert set(result.as_dict()["areas"]) == {"random", "space-filling"}


def test_targets_without_weight_take_no_part(pool: Runs, holdout: Runs) -> None:
    spoilt = Runs(pool.designs, TARGETS, np.where([True, False], pool.loss, 77.0), pool.train_run)
    one_target = {"targets": {"t0": 1.0}, "count": 6}
    assert one(pool, holdout, AtRandom(), **one_target) == one(
        spoilt, holdout, AtRandom(), **one_target
    )


@pytest.mark.parametrize("options", [{"count": 3}, {"refit": "guess"}])
def test_what_makes_no_sense_is_refused(pool: Runs, holdout: Runs, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replay(None, pool, holdout, D_OPTIMAL, initial=4, **options)  # type: ignore[arg-type]


def test_seeds_with_dear_and_cheap_first_runs_are_compared_each_on_its_own() -> None:
    def trace(strategy: str, seed: int, flops: list[float]) -> Trace:
        return Trace(
            strategy,
            seed,
            tuple(Step(10 + i, f, 0.1 / (1 + i), 0.01, 0.3) for i, f in enumerate(flops)),
        )

    result = Replays(
        (
            trace("a", 0, [1, 2, 4]),
            trace("b", 0, [1, 1.5]),
            trace("a", 1, [10, 30]),
            trace("b", 1, [10, 15, 20]),
        )
    )
    assert result.spans() == {0: (1, 1.5), 1: (10, 20)}
    areas = result.areas()
    assert (
        areas["a"] == pytest.approx([0.1, 0.1])
        and areas["b"][0] < 0.1
        and areas["b"][1] < areas["b"][0]
    )
    assert "1.75 times the FLOPs" in str(result)
