"""Left-out runs lie where the others predict them, and wrong bands are told from right ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm

from bayesmix.design import Designs
from bayesmix.evaluation.loo_pit import Ecdf, LooPit, loo_pit
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.model.data import Reference
from bayesmix.model.model import Model
from bayesmix.model.noise import Gaussian
from bayesmix.plots.loo_pit import plot_loo_pit
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.runs import Runs
from tests.large import invented


def known(losses: np.ndarray, sigma: float = 0.01, draws: int = 1000) -> Posterior:
    """The posterior of a constant loss of 3, known but for a little, with Gaussian scatter."""
    rows = len(losses)
    designs = Designs(
        ("web",), np.ones((rows, 1)), np.full(rows, 1e8), np.geomspace(1e9, 1e10, rows)
    )
    rng = np.random.default_rng(0)
    sites = {
        "E": 3 + 0.001 * rng.normal(size=(4, draws, 1)),
        "sigma": np.full((4, draws, 1), sigma),
    }
    sites |= {name: np.full((4, draws, 1), 1e-9) for name in ("A", "B")}
    sites |= {name: np.full((4, draws, 1), 0.3) for name in ("alpha", "beta")}
    sites |= {"early": np.full((4, draws, 1), 1e-6)}
    runs = Runs(designs, ("loss",), losses[:, None])
    return replace(
        invented(("web",), ("loss",), rows=10, draws=10),
        model=Model(Chinchilla(), noise=Gaussian(), discrepancy=None).at(Reference.of(runs)),
        runs=runs,
        draws=sites,
        drift={},
    )


def test_values_are_those_of_the_closed_form():
    losses = 3 * (1 + 0.01 * np.linspace(-2, 2, 21))
    believed = known(losses)
    found = loo_pit(believed)
    sd = np.hypot(0.001, 3 * 0.01)
    order = [found.train_runs.index(run) for run in believed.runs.train_run]
    assert found.values[order, 0] == pytest.approx(norm.cdf(losses, 3, sd), abs=0.03)
    assert (found.pareto_k[:, 0] < 0.5).all()


def test_the_last_checkpoint_of_each_run_is_judged_and_missing_losses_are_left_out():
    believed = invented(("web", "code"), ("prose", "python"), rows=60, draws=50)
    runs = believed.runs
    loss = runs.loss.copy()
    last = runs.train_run[0]
    loss[np.array(runs.train_run) == last, 1] = np.nan
    found = loo_pit(replace(believed, runs=replace(runs, loss=loss)))
    assert found.train_runs == tuple(sorted(set(runs.train_run)))
    assert found.values.shape == (len(found.train_runs), 2)
    place = found.train_runs.index(last)
    assert np.isnan(found.values[place, 1]) and np.isfinite(np.delete(found.values, place, 0)).all()
    assert len(found.of("python")) == len(found.train_runs) - 1


@pytest.mark.parametrize(
    ("scale", "shift", "says"),
    [
        (1.0, 0.0, None),
        (2.0, 0.0, "too narrow"),
        (0.4, 0.0, "too wide"),
        (1.0, 0.8, "above"),
        (1.0, -0.8, "below"),
    ],
)
def test_a_target_whose_bands_are_wrong_is_named_with_what_is_wrong(scale, shift, says):
    measured = scale * np.random.default_rng(3).normal(size=(80, 1)) + shift
    found = LooPit(norm.cdf(measured), np.zeros((80, 1)), tuple(map(str, range(80))), ("loss",))
    assert (says in found.problems["loss"]) if says else not found.problems
    assert found.as_dict()["loss"]["problem"] == found.problems.get("loss")
    assert ("loss:" in str(found)) == bool(says)
    ax = plot_loo_pit(found, ax=Figure().subplots())
    assert ax.lines[0].get_linewidth() == (1.8 if says else 0.9)


def test_the_band_holds_uniform_values_as_often_as_it_says():
    rng = np.random.default_rng(0)
    left = np.mean([Ecdf.of(rng.uniform(size=50), 0.2).excess > 0 for _ in range(300)])
    assert 0.12 < left < 0.28
