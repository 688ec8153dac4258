"""The mean that amplitudes by domain go through."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayesmix.laws.simplex import log_power_mean, power

pytestmark = pytest.mark.usefixtures("x64")
LOGS = np.array([-1.0, 0.2, 0.5, 1.5])
WEIGHTS = np.array([0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize(
    ("kappa", "mean"),
    [
        (1.0, np.sum(WEIGHTS * np.exp(LOGS))),
        (0.0, np.exp(np.sum(WEIGHTS * LOGS))),
        (-1.0, 1 / np.sum(WEIGHTS / np.exp(LOGS))),
        (2.0, np.sqrt(np.sum(WEIGHTS * np.exp(2 * LOGS)))),
    ],
    ids=["arithmetic", "geometric", "harmonic", "quadratic"],
)
def test_named_means(kappa: float, mean: float) -> None:
    np.testing.assert_allclose(
        log_power_mean(LOGS, WEIGHTS, jnp.asarray(kappa)), np.log(mean), rtol=1e-12
    )


def test_limits_are_the_extremes() -> None:
    for kappa, extreme in ((1e4, LOGS.max()), (-1e4, LOGS.min())):
        np.testing.assert_allclose(
            log_power_mean(LOGS, WEIGHTS, jnp.asarray(kappa)), extreme, atol=1e-3
        )


@given(
    hnp.arrays(float, 4, elements=st.floats(-3, 3)),
    hnp.arrays(float, 4, elements=st.floats(0.01, 1)),
    st.floats(-5, 5),
    st.floats(0, 2),
)
def test_rises_with_the_order_between_the_extremes(
    logs: np.ndarray, raw: np.ndarray, kappa: float, more: float
) -> None:
    with jax.enable_x64(True):
        mean = _jitted(logs, raw / raw.sum(), kappa)
        higher = _jitted(logs, raw / raw.sum(), kappa + more)
    assert logs.min() - 1e-5 <= mean <= higher + 1e-5 <= logs.max() + 2e-5


@jax.jit
def _jitted(logs: jax.Array, weights: jax.Array, kappa: jax.Array) -> jax.Array:
    return log_power_mean(logs, weights, kappa)


def test_smooth_through_order_zero() -> None:
    kappa = jnp.linspace(-2e-3, 2e-3, 41)
    f = jax.vmap(lambda k: log_power_mean(LOGS, WEIGHTS, k))
    slope = jax.vmap(jax.grad(lambda k: log_power_mean(LOGS, WEIGHTS, k)))
    line = f(kappa[:1]) + slope(jnp.zeros(1)) * (kappa - kappa[0])
    np.testing.assert_allclose(f(kappa), line, atol=5e-6)
    np.testing.assert_allclose(slope(kappa), slope(jnp.zeros(1))[0] * np.ones(41), rtol=5e-3)


def test_domains_without_weight_play_no_part() -> None:
    weights = np.array([0.6, 0.4, 0.0, 0.0])
    for kappa in (-3.0, 0.0, 1e-4, 3.0):
        mean = log_power_mean(LOGS, weights, jnp.asarray(kappa))
        np.testing.assert_allclose(
            mean, log_power_mean(LOGS[:2], weights[:2], jnp.asarray(kappa)), rtol=1e-9
        )
        gradient = jax.grad(log_power_mean, argnums=(0, 1, 2))(
            jnp.asarray(LOGS), jnp.asarray(weights), kappa
        )
        assert all(jnp.isfinite(part).all() for part in gradient)
        np.testing.assert_array_equal(gradient[0][2:], 0.0)


def test_power_at_zero() -> None:
    weights, gamma = jnp.array([0.0, 0.0, 0.25]), jnp.array([0.5, 2.0, 0.5])
    np.testing.assert_allclose(power(weights, gamma), [0.0, 0.0, 0.5])
    by_weight, by_gamma = jax.grad(lambda w, g: power(w, g).sum(), argnums=(0, 1))(weights, gamma)
    np.testing.assert_allclose(by_weight, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(by_gamma, [0.0, 0.0, 0.5 * np.log(0.25)])
