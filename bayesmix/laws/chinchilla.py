"""The Chinchilla law: loss from N and D alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import LevelAndRises


@dataclass(frozen=True)
class Chinchilla(Law[None]):
    """L = E + A (N/N₀)^−α + B (D/D₀)^−β, independent of the mixture.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | irreducible loss |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of N |
    | B | `B` | () | > 0 | nats | loss that more tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of D |

    Source: Hoffmann et al. 2022, arXiv 2203.15556, approach 3.
    """

    name: ClassVar[str] = "chinchilla"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B"})
    uses_mixture: ClassVar[bool] = False

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors; see `models/chinchilla/model.toml` for the intervals they encode."""
        return components.scale_priors()

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> None:
        """None, as the loss does not depend on the mixture."""

    def loss(self, theta: Theta, terms: None, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + A n^−α + B d^−β."""
        return components.chinchilla(theta, n, d)

    def coordinates(self, extent: Extent) -> Bijection:
        """Level, slopes in log N and log D, splits of the level."""
        return LevelAndRises(extent)
