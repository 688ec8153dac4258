"""`Noise`: how a measured loss scatters around the law."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist


class Noise(abc.ABC):
    """The distribution of a measured loss given the loss of the law, relative to it."""

    name: ClassVar[str]

    @abc.abstractmethod
    def priors(self) -> dict[str, dist.Distribution]:
        """Default prior of every noise site, for one target."""

    @abc.abstractmethod
    def around(self, theta: Mapping[str, jax.Array], loss: jax.Array, loss_se: jax.Array) -> dist.Distribution:
        """Distribution of measured losses (run, target) around those of the law, with known evaluation error."""


@dataclass(frozen=True)
class StudentT(Noise):
    """Measured loss ~ StudentT(ν, L, L·σ): mostly a fraction σ of the loss, now and then an outlier.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | σ | `sigma` | () | > 0 | – | scatter as a fraction of the loss |
    | ν | `nu` | () | > 2 | – | degrees of freedom: small means heavy tails; above 2 the scatter has a variance |
    """

    name: ClassVar[str] = "student-t"

    def priors(self) -> dict[str, dist.Distribution]:
        """Scatter of 0.5 % within a factor of 5, tails anywhere between heavy and Gaussian."""
        above_two = dist.transforms.AffineTransform(2.0, 1.0, domain=dist.constraints.positive)
        return {
            "sigma": dist.LogNormal(math.log(0.005), 1.0),
            "nu": dist.TransformedDistribution(dist.LogNormal(math.log(5.0), 1.0), above_two),
        }

    def around(self, theta: Mapping[str, jax.Array], loss: jax.Array, loss_se: jax.Array) -> dist.Distribution:
        """StudentT(ν, L, √((L σ)² + se²))."""
        scale = jnp.sqrt((loss * theta["sigma"]) ** 2 + loss_se**2)
        # beyond 1,000 degrees of freedom it is Gaussian to rounding, while its normalising constant loses all digits
        return dist.StudentT(jnp.minimum(theta["nu"], 1000.0), loss, scale)


@dataclass(frozen=True)
class Gaussian(Noise):
    """Measured loss ~ Normal(L, L·σ): every run scatters alike, no outliers.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | σ | `sigma` | () | > 0 | – | scatter as a fraction of the loss |
    """

    name: ClassVar[str] = "gaussian"

    def priors(self) -> dict[str, dist.Distribution]:
        """Scatter of 0.5 % within a factor of 5."""
        return {"sigma": dist.LogNormal(math.log(0.005), 1.0)}

    def around(self, theta: Mapping[str, jax.Array], loss: jax.Array, loss_se: jax.Array) -> dist.Distribution:
        """Normal(L, √((L σ)² + se²))."""
        return dist.Normal(loss, jnp.sqrt((loss * theta["sigma"]) ** 2 + loss_se**2))
