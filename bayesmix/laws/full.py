"""The full mixture law: the mixture also decides how fast parameters and tokens bring the loss down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import pieces
from bayesmix.laws.base import Coordinates, Extent, Law, Theta
from bayesmix.laws.joint import BlendedCoordinates


class FullTerms(NamedTuple):
    """What the full law needs of a mixture."""

    mixture: jax.Array
    log_a: jax.Array
    alpha: jax.Array
    log_b: jax.Array
    beta: jax.Array


@dataclass(frozen=True)
class Full(Law[FullTerms]):
    """L = E + 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) + A^h (N/N₀)^−α^h + B^h (D/D₀)^−β^h, all four of A, B, α, β blended over domains.

    A^h, B^h, α^h and β^h are power means by domain relative to the reference mixture, A^h = A · mean_κ(Aᵢ; h) /
    mean_κ(Aᵢ; h̄), as in the joint law; equal exponents for all domains give that law. Amplitudes are blended at the
    reference scale: when exponents depend on the mixture this is not the same family as blending them at N = D = 1,
    as the paper does, where an amplitude extrapolates over many decades.

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
    | log Aᵢ | `A_domain` | (domain) | sums to 0 | – | log of A when training on one domain alone |
    | κA | `kappa_A` | () | real | – | order of the mean of the Aᵢ |
    | log Bᵢ | `B_domain` | (domain) | sums to 0 | – | log of B when training on one domain alone |
    | κB | `kappa_B` | () | real | – | order of the mean of the Bᵢ |
    | log αᵢ | `alpha_domain` | (domain) | sums to 0 | – | log of α when training on one domain alone |
    | κα | `kappa_alpha` | () | real | – | order of the mean of the αᵢ |
    | log βᵢ | `beta_domain` | (domain) | sums to 0 | – | log of β when training on one domain alone |
    | κβ | `kappa_beta` | () | real | – | order of the mean of the βᵢ |

    Args:
        constant: whether C₀ is part of the law, as in `Additive`.

    Source: Shukor et al. 2025, arXiv 2507.09404, where it is the last of four laws; the constant is ours.
    """

    name: ClassVar[str] = "full"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B", "M"})

    constant: bool = True

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """As in the joint law; one domain alone changes an exponent by a factor between 0.8 and 1.25 (90 %)."""
        amplitudes = pieces.blend_priors("A", domains, 0.3) | pieces.blend_priors("B", domains, 0.3)
        exponents = pieces.blend_priors("alpha", domains, 0.15) | pieces.blend_priors("beta", domains, 0.15)
        return pieces.scale_priors() | pieces.mixture_priors(domains, self.constant) | amplitudes | exponents

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> FullTerms:
        """The mixture term, and amplitudes and exponents of this mixture."""
        log_a, log_alpha, log_b, log_beta = (
            pieces.log_blend(theta, site, weights, reference) for site in ("A", "alpha", "B", "beta")
        )
        mixture = pieces.mixture_term(theta, weights, reference)
        return FullTerms(mixture, log_a, theta["alpha"] * jnp.exp(log_alpha), log_b, theta["beta"] * jnp.exp(log_beta))

    def loss(self, theta: Theta, terms: FullTerms, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + mixture term + A^h n^−α^h + B^h d^−β^h."""
        from_n = theta["A"] * jnp.exp(terms.log_a - terms.alpha * jnp.log(n))
        from_d = theta["B"] * jnp.exp(terms.log_b - terms.beta * jnp.log(d))
        return theta["E"] + terms.mixture + from_n + from_d

    def coordinates(self, extent: Extent) -> Coordinates:
        """Those of the additive law; the values by domain are sampled without their redundant direction."""
        return BlendedCoordinates(extent, ("A", "B", "alpha", "beta"))
