"""Pieces that several laws share: the mixture term, amplitudes that depend on the mixture, and their coordinates.

Coordinates are chosen for what runs can tell. The loss at the reference is known to a fraction of a
percent, its split into floor and amplitudes hardly; the slope of the loss in log N is known, the
split into amplitude and exponent hardly; the same holds for D and for every domain. So levels and
slopes are coordinates, and the splits are others.
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

EDGE_LEVEL = 0.04
"""Where `level` minus the other terms falls below this many units of loss, the floor and A bend smoothly off zero."""
EDGE_CONSTANT = 0.05
EDGE_SLOPE = 0.02
BEND = 0.25

TILT_SPREAD = 2.0
"""Prior standard deviation of the log of a mixture term by domain."""
ZERO_SUM = dist.transforms.ZeroSumTransform(1)


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
    """Every split over the domains, and over the constant if there is one, is equally likely."""
    return dist.Dirichlet(np.ones(domains + constant))


def blend_priors(site: str, domains: int, spread: float) -> dict[str, dist.Distribution]:
    """Priors of `<site>_domain` and `kappa_<site>`: log of the site by domain, and the order of the mean of them."""
    return {
        f"{site}_domain": dist.ZeroSumNormal(spread, event_shape=(domains,)),
        f"kappa_{site}": dist.Normal(0.0, 1.0),
    }


def tilt_prior() -> dict[str, dist.Distribution]:
    """Prior of the size of a mixture term that is a blend of terms by domain."""
    return {"M": dist.LogNormal(math.log(0.3), 1.0)}


def chinchilla(theta: Theta, n: jax.Array, d: jax.Array) -> jax.Array:
    """E + A n^−α + B d^−β."""
    return theta["E"] + theta["A"] * n ** -theta["alpha"] + theta["B"] * d ** -theta["beta"]


def mixture_term(theta: Theta, weights: jax.Array, reference: jax.Array) -> jax.Array:
    """M / (s₀ + Σ sᵢ (hᵢ/h̄ᵢ)^γᵢ), which is 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) with Cᵢ = sᵢ/(M h̄ᵢ^γᵢ) and C₀ = s₀/M.

    Without the constant, `share` has one entry a domain and the term is +∞ where every useful
    domain has weight 0.
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
    """s₀ and Σ sᵢ hᵢ/h̄ᵢ: how much of the mixture is the target's own. They sum to 1 at the reference."""
    constant, share = split_share(share, weights.shape[0])
    return constant, jnp.sum(share * weights / reference)


def falling_priors(site: str, domains: int) -> dict[str, dist.Distribution]:
    """Priors of `share_<site>` and `gamma_<site>`: which domains lower the amplitude, and how fast."""
    return {
        f"share_{site}": share_prior(domains, constant=False),
        f"gamma_{site}": dist.LogNormal(math.log(0.15), 1.0),
    }


def log_falling(theta: Theta, site: str, weights: jax.Array, reference: jax.Array) -> jax.Array:
    """log of an amplitude that falls with the useful share of the mixture, relative to the reference mixture.

    A^h / A^h̄ = (Σ sᵢ hᵢ/h̄ᵢ)^−γ with s on the simplex and γ > 0. It is the paper's (Σ C^A_i hᵢ)^γA
    with γA = −γ and C^A_i ∝ sᵢ/h̄ᵢ; s = h̄ makes it constant. It is convex in h.
    """
    _, useful = own_share(theta[f"share_{site}"], weights, reference)
    return -theta[f"gamma_{site}"] * jnp.log(useful)


def log_blend(theta: Theta, site: str, weights: jax.Array, reference: jax.Array) -> jax.Array:
    """log of the power mean of a site by domain, relative to its value at the reference mixture.

    A^h / A^h̄ with A^h = (Σ hᵢ Aᵢ^κ)^(1/κ). It is the paper's (Σ C^A_i hᵢ)^γA with κ = 1/γA and Aᵢ
    = (C^A_i)^γA, and stays smooth where γA passes through infinity (κ = 0, the log-linear
    amplitude).
    """
    by_domain, kappa = theta[f"{site}_domain"], theta[f"kappa_{site}"]
    return log_power_mean(by_domain, weights, kappa) - log_power_mean(by_domain, reference, kappa)


def blend_convex(theta: Theta, site: str) -> bool:
    """Whether the power mean is convex in h for all draws: a positive linear form to a power ≥ 1 or ≤ 0, so κ ≤ 1."""
    return bool((theta[f"kappa_{site}"] <= 1).all())


def soft(x: jax.Array, edge: float) -> tuple[jax.Array, jax.Array]:
    """A positive v that is about x where x ≫ edge, and falls like e^(−(x/2·edge)²) below 0. Returns log v, log(dv/dx).

    A posterior that presses against v = 0 then has a Gaussian tail in x, which is sampled well, and
    not an exponential one. v = edge·log(1 + e^b) with b = x/edge, bent down by BEND·b² where it is
    negative.
    """
    negative = jnp.minimum(x / edge, 0.0)
    bent = x / edge - BEND * negative**2
    far = bent < -30.0  # there log(1 + e^b) is e^b to rounding
    log_v = math.log(edge) + jnp.where(
        far, bent, jnp.log(jax.nn.softplus(jnp.where(far, 0.0, bent)))
    )
    return log_v, jax.nn.log_sigmoid(bent) + jnp.log1p(-2 * BEND * negative)


def hard(log_v: jax.Array, edge: float) -> jax.Array:
    """The inverse of `soft`: x for a given log v."""
    log_ratio = log_v - math.log(edge)
    large, tiny = log_ratio > math.log(30.0), log_ratio < -30.0
    middle = jnp.exp(jnp.where(large | tiny, 0.0, log_ratio))
    bent = jnp.where(
        large, jnp.exp(log_ratio), jnp.where(tiny, log_ratio, jnp.log(jnp.expm1(middle)))
    )
    root = jnp.sqrt(1 - 4 * BEND * jnp.minimum(bent, 0.0))
    return edge * jnp.where(bent < 0, (1 - root) / (2 * BEND), bent)


def soft_share(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A v between 0 and 1 that is about x in the middle, with Gaussian tails in x at both ends. Returns v, log(dv/dx).

    v = 1/(1 + e^−b) with b = y·√(1 + (BEND·y)²) and y = 4(x − ½).
    """
    y = 4 * (x - 0.5)
    square = (BEND * y) ** 2
    bent = y * jnp.sqrt(1 + square)
    log_d_bent = jnp.log1p(2 * square) - 0.5 * jnp.log1p(square)
    log_d = jax.nn.log_sigmoid(bent) + jax.nn.log_sigmoid(-bent) + log_d_bent + math.log(4)
    return jax.nn.sigmoid(bent), log_d


def hard_share(v: jax.Array) -> jax.Array:
    """The inverse of `soft_share`."""
    bent = jnp.log(v) - jnp.log1p(-v)
    square = (2 * BEND * bent) ** 2
    y = bent * jnp.sqrt(2 / (1 + jnp.sqrt(1 + square)))
    return 0.5 + 0.25 * y


def scale_to_theta(
    z: Theta, other: jax.Array, extent: Extent
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Coordinates level, rise_N, rise_D, split_N, split_D → E, A, alpha, B, beta.

    Runs tell the mean loss over their sizes, and its rise from large runs to small, far better than
    any parameter. With x the spread of log N and y that of log D, level is E + A·cosh(alpha·x) +
    B·cosh(beta·y) + `other`: the mean of the losses one spread below and above the reference.
    e^rise_N = A·sinh(alpha·x)/x is the slope between them. What the rises leave of the level is E +
    a + b, with a = A·e^(−alpha·x) and b likewise; split_D is the log odds of b against E + a,
    split_N those of E against a. Without rise_N and split_N the law has no term in N. Where D is
    tied to N, runs tell the sum of the two rises: it is in the place of rise_N, and the log of
    their ratio in that of rise_D.

    Args:
        z: the coordinates.
        other: the mean over the runs of the part of the loss that belongs to no site here (the
            mixture term).
        extent: where the runs lie.
    """
    log_half_d = jnp.log(extent.log_d) + z["rise_D"]
    log_half_n = jnp.asarray(-jnp.inf)
    if "rise_N" in z:
        log_half_n = jnp.log(extent.log_n) + z["rise_N"]
        tied_halves = (
            log_half_n + jax.nn.log_sigmoid(-z["rise_D"]),
            log_half_n + jax.nn.log_sigmoid(z["rise_D"]),
        )
        log_half_n, log_half_d = (
            jnp.where(extent.tied, *v)
            for v in zip(tied_halves, (log_half_n, log_half_d), strict=True)
        )
    log_all, log_d_all = soft(
        z["level"] - other - jnp.exp(log_half_n) - jnp.exp(log_half_d), EDGE_LEVEL
    )
    log_b = log_all + jax.nn.log_sigmoid(z["split_D"])
    log_rest = log_all + jax.nn.log_sigmoid(-z["split_D"])
    theta = {}
    theta["B"], theta["beta"], log_det = _power_law(log_b, log_half_d, extent.log_d)
    log_det = log_det + log_d_all - log_all + log_b  # in logs each split has determinant 1
    if "rise_N" not in z:
        return theta | {"E": jnp.exp(log_rest)}, log_det + log_rest
    log_e = log_rest + jax.nn.log_sigmoid(z["split_N"])
    log_a = log_rest + jax.nn.log_sigmoid(-z["split_N"])
    theta["A"], theta["alpha"], log_det_n = _power_law(log_a, log_half_n, extent.log_n)
    return theta | {"E": jnp.exp(log_e)}, log_det + log_det_n + log_e + log_a


def _power_law(
    log_low: jax.Array, log_half: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A and alpha with A·e^(−alpha·x) = low and A·sinh(alpha·x) = half; log of |∂(A, alpha)/∂(low, log half)|."""
    log_amplitude = 0.5 * (log_low + jnp.logaddexp(log_low, math.log(2) + log_half))
    log_ratio = log_half - log_amplitude
    steep = log_ratio > 20.0  # there arcsinh(r) is log(2r) to rounding, and r may overflow
    alpha = (
        jnp.where(
            steep, log_ratio + math.log(2), jnp.arcsinh(jnp.exp(jnp.where(steep, 0.0, log_ratio)))
        )
        / x
    )
    log_det = jnp.logaddexp(log_low, log_half) - log_amplitude
    return (
        jnp.exp(log_amplitude),
        alpha,
        log_det + log_ratio - jnp.log(x) - 0.5 * jax.nn.softplus(2 * log_ratio),
    )


def scale_from_theta(theta: Theta, other: jax.Array, extent: Extent) -> dict[str, jax.Array]:
    """The inverse of `scale_to_theta`."""
    half_d = theta["B"] * jnp.sinh(theta["beta"] * extent.log_d)
    low_d = theta["B"] * jnp.exp(-theta["beta"] * extent.log_d)
    z = {"rise_D": jnp.log(half_d / extent.log_d)}
    rest, half_n = theta["E"], jnp.zeros(())
    if "A" in theta:
        half_n = theta["A"] * jnp.sinh(theta["alpha"] * extent.log_n)
        low_n = theta["A"] * jnp.exp(-theta["alpha"] * extent.log_n)
        z |= {
            "rise_N": jnp.log(jnp.where(extent.tied, half_n + half_d, half_n) / extent.log_n),
            "rise_D": jnp.where(extent.tied, jnp.log(half_d / half_n), z["rise_D"]),
            "split_N": jnp.log(theta["E"] / low_n),
        }
        rest = rest + low_n
    level = hard(jnp.log(rest + low_d), EDGE_LEVEL) + other + half_n + half_d
    return z | {"split_D": jnp.log(low_d / rest), "level": level}


def share_to_theta(
    z: Theta, log_exponent: jax.Array | float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Coordinates slope_mix (domain) and, with the constant, constant → log of the total, share, log-determinant.

    slope_mix is the slope of the loss in log hᵢ at the reference, total·sᵢ·exponent, softened at
    zero: only differences of slopes are known well, and those are linear in it. constant is
    total·s₀, softened too.
    """
    log_slope, log_d_slope = soft(z["slope_mix"], EDGE_SLOPE)
    log_part = log_slope - log_exponent
    log_d = jnp.sum(log_d_slope - log_slope)
    if "constant" in z:
        log_constant, log_d_constant = soft(z["constant"], EDGE_CONSTANT)
        log_part = jnp.concatenate([log_constant[None], log_part])
        log_d = log_d + log_d_constant - log_constant
    log_total = jax.nn.logsumexp(log_part)
    log_share = log_part - log_total
    return log_total, jnp.exp(log_share), log_d + log_total + jnp.sum(log_share)


def share_from_theta(
    log_total: jax.Array, share: jax.Array, log_exponent: jax.Array | float, constant: bool
) -> dict[str, jax.Array]:
    """The inverse of `share_to_theta`."""
    log_part = log_total + jnp.log(share)
    z = {"slope_mix": hard((log_part[1:] if constant else log_part) + log_exponent, EDGE_SLOPE)}
    return z | {"constant": hard(log_part[0], EDGE_CONSTANT)} if constant else z


def mixture_to_theta(
    z: Theta, extent: Extent, diminishing: bool = False
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Coordinates slope_mix (domain), gamma and, with the constant, constant → M, share, gamma.

    slope_mix is M·sᵢ·(highᵢ^γᵢ − lowᵢ^γᵢ), about the fall of the loss between little and much of a
    domain; gamma is log γ or, with `diminishing`, γ softened at zero and at one.
    """
    if diminishing:
        bounded, log_d_gamma = soft_share(z["gamma"])
        log_gamma = jnp.log(bounded)
    else:
        log_gamma = log_d_gamma = z["gamma"]
    log_m, share, log_det = share_to_theta(z, _log_rise(log_gamma, extent))
    return {"M": jnp.exp(log_m), "share": share, "gamma": jnp.exp(log_gamma)}, log_det + jnp.sum(
        log_d_gamma
    )


def mixture_from_theta(
    theta: Theta, constant: bool, extent: Extent, diminishing: bool = False
) -> dict[str, jax.Array]:
    """The inverse of `mixture_to_theta`."""
    log_gamma = jnp.log(theta["gamma"])
    share = share_from_theta(
        jnp.log(theta["M"]), theta["share"], _log_rise(log_gamma, extent), constant
    )
    return share | {"gamma": hard_share(theta["gamma"]) if diminishing else log_gamma}


def _log_rise(log_gamma: jax.Array, extent: Extent) -> jax.Array:
    gamma = jnp.exp(log_gamma)
    return jnp.log(power(extent.high, gamma) - power(extent.low, gamma))


def mean_mixture_term(theta: Theta, extent: Extent) -> jax.Array:
    """Mean of the mixture term over the runs."""
    term = partial(mixture_term, theta, reference=jnp.ones_like(theta["gamma"]))
    return jnp.sum(extent.frequency * jax.vmap(term)(extent.mixtures))


def zero_sum(free: jax.Array) -> jax.Array:
    """The vector that sums to 0 with the given coordinates (domain − 1) in an orthonormal basis."""
    return jnp.asarray(ZERO_SUM(free))


def zero_sum_inverse(vector: jax.Array) -> jax.Array:
    """The inverse of `zero_sum`."""
    return jnp.asarray(ZERO_SUM.inv(vector))


def tilt_to_theta(z: Theta) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Coordinates M, slope_mix (domain − 1) → M, log of the mixture term by domain, log-determinant.

    slope_mix is M times the log of the term by domain, in an orthonormal basis of the zero-sum
    vectors: differences of it between domains are slopes of the loss in the weights at the
    reference. M is log M.
    """
    slope = z["slope_mix"]
    return jnp.exp(z["M"]), zero_sum(slope * jnp.exp(-z["M"])), (1 - slope.shape[0]) * z["M"]


def tilt_from_theta(m: jax.Array, by_domain: jax.Array) -> dict[str, jax.Array]:
    """The inverse of `tilt_to_theta`."""
    return {"M": jnp.log(m), "slope_mix": m * zero_sum_inverse(by_domain)}


def falling_to_theta(z: Theta, site: str) -> tuple[dict[str, jax.Array], jax.Array]:
    """Coordinates `slope_<site>` (domain) → `share_<site>`, `gamma_<site>`; the slopes of −log A in log hᵢ, γ·sᵢ."""
    log_gamma, share, log_det = share_to_theta({"slope_mix": z[f"slope_{site}"]}, 0.0)
    return {f"share_{site}": share, f"gamma_{site}": jnp.exp(log_gamma)}, log_det


def falling_from_theta(theta: Theta, site: str) -> dict[str, jax.Array]:
    """The inverse of `falling_to_theta`."""
    z = share_from_theta(
        jnp.log(theta[f"gamma_{site}"]), theta[f"share_{site}"], 0.0, constant=False
    )
    return {f"slope_{site}": z["slope_mix"]}


def blend_to_theta(z: Theta, *sites: str) -> dict[str, jax.Array]:
    """Coordinates `<site>_domain` (domain − 1), `kappa_<site>` → the same sites; volume is kept."""
    return {f"{site}_domain": zero_sum(z[f"{site}_domain"]) for site in sites} | {
        f"kappa_{site}": z[f"kappa_{site}"] for site in sites
    }


def blend_from_theta(theta: Theta, *sites: str) -> dict[str, jax.Array]:
    """The inverse of `blend_to_theta`."""
    return {f"{site}_domain": zero_sum_inverse(theta[f"{site}_domain"]) for site in sites} | {
        f"kappa_{site}": theta[f"kappa_{site}"] for site in sites
    }
