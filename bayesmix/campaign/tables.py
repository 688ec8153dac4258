"""Trials of a campaign as designs and as runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bayesmix.campaign.trials import Trial
from bayesmix.design import Designs
from bayesmix.errors import InputError
from bayesmix.runs.runs import Runs


def designs_of(trials: tuple[Trial, ...], domains: tuple[str, ...]) -> Designs:
    """Designs of the trials at their ends, with the ids of the trials."""
    return replace(
        Designs.of(*(t.job.design() for t in trials)).on(domains), ids=tuple(t.id for t in trials)
    )


def runs_of(trials: tuple[Trial, ...], domains: tuple[str, ...], targets: tuple[str, ...]) -> Runs:
    """Runs with one row for the end and for each checkpoint of every trial with losses."""
    rows = [(trial, tokens, losses) for trial in trials for tokens, losses in trial.measured]
    ids = [t.id if tokens == t.job.tokens else f"{t.id}-{tokens:g}" for t, tokens, _ in rows]
    designs = Designs.of(*(t.job.design(tokens) for t, tokens, _ in rows)).on(domains)
    loss = np.array([[losses.get(name, np.nan) for name in targets] for *_, losses in rows])
    train_run, seed = (
        [text(t) for t, *_ in rows] for text in (lambda t: t.id, lambda t: str(t.job.seed))
    )
    return Runs(replace(designs, ids=tuple(ids)), targets, loss, tuple(train_run), tuple(seed))


def require_losses(losses: Mapping[str, float], targets: tuple[str, ...]) -> None:
    """Require losses of known targets that are finite numbers above 0.

    Raises:
        InputError: there is no loss, a target is unknown, or a loss is not a finite number above 0.
    """
    unknown = [t for t in losses if t not in targets]
    if unknown or not losses:
        raise InputError(
            "the losses name no targets" if not losses else "the losses name unknown targets",
            expected=f"losses of targets among {list(targets)}",
            got=unknown or "none",
            advice="Give at least one; those not measured may be missing.",
        )
    for target, value in losses.items():
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise InputError(
                f"the loss of {target} is not a loss",
                expected="a finite number above 0",
                got=value,
                advice="Leave out what was not measured; use `fail` for a run that diverged.",
            )
