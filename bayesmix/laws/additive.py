"""The additive mixture law: the mixture shifts the loss by the same amount at every scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import Chain, LevelAndRises, mixture_slopes
from bayesmix.laws.components import mean_mixture_term


@dataclass(frozen=True)
class Additive(Law[jax.Array]):
    """L = E + 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) + A (N/N₀)^−α + B (D/D₀)^−β.

    The mixture term is sampled as M / (s₀ + Σ sᵢ (hᵢ/h̄ᵢ)^γᵢ): M is its size at the reference
    mixture h̄ and the shares s sum to 1, so Cᵢ = sᵢ/(M h̄ᵢ^γᵢ) and C₀ = s₀/M. The best mixture does
    not depend on N and D.

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

    Args:
        constant: whether C₀ is part of the law. False is the paper's exact law, with `share` of
            shape (domain); then a weak domain with γ near 0 can take the place of the constant, and
            the posterior may have several modes.
        diminishing: whether every γ is below 1, so that the returns of more of a domain diminish.
            Then the loss of every draw is convex in the mixture, and an optimum can be certified.

    Source: Shukor et al. 2025, arXiv 2507.09404, equation of the additive law; the constant is
    ours.
    """

    name: ClassVar[str] = "additive"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B", "M"})

    constant: bool = True
    diminishing: bool = False

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors; see `models/additive/model.toml` for the intervals they encode."""
        return components.scale_priors() | components.mixture_priors(
            domains, self.constant, self.diminishing
        )

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> jax.Array:
        """The mixture term, in the unit of M."""
        return components.mixture_term(theta, weights, reference)

    def loss(self, theta: Theta, terms: jax.Array, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + mixture term + A n^−α + B d^−β."""
        return terms + components.chinchilla(theta, n, d)

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """Whether every γ ≤ 1: then Σ Cᵢ hᵢ^γᵢ is concave and positive, its reciprocal convex."""
        return bool((theta["gamma"] <= 1).all())

    def coordinates(self, extent: Extent) -> Bijection:
        """Level, slopes in log N, log D and every log hᵢ, splits of the level, exponents."""
        mixture = mixture_slopes(extent, self.constant, self.diminishing)
        return Chain((*mixture, LevelAndRises(extent, partial(mean_mixture_term, extent=extent))))
