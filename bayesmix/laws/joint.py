"""The joint mixture law: the amplitudes of N and D also depend on the mixture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.additive import Additive
from bayesmix.laws.base import Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import Chain, amplitude_slopes


class JointTerms(NamedTuple):
    """Terms of the joint law that depend on the mixture."""

    mixture: jax.Array  # mixture term
    log_a: jax.Array  # log A^h/A
    log_b: jax.Array  # log B^h/B


@dataclass(frozen=True)
class Joint(Law[JointTerms]):
    """L = E + 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) + A^h (N/N₀)^−α + B^h (D/D₀)^−β.

    The amplitudes are A^h = (Σ C^A_i hᵢ)^γA, and B^h alike. They are sampled as
    A^h = A · (Σ s^A_i hᵢ/h̄ᵢ)^−γ^A with shares s^A that sum to 1: some domains lower what
    parameters and tokens could still remove, with diminishing returns. That is the paper's form
    with γA = −γ^A and C^A_i ∝ s^A_i/h̄ᵢ. The paper also allows γA > 0, the same effect with
    increasing returns; its released runs reject it. The best mixture drifts with N and D. Shares
    s^A = s^B = h̄ give the additive law.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | irreducible loss |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of N |
    | B | `B` | () | > 0 | nats | loss that more tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of D |
    | M | `M` | () | > 0 | nats | loss that a better mixture could remove, at the reference |
    | s | `share` | (1 + domain) | simplex | – | parts in 1/M at the reference, the constant first |
    | γ | `gamma` | (domain) | > 0 | – | exponent of each domain's weight |
    | s^A | `share_A` | (domain) | simplex | – | parts in the decrease of A, at the reference |
    | γ^A | `gamma_A` | () | > 0 | – | exponent of the decrease of A, minus γA in the paper |
    | s^B | `share_B` | (domain) | simplex | – | parts in the decrease of B, at the reference |
    | γ^B | `gamma_B` | () | > 0 | – | exponent of the decrease of B, minus γB in the paper |

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
        """Whether every γ ≤ 1: then the mixture term is convex, as the amplitudes always are."""
        return bool((theta["gamma"] <= 1).all())

    def coordinates(self, extent: Extent) -> Bijection:
        """Coordinates of the additive law, and slopes of the log amplitudes in every log hᵢ."""
        additive = Additive(self.constant).coordinates(extent)
        return Chain((additive, amplitude_slopes("A"), amplitude_slopes("B")))
