"""`Reference`, at which amplitudes are defined, and `Data`, runs as arrays relative to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from bayesmix.design import TIED, Designs, Scale
from bayesmix.errors import InputError
from bayesmix.laws.base import Extent
from bayesmix.model.grid import Cells, Misfit
from bayesmix.runs.robust import gross_errors
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import padded

EARLIEST = 4.0
"""Ratio of the tokens of the shortest run to the fewest tokens that the noise distinguishes."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Scale, mixture and units of loss at which amplitudes are defined.

    The scale and the mixture are in the middle of the runs; every target has its own unit.

    Attributes:
        scale: N₀ and D₀, the geometric means over the runs.
        domains: names of the training domains.
        mixture: h̄ (domain), the mean mixture of the runs, without zeros.
        loss: smallest observed loss of each target, gross errors excluded: the unit in which priors
            of amplitudes are expressed.
        shortest: number of tokens of the shortest run.
    """

    scale: Scale
    domains: tuple[str, ...]
    mixture: np.ndarray
    loss: Mapping[str, float]
    shortest: float = 0.0

    @classmethod
    def of(cls, runs: Runs) -> Reference:
        """Reference in the middle of the given runs.

        Raises:
            InputError: a target has no measured loss.
        """
        empty = [
            t for t, n in zip(runs.targets, np.isfinite(runs.loss).sum(0), strict=True) if n == 0
        ]
        if empty:
            raise InputError(
                "a target has no measured loss",
                expected="at least one loss a target",
                got=empty,
                advice="Drop it.",
            )
        scale = Scale(*(float(np.exp(np.log(size).mean())) for size in (runs.params, runs.tokens)))
        mean = runs.mixture.mean(0)
        # the reference of a domain that is never used is arbitrary
        mixture = np.where(mean > 0, mean, 1 / max(len(runs.domains), 1))
        mixture = mixture / mixture.sum()
        units = np.nanmin(np.where(gross_errors(runs), np.nan, runs.loss), axis=0)
        loss = dict(zip(runs.targets, units.tolist(), strict=True))
        return cls(scale, runs.domains, mixture, loss, float(runs.tokens.min()))

    def late(self, tokens: np.ndarray) -> np.ndarray:
        """log D/D₀ for the noise, with D at least a quarter of the tokens of the shortest run."""
        return np.log(np.maximum(tokens, self.shortest / EARLIEST) / self.scale.tokens)


class Data(NamedTuple):
    """Runs as arrays relative to the reference, with each distinct mixture once.

    Rows beyond the real ones are padding (never observed), so that tables of similar size share a
    compiled program.
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
    weight: jax.Array  # (train_run, target) latent precision of each run's Student-t scatter
    misfit: Misfit | None  # None where the discrepancy does not differ between the runs

    @classmethod
    def of(
        cls,
        runs: Runs | Designs,
        reference: Reference,
        targets: tuple[str, ...],
        pad: bool = False,
        cells: Cells | None = None,
    ) -> Data:
        """Arrays of runs, or of designs without losses, for the given targets.

        Every design is a training run of its own.
        """
        designs = (runs.designs if isinstance(runs, Runs) else runs).on(reference.domains)
        mixture, index = np.unique(designs.mixture, axis=0, return_inverse=True)
        rows = padded(len(designs)) if pad else len(designs)
        extra = rows - len(designs)
        unit = np.array([reference.loss[t] for t in targets])
        loss = (
            runs.only(targets).loss
            if isinstance(runs, Runs)
            else np.full((len(designs), len(targets)), np.nan)
        )
        loss_se = runs.only(targets).loss_se if isinstance(runs, Runs) else None
        loss_se = np.zeros_like(loss) if loss_se is None else loss_se
        observed = np.isfinite(loss)
        octaves_left = runs.octaves_left if isinstance(runs, Runs) else np.zeros(len(designs))
        late = reference.late(designs.tokens)
        train_run = (
            runs.train_run_index
            if isinstance(runs, Runs)
            else np.unique(designs.ids, return_inverse=True)[1]
        )
        groups = int(train_run.max(initial=0)) + 1
        arrays: dict[str, Any] = dict(
            mixture=np.concatenate(
                [mixture, np.repeat(mixture[:1], padding_rows(len(mixture), pad), 0)]
            ),
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
        # NumPy arrays, which JAX converts, in its current precision, where they are used
        return cls(**arrays)

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
    """Extent of the designs, relative to the reference.

    A quantity that never varies is given a small positive extent.
    """
    mixture, index = np.unique(designs.mixture, axis=0, return_inverse=True)
    frequency = np.bincount(index.reshape(-1), minlength=len(mixture)) / len(designs)
    low, high = np.quantile(designs.mixture, [0.1, 0.9], axis=0) / reference.mixture
    arrays: Any = (
        np.maximum(np.log(designs.params).std(), 1e-3),
        np.maximum(np.log(designs.tokens).std(), 1e-3),
        np.concatenate([mixture, np.repeat(mixture[:1], padding_rows(len(mixture), pad), 0)])
        / reference.mixture,
        np.pad(frequency, (0, padding_rows(len(mixture), pad))),
        np.minimum(low, 0.7),
        np.maximum(high, 1.3),
        np.array(designs.tie > TIED),
    )
    return Extent(*arrays)


def padding_rows(rows: int, pad: bool) -> int:
    """Number of rows that padding adds."""
    return padded(rows) - rows if pad else 0
