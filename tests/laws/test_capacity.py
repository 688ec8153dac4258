"""How the capacity law divides a model among domains."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from bayesmix.laws.capacity import divide

pytestmark = pytest.mark.usefixtures("x64")


def random_market(seed: int, domains: int = 5) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Weights times coefficients, exponents, H and N."""
    rng = np.random.default_rng(seed)
    return (
        rng.dirichlet(np.ones(domains)),
        rng.uniform(0.1, 0.8, domains),
        rng.uniform(0.05, 0.3),
        rng.uniform(0.5, 4),
    )


@pytest.mark.parametrize("seed", range(4))
def test_is_the_best_division(seed: int) -> None:
    cost, exponent, shared, total = random_market(seed)
    x = divide(
        (cost * exponent) ** (1 / (1 + exponent)),
        1 / (1 + exponent),
        jnp.asarray(shared),
        jnp.asarray(total),
    )
    assert jnp.sum(x - shared) == pytest.approx(total - shared, rel=1e-12)
    assert (x >= shared).all()
    best = minimize(
        lambda y: np.sum(cost * (shared + y) ** -exponent),
        np.full(len(cost), (total - shared) / len(cost)),
        jac=lambda y: -cost * exponent * (shared + y) ** (-exponent - 1),
        bounds=[(0, None)] * len(cost),
        constraints={"type": "eq", "fun": lambda y: np.sum(y) - (total - shared)},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert np.sum(cost * np.asarray(x) ** -exponent) <= best.fun + 1e-9
    np.testing.assert_allclose(x, shared + best.x, atol=2e-4)


def test_a_domain_without_weight_gets_the_shared_part_only() -> None:
    x = divide(jnp.array([0.5, 0.0, 0.2]), jnp.full(3, 0.7), jnp.asarray(0.1), jnp.asarray(2.0))
    assert x[1] == 0.1 and jnp.sum(x - 0.1) == pytest.approx(1.9)


def test_a_model_smaller_than_the_shared_part_is_shared() -> None:
    x = divide(jnp.array([0.5, 0.1, 0.2]), jnp.full(3, 0.7), jnp.asarray(0.4), jnp.asarray(0.2))
    np.testing.assert_allclose(x, 0.2, rtol=2e-3)


def test_a_hundred_domains_are_settled() -> None:
    cost, exponent, shared, total = random_market(0, domains=100)
    demand = cost ** (1 / (1 + exponent)) * 10.0 ** np.linspace(-3, 3, 100)
    x = divide(demand, 1 / (1 + exponent), jnp.asarray(shared), jnp.asarray(total))
    assert jnp.sum(x - shared) == pytest.approx(total - shared, rel=1e-12)


def test_differentiates_through_the_price() -> None:
    cost, exponent, shared, total = random_market(1)

    def first(total: jax.Array) -> jax.Array:
        return divide(cost ** (1 / (1 + exponent)), 1 / (1 + exponent), jnp.asarray(shared), total)[
            0
        ]

    step = 1e-4
    at = jnp.asarray(total)
    slope = float(first(at + step) - first(at - step)) / (2 * step)
    bend = float(first(at + step) - 2 * first(at) + first(at - step)) / step**2
    assert jax.grad(first)(at) == pytest.approx(slope, rel=1e-6)
    assert jax.grad(jax.grad(first))(at) == pytest.approx(bend, rel=1e-4, abs=1e-6)
