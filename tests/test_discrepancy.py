"""The drift: its likelihood is that of one large Gaussian, its draws and its extension are those of conditioning it."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from bayesmix.design import Designs, Scale
from bayesmix.discrepancy import (
    Cells,
    Draws,
    Errors,
    brownian,
    draw,
    effect,
    marginal_log_prob,
    octaves,
)
from bayesmix.noise import by_run

pytestmark = pytest.mark.usefixtures("x64")
THETA = {"drift": 0.006, "drift_mix": 0.003}
SHARED = 0.002**2
REFERENCE = Scale(2e8, 6e9)


def table(seed: int = 0) -> tuple[Designs, np.ndarray, Cells]:
    """Checkpoints of nine training runs, of uneven number, at three sizes."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3), 9)
    counts = [3, 1, 4, 2, 3, 3, 1, 2, 4]
    train_run = np.repeat(np.arange(9), counts)
    params = np.array([1e8, 2e8, 5e8])[np.arange(9) % 3][train_run]
    tokens = 2e9 * 2.0 ** np.concatenate([np.arange(n) for n in counts])
    order = rng.permutation(len(train_run))  # rows of one run need not stand together
    designs = Designs(("a", "b", "c"), weights[train_run], params, tokens).take(order)
    return designs, train_run[order], Cells.of(designs, REFERENCE, weights.mean(0))


def errors(size: int, seed: int = 1) -> Errors:
    rng = np.random.default_rng(seed)
    variance = rng.uniform(1e-6, 4e-6, size)
    variance[3] = np.inf
    return Errors(rng.normal(0, 0.01, size), rng.uniform(0.8, 1.2, size), variance, np.array(SHARED))  # type: ignore[arg-type]


def dense(designs: Designs, train_run: np.ndarray, cells: Cells, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance (run, run) of the drift, and of drift and run effects."""
    x = octaves(designs, REFERENCE)
    cell = cells.points[cells.nearest(x)]
    psi = (designs.mixture - cells.centre) @ cells.directions
    path = np.minimum(np.abs(x[:, None, 0]), np.abs(x[None, :, 0])) * (x[:, None, 0] * x[None, :, 0] > 0)
    apart = THETA["drift_mix"] ** 2 * path * (psi @ psi.T) * np.outer(ratio, ratio)
    drift = THETA["drift"] ** 2 * brownian(cell, cell) + apart
    return drift, drift + SHARED * (train_run[:, None] == train_run)


@pytest.mark.parametrize("pad", [False, True])
def test_the_marginal_likelihood_is_that_of_one_gaussian(pad: bool) -> None:
    designs, train_run, cells = table()
    found = errors(len(designs))
    seen = np.isfinite(found.variance)
    _, covariance = dense(designs, train_run, cells, np.asarray(found.ratio))
    covariance = covariance[np.ix_(seen, seen)] + np.diag(np.asarray(found.variance)[seen])
    expected = stats.multivariate_normal(cov=covariance).logpdf(np.asarray(found.error)[seen])
    got = marginal_log_prob(THETA, found, cells.misfit(designs, train_run, pad))  # type: ignore[arg-type]
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_a_drift_that_leaves_only_rounding_has_no_density() -> None:
    designs, train_run, cells = table()
    misfit = cells.misfit(designs, train_run, pad=False)
    found = errors(len(designs))._replace(variance=np.full(len(designs), 1e-30), shared=np.array(1e-30))
    common = found._replace(error=np.full(len(designs), 1e4))  # type: ignore[arg-type]
    wild = {"drift": 1e40, "drift_mix": 1e40}
    assert float(marginal_log_prob(wild, common, misfit)) == -np.inf  # type: ignore[arg-type]


def test_draws_of_the_drift_have_the_conditional_mean_and_covariance() -> None:
    designs, train_run, cells = table()
    found = errors(len(designs))
    seen = np.isfinite(found.variance)
    ratio = np.asarray(found.ratio)
    misfit = cells.misfit(designs, train_run, pad=False)
    drift, total = dense(designs, train_run, cells, ratio)
    gain = np.linalg.solve((total[np.ix_(seen, seen)] + np.diag(np.asarray(found.variance)[seen])), drift[seen]).T
    mean, covariance = gain @ np.asarray(found.error)[seen], drift - gain @ drift[seen]
    keys = jax.random.split(jax.random.key(0), 20_000)

    def one(key: jax.Array) -> jax.Array:
        loss = np.ones(len(designs))
        return effect(draw(THETA, found, misfit, key), loss, ratio, misfit)  # type: ignore[arg-type]

    draws = np.asarray(jax.vmap(one)(keys))
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(draws.mean(0), mean, atol=5 * sd.max() / np.sqrt(len(keys)))
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.05 * sd.max() ** 2)


def test_without_drift_the_likelihood_is_the_sum_over_training_runs() -> None:
    designs, train_run, cells = table()
    found, misfit = errors(len(designs)), cells.misfit(designs, train_run, pad=True)
    still = {"drift": 0.0, "drift_mix": 0.0}
    square, log_det, count = by_run(found.error, found.variance, found.shared, train_run, 9)
    expected = -0.5 * float((square + log_det + count * np.log(2 * np.pi)).sum())
    assert expected == pytest.approx(float(marginal_log_prob(still, found, misfit)), rel=1e-9)  # type: ignore[arg-type]


def test_the_surface_is_exact_at_its_cells_and_widens_with_every_octave() -> None:
    designs, _, cells = table()
    weights, root = cells.extend(designs)
    values = np.random.default_rng(0).normal(size=len(cells.points))
    at = cells.nearest(octaves(designs, REFERENCE))
    np.testing.assert_allclose(weights @ values, values[at], atol=1e-6)
    assert np.abs(root).max() < 1e-3
    centre = np.tile(cells.centre, (5, 1))
    beyond = Designs(designs.domains, centre, 5e8 * 2.0 ** np.arange(5), np.full(5, 16e9))
    spread = np.sqrt((cells.extend(beyond)[1] ** 2).sum(1))
    assert (np.diff(spread) > 0).all()
    far = Designs(designs.domains, centre[:1], np.array([5e8 * 2**9]), np.array([16e9]))
    assert (cells.extend(far)[1] ** 2).sum() == pytest.approx(9, rel=0.15)  # variance grows by one an octave


def test_what_is_added_beyond_the_runs_is_nothing_among_them_and_grows_with_the_distance() -> None:
    designs, _, cells = table()
    assert np.abs(cells.beyond(designs)).max() == 0
    largest, longest = designs.params.max(), designs.tokens.max()
    octave = np.array([0.0, 1.0, 4.0, 4.0])
    beyond = Designs(
        designs.domains,
        np.tile(cells.centre, (4, 1)),
        np.append(largest * 2.0 ** octave[:3], 2e8),
        np.append(np.full(3, 6e9), longest * 2.0**4),
    )
    root = cells.beyond(beyond)
    np.testing.assert_allclose(np.diag(root @ root.T), octave, atol=0.02)  # half a cell is not beyond
    assert (root @ root.T)[2, 3] == pytest.approx(0.5 * (4 + 4 - np.hypot(4, 4)), abs=0.02)  # different ways out


def test_cells_are_merged_where_there_would_be_too_many() -> None:
    rng = np.random.default_rng(0)
    designs = Designs((), np.empty((500, 0)), 10 ** rng.uniform(7, 10, 500), 10 ** rng.uniform(9, 12, 500))
    cells = Cells.of(designs, Scale(3e8, 3e10), np.empty(0))
    assert len(cells.points) <= 64
    misfit = cells.misfit(designs, np.arange(500), pad=True)
    assert misfit.in_cell.shape[2] % 8 == 0
    assert np.isfinite(Draws(*(np.zeros(1),) * 2).surface).all()
