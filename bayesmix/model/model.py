"""`Model`: law, prior, noise and discrepancy as one NumPyro program.

The only file that calls numpyro.sample and numpyro.plate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import override

import numpy as np
import numpyro
import numpyro.distributions as dist

from bayesmix.design import Designs
from bayesmix.errors import InputError
from bayesmix.laws.base import Law
from bayesmix.model.data import Data, Reference
from bayesmix.model.discrepancy import Discrepancy
from bayesmix.model.grid import Cells
from bayesmix.model.likelihood import Form, Measured
from bayesmix.model.noise import Grouped, Noise
from bayesmix.model.priors import Prior
from bayesmix.runs.runs import Runs

POOLING = ("none", "partial")
RETIRED = {
    "run_share": "run_effect, the size of what the checkpoints of a run share",
    "drift_far": "extrapolation, the share of the law's own fall beyond the runs",
}
"""Retired sites and their replacements; cards ignore priors of retired sites, with a warning."""


def program(
    form: Form, prior: Mapping[str, dist.Distribution], data: Data, observe: bool = True
) -> None:
    """NumPyro program: a plate of targets with their own parameters, and the measured losses."""
    theta = {}
    with numpyro.plate("target", data.loss.shape[1], dim=-1):
        for site, belief in prior.items():
            if site in form.law.amplitudes:
                # the distribution's own support: priors are on the unit interval or the positive
                # half-line
                scale = dist.transforms.AffineTransform(0.0, data.unit, domain=belief.support)  # pyright: ignore[reportArgumentType]
                belief = dist.TransformedDistribution(belief, scale)
            theta[site] = numpyro.sample(site, belief)
    numpyro.sample("loss", Measured(form, theta, data), obs=data.loss if observe else None)


@dataclass(frozen=True, eq=False)
class Model:
    """Generative model of the measured losses: law, prior, noise and discrepancy.

    A model is a plain NumPyro callable: `model(runs, loss=None)` with any NumPyro utility; with
    `loss=None` the losses are drawn, otherwise they are observed.

    Args:
        law: the scaling law.
        prior: overrides of the default priors, site → distribution.
        noise: distribution of the measured losses around the expected ones.
        discrepancy: model of the error of the law itself; None trusts the law at every scale,
            which makes bands too narrow.
        name: label in tables and reports; by default the name of the law.
        pooling: "none", or "partial" for partial pooling of the targets when the model is fitted;
            see `inference.laplace.pooled`.
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
                "no such pooling", expected=f"one of {POOLING}", got=repr(self.pooling)
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
        """The static part of the model: law, noise and discrepancy."""
        return Form(self.law, self.noise, self.discrepancy)

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Prior of every site, defaults and overrides, for one target and a number of domains.

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
        return BoundModel(
            **{f.name: getattr(self, f.name) for f in fields(Model)}, reference=reference
        )

    def bind(self, runs: Runs) -> BoundModel:
        """The same model with its amplitudes defined in the middle of the runs.

        A model that is bound already is returned unchanged.
        """
        return self.at(Reference.of(runs))

    def __call__(self, runs: Runs, loss: np.ndarray | None = None) -> None:
        """The NumPyro program for these runs; see the class."""
        model = self.bind(runs)
        if loss is not None:
            runs = replace(runs, loss=np.asarray(loss))
        program(
            model.form, model.priors(len(runs.domains)), model.data(runs), observe=loss is not None
        )


@dataclass(frozen=True, eq=False)
class BoundModel(Model):
    """A model bound to a reference, so that it can read runs and be fitted.

    Args:
        reference: scale, mixture and units of loss at which amplitudes are defined.
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
        """The same model without a reference."""
        return Model(**{f.name: getattr(self, f.name) for f in fields(Model)})

    def cells(self, runs: Runs | Designs) -> Cells | None:
        """Cells at which these runs inform the discrepancy; None without a discrepancy."""
        if self.discrepancy is None:
            return None
        if isinstance(runs, Runs):  # rows without a loss do not inform it
            observed = np.isfinite(runs.loss).any(axis=1)
            runs = runs.take(observed) if observed.any() else runs
        octaves_left = runs.octaves_left if isinstance(runs, Runs) else np.zeros(len(runs))
        designs = (runs.designs if isinstance(runs, Runs) else runs).on(self.reference.domains)
        reference, orthogonal = self.reference, self.discrepancy.orthogonal
        return Cells.of(designs, octaves_left, reference.scale, reference.mixture, orthogonal)

    def data(self, runs: Runs, pad: bool = False) -> Data:
        """Arrays of the runs, with all their targets; see `Data`."""
        return Data.of(runs, self.reference, runs.targets, pad, self.cells(runs))
