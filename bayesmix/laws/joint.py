"""The joint mixture law: the mixture also decides how much more parameters and more tokens are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import pieces
from bayesmix.laws.additive import AdditiveCoordinates
from bayesmix.laws.base import Coordinates, Extent, Law, Theta


class JointTerms(NamedTuple):
    """What the joint law needs of a mixture."""

    mixture: jax.Array
    log_a: jax.Array
    log_b: jax.Array


@dataclass(frozen=True)
class Joint(Law[JointTerms]):
    """L = E + 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) + A^h (N/N₀)^−α + B^h (D/D₀)^−β, with A^h = (Σ C^A_i hᵢ)^γA and B^h alike.

    A^h is sampled as the power mean of amplitudes by domain, A^h = A · mean_κ(Aᵢ; h) / mean_κ(Aᵢ; h̄), which is the
    same function with κ = 1/γA and Aᵢ = (C^A_i)^γA. The best mixture drifts with N and D. Equal amplitudes for all
    domains give the additive law.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | floor: the loss no model, data or mixture goes below |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of N |
    | B | `B` | () | > 0 | nats | loss that more tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of D |
    | M | `M` | () | > 0 | nats | loss that a better mixture could remove, at the reference |
    | s | `share` | (1 + domain) | simplex | – | part of each domain in 1/M at the reference; first the constant |
    | γ | `gamma` | (domain) | > 0 | – | exponent of each domain's weight |
    | log Aᵢ | `A_domain` | (domain) | sums to 0 | – | log of A when training on one domain alone |
    | κA | `kappa_A` | () | real | – | order of the mean of the Aᵢ, 1/γA in the paper |
    | log Bᵢ | `B_domain` | (domain) | sums to 0 | – | log of B when training on one domain alone |
    | κB | `kappa_B` | () | real | – | order of the mean of the Bᵢ, 1/γB in the paper |

    Args:
        constant: whether C₀ is part of the law, as in `Additive`.

    Source: Shukor et al. 2025, arXiv 2507.09404, equation of the joint law; the constant is ours.
    """

    name: ClassVar[str] = "joint"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B", "M"})

    constant: bool = True

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors; see `models/joint/model.toml` for the intervals they encode."""
        mixture = pieces.mixture_priors(domains, self.constant)
        blends = pieces.blend_priors("A", domains, 0.3) | pieces.blend_priors("B", domains, 0.3)
        return pieces.scale_priors() | mixture | blends

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> JointTerms:
        """The mixture term, and the log amplitudes of N and D relative to the reference mixture."""
        return JointTerms(
            pieces.mixture_term(theta, weights, reference),
            pieces.log_blend(theta, "A", weights, reference),
            pieces.log_blend(theta, "B", weights, reference),
        )

    def loss(self, theta: Theta, terms: JointTerms, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + mixture term + A^h n^−α + B^h d^−β."""
        from_n = theta["A"] * jnp.exp(terms.log_a - theta["alpha"] * jnp.log(n))
        from_d = theta["B"] * jnp.exp(terms.log_b - theta["beta"] * jnp.log(d))
        return theta["E"] + terms.mixture + from_n + from_d

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """Convex when every γ ≤ 1 and both orders κ ≤ 1: then each of the three terms is."""
        return bool((theta["gamma"] <= 1).all()) and pieces.blend_convex(theta, "A") and pieces.blend_convex(theta, "B")

    def coordinates(self, extent: Extent) -> Coordinates:
        """Those of the additive law; the amplitudes by domain are sampled without their redundant direction."""
        return BlendedCoordinates(extent, ("A", "B"))


@dataclass(frozen=True)
class BlendedCoordinates(Coordinates):
    """The coordinates of the additive law, and of sites that are blended over domains: see `pieces.blend_to_theta`."""

    extent: Extent
    sites: tuple[str, ...]

    def to_theta(self, z: Theta) -> tuple[dict[str, jax.Array], jax.Array]:
        """An orthonormal basis of the zero-sum vectors carries the values by domain."""
        theta, log_det = AdditiveCoordinates(self.extent).to_theta(z)
        return theta | pieces.blend_to_theta(z, *self.sites), log_det

    def from_theta(self, theta: Theta) -> dict[str, jax.Array]:
        """The inverse of `to_theta`."""
        return AdditiveCoordinates(self.extent).from_theta(theta) | pieces.blend_from_theta(theta, *self.sites)
