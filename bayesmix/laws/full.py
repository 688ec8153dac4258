"""The full mixture law: the mixture also decides how fast parameters and tokens bring the loss down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import Coordinates, Extent, Law, Theta
from bayesmix.laws.joint import JointCoordinates


class FullTerms(NamedTuple):
    """What the full law needs of a mixture."""

    mixture: jax.Array
    log_a: jax.Array
    alpha: jax.Array
    log_b: jax.Array
    beta: jax.Array


@dataclass(frozen=True)
class Full(Law[FullTerms]):
    """L = E + 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) + A^h (N/N₀)^−α^h + B^h (D/D₀)^−β^h, all four of A, B, α, β depending on the mixture.

    A^h and B^h are those of the joint law. α^h and β^h are power means by domain relative to the
    reference mixture, α^h = α · mean_κ(αᵢ; h) / mean_κ(αᵢ; h̄); equal exponents for all domains
    give the joint law. Amplitudes are blended at the reference scale: when exponents depend on the
    mixture this is not the same family as blending them at N = D = 1, as the paper does, where an
    amplitude extrapolates over many decades. What a mixture does to amplitudes and what it does to
    exponents can stand in for each other: on few mixtures the posterior may have several modes,
    between which chains do not move, and then its diagnostics fail.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | floor: the loss no model, data or mixture goes below |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of N at the reference mixture |
    | B | `B` | () | > 0 | nats | loss that more tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of D at the reference mixture |
    | M | `M` | () | > 0 | nats | loss that a better mixture could remove, at the reference |
    | s | `share` | (1 + domain) | simplex | – | part of each domain in 1/M at the reference; first the constant |
    | γ | `gamma` | (domain) | > 0 | – | exponent of each domain's weight |
    | s^A | `share_A` | (domain) | simplex | – | part of each domain in what lowers A, at the reference |
    | γ^A | `gamma_A` | () | > 0 | – | exponent with which they lower A |
    | s^B | `share_B` | (domain) | simplex | – | part of each domain in what lowers B, at the reference |
    | γ^B | `gamma_B` | () | > 0 | – | exponent with which they lower B |
    | log αᵢ | `alpha_domain` | (domain) | sums to 0 | – | log of α when training on one domain alone |
    | κα | `kappa_alpha` | () | real | – | order of the mean of the αᵢ |
    | log βᵢ | `beta_domain` | (domain) | sums to 0 | – | log of β when training on one domain alone |
    | κβ | `kappa_beta` | () | real | – | order of the mean of the βᵢ |

    Args:
        constant: whether C₀ is part of the law, as in `Additive`.

    Source: Shukor et al. 2025, arXiv 2507.09404, where it is the last of four laws; the constant is
    ours.
    """

    name: ClassVar[str] = "full"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B", "M"})

    constant: bool = True

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """As in the joint law; one domain alone changes an exponent by a factor between 0.8 and 1.25 (90 %)."""
        amplitudes = components.falling_priors("A", domains) | components.falling_priors(
            "B", domains
        )
        exponents = components.blend_priors("alpha", domains, 0.15) | components.blend_priors(
            "beta", domains, 0.15
        )
        return (
            components.scale_priors()
            | components.mixture_priors(domains, self.constant)
            | amplitudes
            | exponents
        )

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> FullTerms:
        """The mixture term, and amplitudes and exponents of this mixture."""
        log_a, log_b = (
            components.log_falling(theta, site, weights, reference) for site in ("A", "B")
        )
        log_alpha, log_beta = (
            components.log_blend(theta, site, weights, reference) for site in ("alpha", "beta")
        )
        mixture = components.mixture_term(theta, weights, reference)
        return FullTerms(
            mixture,
            log_a,
            theta["alpha"] * jnp.exp(log_alpha),
            log_b,
            theta["beta"] * jnp.exp(log_beta),
        )

    def loss(self, theta: Theta, terms: FullTerms, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + mixture term + A^h n^−α^h + B^h d^−β^h."""
        from_n = theta["A"] * jnp.exp(terms.log_a - terms.alpha * jnp.log(n))
        from_d = theta["B"] * jnp.exp(terms.log_b - terms.beta * jnp.log(d))
        return theta["E"] + terms.mixture + from_n + from_d

    def coordinates(self, extent: Extent) -> Coordinates:
        """Those of the joint law; the exponents by domain are sampled without their redundant direction."""
        return FullCoordinates(extent)


@dataclass(frozen=True)
class FullCoordinates(Coordinates):
    """The coordinates of the joint law, and the exponents that are blended over domains."""

    extent: Extent

    def to_theta(self, z: Theta) -> tuple[dict[str, jax.Array], jax.Array]:
        """An orthonormal basis of the zero-sum vectors carries the exponents by domain."""
        theta, log_det = JointCoordinates(self.extent).to_theta(z)
        return theta | components.blend_to_theta(z, "alpha", "beta"), log_det

    def from_theta(self, theta: Theta) -> dict[str, jax.Array]:
        """The inverse of `to_theta`."""
        return JointCoordinates(self.extent).from_theta(theta) | components.blend_from_theta(
            theta, "alpha", "beta"
        )
