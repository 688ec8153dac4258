"""`prior_check`: prior predictive losses next to the measured losses."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.inference.coordinates import Geometry
from bayesmix.model.data import Data
from bayesmix.model.likelihood import expected_loss
from bayesmix.model.model import Model
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64


@dataclass(frozen=True)
class PriorCheck:
    """Prior predictive loss over the designs of the runs, per target, against the observed range.

    Attributes:
        targets: names of the targets.
        prior: 5 %, 50 % and 95 % quantile (target, 3) of the law's loss under the prior, over draws
            and runs.
        observed: smallest, median and largest measured loss (target, 3).
        inside: share (target) of measured losses inside the central 90 % of the prior at their own
            design.
    """

    targets: tuple[str, ...]
    prior: np.ndarray
    observed: np.ndarray
    inside: np.ndarray

    @property
    def problems(self) -> tuple[str, ...]:
        """Problems of the prior, in sentences."""
        return tuple(
            f"{t}: only {100 * share:.0f} % of the measured losses lie in the prior's 90 % band at"
            " their design; widen the priors of E, A, B and M, or check the unit of the losses"
            for t, share in zip(self.targets, self.inside, strict=True)
            if share < 0.5
        )

    def as_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return {
            target: {
                "prior": dict(zip(("q05", "q50", "q95"), self.prior[i].tolist(), strict=True)),
                "observed": dict(
                    zip(("min", "median", "max"), self.observed[i].tolist(), strict=True)
                ),
                "inside": float(self.inside[i]),
            }
            for i, target in enumerate(self.targets)
        }

    def __str__(self) -> str:
        width = max([len(t) for t in self.targets] + [6])
        lines = [
            f"{'target':<{width}}  prior 5%     50%     95%   observed min  median     max  inside"
        ]
        for i, target in enumerate(self.targets):
            low, mid, high = self.prior[i]
            smallest, median, largest = self.observed[i]
            lines.append(
                f"{target:<{width}}  {low:8.3f}{mid:8.3f}{high:8.3f}  "
                f" {smallest:12.3f}{median:8.3f}{largest:8.3f}  {100 * self.inside[i]:5.0f}%"
            )
        return "\n".join([*lines, *self.problems])


def prior_check(model: Model, runs: Runs, *, draws: int = 1000, seed: int = 0) -> PriorCheck:
    """Prior predictive losses at the designs of the runs, next to the measured losses.

    Args:
        model: law, prior and noise.
        runs: measured points; their losses set the unit of the amplitudes' priors and nothing else.
        draws: number of prior draws.
        seed: random seed of the draws.
    """
    model = model.bind(runs)
    with enable_x64():
        data = jax.tree.map(jnp.asarray, Data.of(runs, model.reference, runs.targets))
        geometry = Geometry(model.form, model.priors(len(runs.domains)), data)

        def one(key: jax.Array) -> jax.Array:
            theta = geometry.draw(key)
            scaled = {
                k: v * data.unit if k in model.law.amplitudes else v for k, v in theta.items()
            }
            return expected_loss(model.law, scaled, data)

        loss = np.asarray(
            jax.lax.map(one, jax.random.split(jax.random.key(seed), draws), batch_size=32)
        )
    low, high = np.quantile(loss, [0.05, 0.95], axis=0)
    measured = np.isfinite(runs.loss)
    inside = ((runs.loss >= low) & (runs.loss <= high) & measured).sum(0) / measured.sum(0)
    prior = np.quantile(loss, [0.05, 0.5, 0.95], axis=(0, 1)).T
    observed = np.stack(
        [np.nanmin(runs.loss, 0), np.nanmedian(runs.loss, 0), np.nanmax(runs.loss, 0)], axis=1
    )
    return PriorCheck(runs.targets, prior, observed, inside)
