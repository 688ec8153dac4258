"""The chosen mixture against brute force, a conic solver, and ways to be wrong with confidence."""

import json
from dataclasses import replace

import cvxpy as cp
import jax.numpy as jnp
import numpy as np
import pytest

from bayesmix.decision import solve as solve_module
from bayesmix.decision.constraint import ChanceConstraint
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.feasible_region import region
from bayesmix.decision.objective import Custom, criterion, criterion_text
from bayesmix.decision.optimize import optimize
from bayesmix.decision.optimum import Optimum
from bayesmix.decision.problem import Problem
from bayesmix.decision.risk import CVaR, Mean, Quantile
from bayesmix.decision.solvers.cutting_plane import minimise_convex
from bayesmix.decision.solvers.polytope import lowest
from bayesmix.design import Mixture, Scale
from bayesmix.errors import DiagnosticsError, DiagnosticsWarning, InfeasibleError, InputError
from bayesmix.runtime.compute import enable_x64
from tests.decision.stub import StubPosterior, harrell_davis, posterior

SCALE = Scale(7e9, 1.5e11)
CERTIFIED = [
    "mean",
    "cvar:0.9",
    "entropic:20",
    "deviation:0.5",
    "worst-draw",
    "worst-target",
    "worst-target/cvar:0.5",
]


@pytest.fixture(scope="module")
def small() -> StubPosterior:
    return posterior(draws=60, targets=3, domains=3, spread=0.4)


def choose(stub: StubPosterior, text: str, **more) -> Optimum:
    objective, risk = criterion(text)
    return optimize(stub, SCALE, objective=objective, risk=risk, **more)


@pytest.fixture(scope="module")
def candidates(small) -> tuple[np.ndarray, np.ndarray]:
    """A hundred thousand points of the simplex and their losses (candidate, draw, target)."""
    rng = np.random.default_rng(0)
    mixtures = np.vstack([rng.dirichlet(np.full(3, a), 50_000) for a in (0.7, 1.5)])
    return mixtures, np.concatenate(
        [small.losses(SCALE, part) for part in np.array_split(mixtures, 20)]
    )


def risk_by_hand(text: str, losses: np.ndarray) -> np.ndarray:
    """The criterion (candidate) in plain NumPy."""
    if text == "worst-target":
        return losses.max(axis=2).mean(axis=1)
    if text == "worst-target/cvar:0.5":
        return np.sort(losses.max(axis=2), axis=1)[:, 30:].mean(axis=1)
    draws = np.sort(losses.mean(axis=2), axis=1)
    mean = draws.mean(axis=1)
    return {
        "mean": mean,
        "cvar:0.9": draws[:, 54:].mean(axis=1),
        "entropic:20": np.log(np.exp(20 * draws).mean(axis=1)) / 20,
        "deviation:0.5": mean + 0.5 * np.abs(draws - mean[:, None]).mean(axis=1),
        "worst-draw": draws[:, -1],
    }[text]


@pytest.mark.parametrize("text", CERTIFIED)
def test_a_hundred_thousand_points_hold_nothing_better(small, candidates, text):
    best = choose(small, text)
    assert best.converged
    assert best.gap <= 1e-6 * best.by_target["t0"].mean * 1.5
    searched = risk_by_hand(text, candidates[1]).min()
    assert best.value <= searched + best.gap
    assert best.value >= searched - 1e-3
    assert best.value - best.gap <= searched


@pytest.mark.parametrize("text", ["quantile:0.9", "deviation:2"])
def test_without_convexity_several_starts_agree_and_no_gap_is_claimed(small, candidates, text):
    best = choose(small, text)
    assert best.gap is None
    assert "not convex" in best.gap_reason
    assert best.spread < 1e-3
    draws = candidates[1].mean(axis=2)
    mean = draws.mean(axis=1)
    by_hand = {
        "deviation:2": mean + 2 * np.abs(draws - mean[:, None]).mean(axis=1),
        "quantile:0.9": harrell_davis(draws, 0.9),
    }[text]
    assert best.value == pytest.approx(by_hand.min(), abs=2e-3)


def conic(stub: StubPosterior, criterion_of, extra=lambda h: []) -> float:
    """The optimum by Clarabel; γ must be ¼ or ½ so that the powers are cones."""
    s = stub.surface(SCALE)
    draws, targets, domains = s.amplitude.shape
    h = cp.Variable(domains, nonneg=True)
    roots = {g: [cp.power(h[k], g) for k in range(domains)] for g in (0.25, 0.5)}
    loss = [
        [
            float(s.level[d, t])
            + cp.inv_pos(
                float(s.constant[d, t])
                + sum(
                    float(s.amplitude[d, t, k]) * roots[float(s.gamma[d, t, k])][k]
                    for k in range(domains)
                )
            )
            for t in range(targets)
        ]
        for d in range(draws)
    ]
    task = cp.Problem(cp.Minimize(criterion_of(loss)), [cp.sum(h) == 1, *extra(h)])
    task.solve(solver="CLARABEL")
    return float(task.value)


def cvar(draws: list, level: float):
    edge = cp.Variable()
    return edge + sum(cp.pos(d - edge) for d in draws) / (len(draws) * (1 - level))


@pytest.fixture(scope="module")
def conical() -> StubPosterior:
    stub = posterior(draws=12, targets=2, domains=4, spread=0.5, seed=3)
    return replace(stub, gamma=np.where(stub.gamma > 0.45, 0.5, 0.25))


def test_mean_cvar_and_worst_target_agree_with_clarabel(conical):
    def weighted(loss):
        return [0.25 * row[0] + 0.75 * row[1] for row in loss]

    weights = {"t0": 1.0, "t1": 3.0}
    expected = conic(conical, lambda loss: sum(weighted(loss)) / 12)
    assert optimize(conical, SCALE, targets=weights).value == pytest.approx(expected, abs=1e-5)
    expected = conic(conical, lambda loss: cvar(weighted(loss), 0.7))
    assert optimize(conical, SCALE, targets=weights, risk=CVaR(0.7)).value == pytest.approx(
        expected, abs=1e-5
    )
    expected = conic(conical, lambda loss: sum(cp.max(cp.hstack(row)) for row in loss) / 12)
    assert choose(conical, "worst-target").value == pytest.approx(expected, abs=1e-5)


def test_constraints_agree_with_clarabel(conical):
    natural = conical.natural
    within = FeasibleSet(
        bounds={"d0": (0.1, 0.3)}, linear=["d1 + d2 <= 0.5"], trust_region=(natural, 0.05, "kl")
    )
    expected = conic(
        conical,
        lambda loss: sum(sum(row) for row in loss) / 24,
        lambda h: [
            h[0] >= 0.1,
            h[0] <= 0.3,
            h[1] + h[2] <= 0.5,
            cp.sum(cp.kl_div(h, natural.weights)) <= 0.05,
        ],
    )
    best = optimize(conical, SCALE, feasible=within)
    assert best.converged
    assert best.value == pytest.approx(expected, abs=1e-5)


def test_regrets_agree_with_the_search(small, candidates):
    mixtures, losses = candidates
    weighted = losses.mean(axis=2)
    minimax = (weighted - weighted.min(axis=0)).max(axis=1)
    assert choose(small, "minimax-regret").value == pytest.approx(minimax.min(), abs=2e-3)
    own = np.array([losses[:, :, t].mean(axis=1).argmin() for t in range(3)])
    excess = losses - losses[own, :, [0, 1, 2]].T
    assert choose(small, "max-regret").value == pytest.approx(
        excess.max(axis=2).mean(axis=1).min(), abs=3e-3
    )
    assert len(mixtures) == 100_000


def test_a_vertex_that_looks_optimal_is_not_taken_for_one(small):
    task = Problem.of(small, SCALE)
    corner = np.eye(3)[1]
    everything = region(("d0", "d1", "d2"))
    value, slope = task.value_and_slope(corner)
    false_gap = slope @ corner - lowest(everything.polytope, slope[None], np.zeros(1))[0]
    assert false_gap < 1e-6  # the slope of h^γ at 0 is infinite, but code can only say 0
    best = minimise_convex(task.value_and_slope, everything, tolerance=1e-6, budget=100)
    assert best.value < value - 0.05
    assert best.gap < 1e-6


def test_an_optimum_at_a_vertex_is_found_and_is_exact():
    stub = posterior(draws=30, targets=1, domains=3)
    linear = replace(
        stub,
        gamma=np.ones_like(stub.gamma),
        amplitude=np.ones_like(stub.amplitude) * np.array([0.5, 2.0, 1.0]),
    )
    best = optimize(linear, SCALE)
    np.testing.assert_array_equal(best.mixture.weights, [0.0, 1.0, 0.0])
    assert best.gap < 1e-5


def test_the_order_of_the_domains_does_not_matter(small):
    order = [2, 0, 1]
    turned = replace(
        small,
        domains=tuple(small.domains[i] for i in order),
        amplitude=small.amplitude[..., order],
        gamma=small.gamma[..., order],
    )
    here, there = optimize(small, SCALE), optimize(turned, SCALE)
    assert here.mixture.distance(there.mixture) < 2e-3
    assert here.value == pytest.approx(there.value, abs=5e-6)


def test_a_promise_is_kept_and_costs_something(small):
    free = optimize(small, SCALE, targets={"t0": 1.0})
    held = optimize(
        small,
        SCALE,
        targets={"t0": 1.0},
        chance_constraints=[ChanceConstraint(margin=0.001, probability=0.9)],
    )
    assert next(iter(held.chances.values())) >= 0.9
    assert held.value > free.value
    assert held.gap < 1e-4
    assert "probability 0." in str(held)


def test_a_promise_nobody_can_keep_is_refused(small):
    with pytest.raises(InfeasibleError, match="worse than under"):
        optimize(small, SCALE, chance_constraints=[ChanceConstraint(margin=-0.5)])
    with pytest.raises(InputError, match="unknown targets"):
        optimize(small, SCALE, chance_constraints=[ChanceConstraint(targets=("t9",))])
    with pytest.raises(InputError, match="natural"):
        optimize(replace(small, natural=None), SCALE, chance_constraints=[ChanceConstraint()])


def test_a_function_of_the_draws_can_be_the_objective(small):
    def geometric(losses):
        return jnp.mean(jnp.sum(jnp.log(losses), axis=1))

    best = optimize(small, SCALE, objective=Custom(geometric))
    assert best.gap is None
    assert best.risk == "custom"
    declared = optimize(
        small, SCALE, objective=Custom(lambda losses: jnp.mean(losses), declared_convex=True)
    )
    assert declared.value == pytest.approx(optimize(small, SCALE).value, abs=1e-5)


def test_a_posterior_that_is_not_convex_gets_no_certificate(small):
    best = optimize(replace(small, convex=False), SCALE)
    assert best.gap is None
    assert "not convex" in best.gap_reason
    assert best.value == pytest.approx(optimize(small, SCALE).value, abs=1e-5)
    assert best.spread < 1e-4


@pytest.mark.parametrize("text", ["worst-draw", "worst-target/cvar:0.5"])
def test_kinks_do_not_stop_the_search_without_convexity(small, text):
    searched, certified = choose(replace(small, convex=False), text), choose(small, text)
    assert searched.converged
    assert searched.value == pytest.approx(certified.value, abs=1e-5)


def test_several_valleys_are_searched():
    """Exponents above 1 make every draw prefer corners; 20,000 mixtures hold nothing better."""
    stub = posterior(draws=50, targets=2, domains=4, spread=0.4, seed=1)
    stub = replace(stub, gamma=2.5 * stub.gamma, convex=False)
    best = optimize(stub, SCALE, risk=CVaR(0.8))
    mixtures = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 20_000)
    draws = np.sort(stub.losses(SCALE, mixtures).mean(axis=2), axis=1)
    assert best.value <= draws[:, 40:].mean(axis=1).min() + 1e-6


@pytest.mark.parametrize(
    "constraint", [{}, {"support": True}, {"measure": "kl"}, {"measure": "tv"}]
)
def test_the_law_of_the_paper_is_infinite_at_corners_and_certified_all_the_same(constraint):
    stub = posterior(draws=40, targets=2, domains=6, constant=0.0, spread=0.5, seed=2)
    stub = replace(stub, gamma=0.3 * stub.gamma)
    within = {
        "support": stub.designs if "support" in constraint else None,
        "trust_region": (stub.natural, 0.05, constraint["measure"])
        if "measure" in constraint
        else None,
    }
    best = optimize(stub, SCALE, feasible=FeasibleSet(**within), risk=CVaR(0.9))
    assert best.converged
    assert best.gap < 1e-5
    assert FeasibleSet(**within).at(SCALE, stub.domains).contains(best.mixture.weights)


def test_the_same_seed_gives_the_same_answer(small):
    first, second = (optimize(small, SCALE, risk=Quantile(0.8), seed=4) for _ in range(2))
    assert first.as_dict() == second.as_dict()


def test_the_answer_as_json(small):
    other = Mixture({"d0": 0.5, "d2": 0.5})
    best = optimize(small, SCALE, risk=CVaR(0.9), baselines={"half": other})
    table = json.loads(json.dumps(best.as_dict(), allow_nan=False))
    assert sum(table["mixture"].values()) == pytest.approx(1)
    assert table["risk"] == "cvar:0.9"
    assert set(table["loss"]) == {"mean", "q05", "q95"}
    assert table["converged"] is True
    assert table["gap"] >= 0
    assert table["gap_reason"] is None
    assert set(table["against"]) == {"natural", "half"}
    draws = small.losses(SCALE, np.stack([best.mixture.weights, np.full(3, 1 / 3)])).mean(axis=2)
    assert table["loss"]["mean"] == pytest.approx(draws[0].mean())
    assert table["uniform"]["loss"]["q95"] == pytest.approx(np.quantile(draws[1], 0.95))
    assert table["uniform"]["probability_worse"] == pytest.approx(np.mean(draws[1] > draws[0]))
    assert table["uniform"]["excess"]["mean"] == pytest.approx((draws[1] - draws[0]).mean())


def test_the_answer_as_a_table_fits_a_terminal(small):
    long = replace(small, domains=("a" * 60, "d1", "d2"), natural=None)
    text = str(
        optimize(
            long,
            SCALE,
            risk=Quantile(0.9),
            baselines={"a mixture with a long name": Mixture({"d1": 1.0})},
        )
    )
    assert max(map(len, text.splitlines())) <= 80
    assert "no certificate" in text
    assert "nats above the best possible" in str(optimize(small, SCALE))


def test_stopping_early_is_said(small, monkeypatch):
    monkeypatch.setattr(solve_module, "EVALUATIONS", 3)
    with pytest.warns(DiagnosticsWarning, match="stopped before"):
        best = optimize(small, SCALE)
    assert not best.converged
    assert "NOT CONVERGED" in str(best)
    full = best.value - best.gap
    monkeypatch.undo()
    assert full <= optimize(small, SCALE).value <= best.value
    monkeypatch.setattr(solve_module, "EVALUATIONS", 3)
    with pytest.raises(DiagnosticsError):
        optimize(small, SCALE, strict=True)


def test_names_are_checked(small):
    with pytest.raises(InputError, match="unknown targets"):
        optimize(small, SCALE, targets={"t7": 1.0})
    with pytest.raises(InputError, match="not weights"):
        optimize(small, SCALE, targets={"t0": 0.0})
    with pytest.raises(InputError, match="unknown domains"):
        optimize(small, SCALE, baselines={"odd": Mixture({"elsewhere": 1.0})})


@pytest.mark.parametrize("text", [*CERTIFIED, "max-regret", "regret/worst-draw", "quantile:0.9"])
def test_the_text_of_a_criterion_is_read_back(text):
    assert criterion_text(*criterion(text)) == text


@pytest.mark.parametrize("text", ["best-target", "best-target/mean", "worst-target/var:1"])
def test_a_text_that_is_no_criterion_is_refused(text):
    with pytest.raises(InputError):
        criterion(text)


def test_mean_is_the_default(small):
    assert optimize(small, SCALE).risk == str(Mean())


def test_a_gap_is_never_too_small():
    """Random convex functions with kinks: the true minimum (linear program) is within the gap."""
    rng = np.random.default_rng(5)
    square = region(tuple("abcde"), ())
    for _ in range(5):
        slopes, offsets = rng.normal(size=(12, 5)), rng.normal(size=12)

        def highest(h, slopes=slopes, offsets=offsets):
            values = slopes @ h + offsets
            return float(values.max()), slopes[values.argmax()]

        found = minimise_convex(highest, square, tolerance=1e-6, budget=60)
        truth, _ = lowest(square.polytope, slopes, offsets)
        assert found.value - found.gap <= truth + 1e-9 <= found.value + 2e-9


@pytest.mark.slow
def test_four_thousand_draws_eight_targets_seventeen_domains():
    large = posterior(draws=4000, targets=8, domains=17)
    for text in CERTIFIED:
        best = choose(large, text)
        assert best.gap <= 1e-6 * 3
    with enable_x64():
        assert jnp.zeros(1).dtype == jnp.float64
