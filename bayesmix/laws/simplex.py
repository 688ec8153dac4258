"""Pure functions on mixture weights: powers and power means that are defined at weight 0."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def power(weights: jax.Array, gamma: jax.Array) -> jax.Array:
    """h^γ for h ≥ 0 and γ > 0, with 0^γ = 0.

    The derivative in γ at h = 0 is its limit, 0. The one-sided derivative in h at h = 0 is +∞ for
    γ < 1; automatic differentiation gives 0 there, so optimisers must stay in the interior.
    """
    inside = weights > 0
    return jnp.where(inside, jnp.exp(gamma * jnp.log(jnp.where(inside, weights, 1.0))), 0.0)


def log_power_mean(log_values: jax.Array, weights: jax.Array, kappa: jax.Array) -> jax.Array:
    """log of the weighted power mean (Σ hᵢ vᵢ^κ)^(1/κ); κ → 0 is the geometric mean.

    It is smooth in κ through 0 (a second-order expansion replaces the quotient there) and finite at
    hᵢ = 0.

    Args:
        log_values: log vᵢ (domain).
        weights: h (domain), on the simplex.
        kappa: the order κ of the mean, any real number.

    Returns:
        A scalar between the smallest and the largest of `log_values`.
    """
    small = jnp.abs(kappa) < 1e-3
    order = jnp.where(small, 1.0, kappa)
    powers = jnp.where(weights > 0, order * log_values, -jnp.inf)
    top = jnp.max(powers)
    exact = (top + jnp.log(jnp.sum(weights * jnp.exp(powers - top)))) / order
    mean = jnp.sum(weights * log_values)
    near_zero = mean + 0.5 * kappa * jnp.sum(weights * (log_values - mean) ** 2)
    return jnp.where(small, near_zero, exact)
