"""R-hat and effective sample sizes of every parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import arviz_base
import numpy as np
from arviz_stats import sampling_diagnostics

from bayesmix.posterior.labels import entries
from bayesmix.posterior.posterior import Posterior


@dataclass(frozen=True, eq=False)
class Mixing:
    """Convergence figures, parameter by parameter.

    Attributes:
        parameter: site and position of each entry (parameter).
        target: position of the target it belongs to (parameter).
        rhat: split rank-normalised R-hat (parameter).
        ess_bulk: bulk effective sample size (parameter).
        ess_tail: tail effective sample size (parameter).
        targets: names of the targets.
    """

    parameter: tuple[str, ...]
    target: np.ndarray
    rhat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray
    targets: tuple[str, ...]


def mixing(posterior: Posterior) -> Mixing:
    """Convergence figures of every parameter of a posterior."""
    draws, targets = posterior.draws, posterior.targets
    table: Any = arviz_base.from_dict({"posterior": dict(draws)}).posterior
    with np.errstate(divide="ignore", invalid="ignore"):  # a chain that never moved has no number
        figures = [
            sampling_diagnostics.rhat(table),
            sampling_diagnostics.ess(table),
            sampling_diagnostics.ess(table, method="tail"),
        ]
    label_of = {place: label for label, place in entries(posterior).items()}
    names: list[str] = []
    target: list[np.ndarray] = []
    values: list[list[np.ndarray]] = [[], [], []]
    for site, value in draws.items():
        positions = [*np.ndindex(value.shape[3:])]
        labels = [
            label_of.get(
                (site, position[0] if position else None),
                f"{site}{[*position] if position else ''}",
            )
            for position in positions
        ]
        names += labels * len(targets)
        target.append(np.repeat(np.arange(len(targets)), len(positions)))
        for column, figure in zip(values, figures, strict=True):
            column.append(np.asarray(figure[site], float).reshape(-1))
    rhat, bulk, tail = (np.concatenate(column) for column in values)
    return Mixing(tuple(names), np.concatenate(target), rhat, bulk, tail, targets)
