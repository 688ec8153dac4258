"""`Law`: the loss of one training run on one target, a pure function of parameters and design."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import jax
import numpyro.distributions as dist

from bayesmix.design import Scale

Theta = Mapping[str, jax.Array]
NOTHING: Theta = MappingProxyType({})


class Law[Terms](abc.ABC):
    """Loss of one run on one target; the model vmaps over runs, targets and draws.

    A law sees a run relative to a reference: h (domain) and the reference mixture h̄ (domain),
    n = N/N₀ and d = D/D₀. So its amplitudes are in nats at the reference, and their priors are easy
    to interpret. It is written in two steps, because a table holds far fewer mixtures than rows:
    `terms` computes what depends on the mixture alone, `loss` the rest.

    Subclasses are frozen dataclasses whose fields are options, never parameters.
    """

    name: ClassVar[str]
    """Name in cards and on the command line."""
    amplitudes: ClassVar[frozenset[str]]
    """Sites that are measured in loss.

    Their priors are in units of the smallest observed loss of the target.
    """
    uses_mixture: ClassVar[bool] = True
    """False for a law that does not depend on the mixture."""

    @abc.abstractmethod
    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default prior of every site, for one target and the given number of domains."""

    @abc.abstractmethod
    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> Terms:
        """Quantities of the loss that depend on the mixture alone.

        Args:
            theta: site → value, for one target.
            weights: h (domain), on the simplex.
            reference: h̄ (domain), the reference mixture, without zeros.
        """

    @abc.abstractmethod
    def loss(self, theta: Theta, terms: Terms, n: jax.Array, d: jax.Array) -> jax.Array:
        """Loss in the unit of the amplitudes, at n = N/N₀ and d = D/D₀ (scalars)."""

    def at(self, domains: Sequence[str], scale: Scale) -> Law:
        """The same law for the given domains of the weights and reference scale of n and d.

        Most laws need neither. A law with data about named domains, or in tokens, prepares itself
        here.
        """
        return self

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """Whether the loss is convex in the mixture at every scale, for all draws in `theta`."""
        return False

    def coordinates(self, extent: Extent) -> Bijection | None:
        """Sampling coordinates for runs of this extent, or None to sample each site on its own."""
        return None


class Extent(NamedTuple):
    """Extent of the runs, relative to the reference, by which sampling coordinates are chosen."""

    log_n: jax.Array
    """Standard deviation of log N over the runs, above 0."""
    log_d: jax.Array
    """Standard deviation of log D over the runs, above 0."""
    mixtures: jax.Array
    """h/h̄ (mixture, domain) of the distinct mixtures."""
    frequency: jax.Array
    """Share of the runs that have each mixture (mixture)."""
    low: jax.Array
    """h/h̄ (domain) that most runs exceed, below 1."""
    high: jax.Array
    """h/h̄ (domain) that few runs exceed, above 1."""
    tied: jax.Array | bool = False
    """Whether D grows with N, so that runs identify the joint effect of both."""


class Bijection(abc.ABC):
    """A smooth one-to-one map between free coordinates z and parameters of one target.

    Amplitudes are in units of the loss. Priors are on the parameters, where they can be
    interpreted; the sampler works in the coordinates, where the posterior is nearly Gaussian. The
    log-determinant relates the two densities. Bijections compose in a
    `bayesmix.laws.bijections.Chain`.
    """

    @abc.abstractmethod
    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """Parameters, and log |∂θ/∂z| with simplices measured in all but one of their entries.

        Args:
            z: coordinates by name; those of other bijections may be among them.
            condition: parameters from earlier bijections of a chain.
        """

    @abc.abstractmethod
    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """Coordinates of the given parameters, to within rounding.

        Args:
            theta: all parameters of the law.
        """


class Coordinates(Bijection):
    """Deprecated form of a `Bijection`, with methods `to_theta` and `from_theta`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        message = "bayesmix.laws.Coordinates is now called Bijection"
        warnings.warn(message, DeprecationWarning, stacklevel=3)  # 2 is the metaclass

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """Parameters and log-determinant, from `to_theta`."""
        return self.to_theta(z)

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """Coordinates, from `from_theta`."""
        return self.from_theta(theta)

    @abc.abstractmethod
    def to_theta(self, z: Theta) -> tuple[dict[str, jax.Array], jax.Array]:
        """Parameters, and log |∂θ/∂z|."""

    @abc.abstractmethod
    def from_theta(self, theta: Theta) -> dict[str, jax.Array]:
        """Coordinates of the given parameters."""
