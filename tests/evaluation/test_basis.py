"""Variance of bands: the prior, misses of laws beyond their runs, the effect of a further run."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from bayesmix.design import Scale
from bayesmix.evaluation.basis import bases
from bayesmix.model.brownian import octaves
from bayesmix.model.grid import Cells
from bayesmix.posterior.discrepancy import trend_remarks
from bayesmix.posterior.posterior import Posterior


def test_farther_away_more_rests_on_how_laws_miss(chinchilla: Posterior) -> None:
    near, far = (bases(chinchilla, Scale(4e8 * f, 18e9 * f)) for f in (2, 64))
    for one, other in zip(near.entries, far.entries, strict=True):
        assert 0 <= one.extrapolation <= other.extrapolation + 0.01 <= 1.01
        assert other.width > one.width > one.next_width > 0
    inside = bases(chinchilla, Scale(2e8, 6e9))
    assert all(one.extrapolation == 0 for one in inside.entries)
    assert inside.next_run == inside.scale
    # no dearer than the run that is asked about
    assert bases(chinchilla, Scale(8e8, 2e9)).next_run.tokens == 2e9
    assert bases(chinchilla).scale == near.scale
    assert "N = 25.6B and D = 1.15T" in str(far) and "how far laws miss" in far.sentence()


def test_a_parameter_that_keeps_its_prior_holds_the_variance(chinchilla: Posterior) -> None:
    belief = chinchilla.model.priors(0)["alpha"]
    alpha = np.asarray(belief.sample(jax.random.key(0), (4, 1000, len(chinchilla.targets))))
    draws = {
        s: np.broadcast_to(v.mean((0, 1)), (*alpha.shape[:2], *v.shape[2:]))
        for s, v in chinchilla.draws.items()
    }
    prior_alone = replace(chinchilla, draws=draws | {"alpha": alpha}, drift={})
    # so near that the loss is nearly linear in log alpha
    found = bases(prior_alone, Scale(8e8, 18e9))
    for one in found.entries:
        assert one.prior.keys() == {"alpha"}
        assert one.prior["alpha"] == pytest.approx(1, abs=0.25)
        assert one.extrapolation == 0


def test_a_trend_the_law_cannot_follow_deserves_a_look(chinchilla: Posterior) -> None:
    runs, scale = chinchilla.runs, chinchilla.reference.scale
    cells = Cells.of(runs.designs, runs.octaves_left, scale, chinchilla.reference.mixture)
    x = octaves(runs.designs, scale)[:, 0]
    bent = np.abs(cells.points[:, 0] - x.mean())
    fall = np.log(runs.loss[:, 0].max() / runs.loss[:, 0].min())
    for size, unsure, remarks in ((0.1, 0.001, 2), (0.001, 0.0001, 0), (0.1, 0.2, 0)):
        f = size * fall * (bent - bent.mean()) / bent.std()
        noise = unsure * fall * np.random.default_rng(0).normal(size=(2, 50, 2, len(f)))
        found = trend_remarks(cells, runs, {"drift_surface": f + noise - noise.mean((0, 1))})
        assert sum(map(len, found)) == remarks
    site = chinchilla.drift["drift_surface"]
    cells = Cells.of(runs.designs, runs.octaves_left, scale, chinchilla.reference.mixture).points[
        :, 0
    ]
    wild = replace(
        chinchilla,
        drift=chinchilla.drift | {"drift_surface": np.broadcast_to(0.1 * cells, site.shape)},
    )
    assert all("extrapolation is unsafe" in t.remarks[0] for t in wild.diagnostics.targets)
    assert wild.diagnostics.verdict == "REVIEW" and "trend over the sizes" in str(wild.diagnostics)
    # the simulated law is the right one
    assert not any(t.remarks for t in chinchilla.diagnostics.targets)
