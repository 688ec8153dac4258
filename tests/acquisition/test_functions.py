"""Scores against closed forms where all is linear and Gaussian, and their order elsewhere."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from bayesmix.acquisition.cost import flops
from bayesmix.acquisition.decision_set import DecisionSet
from bayesmix.acquisition.estimators import bracket, by_importance, by_regression
from bayesmix.acquisition.functions import (
    InformationGain,
    PredictionGain,
    RegretReduction,
    View,
    score_pool,
    updated_by,
)
from bayesmix.acquisition.moments import nodes, whiten_all
from bayesmix.acquisition.pool import Pool
from bayesmix.acquisition.propose import propose, shortlist
from bayesmix.design import Designs, Scale
from bayesmix.runtime.compute import enable_x64
from tests.acquisition.linear import SCATTER, features, linear, some_designs

FLAGSHIP = Scale(1e9, 1e11)


def exact_information(posterior: Any, designs: Designs) -> float:
    x = features(designs)
    covariance = np.eye(len(x)) + x @ posterior.covariance @ x.T / SCATTER**2
    return len(posterior.targets) * 0.5 * np.linalg.slogdet(covariance)[1]


def decision(posterior: Any, seed: int = 5) -> DecisionSet:
    """Eight mixtures to choose from."""
    mixtures = np.random.default_rng(seed).dirichlet(np.ones(3), 8)
    designs = Designs(
        posterior.domains, mixtures, np.full(8, FLAGSHIP.params), np.full(8, FLAGSHIP.tokens)
    )
    weights = np.full(len(posterior.targets), 1 / len(posterior.targets))
    return DecisionSet(
        FLAGSHIP, mixtures, posterior.loss(designs).draws, weights, posterior.domains, 0.1
    )


def test_information_is_the_closed_form() -> None:
    posterior, pool = linear(), Pool.of(some_designs())
    with enable_x64():
        view = InformationGain().view(posterior, None, 1, 0)  # type: ignore[arg-type]
    scores = score_pool(InformationGain(), view, posterior, pool)  # type: ignore[arg-type]
    exact = [
        exact_information(posterior, pool.designs.take(np.array([i]))) for i in range(len(pool))
    ]
    np.testing.assert_allclose(scores, exact, atol=0.05)


def test_information_of_a_set_is_the_closed_form() -> None:
    """Chain rule: the first run, then the second after the first."""
    posterior, pool = linear(), Pool.of(some_designs(3))
    with enable_x64():
        view = InformationGain().view(posterior, None, 1, 0)  # type: ignore[arg-type]
        runs = whiten_all(posterior, pool)  # type: ignore[arg-type]
        total = 0.0
        for position in range(3):
            total += float(InformationGain.of_one(view, runs[position]))
            view, new = view.condition_on(runs[position])
            runs = updated_by(new, runs)
    assert total == pytest.approx(exact_information(posterior, pool.designs), abs=0.05)


def test_information_is_bracketed() -> None:
    posterior, pool = linear(), Pool.of(some_designs(1))
    with enable_x64():
        run = np.asarray(whiten_all(posterior, pool)[0])  # type: ignore[arg-type]
    exact = exact_information(posterior, pool.designs)
    bounds = bracket(run, exact, seed=0, outcomes=1000)
    assert bounds.lower - 0.15 < exact < bounds.upper + 0.15
    assert not bounds.saturated


def test_a_lower_bound_that_cannot_rise_is_called_saturated() -> None:
    run = 1e3 * np.random.default_rng(0).normal(size=(1, 100, 1))
    assert bracket(run, 7.0).saturated


def test_checkpoints_of_a_run_are_one_run() -> None:
    """A run with checkpoints scores as one run, lower than as many runs would together."""
    posterior = replace(linear(), shared=0.04)
    points = Designs(
        posterior.domains,
        np.tile([[0.2, 0.3, 0.5]], (3, 1)),
        np.full(3, 1e8),
        np.array([2e9, 5e9, 1e10]),
    )
    whole = Pool(points, np.zeros(3, dtype=int), ("given",))
    with enable_x64():
        view = InformationGain().view(posterior, None, 3, 0)  # type: ignore[arg-type]
    scores = score_pool(InformationGain(), view, posterior, whole)  # type: ignore[arg-type]
    x = features(points)
    scatter = 0.04**2 + SCATTER**2 * np.eye(3)
    exact = (
        len(posterior.targets)
        * 0.5
        * (
            np.linalg.slogdet(scatter + x @ posterior.covariance @ x.T)[1]
            - np.linalg.slogdet(scatter)[1]
        )
    )
    assert len(whole) == 1
    assert scores == pytest.approx([exact], abs=0.05)


def test_runs_are_taken_with_all_their_points() -> None:
    rng = np.random.default_rng(3)
    pool = Pool(some_designs(12), rng.permutation(np.repeat(np.arange(4), 3)), tuple("wxyz"))
    for choice in ([], [2], [3, 1, 1], np.array([True, False, False, True])):
        subset, runs = (
            pool.take(np.array(choice, dtype=None if len(choice) else int)),
            np.arange(4)[choice],
        )
        assert subset.origin == tuple("wxyz"[r] for r in runs)
        for i, r in enumerate(runs):
            for name in ("mixture", "params", "tokens"):
                mine, all_of_it = getattr(subset.designs, name), getattr(pool.designs, name)
                np.testing.assert_array_equal(mine[subset.run == i], all_of_it[pool.run == r])


def test_a_shorter_run_beside_a_longer_one_keeps_its_score() -> None:
    """Runs are padded to the same number of checkpoints; the padding tells nothing."""
    posterior = linear(draws=500)
    points = some_designs(4)
    single = Pool(points.take(np.arange(1)), np.zeros(1, dtype=int), ("given",))
    pair = Pool(points, np.array([0, 1, 1, 1]), ("given", "given"))
    with enable_x64():
        view = InformationGain().view(posterior, None, 3, 0)  # type: ignore[arg-type]
    one = score_pool(InformationGain(), view, posterior, single)  # type: ignore[arg-type]
    two = score_pool(InformationGain(), view, posterior, pair)  # type: ignore[arg-type]
    assert two[0] == pytest.approx(one[0], rel=1e-9)


def test_prediction_gain_is_at_most_the_information() -> None:
    posterior, pool = linear(), Pool.of(some_designs())
    decision_set = decision(posterior)
    with enable_x64():
        all_of_it = score_pool(
            InformationGain(), InformationGain().view(posterior, None, 1, 0), posterior, pool
        )  # type: ignore[arg-type]
        view = PredictionGain(FLAGSHIP).view(posterior, decision_set, 1, 0)  # type: ignore[arg-type]
    part = score_pool(PredictionGain(FLAGSHIP), view, posterior, pool)  # type: ignore[arg-type]
    assert (part >= 0).all() and (part <= all_of_it + 1e-9).all()


def two_ways(spread: float = 1.0, draws: int = 20000) -> tuple[View, np.ndarray]:
    """Two decisions with equal expected loss, whose difference is N(0, spread²)."""
    half = np.random.default_rng(0).normal(size=draws // 2)
    theta = spread * np.concatenate([half, -half])
    epsilon = jnp.asarray(nodes(1, 128, 0).reshape(128, 1, 1))
    losses = jnp.asarray(np.stack([np.zeros(draws), theta], axis=1)[None])
    return View(losses, jnp.zeros(2), jnp.zeros((256, 2)), epsilon), theta


@pytest.mark.parametrize("noise", [0.01, 0.3, 1.0, 5.0])
def test_regret_reduction_is_the_closed_form(noise: float) -> None:
    """EVSI of one comparison is ρ/√(2π) (Raiffa, Schlaifer).

    ρ is the sd of the expected difference after the run.
    """
    with enable_x64():
        view, theta = two_ways()
        value = float(RegretReduction.of_one(view, jnp.asarray(theta / noise)[None, :, None]))
    assert value == pytest.approx(1 / np.sqrt(1 + noise**2) / np.sqrt(2 * np.pi), rel=0.03)


def test_regret_reduction_tends_to_perfect_information_and_stays_below() -> None:
    with enable_x64():
        view, theta = two_ways()
        evpi = -np.mean(np.minimum(theta, 0.0))
        values = [
            float(RegretReduction.of_one(view, jnp.asarray(theta / noise)[None, :, None]))
            for noise in (3.0, 1.0, 0.3, 0.1, 1e-3)
        ]
    assert values == sorted(values)
    assert all(value <= evpi * 1.02 for value in values)
    assert values[-1] == pytest.approx(evpi, rel=0.02)


def test_what_is_pending_is_not_bought_twice() -> None:
    """After a run without noise, making it again is worth nothing."""
    with enable_x64():
        view, theta = two_ways()
        run = jnp.asarray(theta / 1e-3)[None, :, None]
        next_view, new = view.condition_on(run)
        second = float(RegretReduction.of_one(next_view, new(run)))
        first = float(RegretReduction.of_one(view, run))
    assert second < 1e-2 * first


def test_three_estimators_agree_where_all_are_right() -> None:
    posterior = linear()
    # a small signal, so that weights do not degenerate
    rough = replace(posterior, theta=posterior.theta * 0.2)
    decision_set = decision(rough)
    pool = Pool.of(some_designs(1))
    acquisition = RegretReduction(FLAGSHIP)
    with enable_x64():
        view = acquisition.view(rough, decision_set, 1, 0)  # type: ignore[arg-type]
        run = np.asarray(whiten_all(rough, pool)[0])  # type: ignore[arg-type]
        gaussian = float(acquisition.of_one(view, jnp.asarray(run)))
    estimates = [by_regression(decision_set, run, 0), by_importance(decision_set, run, 0)]
    assert all(estimate.usable for estimate in estimates)
    assert all(estimate.agrees(gaussian) for estimate in estimates), (gaussian, estimates)
    assert 0 < gaussian <= decision_set.evpi * 1.02


@pytest.mark.parametrize("criterion", [InformationGain(), RegretReduction(FLAGSHIP)])
def test_the_order_of_candidates_is_no_matter(criterion: Any) -> None:
    posterior, pool = linear(draws=400), Pool.of(some_designs())
    order = np.random.default_rng(0).permutation(len(pool))
    with enable_x64():
        view = criterion.view(posterior, decision(posterior), 1, 0)
    scores = score_pool(criterion, view, posterior, pool)  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        score_pool(criterion, view, posterior, pool.take(order)), scores[order]
    )  # type: ignore[arg-type]


def test_the_best_by_score_and_by_score_per_flop_are_on_the_shortlist() -> None:
    pool = Pool.of(some_designs(1000))
    scores = np.random.default_rng(0).exponential(size=len(pool))
    scores[::7] = -np.inf  # out of reach
    cost = flops(pool.last)
    best = [set(np.argsort(-value)[:20]) for value in (scores, scores / cost)]
    assert best[0] | best[1] <= set(shortlist(scores, cost, pool))
    assert np.isfinite(scores[shortlist(scores, cost, pool)]).all()


@pytest.mark.slow
def test_ten_thousand_candidates_take_seconds(additive: Any) -> None:
    from bayesmix.acquisition.candidates import candidates

    scales = [Scale(n, d) for n in (5e7, 1e8, 2e8, 4e8) for d in (2e9, 6e9)]
    acquisition = RegretReduction(FLAGSHIP)
    # compiles
    propose(additive, candidates(None, scales, 1000), acquisition=acquisition, cost=flops)
    recipe = candidates(None, scales, 1240)
    assert len(recipe.on(additive)) >= 10_000
    start = time.perf_counter()
    propose(additive, recipe, acquisition=acquisition, cost=flops, checks=False)
    assert time.perf_counter() - start < 10.0
