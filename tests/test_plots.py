"""Plots draw what the posterior says."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bayesmix.design import Designs, Mixture
from bayesmix.plots.sizes import plot_loss_by_size


def test_loss_by_size_shows_bands_runs_and_where_they_end(additive):
    ax = Figure().subplots()
    mixture = Mixture.of(additive.domains, additive.designs.mixture[0])
    tokens = float(additive.designs.tokens[0])
    assert plot_loss_by_size(additive, mixture, tokens, target="proofs", ax=ax) is ax
    median, points = ax.lines[0].get_xydata(), ax.lines[1].get_xydata()
    assert len(points) == 4 and set(points[:, 0]) == set(additive.designs.params)
    row = (additive.designs.params == points[0, 0]) & (additive.designs.tokens == tokens)
    assert points[0, 1] in additive.runs.loss[row, 1]
    at = Designs(additive.domains, mixture.on(additive.domains)[None], median[-1:, 0], np.array([tokens]))
    np.testing.assert_allclose(median[-1, 1], additive.predict(at).quantile(0.5)[0, 1], rtol=1e-2)
    assert "nats" in ax.get_ylabel()
