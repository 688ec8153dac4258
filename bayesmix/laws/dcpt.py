"""The D-CPT law of continual pre-training: the loss depends on the target's own share.

That share lowers the loss at every scale and changes the effect of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import Chain, LevelAndRises, mixture_slopes, positive
from bayesmix.laws.simplex import power


class DCPTTerms(NamedTuple):
    """Terms of the D-CPT law that depend on the mixture."""

    mixture: jax.Array  # mixture term
    b: jax.Array  # B r^η


@dataclass(frozen=True)
class DCPT(Law[DCPTTerms]):
    """L = E + A (N/N₀)^−α + B r^η (D/D₀)^−β + M/(s₀ + (1 − s₀) r)^γ.

    r is the target's own share. The paper mixes two sources, general text and that of one domain,
    and r is the weight of the target's own; its (r + ε)^−γ is ours with ε = s₀/(1 − s₀). A law sees
    weights without names, so which source is the target's own is learned:
    (1 − s₀) r = Σ sᵢ hᵢ/h̄ᵢ, and shares with all mass on one domain are the paper's law. So it
    holds for more than two sources as well, and r is 1 at the reference.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | irreducible loss |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of N |
    | B | `B` | () | > 0 | nats | loss that more tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of D |
    | η | `eta` | () | > 0 | – | exponent of the own share in what more tokens could remove |
    | M | `M` | () | > 0 | nats | loss that own share could remove, at the reference (paper: C) |
    | γ | `gamma` | () | > 0 | – | exponent of the own share |
    | s | `share` | (1 + domain) | simplex | – | parts in the own share, the offset first |

    Source: Que et al. 2024, arXiv 2406.01375; learned shares are ours.
    """

    name: ClassVar[str] = "dcpt"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B", "M"})

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors, where shared those of the additive law; η is 0.06 to 0.7 (90 %)."""
        return components.scale_priors() | {
            "eta": dist.LogNormal(math.log(0.2), 0.75),
            "M": dist.LogNormal(math.log(0.3), 1.0),
            "gamma": dist.LogNormal(math.log(0.6), 0.4),
            "share": components.share_prior(domains, constant=True),
        }

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> DCPTTerms:
        """The mixture term, and B r^η."""
        offset, share = components.own_share(theta["share"], weights, reference)
        mixture = theta["M"] * (offset + share) ** -theta["gamma"]
        relative = share / jnp.sum(theta["share"][1:])
        return DCPTTerms(mixture, theta["B"] * power(relative, theta["eta"]))

    def loss(self, theta: Theta, terms: DCPTTerms, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + A n^−α + B r^η d^−β + mixture term."""
        return terms.mixture + components.chinchilla({**theta, "B": terms.b}, n, d)

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """Whether η ≥ 1; otherwise r^η is concave."""
        return bool((theta["eta"] >= 1).all())

    def coordinates(self, extent: Extent) -> Bijection:
        """Level, slopes in log N, log D and every log hᵢ, splits of the level, exponents."""
        mixture = mixture_slopes(extent, constant=True)
        level = LevelAndRises(extent, lambda theta: theta["M"])
        return Chain((*mixture, level, positive("eta")))
