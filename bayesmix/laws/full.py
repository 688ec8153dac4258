"""The full mixture law: the amplitudes and exponents of N and D also depend on the mixture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import Chain, by_domain_sites
from bayesmix.laws.joint import Joint


class FullTerms(NamedTuple):
    """Terms of the full law that depend on the mixture."""

    mixture: jax.Array  # mixture term
    log_a: jax.Array  # log A^h/A
    alpha: jax.Array  # α^h
    log_b: jax.Array  # log B^h/B
    beta: jax.Array  # β^h


@dataclass(frozen=True)
class Full(Law[FullTerms]):
    """L = E + 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) + A^h (N/N₀)^−α^h + B^h (D/D₀)^−β^h.

    All four of A, B, α and β depend on the mixture. A^h and B^h are those of the joint law. α^h and
    β^h are power means by domain relative to the reference mixture,
    α^h = α · mean_κ(αᵢ; h) / mean_κ(αᵢ; h̄); equal exponents for all domains give the joint law.
    Amplitudes are blended at the reference scale: when exponents depend on the mixture this is not
    the same family as blending them at N = D = 1, as the paper does, where an amplitude
    extrapolates over many decades. Effects of the mixture on amplitudes and on exponents can
    compensate each other: on few mixtures the posterior may have several modes, between which
    chains do not move, and then its diagnostics fail.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | irreducible loss |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of N at the reference mixture |
    | B | `B` | () | > 0 | nats | loss that more tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of D at the reference mixture |
    | M | `M` | () | > 0 | nats | loss that a better mixture could remove, at the reference |
    | s | `share` | (1 + domain) | simplex | – | parts in 1/M at the reference, the constant first |
    | γ | `gamma` | (domain) | > 0 | – | exponent of each domain's weight |
    | s^A | `share_A` | (domain) | simplex | – | parts in the decrease of A, at the reference |
    | γ^A | `gamma_A` | () | > 0 | – | exponent of the decrease of A |
    | s^B | `share_B` | (domain) | simplex | – | parts in the decrease of B, at the reference |
    | γ^B | `gamma_B` | () | > 0 | – | exponent of the decrease of B |
    | log αᵢ | `alpha_domain` | (domain) | sums to 0 | – | log of α for training on one domain |
    | κα | `kappa_alpha` | () | real | – | order of the mean of the αᵢ |
    | log βᵢ | `beta_domain` | (domain) | sums to 0 | – | log of β for training on one domain |
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
        """Default priors, where shared those of the joint law.

        One domain alone changes an exponent by a factor between 0.8 and 1.25 (90 %).
        """
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
        """The mixture term, and the amplitudes and exponents of this mixture."""
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

    def coordinates(self, extent: Extent) -> Bijection:
        """Coordinates of the joint law, and the exponents by domain.

        The exponents are sampled without their redundant direction.
        """
        joint = Joint(self.constant).coordinates(extent)
        return Chain((joint, *by_domain_sites("alpha", "beta")))
