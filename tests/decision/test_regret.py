"""How sure the decision is: against brute force on the simplex."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bayesmix.decision.compute_gain import Multiplier, compute_multiplier, first_crossing
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.near_optimal import near_optimal
from bayesmix.decision.optimize import optimize
from bayesmix.decision.regret import regret, split_risk
from bayesmix.decision.risk import CVaR
from bayesmix.design import Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.summary import Band
from tests.decision.stub import StubPosterior, harrell_davis, posterior

SCALE = Scale(7e9, 1.5e11)
EPSILON = 0.06


@pytest.fixture(scope="module")
def small() -> StubPosterior:
    return posterior(draws=60, targets=3, domains=3, spread=0.4)


@pytest.fixture(scope="module")
def searched(small) -> tuple[np.ndarray, np.ndarray]:
    """Twenty thousand points of the simplex and their equally weighted losses (candidate, draw)."""
    mixtures = np.random.default_rng(0).dirichlet(np.ones(3), 20_000)
    return mixtures, small.losses(SCALE, mixtures).mean(axis=2)


@pytest.fixture(scope="module")
def best(small) -> Mixture:
    return optimize(small, SCALE).mixture


def test_nothing_else_may_be_called_chosen(small):
    with pytest.raises(InputError, match="rename yours"):
        regret(
            small,
            SCALE,
            Mixture.uniform(small.domains),
            baselines={"chosen": Mixture.uniform(small.domains)},
        )


def test_every_draw_has_its_own_best_mixture(small, searched, best):
    mixtures, losses = searched
    report = regret(small, SCALE, best)
    brute = mixtures[losses.argmin(axis=0)]
    assert np.abs(report.optima - brute).max() < 0.05
    assert np.abs(report.optima - brute).mean() < 0.01
    evpi = losses.mean(axis=1).min() - losses.min(axis=0).mean()
    assert report.evpi == pytest.approx(evpi, abs=1e-3)
    # the mean-risk optimum wastes nothing else
    assert report.regret.mean == pytest.approx(report.evpi, abs=1e-5)


def test_probabilities_of_being_best_and_better(small, best):
    report = regret(small, SCALE, best, baselines={"corner": Mixture({"d0": 1.0})})
    assert sum(report.best.values()) == pytest.approx(1)
    assert set(report.best) == {"chosen", "uniform", "natural", "corner"}
    assert report.beats["corner"] == 1.0
    assert all(report.beats[name] <= 1 - report.best[name] + 1e-12 for name in report.beats)
    json.dumps(report.as_dict(), allow_nan=False)
    assert "best share of each draw" in str(report)


def test_one_draw_leaves_nothing_to_learn():
    certain = posterior(draws=1, targets=2, domains=4)
    report = regret(certain, SCALE, optimize(certain, SCALE).mixture)
    assert report.evpi == pytest.approx(0, abs=1e-5)
    assert report.regret.mean == pytest.approx(0, abs=1e-5)


def test_regret_is_relative_to_what_is_allowed(small):
    narrow = FeasibleSet(bounds={"d0": (0.5, 1.0)})
    chosen = optimize(small, SCALE, feasible=narrow).mixture
    inside = regret(small, SCALE, chosen, feasible=narrow)
    assert inside.regret.q05 > -1e-6
    assert inside.optima[:, 0].min() >= 0.5 - 1e-8
    assert inside.regret.mean < regret(small, SCALE, chosen).regret.mean


def test_several_starts_find_the_same_optima_without_convexity(small, best):
    one, four = regret(small, SCALE, best), regret(replace(small, convex=False), SCALE, best)
    assert four.regret.mean == pytest.approx(one.regret.mean, abs=1e-5)


def test_the_optimisers_curse_shows_on_few_draws():
    few = split_risk(posterior(draws=16, targets=1, domains=6, spread=1.0), SCALE, risk=CVaR(0.5))
    many = split_risk(
        posterior(draws=1600, targets=1, domains=6, spread=1.0), SCALE, risk=CVaR(0.5)
    )
    assert few.optimism > 0
    assert abs(many.optimism) < few.optimism
    assert "not used to choose" in str(few)


def test_equivalents_against_a_search(small, searched):
    mixtures, losses = searched
    found = near_optimal(small, SCALE, epsilon=EPSILON, probability=0.9)
    excess = losses - losses.min(axis=0)
    inside = mixtures[harrell_davis(excess, 0.9) <= EPSILON]
    assert len(inside) > 50
    for i, (low, high) in enumerate(found.ranges.values()):
        assert low <= inside[:, i].min() + 0.02
        assert high >= inside[:, i].max() - 0.02
        assert low >= inside[:, i].min() - 0.02
        assert high <= inside[:, i].max() + 0.02
    assert found.attainable == pytest.approx(harrell_davis(excess, 0.9).min(), abs=3e-3)


def test_representatives_are_members_and_trades_are_possible(small, searched):
    found = near_optimal(small, SCALE, epsilon=EPSILON)
    for member in found.members.values():
        excess = small.losses(SCALE, member.weights[None]).mean(axis=2)[0] - searched[1].min(axis=0)
        assert harrell_davis(excess, 0.9) < EPSILON + 2e-3
    near = found.members["nearest natural"]
    assert near.distance(small.natural) <= found.centre.distance(small.natural)
    (giver, taker), share = next(iter(found.trades.items()))
    assert found.centre[giver] - share >= -1e-9
    assert list(found.trades.values()) == sorted(found.trades.values(), reverse=True)
    assert giver != taker
    assert "range" in str(found)
    json.dumps(found.as_dict(), allow_nan=False)


def test_the_set_can_be_empty_and_says_what_is_attainable(small):
    none = near_optimal(small, SCALE, epsilon=1e-6)
    assert none.empty
    assert none.ranges == {}
    assert "no mixture" in str(none)
    assert not near_optimal(small, SCALE).empty


def test_equivalents_respect_constraints(small):
    found = near_optimal(small, SCALE, feasible=FeasibleSet(bounds={"d1": (0.0, 0.3)}), epsilon=0.1)
    assert found.ranges["d1"][1] <= 0.3 + 1e-6


def chinchilla_like() -> StubPosterior:
    """Draws in which only D matters beside the mixture, L = c(h) + B (D / 1e11)^−β."""
    stub = posterior(draws=40, targets=1, domains=3)
    return replace(stub, size=(0 * stub.floor, stub.size[1]))


def test_the_multiplier_has_a_closed_form_when_only_data_helps(best):
    stub = chinchilla_like()
    better = optimize(stub, SCALE).mixture
    worth = compute_multiplier(stub, SCALE, better, along="tokens")
    b, beta = stub.data[0][:, 0], stub.data[1][:, 0]
    natural, ours = stub.losses(SCALE, np.stack([stub.natural.weights, better.weights]))[..., 0]
    gain = natural - ours
    # B d^−β falls by the gain when d grows by the multiplier
    reachable = b * 1.5**-beta - gain
    needed = np.where(
        reachable > 0, (np.maximum(reachable, 1e-300) / b) ** (-1 / beta) / 1.5, np.inf
    )
    assert worth.median == pytest.approx(np.quantile(needed, 0.5, method="inverted_cdf"), rel=5e-3)
    assert worth.gain.mean == pytest.approx(gain.mean())
    assert "tokens" in str(worth)
    json.dumps(worth.as_dict(), allow_nan=False)


def test_a_mixture_is_worth_itself(small, best):
    same = compute_multiplier(small, SCALE, best, baseline=best)
    assert (same.q05, same.median, same.q95) == pytest.approx((1, 1, 1), abs=1e-9)
    with pytest.raises(InputError, match="nothing to compare"):
        compute_multiplier(replace(small, natural=None), SCALE, best)
    with pytest.raises(InputError, match="axis"):
        compute_multiplier(small, SCALE, best, along="depth")


def test_first_crossing_by_hand():
    curve = np.array([[3.0, 1.0, 3.0], [2.0, 1.0, 3.0], [1.0, 1.0, 3.0]])
    np.testing.assert_allclose(
        first_crossing(np.arange(3.0), curve, np.array([1.5, 2.0, 2.0])), [1.5, -np.inf, np.inf]
    )


@pytest.mark.parametrize(
    ("quantiles", "said"),
    [
        ((1.1, 2.0, 3.0), "need 2.00× [1.10, 3.00] the FLOPs; in 10% of the draws it never would"),
        ((1.1, 2.0, np.inf), "need 2.00× [1.10, ∞] the FLOPs; in 10% of the draws it never would"),
        (
            (1.1, np.inf, np.inf),
            (
                "need at least 1.10× the FLOPs, most likely far more; in 10% of the draws it never"
                " would"
            ),
        ),
        ((np.inf, np.inf, np.inf), "not catch up with more FLOPs"),
    ],
)
def test_mixtures_that_never_catch_up_are_said_in_words(quantiles, said) -> None:
    low, median, high = quantiles
    worth = Multiplier(median, low, high, Band.of(np.ones(5)), 0.1, "flops")
    assert str(worth) == f"would {said}"
