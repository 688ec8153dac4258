"""Plots draw what the posterior says."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from bayesmix.design import Design, Designs, Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.evaluation.backtest import Backtest
from bayesmix.evaluation.compare import Comparison
from bayesmix.plots.backtest import plot_coverage, plot_misses
from bayesmix.plots.comparison import plot_comparison
from bayesmix.plots.files import save_plots
from bayesmix.plots.sizes import plot_loss_by_size
from bayesmix.posterior.prediction import Prediction


def test_loss_by_size_shows_bands_runs_and_where_they_end(additive):
    ax = Figure().subplots()
    mixture = Mixture.of(additive.domains, additive.designs.mixture[0])
    scale = Scale(3e9, float(additive.designs.tokens[0]))
    assert plot_loss_by_size(additive, Design(mixture, scale), target="proofs", ax=ax) is ax
    lines = {line.get_label(): line for line in ax.lines}
    median, points = lines["median"].get_xydata(), lines["measured"].get_xydata()
    assert len(points) == 4 and set(points[:, 0]) == set(additive.designs.params)
    row = (additive.designs.params == points[0, 0]) & (additive.designs.tokens == scale.tokens)
    assert points[0, 1] in additive.runs.loss[row, 1]
    at = Designs(
        additive.domains,
        mixture.on(additive.domains)[None],
        median[-1:, 0],
        np.array([scale.tokens]),
    )
    np.testing.assert_allclose(median[-1, 1], additive.predict(at).quantile(0.5)[0, 1], rtol=1e-2)
    assert "nats" in ax.get_ylabel() and "3B" in lines["N = 3B"].get_label()
    others = lines["other runs, carried here"].get_xydata()
    assert len(others) == len(additive.runs) - 4
    # the law explains nearly all of a loss: what is carried to the curve lies on it
    on_curve = np.interp(np.log(others[:, 0]), np.log(median[:, 0]), median[:, 1])
    assert np.abs(others[:, 1] / on_curve - 1).max() < 0.03


def comparison() -> Comparison:
    rng = np.random.default_rng(0)
    loo = rng.normal([[[1.0, 2.0]], [[0.0, 2.5]], [[0.5, 0.0]]], 0.5, (3, 40, 2))
    train_run = tuple(str(i // 4) for i in range(40))
    return Comparison(
        ("additive", "joint", "chinchilla"), ("prose", "proofs"), train_run, loo, np.zeros_like(loo)
    )


def test_comparison_shows_how_far_each_law_is_behind():
    ax = Figure().subplots()
    found = comparison()
    assert plot_comparison(found, ax=ax) is ax
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[0].startswith(f"{found.laws[found.order[0]]} (weight ")
    best = ax.containers[0].lines[0].get_xdata()
    assert best[0] == 0.0 and [t.get_text() for t in ax.get_yticklabels()] == ["prose", "proofs"]
    assert all((c.lines[0].get_xdata() <= 0).all() for c in ax.containers)


def backtested() -> Backtest:
    rng = np.random.default_rng(0)
    truth = rng.uniform(2.5, 3.5, (30, 2))
    measured = truth * (1 + 0.01 * rng.standard_normal((30, 2)))
    draws = truth * (1 + 0.01 * rng.standard_normal((400, 30, 2)))
    designs = Designs(("a", "b"), np.full((30, 2), 0.5), np.full(30, 1e9), np.full(30, 1e10))
    prediction = Prediction(draws, designs, ("prose", "proofs"))
    return Backtest(
        "joint", "size", ("N = 1B",), (90,), np.zeros(30, int), prediction, measured, designs.ids
    )


def test_coverage_is_drawn_against_what_was_promised():
    ax = Figure().subplots()
    assert plot_coverage(backtested(), ax=ax) is ax
    pooled = next(line for line in ax.lines if line.get_label() == "all targets")
    figures = backtested().score
    np.testing.assert_allclose(
        pooled.get_ydata(), [100 * figures.pooled(c) for c in figures.coverage]
    )
    np.testing.assert_allclose(pooled.get_xdata(), [50, 80, 90, 95])


def test_misses_show_every_left_out_loss_once(tmp_path):
    ax = Figure().subplots()
    assert plot_misses(backtested(), ax=ax) is ax
    shown = sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == ".")
    assert shown == 60 and [t.get_text() for t in ax.get_xticklabels()] == ["prose", "proofs"]
    both = (
        (lambda ax: plot_coverage(backtested(), ax=ax)),
        (lambda ax: plot_misses(backtested(), ax=ax)),
    )
    save_plots(tmp_path / "figure.png", *both)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="unknown kind of figure"):
        save_plots(tmp_path / "figure.doc", *both)
