"""Sampling coordinates of laws: bijections from free coordinates to parameters, which compose.

Coordinates are quantities that runs identify. The loss at the reference is known to a fraction of a
percent, its split into floor and amplitudes hardly; the slope of the loss in log N is known, the
split into amplitude and exponent hardly; the same holds for D and for every domain. So levels and
slopes are some coordinates, and the splits are the others.

A law lists the bijections of its parameters in a `Chain`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws.base import NOTHING, Bijection, Extent, Theta
from bayesmix.laws.components import ZERO_SUM, log_mixture_rise, zero_sum, zero_sum_inverse

EDGE_LEVEL = 0.04
"""Units of loss below which `level` minus the other terms is softened to stay above zero."""
EDGE_CONSTANT = 0.05
"""Units of loss below which the constant of the mixture term is softened."""
EDGE_SLOPE = 0.02
"""Units of loss below which the slope in a weight is softened."""
BEND = 0.25
"""Curvature below zero that makes the tail of a softened coordinate Gaussian."""


@dataclass(frozen=True)
class Chain(Bijection):
    """Bijections one after the other; each may depend on the parameters of those before it."""

    parts: tuple[Bijection, ...]

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """Parameters of all parts, and the sum of their log-determinants."""
        first, *next_parts = self.parts
        theta, log_det = first.transform_and_log_det(z, condition)
        for part in next_parts:
            theta_part, log_det_part = part.transform_and_log_det(z, {**condition, **theta})
            theta, log_det = theta | theta_part, log_det + log_det_part
        return theta, log_det

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """Coordinates of all parts."""
        return {name: value for part in self.parts for name, value in part.inverse(theta).items()}


@dataclass(frozen=True)
class SiteTransform(Bijection):
    """One parameter with a coordinate of the same name, by a transform of NumPyro."""

    site: str
    transform: dist.transforms.Transform

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """The parameter, and the log-determinant of the transform."""
        value = jnp.asarray(self.transform(z[self.site]))
        log_det = self.transform.log_abs_det_jacobian(z[self.site], value)
        return {self.site: value}, jnp.sum(jnp.asarray(log_det))

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """The coordinate."""
        return {self.site: jnp.asarray(self.transform.inv(theta[self.site]))}


def positive(site: str) -> SiteTransform:
    """A positive parameter by its log."""
    return SiteTransform(site, dist.transforms.ExpTransform())


def zero_sum_site(site: str) -> SiteTransform:
    """A vector that sums to 0 by its coordinates in an orthonormal basis; volume is kept."""
    return SiteTransform(site, ZERO_SUM)


@dataclass(frozen=True)
class Unchanged(Bijection):
    """Parameters on the whole real line, which are their own coordinates."""

    sites: tuple[str, ...]

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """The coordinates, and 0."""
        return {site: z[site] for site in self.sites}, jnp.zeros(())

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """The parameters."""
        return {site: theta[site] for site in self.sites}


def by_domain_sites(*sites: str) -> tuple[Bijection, ...]:
    """`<site>_domain` (domain − 1) in an orthonormal basis, and `kappa_<site>` as it is."""
    kappas = Unchanged(tuple(f"kappa_{site}" for site in sites))
    return (*(zero_sum_site(f"{site}_domain") for site in sites), kappas)


def _zero(theta: Theta) -> jax.Array:
    return jnp.zeros(())


@dataclass(frozen=True)
class LevelAndRises(Bijection):
    """Bijection from level, rise_N, rise_D, split_N, split_D to E, A, alpha, B, beta.

    Runs identify the mean loss over their sizes, and its rise from large runs to small, far better
    than any parameter. With x the spread of log N, y that of log D, and M̄ the mean over the runs
    of the rest of the loss (the mixture term):

        level  = E + A·cosh(alpha·x) + B·cosh(beta·y) + M̄, the mean of the losses one spread below
                 and above the reference,
        rise_N = log(A·sinh(alpha·x)/x), the log of the slope between them, and rise_D alike,
        split_D = the log odds of b against E + a, split_N those of E against a, with
                 a = A·e^(−alpha·x) and b = B·e^(−beta·y).

    In the code half_N = A·sinh(alpha·x) is half the rise from large runs to small ones, sum is
    E + a + b, and e_a is E + a. Without rise_N and split_N the law has no term in N. Where D is
    tied to N, runs identify the sum of the two rises: it replaces rise_N, and the log of their
    ratio replaces rise_D.

    Args:
        extent: extent of the runs.
        other_term: M̄ as a function of the parameters from earlier bijections.
        floor: site of E.
    """

    extent: Extent
    other_term: Callable[[Theta], jax.Array] = _zero
    floor: str = "E"

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """E, A, alpha, B and beta; see the class."""
        extent, other = self.extent, self.other_term(condition)
        log_half_d = jnp.log(extent.log_d) + z["rise_D"]
        log_half_n = jnp.asarray(-jnp.inf)
        if "rise_N" in z:
            log_half = jnp.log(extent.log_n) + z["rise_N"]  # of N; of N and D together where tied
            log_share_n, log_share_d = (jax.nn.log_sigmoid(s * z["rise_D"]) for s in (-1, 1))
            log_half_n = jnp.where(extent.tied, log_half + log_share_n, log_half)
            log_half_d = jnp.where(extent.tied, log_half + log_share_d, log_half_d)
        log_sum, log_slope_sum = soft_floor(
            z["level"] - other - jnp.exp(log_half_n) - jnp.exp(log_half_d), EDGE_LEVEL
        )
        log_b = log_sum + jax.nn.log_sigmoid(z["split_D"])
        log_e_a = log_sum + jax.nn.log_sigmoid(-z["split_D"])
        theta = {}
        theta["B"], theta["beta"], log_det = _power_law(log_b, log_half_d, extent.log_d)
        log_det = log_det + log_slope_sum - log_sum + log_b  # in logs each split has determinant 1
        if "rise_N" not in z:
            return theta | {self.floor: jnp.exp(log_e_a)}, log_det + log_e_a
        log_e = log_e_a + jax.nn.log_sigmoid(z["split_N"])
        log_a = log_e_a + jax.nn.log_sigmoid(-z["split_N"])
        theta["A"], theta["alpha"], log_det_n = _power_law(log_a, log_half_n, extent.log_n)
        return theta | {self.floor: jnp.exp(log_e)}, log_det + log_det_n + log_e + log_a

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """Level, rises and splits; see the class."""
        extent, other = self.extent, self.other_term(theta)
        half_d = theta["B"] * jnp.sinh(theta["beta"] * extent.log_d)
        b = theta["B"] * jnp.exp(-theta["beta"] * extent.log_d)
        z = {"rise_D": jnp.log(half_d / extent.log_d)}
        e_a, half_n = theta[self.floor], jnp.zeros(())
        if "A" in theta:
            half_n = theta["A"] * jnp.sinh(theta["alpha"] * extent.log_n)
            a = theta["A"] * jnp.exp(-theta["alpha"] * extent.log_n)
            z |= {
                "rise_N": jnp.log(jnp.where(extent.tied, half_n + half_d, half_n) / extent.log_n),
                "rise_D": jnp.where(extent.tied, jnp.log(half_d / half_n), z["rise_D"]),
                "split_N": jnp.log(theta[self.floor] / a),
            }
            e_a = e_a + a
        level = soft_floor_inverse(jnp.log(e_a + b), EDGE_LEVEL) + other + half_n + half_d
        return z | {"split_D": jnp.log(b / e_a), "level": level}


def _power_law(
    log_low: jax.Array, log_half: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A and alpha with A·e^(−alpha·x) = low and A·sinh(alpha·x) = half, and a log-determinant.

    The log-determinant is log |∂(A, alpha)/∂(low, log half)|.
    """
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


def soft_floor(x: jax.Array, edge: float) -> tuple[jax.Array, jax.Array]:
    """Positive v that is about x where x ≫ edge, and falls like e^(−(x/(2·edge))²) below 0.

    A posterior that is bounded by v = 0 then has a Gaussian tail in x, which is sampled well, and
    not an exponential one. v = edge·log(1 + e^b) with b = x/edge, less BEND·b² where it is
    negative.

    Returns:
        log v and log(dv/dx).
    """
    negative = jnp.minimum(x / edge, 0.0)
    bent = x / edge - BEND * negative**2
    far = bent < -30.0  # there log(1 + e^b) is e^b to rounding
    log_v = math.log(edge) + jnp.where(
        far, bent, jnp.log(jax.nn.softplus(jnp.where(far, 0.0, bent)))
    )
    return log_v, jax.nn.log_sigmoid(bent) + jnp.log1p(-2 * BEND * negative)


def soft_floor_inverse(log_v: jax.Array, edge: float) -> jax.Array:
    """The inverse of `soft_floor`: x for a given log v."""
    log_ratio = log_v - math.log(edge)
    large, tiny = log_ratio > math.log(30.0), log_ratio < -30.0
    middle = jnp.exp(jnp.where(large | tiny, 0.0, log_ratio))
    bent = jnp.where(
        large, jnp.exp(log_ratio), jnp.where(tiny, log_ratio, jnp.log(jnp.expm1(middle)))
    )
    root = jnp.sqrt(1 - 4 * BEND * jnp.minimum(bent, 0.0))
    return edge * jnp.where(bent < 0, (1 - root) / (2 * BEND), bent)


def soft_unit(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A v between 0 and 1 that is about x in the middle, with Gaussian tails in x at both ends.

    v = 1/(1 + e^−b) with b = y·√(1 + (BEND·y)²) and y = 4(x − ½).

    Returns:
        v and log(dv/dx).
    """
    y = 4 * (x - 0.5)
    square = (BEND * y) ** 2
    bent = y * jnp.sqrt(1 + square)
    log_d_bent = jnp.log1p(2 * square) - 0.5 * jnp.log1p(square)
    log_d = jax.nn.log_sigmoid(bent) + jax.nn.log_sigmoid(-bent) + log_d_bent + math.log(4)
    return jax.nn.sigmoid(bent), log_d


def soft_unit_inverse(v: jax.Array) -> jax.Array:
    """The inverse of `soft_unit`."""
    bent = jnp.log(v) - jnp.log1p(-v)
    square = (2 * BEND * bent) ** 2
    y = bent * jnp.sqrt(2 / (1 + jnp.sqrt(1 + square)))
    return 0.5 + 0.25 * y


@dataclass(frozen=True)
class Slopes(Bijection):
    """Bijection from the slope of the loss in each domain's weight to a total and its shares.

    The coordinates are slope (domain) and, with the constant, constant. slope is
    total·sᵢ·e^log_exponentᵢ, the slope of the loss in log hᵢ at the reference, softened at zero:
    only differences of slopes are known well, and those are linear in it. constant is total·s₀,
    softened too.

    Args:
        total: site of the total.
        share: site of the shares.
        constant: whether the first share is that of a constant.
        slope: name of the coordinate.
        log_exponent: log exponents (domain) as a function of the parameters from earlier
            bijections; 0 when not given.
    """

    total: str
    share: str = "share"
    constant: bool = False
    slope: str = "slope_mix"
    log_exponent: Callable[[Theta], jax.Array] = _zero

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """The total and the shares."""
        log_total, share, log_det = self.log_total(z, condition)
        return {self.total: jnp.exp(log_total), self.share: share}, log_det

    def log_total(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Log of the total, shares, and the log-determinant of total and shares."""
        log_slope, log_d_slope = soft_floor(z[self.slope], EDGE_SLOPE)
        log_part = log_slope - self.log_exponent(condition)
        log_d = jnp.sum(log_d_slope - log_slope)
        if self.constant:
            log_constant, log_d_constant = soft_floor(z["constant"], EDGE_CONSTANT)
            log_part = jnp.concatenate([log_constant[None], log_part])
            log_d = log_d + log_d_constant - log_constant
        log_total = jax.nn.logsumexp(log_part)
        log_share = log_part - log_total
        return log_total, jnp.exp(log_share), log_d + log_total + jnp.sum(log_share)

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """The slopes, and the constant if there is one."""
        log_part = jnp.log(theta[self.total]) + jnp.log(theta[self.share])
        by_domain = log_part[1:] if self.constant else log_part
        z = {self.slope: soft_floor_inverse(by_domain + self.log_exponent(theta), EDGE_SLOPE)}
        return (
            z | {"constant": soft_floor_inverse(log_part[0], EDGE_CONSTANT)} if self.constant else z
        )


@dataclass(frozen=True)
class SoftShare(Bijection):
    """A vector of numbers between 0 and 1, softened at both ends."""

    site: str

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """The numbers; see `soft_unit`."""
        value, log_d = soft_unit(z[self.site])
        return {self.site: value}, jnp.sum(log_d)

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """The coordinates; see `soft_unit_inverse`."""
        return {self.site: soft_unit_inverse(theta[self.site])}


def mixture_slopes(
    extent: Extent, constant: bool, diminishing: bool = False
) -> tuple[Bijection, Bijection]:
    """Bijections to the parameters M, share and gamma of the mixture term.

    The coordinates are slope_mix (domain), gamma and, with the constant, constant. slope_mix is
    M·sᵢ·(highᵢ^γᵢ − lowᵢ^γᵢ), about the fall of the loss between little and much of a domain; gamma
    is log γ or, with `diminishing`, γ softened at zero and at one.
    """

    def log_exponent(theta: Theta) -> jax.Array:
        return log_mixture_rise(theta["gamma"], extent)

    gamma = SoftShare("gamma") if diminishing else positive("gamma")
    return gamma, Slopes("M", constant=constant, log_exponent=log_exponent)


def amplitude_slopes(site: str) -> Slopes:
    """Coordinate `slope_<site>` (domain), the slopes −∂log A/∂log hᵢ = γ·sᵢ at the reference."""
    return Slopes(f"gamma_{site}", f"share_{site}", slope=f"slope_{site}")


@dataclass(frozen=True)
class Tilt(Bijection):
    """Bijection from zero-sum slopes and log M to M and the log of its term by domain.

    The coordinates are M and slope_mix (domain − 1). slope_mix is M times the log of the term by
    domain, in an orthonormal basis of the zero-sum vectors: differences of it between domains are
    slopes of the loss in the weights at the reference.

    Args:
        site: site of the log of the term by domain.
    """

    site: str

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """M and the log of its term by domain."""
        slope = z["slope_mix"]
        theta = {"M": jnp.exp(z["M"]), self.site: zero_sum(slope * jnp.exp(-z["M"]))}
        return theta, (1 - slope.shape[0]) * z["M"]

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """log M, and slopes."""
        slope = theta["M"] * zero_sum_inverse(theta[self.site])
        return {"M": jnp.log(theta["M"]), "slope_mix": slope}
