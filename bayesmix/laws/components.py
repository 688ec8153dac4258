"""Terms and priors that several laws share.

The mixture term, amplitudes that depend on the mixture, and the part in N and D. Their sampling
coordinates are in `bayesmix.laws.bijections`.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from bayesmix.laws.base import Extent, Theta
from bayesmix.laws.simplex import log_power_mean, power

ZERO_SUM = dist.transforms.ZeroSumTransform(1)
TILT_SPREAD = 2.0
"""Prior standard deviation of the log of a mixture term by domain."""


def scale_priors() -> dict[str, dist.Distribution]:
    """Priors of E, A, alpha, B, beta; amplitudes in units of the smallest observed loss."""
    return {
        "E": dist.Beta(2.0, 2.0),
        "A": dist.LogNormal(math.log(0.15), 1.0),
        "alpha": dist.LogNormal(math.log(0.3), 0.5),
        "B": dist.LogNormal(math.log(0.15), 1.0),
        "beta": dist.LogNormal(math.log(0.4), 0.5),
    }


def mixture_priors(
    domains: int, constant: bool, diminishing: bool = False
) -> dict[str, dist.Distribution]:
    """Priors of M, share, gamma; with `diminishing`, gamma is below 1."""
    gamma = dist.Beta(3.0, 2.0) if diminishing else dist.LogNormal(math.log(0.6), 0.4)
    return {
        "M": dist.LogNormal(math.log(0.3), 1.0),
        "share": share_prior(domains, constant),
        "gamma": gamma.expand([domains]).to_event(1),
    }


def share_prior(domains: int, constant: bool) -> dist.Distribution:
    """Uniform prior of the shares, with an entry for the constant if there is one."""
    return dist.Dirichlet(np.ones(domains + constant))


def blend_priors(site: str, domains: int, spread: float) -> dict[str, dist.Distribution]:
    """Priors of `<site>_domain`, log of a site by domain, and `kappa_<site>`, order of the mean."""
    return {
        f"{site}_domain": dist.ZeroSumNormal(spread, event_shape=(domains,)),
        f"kappa_{site}": dist.Normal(0.0, 1.0),
    }


def tilt_prior() -> dict[str, dist.Distribution]:
    """Prior of M, the size of a mixture term that blends terms by domain."""
    return {"M": dist.LogNormal(math.log(0.3), 1.0)}


def chinchilla(theta: Theta, n: jax.Array, d: jax.Array) -> jax.Array:
    """E + A n^−α + B d^−β."""
    return theta["E"] + theta["A"] * n ** -theta["alpha"] + theta["B"] * d ** -theta["beta"]


def mixture_term(theta: Theta, weights: jax.Array, reference: jax.Array) -> jax.Array:
    """Mixture term M / (s₀ + Σ sᵢ (hᵢ/h̄ᵢ)^γᵢ).

    It is 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) with Cᵢ = sᵢ/(M h̄ᵢ^γᵢ) and C₀ = s₀/M. Without the constant, `share`
    has one entry a domain and the term is +∞ where every useful domain has weight 0.
    """
    constant, share = split_share(theta["share"], weights.shape[0])
    return theta["M"] / (constant + jnp.sum(share * power(weights / reference, theta["gamma"])))


def split_share(share: jax.Array, domains: int) -> tuple[jax.Array, jax.Array]:
    """The constant, 0 where the law has none, and the shares (domain)."""
    constant = share[0] if share.shape[0] > domains else jnp.zeros(())
    return constant, share[-domains:]


def own_share(
    share: jax.Array, weights: jax.Array, reference: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """s₀ and Σ sᵢ hᵢ/h̄ᵢ, the parts of the target's own share, which is 1 at the reference."""
    constant, share = split_share(share, weights.shape[0])
    return constant, jnp.sum(share * weights / reference)


def falling_priors(site: str, domains: int) -> dict[str, dist.Distribution]:
    """Priors of `share_<site>` and `gamma_<site>`, the parameters of `log_falling`."""
    return {
        f"share_{site}": share_prior(domains, constant=False),
        f"gamma_{site}": dist.LogNormal(math.log(0.15), 1.0),
    }


def log_falling(theta: Theta, site: str, weights: jax.Array, reference: jax.Array) -> jax.Array:
    """Log of an amplitude that falls with the useful share, relative to the reference mixture.

    A^h / A^h̄ = (Σ sᵢ hᵢ/h̄ᵢ)^−γ with s on the simplex and γ > 0. It is the paper's (Σ C^A_i hᵢ)^γA
    with γA = −γ and C^A_i ∝ sᵢ/h̄ᵢ; s = h̄ makes it constant. It is convex in h.
    """
    _, useful = own_share(theta[f"share_{site}"], weights, reference)
    return -theta[f"gamma_{site}"] * jnp.log(useful)


def log_blend(theta: Theta, site: str, weights: jax.Array, reference: jax.Array) -> jax.Array:
    """Log of the power mean of a site by domain, relative to its value at the reference mixture.

    A^h / A^h̄ with A^h = (Σ hᵢ Aᵢ^κ)^(1/κ). It is the paper's (Σ C^A_i hᵢ)^γA with κ = 1/γA and
    Aᵢ = (C^A_i)^γA, and stays smooth where γA passes through infinity (κ = 0, the log-linear
    amplitude).
    """
    by_domain, kappa = theta[f"{site}_domain"], theta[f"kappa_{site}"]
    return log_power_mean(by_domain, weights, kappa) - log_power_mean(by_domain, reference, kappa)


def blend_convex(theta: Theta, site: str) -> bool:
    """Whether the power mean is convex in h for all draws, which is κ ≤ 1.

    It is then a positive linear form to a power ≥ 1 or ≤ 0.
    """
    return bool((theta[f"kappa_{site}"] <= 1).all())


def mean_mixture_term(theta: Theta, extent: Extent) -> jax.Array:
    """Mean of the mixture term over the runs."""
    term = partial(mixture_term, theta, reference=jnp.ones_like(theta["gamma"]))
    return jnp.sum(extent.frequency * jax.vmap(term)(extent.mixtures))


def log_mixture_rise(gamma: jax.Array, extent: Extent) -> jax.Array:
    """log(highᵢ^γᵢ − lowᵢ^γᵢ) (domain), the range of each domain's part of the mixture term."""
    return jnp.log(power(extent.high, gamma) - power(extent.low, gamma))


def zero_sum(free: jax.Array) -> jax.Array:
    """Vector of sum 0 with the given coordinates (domain − 1) in an orthonormal basis."""
    return jnp.asarray(ZERO_SUM(free))


def zero_sum_inverse(vector: jax.Array) -> jax.Array:
    """The inverse of `zero_sum`."""
    return jnp.asarray(ZERO_SUM.inv(vector))
