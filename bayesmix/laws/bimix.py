"""The BiMix law: the loss is a power of the target's own share, times a law of scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import Chain, LevelAndRises, Slopes


@dataclass(frozen=True)
class BiMix(Law[jax.Array]):
    """L = r^−γ · (C + A (N/N₀)^−α + B (D/D₀)^−β).

    r = s₀ + Σ sᵢ hᵢ/h̄ᵢ is the target's own share, relative to the reference mixture. The paper
    has one law for each domain that is also a target, and r is that domain's weight. A law sees
    weights without names, and a target need not be a domain, so which domains are the target's own
    is learned: shares with all mass on one domain are the paper's law, and a target between two
    domains has shares on both.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | C | `C` | () | > 0 | nats | irreducible loss at the reference mixture |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of N |
    | B | `B` | () | > 0 | nats | loss that more tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of D |
    | γ | `gamma` | () | > 0 | – | exponent of the own share |
    | s | `share` | (1 + domain) | simplex | – | parts in r at the reference, the constant first |

    Args:
        constant: whether s₀ is part of the own share; without it a mixture with nothing of the
            target's own has infinite loss.
        sizes: whether A n^−α is part of the law. Without it the loss does not depend on N: a law
            for models of one size.

    `BiMix(constant=False, sizes=False)` is the paper's form.

    Source: Ge et al. 2024, arXiv 2405.14908; learned shares, the constant and the term in N are
    ours.
    """

    name: ClassVar[str] = "bimix"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"A", "B", "C"})

    constant: bool = True
    sizes: bool = True

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors, where shared those of the additive law.

        C is 0.26 to 1.4 of the smallest loss, γ is 0.03 to 0.5 (90 %).
        """
        scale = components.scale_priors()
        return {site: scale[site] for site in (("A", "alpha") if self.sizes else ())} | {
            "B": scale["B"],
            "beta": scale["beta"],
            "C": dist.LogNormal(math.log(0.6), 0.5),
            "gamma": dist.LogNormal(math.log(0.12), 0.9),
            "share": components.share_prior(domains, self.constant),
        }

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> jax.Array:
        """r^−γ."""
        constant, share = components.own_share(theta["share"], weights, reference)
        return (constant + share) ** -theta["gamma"]

    def loss(self, theta: Theta, terms: jax.Array, n: jax.Array, d: jax.Array) -> jax.Array:
        """r^−γ (C + A n^−α + B d^−β)."""
        from_n = theta["A"] * n ** -theta["alpha"] if self.sizes else 0.0
        return terms * (theta["C"] + from_n + theta["B"] * d ** -theta["beta"])

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """True: a negative power of a positive linear form is convex."""
        return True

    def coordinates(self, extent: Extent) -> Bijection:
        """Level, slopes in log N, log D and every log hᵢ, splits of the level."""
        slopes = Slopes("gamma", constant=self.constant)
        return Chain((slopes, LevelAndRises(extent, floor="C")))
