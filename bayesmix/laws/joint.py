"""The joint mixture law: the mixture also decides how much more parameters and more tokens are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import components
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

    The amplitudes are sampled as A^h = A · (Σ s^A_i hᵢ/h̄ᵢ)^−γ^A with shares s^A that sum to 1:
    some domains lower what parameters and tokens could still remove, with diminishing returns. That
    is the paper's form with γA = −γ^A and C^A_i ∝ s^A_i/h̄ᵢ. The paper also allows γA > 0, the same
    effect with increasing returns; its released runs reject it. The best mixture drifts with N and
    D. Shares s^A = s^B = h̄ give the additive law.

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
    | s^A | `share_A` | (domain) | simplex | – | part of each domain in what lowers A, at the reference |
    | γ^A | `gamma_A` | () | > 0 | – | exponent with which they lower A, minus γA in the paper |
    | s^B | `share_B` | (domain) | simplex | – | part of each domain in what lowers B, at the reference |
    | γ^B | `gamma_B` | () | > 0 | – | exponent with which they lower B, minus γB in the paper |

    Args:
        constant: whether C₀ is part of the law, as in `Additive`.

    Source: Shukor et al. 2025, arXiv 2507.09404, equation of the joint law; the constant is ours.
    """

    name: ClassVar[str] = "joint"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B", "M"})

    constant: bool = True

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors; see `models/joint/model.toml` for the intervals they encode."""
        mixture = components.mixture_priors(domains, self.constant)
        amplitudes = components.falling_priors("A", domains) | components.falling_priors(
            "B", domains
        )
        return components.scale_priors() | mixture | amplitudes

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> JointTerms:
        """The mixture term, and the log amplitudes of N and D relative to the reference mixture."""
        return JointTerms(
            components.mixture_term(theta, weights, reference),
            components.log_falling(theta, "A", weights, reference),
            components.log_falling(theta, "B", weights, reference),
        )

    def loss(self, theta: Theta, terms: JointTerms, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + mixture term + A^h n^−α + B^h d^−β."""
        from_n = theta["A"] * jnp.exp(terms.log_a - theta["alpha"] * jnp.log(n))
        from_d = theta["B"] * jnp.exp(terms.log_b - theta["beta"] * jnp.log(d))
        return theta["E"] + terms.mixture + from_n + from_d

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """Convex when every γ ≤ 1: the mixture term is, and so are the amplitudes."""
        return bool((theta["gamma"] <= 1).all())

    def coordinates(self, extent: Extent) -> Coordinates:
        """Those of the additive law, and the slopes of the log amplitudes in every log hᵢ."""
        return JointCoordinates(extent)


@dataclass(frozen=True)
class JointCoordinates(Coordinates):
    """The coordinates of the additive law, slope_A and slope_B (domain)."""

    extent: Extent

    def to_theta(self, z: Theta) -> tuple[dict[str, jax.Array], jax.Array]:
        """The additive part and the two amplitudes have nothing to do with each other."""
        theta, log_det = AdditiveCoordinates(self.extent).to_theta(z)
        a, log_det_a = components.falling_to_theta(z, "A")
        b, log_det_b = components.falling_to_theta(z, "B")
        return theta | a | b, log_det + log_det_a + log_det_b

    def from_theta(self, theta: Theta) -> dict[str, jax.Array]:
        """The inverse of `to_theta`."""
        amplitudes = components.falling_from_theta(theta, "A") | components.falling_from_theta(
            theta, "B"
        )
        return AdditiveCoordinates(self.extent).from_theta(theta) | amplitudes
