"""The exponential mixture law: the mixture term is log-linear in the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import Chain, LevelAndRises, Tilt


@dataclass(frozen=True)
class Exponential(Law[jax.Array]):
    """L = E + M exp(Σ tᵢ (hᵢ − h̄ᵢ)) + A (N/N₀)^−α + B (D/D₀)^−β.

    The weights sum to 1, so only differences of the tᵢ matter; they are made to sum to 0. At a
    fixed scale this is c + k exp(Σ tᵢ hᵢ); the terms in N and D, which the paper fits separately,
    extend it to other scales. The best mixture does not depend on N and D, and puts all weight on
    the domain with the smallest tᵢ.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | irreducible loss |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of N |
    | B | `B` | () | > 0 | nats | loss that more tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of D |
    | M | `M` | () | > 0 | nats | loss that depends on the mixture, at the reference |
    | t | `t` | (domain) | sums to 0 | – | change of the log of M per weight; negative helps |

    Source: Ye et al. 2024, arXiv 2403.16952 (form M4).
    """

    name: ClassVar[str] = "exponential"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B", "M"})

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors, where shared those of the additive law.

        One domain alone changes M by a factor between 1/20 and 20 (90 %).
        """
        tilt = {"t": dist.ZeroSumNormal(components.TILT_SPREAD, event_shape=(domains,))}
        return components.scale_priors() | components.tilt_prior() | tilt

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> jax.Array:
        """The mixture term, in the unit of M."""
        return theta["M"] * jnp.exp(jnp.sum(theta["t"] * (weights - reference)))

    def loss(self, theta: Theta, terms: jax.Array, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + mixture term + A n^−α + B d^−β."""
        return terms + components.chinchilla(theta, n, d)

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """True: the exponential of a linear form is convex."""
        return True

    def coordinates(self, extent: Extent) -> Bijection:
        """Level, slopes in log N, log D and every hᵢ, splits of the level, exponents."""
        return Chain((Tilt("t"), LevelAndRises(extent, lambda theta: theta["M"])))
