"""The step of mirror descent against closed forms and a conic solver."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmix.decision.solvers.entropic_step import entropic_step
from bayesmix.decision.solvers.polytope import Polytope, divergence, lowest


def simplex(size: int, lower=0.0, upper=1.0, rows=None, limit=None, ball=None) -> Polytope:
    return Polytope(
        np.full(size, lower) if np.isscalar(lower) else lower,
        np.full(size, upper) if np.isscalar(upper) else upper,
        np.ones((1, size)),
        np.ones(1),
        np.zeros((0, size)) if rows is None else rows,
        np.zeros(0) if limit is None else limit,
        ball,
    )


def one(slope, centre, stiffness, within):
    return entropic_step(slope[None], centre[None], np.full((1, len(slope)), stiffness), within)[0]


def test_on_the_simplex_it_is_multiplication_and_normalisation():
    rng = np.random.default_rng(0)
    slope, centre = rng.normal(size=(50, 8)), rng.dirichlet(np.ones(8), 50)
    closed = centre * np.exp(-slope / 2.0)
    answer = entropic_step(slope, centre, np.full((50, 8), 2.0), simplex(8))
    np.testing.assert_allclose(answer, closed / closed.sum(axis=1, keepdims=True), atol=1e-8)


def test_projection_on_a_capped_simplex_scales_the_free_shares():
    answer = one(
        np.zeros(3), np.array([0.6, 0.3, 0.1]), 1.0, simplex(3, upper=np.array([0.4, 1.0, 1.0]))
    )
    np.testing.assert_allclose(answer, [0.4, 0.45, 0.15], atol=1e-8)


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.floats(-3, 3), st.floats(-3, 3))
def test_bounds_alone_give_what_the_interior_point_gives(seed, size, steep, stiff):
    rng = np.random.default_rng(seed)
    inside = rng.dirichlet(np.ones(size))
    lower = np.where(rng.random(size) < 0.5, inside * rng.random(size), 0.0)
    upper = np.where(
        rng.random(size) < 0.5, np.minimum(inside * (1 + rng.random(size)) + 0.01, 1.0), 1.0
    )
    slope, centre = 10**steep * rng.normal(size=(4, size)), rng.dirichlet(np.ones(size), 4)
    stiffness = np.full((4, size), 10**stiff)
    direct = entropic_step(slope, centre, stiffness, simplex(size, lower, upper))
    idle = {"rows": np.ones((1, size)), "limit": np.array([2.0])}
    inner = entropic_step(slope, centre, stiffness, simplex(size, lower, upper, **idle))
    np.testing.assert_allclose(direct, inner, atol=1e-6)
    np.testing.assert_allclose(direct.sum(axis=1), 1.0, atol=1e-12)
    assert (
        (direct > 0).all() and (direct >= lower - 1e-12).all() and (direct <= upper + 1e-12).all()
    )


def test_bounds_that_leave_one_point_on_an_edge():
    upper = np.array([0.5, 0.5, 1.0])
    answer = one(np.array([0.0, 0.0, 1e10]), np.full(3, 1 / 3), 1e-3, simplex(3, upper=upper))
    np.testing.assert_allclose(answer, [0.5, 0.5, 0.0], atol=1e-11)


def test_a_batch_gives_what_single_problems_give():
    rng = np.random.default_rng(1)
    slope, centre = rng.normal(size=(5, 6)), rng.dirichlet(np.ones(6), 5)
    within = simplex(6, upper=0.3)
    batch = entropic_step(slope, centre, np.ones((5, 6)), within)
    np.testing.assert_allclose(
        batch, [one(s, c, 1.0, within) for s, c in zip(slope, centre, strict=True)], atol=1e-8
    )


@pytest.mark.parametrize("seed", range(12))
def test_it_agrees_with_clarabel(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 18))
    inside = rng.dirichlet(np.ones(size))
    lower = np.where(rng.random(size) < 0.5, 0.5 * inside, 0.0)
    upper = np.where(rng.random(size) < 0.5, np.minimum(1.5 * inside + 0.05, 1.0), 1.0)
    rows = rng.normal(size=(int(rng.integers(0, 4)), size))
    limit = rows @ inside + 0.02
    reference = rng.dirichlet(np.ones(size))
    ball = (reference, float(divergence(inside, reference)) + 0.01) if seed % 2 else None
    slope, centre, stiffness = (
        rng.normal(size=size),
        rng.dirichlet(np.ones(size)),
        float(rng.choice([0.01, 1.0, 50.0])),
    )
    answer = one(slope, centre, stiffness, simplex(size, lower, upper, rows, limit, ball))

    x = cp.Variable(size)
    constraints = [cp.sum(x) == 1, x >= lower, x <= upper]
    constraints += [rows @ x <= limit] if len(rows) else []
    constraints += [cp.sum(cp.kl_div(x, reference)) <= ball[1]] if ball else []
    cp.Problem(
        cp.Minimize(slope @ x + stiffness * cp.sum(cp.kl_div(x, centre))), constraints
    ).solve(solver="CLARABEL")
    np.testing.assert_allclose(answer, x.value, atol=2e-4)
    assert answer.sum() == pytest.approx(1, abs=1e-9)
    assert (answer >= lower - 1e-9).all()
    assert (answer <= upper + 1e-9).all()
    assert (rows @ answer <= limit + 1e-9).all()


def test_without_freedom_the_answer_is_the_bounds():
    corner = np.array([0.25, 0.75])
    np.testing.assert_array_equal(
        one(np.ones(2), np.full(2, 0.5), 1.0, simplex(2, corner, corner)), corner
    )


def test_lowest_of_planes_on_the_simplex_is_a_matrix_game():
    value, shares = lowest(simplex(2), np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2))
    assert value == pytest.approx(0.5, abs=1e-9)
    np.testing.assert_allclose(shares, [0.5, 0.5], atol=1e-9)
