"""The simple mixture law: the mixture shifts the loss by a power mean of terms by domain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import NOTHING, Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import Chain, LevelAndRises, soft_floor, soft_floor_inverse
from bayesmix.laws.components import zero_sum, zero_sum_inverse

EDGE_WEIGHT = 0.1
STRAIGHT = 1e-6
"""Bend below which the logarithm of a domain's weight is its slope, to rounding."""


@dataclass(frozen=True)
class Simple(Law[jax.Array]):
    """L = E + (Σ Cᵢ hᵢ)^γ + A (N/N₀)^−α + B (D/D₀)^−β.

    The mixture term is sampled as the power mean of terms by domain,
    M · mean_κ(Mᵢ; h) / mean_κ(Mᵢ; h̄), which is the same function with κ = 1/γ and Mᵢ = Cᵢ^γ. The
    best mixture does not depend on N and D, and puts all weight on one domain, the one with the
    smallest Mᵢ. κ = 0 is the exponential law.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | irreducible loss |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of N |
    | B | `B` | () | > 0 | nats | loss that more tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of D |
    | M | `M` | () | > 0 | nats | loss that depends on the mixture, at the reference |
    | log Mᵢ | `M_domain` | (domain) | sums to 0 | – | log of M when training on one domain alone |
    | κ | `kappa_M` | () | real | – | order of the mean of the Mᵢ, 1/γ in the paper |

    Source: Shukor et al. 2025, arXiv 2507.09404, where it is the first of four laws.
    """

    name: ClassVar[str] = "simple"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B", "M"})

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors, where shared those of the additive law.

        One domain alone changes M by a factor between 1/20 and 20 (90 %).
        """
        blend = components.blend_priors("M", domains, components.TILT_SPREAD) | {
            "kappa_M": dist.Normal(0.0, 3.0)
        }
        return components.scale_priors() | components.tilt_prior() | blend

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> jax.Array:
        """The mixture term, in the unit of M."""
        return theta["M"] * jnp.exp(components.log_blend(theta, "M", weights, reference))

    def loss(self, theta: Theta, terms: jax.Array, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + mixture term + A n^−α + B d^−β."""
        return terms + components.chinchilla(theta, n, d)

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """Whether κ ≤ 1, which is γ ≥ 1 or γ < 0."""
        return components.blend_convex(theta, "M")

    def coordinates(self, extent: Extent) -> Bijection:
        """Level, slopes in log N, log D and every hᵢ, splits of the level, exponents."""
        return Chain((PowerMeanSlopes(), LevelAndRises(extent, lambda theta: theta["M"])))


@dataclass(frozen=True)
class PowerMeanSlopes(Bijection):
    """Coordinates M (log), bend and slope_mix (domain − 1) of M, M_domain and kappa_M.

    The mixture term is M (Σ hᵢ wᵢ)^(1/κ) with wᵢ ∝ Mᵢ^κ. Runs identify its slope in hᵢ, about
    wᵢ M/κ, up to a common constant; so wᵢ = 1 + bend·slopeᵢ, softened at zero, with bend = κ/M and
    slopes that sum to 0. At a given bend the term tends to M plus a function of the mixture as M
    grows: its shape does not depend on the size of M.
    """

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """Size, terms by domain and order of the power mean."""
        m, bend, slope = jnp.exp(z["M"]), z["bend"], zero_sum(z["slope_mix"])
        straight = jnp.abs(bend) < STRAIGHT
        log_w, log_dw = soft_floor(1 + bend * slope, EDGE_WEIGHT)
        by_domain = jnp.where(straight, slope, log_w / jnp.where(straight, 1.0, bend))
        log_d = jnp.where(straight, 0.0, log_dw - log_w)  # of each entry; then all are centred
        log_det_mixture = (
            jnp.sum(log_d)
            + jax.nn.logsumexp(-log_d)
            - math.log(len(slope))
            + (3 - len(slope)) * z["M"]
        )
        mixture = {"M": m, "M_domain": (by_domain - jnp.mean(by_domain)) / m, "kappa_M": bend * m}
        return mixture, log_det_mixture

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """The inverse of `transform_and_log_det`.

        The size of the wᵢ is the one for which the slopes sum to 0.
        """
        m, bend = theta["M"], theta["kappa_M"] / theta["M"]
        straight = jnp.abs(bend) < STRAIGHT
        log_w = theta["kappa_M"] * theta["M_domain"]

        def less_one(log_size: jax.Array) -> jax.Array:
            return soft_floor_inverse(log_w + log_size, EDGE_WEIGHT) - 1

        def newton(_: int, log_size: jax.Array) -> jax.Array:
            total, slope = jax.value_and_grad(lambda u: jnp.sum(less_one(u)))(log_size)
            return log_size - total / slope

        log_size = jax.lax.fori_loop(0, 30, newton, math.log(len(log_w)) - jax.nn.logsumexp(log_w))
        slope = jnp.where(
            straight, m * theta["M_domain"], less_one(log_size) / jnp.where(straight, 1.0, bend)
        )
        return {"M": jnp.log(m), "bend": bend, "slope_mix": zero_sum_inverse(slope)}
