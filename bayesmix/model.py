"""`Model`: law, prior and noise as one NumPyro program. The only file that calls numpyro.sample and numpyro.plate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from bayesmix.design import Designs, Scale
from bayesmix.errors import InputError
from bayesmix.laws.base import Extent, Law
from bayesmix.noise import Noise, StudentT
from bayesmix.priors import Prior
from bayesmix.runs.table import Runs


@dataclass(frozen=True, eq=False)
class Reference:
    """Where amplitudes are defined: a scale and a mixture in the middle of the runs, and a unit of loss per target.

    Attributes:
        scale: N₀ and D₀, the geometric means over the runs.
        domains: names of the training domains.
        mixture: h̄ (domain), the mean mixture of the runs, without zeros.
        loss: smallest observed loss of each target, the unit in which priors of amplitudes are expressed.
    """

    scale: Scale
    domains: tuple[str, ...]
    mixture: np.ndarray
    loss: Mapping[str, float]

    @classmethod
    def of(cls, runs: Runs) -> Reference:
        """The middle of the given runs.

        Raises:
            InputError: a target has no measured loss.
        """
        empty = [t for t, n in zip(runs.targets, np.isfinite(runs.loss).sum(0), strict=True) if n == 0]
        if empty:
            raise InputError(
                "a target has no measured loss", expected="at least one loss a target", got=empty, advice="Drop it."
            )
        scale = Scale(*(float(np.exp(np.log(size).mean())) for size in (runs.params, runs.tokens)))
        mean = runs.mixture.mean(0)
        mixture = np.where(mean > 0, mean, 1 / max(len(runs.domains), 1))  # a domain never used has any reference
        mixture = mixture / mixture.sum()
        units = np.nanmin(runs.loss, axis=0)
        return cls(scale, runs.domains, mixture, dict(zip(runs.targets, units.tolist(), strict=True)))


class Data(NamedTuple):
    """Runs as the program reads them: arrays, relative to the reference, each mixture once.

    Rows beyond the real ones are padding (never observed), so that tables of similar size share a compiled program.
    """

    mixture: jax.Array  # (mixture, domain) distinct mixtures
    mixture_of: jax.Array  # (run) row of `mixture`
    n: jax.Array  # (run) N/N₀
    d: jax.Array  # (run) D/D₀
    reference: jax.Array  # (domain) h̄
    unit: jax.Array  # (target) unit of loss
    extent: Extent
    loss: jax.Array  # (run, target), 1 unit where not observed
    loss_se: jax.Array  # (run, target)
    observed: jax.Array  # (run, target)

    @classmethod
    def of(cls, runs: Runs | Designs, reference: Reference, targets: tuple[str, ...], pad: bool = False) -> Data:
        """Arrays for the given targets; designs without losses have nothing observed."""
        designs = (runs.designs if isinstance(runs, Runs) else runs).on(reference.domains)
        mixture, index = np.unique(designs.mixture, axis=0, return_inverse=True)
        rows = padded(len(designs)) if pad else len(designs)
        extra = rows - len(designs)
        unit = np.array([reference.loss[t] for t in targets])
        loss = runs.only(targets).loss if isinstance(runs, Runs) else np.full((len(designs), len(targets)), np.nan)
        loss_se = runs.only(targets).loss_se if isinstance(runs, Runs) else None
        observed = np.isfinite(loss)
        arrays: dict[str, Any] = dict(
            mixture=np.concatenate([mixture, np.repeat(mixture[:1], _grown(len(mixture), pad), 0)]),
            mixture_of=np.pad(index.reshape(-1), (0, extra)),
            n=np.pad(designs.params / reference.scale.params, (0, extra), constant_values=1.0),
            d=np.pad(designs.tokens / reference.scale.tokens, (0, extra), constant_values=1.0),
            reference=reference.mixture,
            unit=unit,
            extent=extent_of(designs, reference, pad),
            loss=np.pad(np.where(observed, loss, unit), ((0, extra), (0, 0)), constant_values=1.0),
            loss_se=np.pad(np.zeros_like(loss) if loss_se is None else loss_se, ((0, extra), (0, 0))),
            observed=np.pad(observed, ((0, extra), (0, 0))),
        )
        return cls(**arrays)  # NumPy arrays: they become JAX's, in its precision, where they are used

    def target(self, position: int) -> Data:
        """The data of one target, with the target axis kept."""
        at = slice(position, position + 1)
        return self._replace(
            unit=self.unit[at],
            loss=self.loss[:, at],
            loss_se=self.loss_se[:, at],
            observed=self.observed[:, at],
        )


def extent_of(designs: Designs, reference: Reference, pad: bool = False) -> Extent:
    """Where the designs lie, relative to the reference; a quantity that never varies is given a little room."""
    mixture, index = np.unique(designs.mixture, axis=0, return_inverse=True)
    frequency = np.bincount(index.reshape(-1), minlength=len(mixture)) / len(designs)
    low, high = np.quantile(designs.mixture, [0.1, 0.9], axis=0) / reference.mixture
    arrays: Any = (
        np.maximum(np.log(designs.params).std(), 1e-3),
        np.maximum(np.log(designs.tokens).std(), 1e-3),
        np.concatenate([mixture, np.repeat(mixture[:1], _grown(len(mixture), pad), 0)]) / reference.mixture,
        np.pad(frequency, (0, _grown(len(mixture), pad))),
        np.minimum(low, 0.7),
        np.maximum(high, 1.3),
    )
    return Extent(*arrays)


def padded(rows: int) -> int:
    """The next of a few sizes, at most an eighth larger (or 32), so that tables that grow a little share a program."""
    step = max(32, 2 ** (max(rows, 1).bit_length() - 4))
    return -(-rows // step) * step


def _grown(rows: int, pad: bool) -> int:
    return padded(rows) - rows if pad else 0


def expected_loss(law: Law, theta: Mapping[str, jax.Array], data: Data) -> jax.Array:
    """Loss of the law (run, target) for parameters with a leading target axis."""

    def of_target(one: Mapping[str, jax.Array]) -> jax.Array:
        terms = jax.vmap(law.terms, (None, 0, None))(one, data.mixture, data.reference)
        by_run = jax.tree.map(lambda term: term[data.mixture_of], terms)
        return jax.vmap(law.loss, (None, 0, 0, 0))(one, by_run, data.n, data.d)

    return jax.vmap(of_target, out_axes=1)(dict(theta))


def program(law: Law, noise: Noise, prior: Mapping[str, dist.Distribution], data: Data, observe: bool = True) -> None:
    """The NumPyro statements: a plate of targets with parameters of their own, and measured losses around the law."""
    rows, targets = data.loss.shape
    theta = {}
    with numpyro.plate("target", targets, dim=-1):
        for site, belief in prior.items():
            if site in law.amplitudes:
                # the distribution's own support: priors are on the unit interval or the positive half-line
                scale = dist.transforms.AffineTransform(0.0, data.unit, domain=belief.support)  # pyright: ignore[reportArgumentType]
                belief = dist.TransformedDistribution(belief, scale)
            theta[site] = numpyro.sample(site, belief)
    loss = expected_loss(law, theta, data)
    with numpyro.plate("run", rows, dim=-2), numpyro.plate("target", targets, dim=-1):
        around = noise.around(theta, loss, data.loss_se)
        if observe:
            around = around.mask(data.observed)
        numpyro.sample("loss", around, obs=data.loss if observe else None)


@dataclass(frozen=True, eq=False)
class Model:
    """Law + prior + noise: what is assumed before the runs are seen.

    A model is a plain NumPyro callable: `model(runs, loss=None)` with any NumPyro utility; with `loss=None` the losses
    are drawn, otherwise they are observed.

    Args:
        law: the scaling law.
        prior: overrides of the default priors of law and noise, site → distribution.
        noise: how measured losses scatter around the law.
        reference: where amplitudes are defined; by default the middle of the runs it is fitted to.
        name: a word for tables and reports; by default the name of the law.
    """

    law: Law
    prior: Prior = field(default_factory=Prior)
    noise: Noise = field(default_factory=StudentT)
    reference: Reference | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.prior, Prior):
            object.__setattr__(self, "prior", Prior(self.prior))
        if not self.name:
            object.__setattr__(self, "name", self.law.name)
        if self.reference:
            object.__setattr__(self, "law", self.law.at(self.reference.domains, self.reference.scale))

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """The prior of every site, defaults and overrides, for one target and the given number of domains.

        Raises:
            InputError: an override names a site the model does not have, or has another shape.
        """
        sites = self.law.priors(domains) | self.noise.priors()
        for site, belief in self.prior.items():
            if site not in sites:
                raise InputError(
                    f"the model has no parameter {site!r}",
                    expected=f"one of {list(sites)}",
                    got=site,
                    advice="Correct the name or remove it from the prior.",
                )
            shape = sites[site].event_shape
            if belief.event_shape == () and shape and belief.batch_shape == ():
                belief = belief.expand(shape).to_event(len(shape))
            if belief.event_shape != shape:
                raise InputError(
                    f"the prior of {site} has the wrong shape",
                    expected=f"event shape {shape}",
                    got=belief.event_shape,
                    advice="Give one distribution for all entries, or one of that shape.",
                )
            sites[site] = belief
        return sites

    def at(self, reference: Reference) -> Model:
        """The same model with its amplitudes defined at `reference`."""
        return replace(self, reference=reference)

    def __call__(self, runs: Runs, loss: np.ndarray | None = None) -> None:
        """The NumPyro program for these runs; see the class."""
        model = self if self.reference else self.at(Reference.of(runs))
        assert model.reference is not None
        data = Data.of(runs, model.reference, runs.targets)
        if loss is not None:
            seen = np.isfinite(loss)
            data = data._replace(loss=jnp.where(seen, loss, data.unit), observed=seen)
        program(model.law, self.noise, model.priors(len(runs.domains)), data, observe=loss is not None)
