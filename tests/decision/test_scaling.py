"""Decisions across scales and between targets."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.optimize import optimize
from bayesmix.decision.pareto import pareto
from bayesmix.decision.scaling import compute_optimal, crossover, path, scales_along
from bayesmix.design import Mixture, Scale
from bayesmix.errors import InputError
from tests.decision.stub import StubPosterior, posterior

SCALE = Scale(7e9, 1.5e11)


@pytest.fixture(scope="module")
def small() -> StubPosterior:
    return posterior(draws=60, targets=2, domains=3, spread=0.3)


@dataclass(frozen=True, eq=False)
class Drifting(StubPosterior):
    """The first domain becomes more useful with every token."""

    def surface(self, scale, *, max_draws=None, noise=False):
        growth = np.array([1.0] + [0.0] * (len(self.domains) - 1))
        grown = replace(self, amplitude=self.amplitude * (scale.tokens / 1e11) ** growth)
        return StubPosterior.surface(grown, scale, max_draws=max_draws, noise=noise)


@pytest.fixture(scope="module")
def drifting(small) -> StubPosterior:
    return Drifting(**vars(small))


def test_scales_grow_along_an_axis():
    start, _, end = scales_along(SCALE, 16, points=3)
    assert start == SCALE
    assert end.flops == pytest.approx(16 * SCALE.flops)
    assert end.tokens / end.params == pytest.approx(SCALE.tokens / SCALE.params)
    assert scales_along(SCALE, 10, along="tokens", points=2)[-1].params == SCALE.params
    with pytest.raises(InputError):
        scales_along(SCALE, 2, points=1)


def test_the_additive_optimum_stays_and_the_drifting_one_moves(small, drifting):
    scales = scales_along(SCALE, 100, points=3)
    still, moving = path(small, scales), path(drifting, scales, tolerance=1e-7)
    assert np.ptp(still.shares, axis=0).max() < 5e-3
    assert (np.diff(moving.shares[:, 0]) > 0.01).all()
    assert "474B" in str(still)
    assert max(map(len, str(still).splitlines())) <= 80
    assert (still.bands[:, 0] <= still.shares + 1e-3).all() and (
        still.shares <= still.bands[:, 1] + 1e-3
    ).all()
    assert (moving.bands[-1, 0, 0] > moving.bands[0, 0, 0]) and (still.bands >= 0).all()
    json.dumps(still.as_dict(), allow_nan=False)


def test_stock_binds_only_where_tokens_are_many(small):
    free = optimize(small, SCALE).mixture
    domain = max(free.domains, key=lambda d: free[d])
    limited = FeasibleSet(stock={domain: 0.5 * free[domain] * SCALE.tokens}, epochs=2)
    shares = path(small, scales_along(SCALE, 16, along="tokens", points=2), feasible=limited).shares
    i = free.domains.index(domain)
    assert shares[0, i] == pytest.approx(free[domain], abs=2e-3)
    assert shares[1, i] == pytest.approx(free[domain] / 16, abs=1e-6)


def test_compute_optimal_is_that_of_chinchilla(small):
    one = replace(
        posterior(draws=1, targets=1, domains=3),
        size=(np.array([[0.5]]), np.array([[0.34]])),
        data=(np.array([[0.4]]), np.array([[0.28]])),
    )
    flops = 1e21
    a, b = 0.5 * 1e9**0.34, 0.4 * 1e11**0.28
    exact = (0.34 * a / (0.28 * b)) ** (1 / 0.62) * (flops / 6) ** (0.28 / 0.62)
    best = compute_optimal(one, flops, params=(1e8, 1e11))
    assert best.optimum.scale.flops == pytest.approx(flops)
    assert best.optimum.scale.params == pytest.approx(exact, rel=0.05)
    assert best.params[1] == pytest.approx(exact, rel=0.08)
    assert not best.at_edge
    assert compute_optimal(small, flops, params=(5e10, 1e11), points=3).at_edge
    assert "best N" in str(best)
    json.dumps(best.as_dict(), allow_nan=False)
    with pytest.raises(InputError):
        compute_optimal(one, flops, params=(1e11, 1e8))


def test_a_preference_changes_where_the_losses_cross(drifting):
    first, second = (
        Mixture({"d0": 0.9, "d1": 0.05, "d2": 0.05}),
        Mixture({"d0": 0.1, "d1": 0.45, "d2": 0.45}),
    )
    scales = scales_along(Scale(1e9, 1e8), 1e6, along="tokens", points=25)
    found = crossover(drifting, first, second, scales)
    assert found.first_better[0] < 0.1
    assert found.first_better[-1] > 0.9
    assert found.changes > 0.8
    low, middle, high = found.flops
    assert low <= middle <= high

    def edge(flops: float) -> np.ndarray:
        ours, theirs = drifting.losses(
            Scale(1e9, flops / 6e9), np.stack([first.weights, second.weights])
        )
        return (ours - theirs).mean(axis=1)

    assert np.mean(edge(low) < 0) < 0.25
    assert np.mean(edge(high) < 0) > 0.75
    assert np.mean(edge(middle) < 0) == pytest.approx(0.5, abs=0.15)
    assert "preference changes" in str(found)
    json.dumps(found.as_dict(), allow_nan=False)


def test_no_crossing_under_the_additive_law(small):
    found = crossover(
        small, small.natural, Mixture.uniform(small.domains), scales_along(SCALE, 100)
    )
    assert found.changes == 0
    assert found.flops is None
    with pytest.raises(InputError):
        crossover(small, small.natural, small.natural, [SCALE])


def test_the_front_trades_one_target_for_the_other(small):
    front = pareto(small, SCALE, "t0", "t1", points=5)
    losses = front.losses
    assert (np.diff(losses[:, 0]) <= 1e-5).all()
    assert (np.diff(losses[:, 1]) >= -1e-5).all()
    mixtures = np.random.default_rng(0).dirichlet(np.ones(3), 2000)
    others = small.losses(SCALE, mixtures).mean(axis=1)
    dominated = (others[:, None, :] < losses[None] - 1e-5).all(axis=2)
    assert not dominated.any()
    assert "weight" in str(front)
    assert max(map(len, str(front).splitlines())) <= 80
    json.dumps(front.as_dict(), allow_nan=False)
