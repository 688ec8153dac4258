"""What a law is: the loss of one training run on one target, as a pure function of parameters and design."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import jax
import numpyro.distributions as dist

from bayesmix.design import Scale

Theta = Mapping[str, jax.Array]


class Law[Terms](abc.ABC):
    """The mathematics of one run and one target; the model vmaps over runs, targets and draws.

    A law sees a run relative to a reference: h (domain) and the reference mixture h̄ (domain), n =
    N/N₀ and d = D/D₀. So its amplitudes are nats at the reference, and their priors can be said in
    words. It is written in two steps, because a table holds far fewer mixtures than rows: `terms`
    is what depends on the mixture alone, `loss` the rest.

    Subclasses are frozen dataclasses whose fields are options, never parameters.
    """

    name: ClassVar[str]
    """The word that cards and the command line use."""
    amplitudes: ClassVar[frozenset[str]]
    """Sites that are measured in loss; their priors are in units of the smallest observed loss of the target."""
    uses_mixture: ClassVar[bool] = True
    """False for a law that does not look at the mixture at all."""

    @abc.abstractmethod
    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default prior of every site, for one target and the given number of domains."""

    @abc.abstractmethod
    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> Terms:
        """What the loss needs to know of one mixture.

        Args:
            theta: site → value, for one target.
            weights: h (domain), on the simplex.
            reference: h̄ (domain), the reference mixture, without zeros.
        """

    @abc.abstractmethod
    def loss(self, theta: Theta, terms: Terms, n: jax.Array, d: jax.Array) -> jax.Array:
        """Loss in the unit of the amplitudes, at n = N/N₀ and d = D/D₀ (scalars)."""

    def at(self, domains: Sequence[str], scale: Scale) -> Law:
        """The same law, told which domains the weights belong to and the scale its n and d are relative to.

        Most laws need neither. A law with facts about named domains, or in tokens, prepares itself
        here.
        """
        return self

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """Whether the loss is convex in the mixture at every scale, for all the draws in `theta`."""
        return False

    def coordinates(self, extent: Extent) -> Coordinates | None:
        """Natural sampling coordinates of the law's sites for such runs, or None to sample each site on its own."""
        return None


class Extent(NamedTuple):
    """Where the runs lie, relative to the reference: coordinates are what runs of this extent tell."""

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
    """Whether D grows with N, so that runs tell what both do together."""


class Coordinates(abc.ABC):
    """A smooth one-to-one map between free coordinates and the parameters of one target, amplitudes in units of loss.

    Priors stay on the parameters, where they have meaning; the sampler walks in the coordinates,
    where the posterior is nearly Gaussian. The log-determinant makes the two agree.
    """

    @abc.abstractmethod
    def to_theta(self, z: Theta) -> tuple[dict[str, jax.Array], jax.Array]:
        """Parameters, and log |∂θ/∂z| with simplices measured in all but one of their entries."""

    @abc.abstractmethod
    def from_theta(self, theta: Theta) -> dict[str, jax.Array]:
        """The coordinates of the given parameters, to within rounding."""
