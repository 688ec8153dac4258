"""`Model`: law, prior, noise and discrepancy as one NumPyro program.

The only file that calls numpyro.sample and numpyro.plate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, override

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from bayesmix.compute import padded
from bayesmix.design import TIED, Designs, Scale
from bayesmix.discrepancy import Cells, Discrepancy, Errors, Misfit, Scales, draw_effects, effect, marginal_log_prob
from bayesmix.errors import InputError
from bayesmix.laws.base import Extent, Law
from bayesmix.noise import Grouped, Noise, Rows
from bayesmix.priors import Prior
from bayesmix.runs.robust import gross_errors
from bayesmix.runs.table import Runs

DRIFT = Scales._fields
"""Scales of the discrepancy among the runs: given them, and the law, it is Gaussian."""
EARLIEST = 4.0
"""Runs are taken to scatter as those of the fewest fitted tokens over this do, if they have fewer still."""
POOLING = ("none", "partial")
RETIRED = {
    "run_share": "run_effect, the size of what the checkpoints of a run share",
    "drift_far": "extrapolation, the share of the law's own fall beyond the runs",
}
"""Sites of earlier versions, and what is in their place: cards leave their priors out, with a warning."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Where amplitudes are defined: a scale and a mixture in the middle of the runs, and a unit of loss per target.

    Attributes:
        scale: N₀ and D₀, the geometric means over the runs.
        domains: names of the training domains.
        mixture: h̄ (domain), the mean mixture of the runs, without zeros.
        loss: smallest observed loss of each target, but for gross errors: the unit in which priors of amplitudes are
            expressed.
        shortest: fewest tokens of a run.
    """

    scale: Scale
    domains: tuple[str, ...]
    mixture: np.ndarray
    loss: Mapping[str, float]
    shortest: float = 0.0

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
        units = np.nanmin(np.where(gross_errors(runs), np.nan, runs.loss), axis=0)
        loss = dict(zip(runs.targets, units.tolist(), strict=True))
        return cls(scale, runs.domains, mixture, loss, float(runs.tokens.min()))

    def late(self, tokens: np.ndarray) -> np.ndarray:
        """log D/D₀ as the noise reads it: no less than a quarter of the fewest fitted tokens."""
        return np.log(np.maximum(tokens, self.shortest / EARLIEST) / self.scale.tokens)


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
    train_run: jax.Array  # (run) position of the training run
    late: jax.Array  # (run) log D/D₀
    weight: jax.Array  # (train_run, target) precision of each training run, relative to the scale of its scatter
    misfit: Misfit | None  # where the drift is pinned; None where it does not differ between the runs

    @classmethod
    def of(
        cls,
        runs: Runs | Designs,
        reference: Reference,
        targets: tuple[str, ...],
        pad: bool = False,
        cells: Cells | None = None,
    ) -> Data:
        """Arrays for the given targets; designs without losses have nothing observed, and each is its own run."""
        designs = (runs.designs if isinstance(runs, Runs) else runs).on(reference.domains)
        mixture, index = np.unique(designs.mixture, axis=0, return_inverse=True)
        rows = padded(len(designs)) if pad else len(designs)
        extra = rows - len(designs)
        unit = np.array([reference.loss[t] for t in targets])
        loss = runs.only(targets).loss if isinstance(runs, Runs) else np.full((len(designs), len(targets)), np.nan)
        loss_se = runs.only(targets).loss_se if isinstance(runs, Runs) else None
        loss_se = np.zeros_like(loss) if loss_se is None else loss_se
        observed = np.isfinite(loss)
        octaves_left = runs.octaves_left if isinstance(runs, Runs) else np.zeros(len(designs))
        late = reference.late(designs.tokens)
        train_run = runs.train_run_index if isinstance(runs, Runs) else np.unique(designs.ids, return_inverse=True)[1]
        groups = int(train_run.max(initial=0)) + 1
        arrays: dict[str, Any] = dict(
            mixture=np.concatenate([mixture, np.repeat(mixture[:1], _grown(len(mixture), pad), 0)]),
            mixture_of=np.pad(index.reshape(-1), (0, extra)),
            n=np.pad(designs.params / reference.scale.params, (0, extra), constant_values=1.0),
            d=np.pad(designs.tokens / reference.scale.tokens, (0, extra), constant_values=1.0),
            reference=reference.mixture,
            unit=unit,
            extent=extent_of(designs, reference, pad),
            loss=np.pad(np.where(observed, loss, unit), ((0, extra), (0, 0)), constant_values=1.0),
            loss_se=np.pad(loss_se, ((0, extra), (0, 0))),
            observed=np.pad(observed, ((0, extra), (0, 0))),
            train_run=np.pad(train_run, (0, extra)),
            late=np.pad(late, (0, extra)),
            weight=np.ones((padded(groups) if pad else groups, len(targets))),
            misfit=cells.misfit(designs, octaves_left, late, train_run, loss, loss_se, pad)
            if cells and cells.moves
            else None,
        )
        return cls(**arrays)  # NumPy arrays: they become JAX's, in its precision, where they are used

    def target(self, position: int) -> Data:
        """The data of one target, with the target axis kept."""
        targets = slice(position, position + 1)
        return self._replace(
            unit=self.unit[targets],
            loss=self.loss[:, targets],
            loss_se=self.loss_se[:, targets],
            observed=self.observed[:, targets],
            weight=self.weight[:, targets],
            misfit=self.misfit and self.misfit.target(targets),
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
        np.array(designs.tie > TIED),
    )
    return Extent(*arrays)


def _grown(rows: int, pad: bool) -> int:
    return padded(rows) - rows if pad else 0


def expected_loss(law: Law, theta: Mapping[str, jax.Array], data: Data) -> jax.Array:
    """Loss of the law (run, target) for parameters with a leading target axis."""

    def of_target(one: Mapping[str, jax.Array]) -> jax.Array:
        terms = jax.vmap(law.terms, (None, 0, None))(one, data.mixture, data.reference)
        by_run = jax.tree.map(lambda term: term[data.mixture_of], terms)
        return jax.vmap(law.loss, (None, 0, 0, 0))(one, by_run, data.n, data.d)

    return jax.vmap(of_target, out_axes=1)(dict(theta))


def reference_loss(law: Law, theta: Mapping[str, jax.Array], data: Data) -> jax.Array:
    """Loss of the law (run, target) for the reference mixture at the scale of every row."""
    if not law.uses_mixture:
        return expected_loss(law, theta, data)
    centre = data._replace(mixture=data.reference[None], mixture_of=jnp.zeros_like(data.mixture_of))
    return expected_loss(law, theta, centre)


class Form(NamedTuple):
    """The static part of a model: what is compiled."""

    law: Law
    noise: Noise
    discrepancy: Discrepancy | None

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default prior of every site, for one target."""
        drift = self.discrepancy.priors() if self.discrepancy else {}
        return self.law.priors(domains) | self.noise.priors() | drift


def relative_errors(form: Form, theta: Mapping[str, jax.Array], data: Data) -> tuple[Errors, jax.Array]:
    """Relative errors of the law for all targets, a last axis of `Errors`, and its losses (run, target).

    The scatter of each training run is Gaussian given its weight.
    """
    assert isinstance(form.noise, Grouped) and data.misfit is not None
    loss = expected_loss(form.law, theta, data)
    rows = Rows(data.misfit.pattern, data.misfit.late[..., None], data.misfit.loss_se)
    jitter = form.noise.jitter(theta, jnp.ones(()), rows)
    return Errors(data.loss / loss - 1, jitter, form.noise.effect(theta), data.weight), loss


def log_likelihood(form: Form, theta: Mapping[str, jax.Array], data: Data) -> jax.Array:
    """Log density of the observed losses (target), with discrepancy and run effects integrated out.

    Without a discrepancy it is exact. With one, the scale of each training run's Student-t scatter is not integrated
    out but taken as given (`Data.weight`); then everything that is left is Gaussian.
    """
    if form.discrepancy is None or data.misfit is None:
        return log_likelihood_by_run(form.noise, theta, expected_loss(form.law, theta, data), data).sum(axis=0)
    errors, loss = relative_errors(form, theta, data)
    by_target = [
        marginal_log_prob(
            {site: theta[site][t] for site in DRIFT}, errors.target(t), data.misfit.target(slice(t, t + 1))
        )
        for t in range(loss.shape[1])
    ]
    return jnp.stack(by_target) - jnp.sum(jnp.where(data.observed, jnp.log(loss), 0.0), axis=0)


def log_likelihood_by_run(noise: Noise, theta: Mapping[str, jax.Array], loss: jax.Array, data: Data) -> jax.Array:
    """Log density (train_run, target) of the observed losses around the expected ones (run, target)."""
    runs = data.weight.shape[0]
    measured = jnp.where(data.observed, data.loss, jnp.nan)

    def of_target(theta: Any, loss: jax.Array, se: jax.Array, measured: jax.Array) -> jax.Array:
        return noise.log_prob_by_run(theta, loss, Rows(data.train_run, data.late, se), measured, runs)

    sites = {site: theta[site] for site in noise.priors()}
    return jax.vmap(of_target, (0, 1, 1, 1), 1)(sites, loss, data.loss_se, measured)


class Measured(dist.Distribution):
    """Losses (run, target) that a table would measure, under given parameters; all dimensions are one event."""

    support = dist.constraints.independent(dist.constraints.positive, 2)  # pyright: ignore

    def __init__(self, form: Form, theta: Mapping[str, jax.Array], data: Data):
        self.form, self.theta, self.data = form, theta, data
        super().__init__(event_shape=data.loss.shape)

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Of the observed ones among the losses."""
        return log_likelihood(self.form, self.theta, self.data._replace(loss=value)).sum()

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Discrepancy, run effects and jitter from their priors given the parameters."""
        assert sample_shape == ()
        drift_key, noise_key = jax.random.split(key)
        theta, targets = dict(self.theta), self.data.loss.shape[1]
        loss = expected_loss(self.form.law, theta, self.data)
        if self.form.discrepancy and self.data.misfit is not None:
            keys = jax.random.split(drift_key, targets)
            discrepancy = jax.vmap(draw_effects, (0, None, 0))({k: theta[k] for k in DRIFT}, self.data.misfit, keys)
            at_centre = reference_loss(self.form.law, theta, self.data)
            effects = jax.vmap(effect, (0, 1, 1, None, None), 1)
            loss = loss + effects(discrepancy, loss, at_centre, self.data.misfit, self.data.train_run)
        rows = Rows(self.data.train_run, self.data.late, self.data.loss_se)

        def scatter(theta: Any, loss: jax.Array, se: jax.Array, key: jax.Array) -> jax.Array:
            return self.form.noise.sample(theta, loss, rows._replace(loss_se=se), key)

        keys = jax.random.split(noise_key, targets)
        return jax.vmap(scatter, (0, 1, 1, 0), 1)(theta, loss, rows.loss_se, keys)


def program(form: Form, prior: Mapping[str, dist.Distribution], data: Data, observe: bool = True) -> None:
    """The NumPyro statements: a plate of targets with parameters of their own, and the table of measured losses."""
    theta = {}
    with numpyro.plate("target", data.loss.shape[1], dim=-1):
        for site, belief in prior.items():
            if site in form.law.amplitudes:
                # the distribution's own support: priors are on the unit interval or the positive half-line
                scale = dist.transforms.AffineTransform(0.0, data.unit, domain=belief.support)  # pyright: ignore[reportArgumentType]
                belief = dist.TransformedDistribution(belief, scale)
            theta[site] = numpyro.sample(site, belief)
    numpyro.sample("loss", Measured(form, theta, data), obs=data.loss if observe else None)


@dataclass(frozen=True, eq=False)
class Model:
    """Law + prior + noise + discrepancy: what is assumed before the runs are seen.

    A model is a plain NumPyro callable: `model(runs, loss=None)` with any NumPyro utility; with `loss=None` the losses
    are drawn, otherwise they are observed.

    Args:
        law: the scaling law.
        prior: overrides of the default priors, site → distribution.
        noise: how measured losses scatter around the expected ones.
        discrepancy: how the law itself is wrong; None believes the law at every scale, which makes bands too narrow.
        name: a word for tables and reports; by default the name of the law.
        pooling: "none", or "partial" to let the targets share what they have in common when the model is fitted; see
            `inference.laplace.pooled`.
    """

    law: Law
    prior: Prior = field(default_factory=Prior)
    noise: Noise = field(default_factory=Grouped)
    discrepancy: Discrepancy | None = field(default_factory=Discrepancy)
    name: str = field(default="", kw_only=True)
    pooling: str = field(default="none", kw_only=True)

    def __post_init__(self) -> None:
        if self.pooling not in POOLING:
            raise InputError(
                "no such pooling", expected=f"one of {POOLING}", got=repr(self.pooling), advice="Correct it."
            )
        if not isinstance(self.prior, Prior):
            object.__setattr__(self, "prior", Prior(self.prior))
        if not self.name:
            object.__setattr__(self, "name", self.law.name)
        if self.discrepancy and not isinstance(self.noise, Grouped):
            raise InputError(
                f"a discrepancy does not go with {self.noise.name} noise",
                expected="grouped noise, or no discrepancy",
                got=self.noise.name,
                advice="Leave the noise out, or give discrepancy=None.",
            )

    @property
    def form(self) -> Form:
        """The static part."""
        return Form(self.law, self.noise, self.discrepancy)

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """The prior of every site, defaults and overrides, for one target and the given number of domains.

        Raises:
            InputError: an override names a site the model does not have, or has another shape.
        """
        sites = self.form.priors(domains)
        for site, belief in self.prior.items():
            if site not in sites:
                raise InputError(
                    f"the model has no parameter {site!r}",
                    expected=f"one of {list(sites)}",
                    got=site,
                    advice=f"In its place is {RETIRED[site]}."
                    if site in RETIRED
                    else "Correct the name or remove it from the prior.",
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

    def at(self, reference: Reference) -> BoundModel:
        """The same model with its amplitudes defined at `reference`."""
        return BoundModel(**{f.name: getattr(self, f.name) for f in fields(Model)}, reference=reference)

    def bind(self, runs: Runs) -> BoundModel:
        """The same model with its amplitudes defined in the middle of the runs; as it is where it is bound already."""
        return self.at(Reference.of(runs))

    def __call__(self, runs: Runs, loss: np.ndarray | None = None) -> None:
        """The NumPyro program for these runs; see the class."""
        model = self.bind(runs)
        if loss is not None:
            runs = replace(runs, loss=np.asarray(loss))
        program(model.form, model.priors(len(runs.domains)), model.data(runs), observe=loss is not None)


@dataclass(frozen=True, eq=False)
class BoundModel(Model):
    """A model whose amplitudes are defined: it can read runs, and is what is fitted.

    Args:
        reference: where amplitudes are defined.
    """

    reference: Reference = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "law", self.law.at(self.reference.domains, self.reference.scale))

    @override
    def bind(self, runs: Runs) -> BoundModel:
        return self

    @property
    def unbound(self) -> Model:
        """The same model before it has seen any runs."""
        return Model(**{f.name: getattr(self, f.name) for f in fields(Model)})

    def cells(self, runs: Runs | Designs) -> Cells | None:
        """Where these runs pin the discrepancy; None without a discrepancy."""
        if self.discrepancy is None:
            return None
        if isinstance(runs, Runs):  # rows without a loss pin nothing
            observed = np.isfinite(runs.loss).any(axis=1)
            runs = runs.take(observed) if observed.any() else runs
        octaves_left = runs.octaves_left if isinstance(runs, Runs) else np.zeros(len(runs))
        designs = (runs.designs if isinstance(runs, Runs) else runs).on(self.reference.domains)
        reference, orthogonal = self.reference, self.discrepancy.orthogonal
        return Cells.of(designs, octaves_left, reference.scale, reference.mixture, orthogonal)

    def data(self, runs: Runs, pad: bool = False) -> Data:
        """The runs as the program reads them, with all their targets; see `Data`."""
        return Data.of(runs, self.reference, runs.targets, pad, self.cells(runs))
