"""The Chinchilla law: loss from N and D alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import Coordinates, Extent, Law, Theta


@dataclass(frozen=True)
class Chinchilla(Law[None]):
    """L = E + A (N/N₀)^−α + B (D/D₀)^−β; the mixture plays no part.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | floor: the loss no model and no data go below |
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
        """Nothing: the mixture plays no part."""

    def loss(self, theta: Theta, terms: None, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + A n^−α + B d^−β."""
        return components.chinchilla(theta, n, d)

    def coordinates(self, extent: Extent) -> Coordinates:
        """Level, slopes in log N and log D, splits of the level."""
        return ChinchillaCoordinates(extent)


@dataclass(frozen=True)
class ChinchillaCoordinates(Coordinates):
    """level, rise_N, split_N, rise_D, split_D."""

    extent: Extent

    def to_theta(self, z: Theta) -> tuple[dict[str, jax.Array], jax.Array]:
        """See `components.scale_to_theta`."""
        return components.scale_to_theta(z, jnp.zeros(()), self.extent)

    def from_theta(self, theta: Theta) -> dict[str, jax.Array]:
        """See `components.scale_from_theta`."""
        return components.scale_from_theta(theta, jnp.zeros(()), self.extent)
