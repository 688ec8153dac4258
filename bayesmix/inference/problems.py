"""Posterior densities of the targets, in the form that the sampler takes."""

from __future__ import annotations

from bayesmix.inference.density import TargetProblem
from bayesmix.inference.pooling import pooled
from bayesmix.inference.prequential import with_record
from bayesmix.model.model import BoundModel
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64


def problems_of(model: BoundModel, runs: Runs, *, seed: int = 0) -> list[TargetProblem]:
    """Sampling problem of every target, in the order of the targets.

    Its priors contain what partial pooling and the prequential record change.

    Args:
        model: model bound to the runs.
        runs: the measured points.
        seed: random seed of the refits.
    """
    with enable_x64():
        priors = with_record(
            model, runs, pooled(model, runs, seed=seed).priors(len(runs.domains)), seed=seed
        )
        data = model.data(runs, pad=True)
    return [TargetProblem(model.form, prior, data.target(t)) for t, prior in enumerate(priors)]
