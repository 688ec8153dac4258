"""The discrepancy: the likelihood of one large Gaussian, and draws of its conditional."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayesmix.design import Designs, Scale
from bayesmix.model.brownian import brownian, law_bends, octaves
from bayesmix.model.discrepancy import Errors, draw, effect, marginal_log_prob, squares
from bayesmix.model.grid import Cells, Misfit
from bayesmix.model.noise import by_run
from bayesmix.posterior.discrepancy import surface

pytestmark = pytest.mark.usefixtures("x64")
THETA = {"drift": 0.006, "drift_mix": 0.003, "schedule": 0.004}
SHARED = 0.002**2
REFERENCE = Scale(2e8, 8e9)


class Table(NamedTuple):
    """A table of runs as the likelihood reads it, and the covariances it should have."""

    designs: Designs
    train_run: np.ndarray
    octaves_left: np.ndarray
    loss: np.ndarray
    cells: Cells

    def misfit(self, pad: bool = False) -> Misfit:
        late = np.log(self.designs.tokens / REFERENCE.tokens)
        return self.cells.misfit(
            self.designs,
            self.octaves_left,
            late,
            self.train_run,
            self.loss,
            np.full_like(self.loss, 0.001),
            pad,
        )

    def errors(self, misfit: Misfit, seed: int = 1) -> Errors:
        rng = np.random.default_rng(seed)
        variance = np.exp(rng.normal(np.log(2e-6), 0.3, np.shape(misfit.late)))
        weight = rng.gamma(2, 0.5, len(misfit.present))
        return Errors(rng.normal(0, 0.01, len(misfit.cell)), variance, np.array(SHARED), weight)  # type: ignore[arg-type]


def table(seed: int = 0, orthogonal: bool = True) -> Table:
    """Checkpoints of nine training runs, of uneven number, at three sizes; one loss is missing."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3), 9)
    counts = [3, 1, 4, 2, 3, 3, 1, 2, 4]
    train_run = np.repeat(np.arange(9), counts)
    params = np.array([1e8, 2e8, 4e8])[np.arange(9) % 3][train_run]
    tokens = 2e9 * 2.0 ** np.concatenate([np.arange(n) for n in counts])
    order = rng.permutation(len(train_run))  # rows of one run need not stand together
    designs = Designs(("a", "b", "c"), weights[train_run], params, tokens).take(order)
    octaves_left = np.log2(2e9 * 2.0 ** (np.array(counts) - 1)[train_run] / tokens)[order]
    loss = rng.uniform(2.5, 3.0, (len(order), 1))
    loss[3] = np.nan
    cells = Cells.of(designs, octaves_left, REFERENCE, weights.mean(0), orthogonal)
    return Table(designs, train_run[order], octaves_left, loss, cells)


def at_rows(found: Table, misfit: Misfit, values: np.ndarray) -> np.ndarray:
    """Values (pattern, checkpoint) of every row."""
    out = np.empty(len(found.designs))
    rows, real = np.asarray(misfit.rows), np.bincount(found.train_run)
    for group, count in enumerate(real):
        out[rows[group, :count]] = values[np.asarray(misfit.pattern)[group], :count]
    return out


def dense(found: Table, misfit: Misfit) -> np.ndarray:
    """Covariance (run, run) of the discrepancy around its mean, `curve`."""
    x = octaves(found.designs, REFERENCE)
    cell = found.cells.nearest(x)
    psi = (found.designs.mixture - found.cells.centre) @ found.cells.directions
    both = sum(
        np.minimum(np.abs(v[:, None]), np.abs(v[None])) * (v[:, None] * v[None] > 0)
        for v in (x[:, 0], x[:, 1])
    )
    ratio = np.asarray(misfit.ratio)[found.train_run, 0]
    apart = THETA["drift_mix"] ** 2 * both * (psi @ psi.T) * np.outer(ratio, ratio)
    strays = (0.5 * THETA["schedule"]) ** 2 * np.minimum(
        found.octaves_left[:, None], found.octaves_left[None]
    )
    root = found.cells.root[cell]
    return THETA["drift"] ** 2 * root @ root.T + apart + strays


def curve(found: Table) -> np.ndarray:
    """Mean (run) of what unfinished runs lack."""
    return THETA["schedule"] * np.sqrt(found.octaves_left)


def scatter(found: Table, misfit: Misfit, errors: Errors) -> np.ndarray:
    weight = np.asarray(errors.weight)[found.train_run]
    own = np.diag(at_rows(found, misfit, np.asarray(errors.variance)) / weight)
    return own + SHARED * (found.train_run[:, None] == found.train_run) / weight


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("orthogonal", [False, True])
def test_the_marginal_likelihood_is_that_of_one_gaussian(pad: bool, orthogonal: bool) -> None:
    found = table(orthogonal=orthogonal)
    misfit = found.misfit(pad)
    errors = found.errors(misfit)
    seen = np.isfinite(found.loss[:, 0])
    covariance = (dense(found, misfit) + scatter(found, misfit, errors))[np.ix_(seen, seen)]
    error = (np.asarray(errors.error)[: len(seen)] - curve(found))[seen]
    expected = stats.multivariate_normal(cov=covariance).logpdf(error)
    got = marginal_log_prob(THETA, errors, misfit)  # type: ignore[arg-type]
    assert float(got) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pad", [False, True])
def test_the_derivative_of_the_likelihood_is_that_of_its_values(pad: bool) -> None:
    found = table()
    misfit = found.misfit(pad)
    errors = found.errors(misfit)
    rows, patterns = np.random.default_rng(5).normal(size=(2, 500))

    def of(x: jax.Array) -> jax.Array:
        theta = {"drift": x[0], "drift_mix": x[1], "schedule": x[2]}
        error = errors.error * (x[3] + (x[6] - 1) * rows[: len(errors.error)])
        variance = errors.variance * (
            x[5] + (x[7] - 1) * patterns[: errors.variance.size].reshape(errors.variance.shape)
        )
        return marginal_log_prob(
            theta, errors._replace(error=error, variance=variance, shared=x[4]), misfit
        )

    value, slope = jax.jit(of), jax.jit(jax.grad(of))
    at = jnp.array([*THETA.values(), 1.0, SHARED, 1.0, 1.0, 1.0])
    steps = np.diag(1e-5 * np.asarray(at))
    numeric = [(value(at + step) - value(at - step)) / (2 * step.sum()) for step in steps]
    np.testing.assert_allclose(slope(at), numeric, rtol=1e-5)
    curvature = [(slope(at + step) - slope(at - step)) / (2 * step.sum()) for step in steps]
    np.testing.assert_allclose(
        jax.jit(jax.hessian(of))(at) * at, np.array(curvature) * at, rtol=1e-4, atol=1e-3
    )


def test_a_drift_that_leaves_only_rounding_has_no_density() -> None:
    found = table()
    misfit = found.misfit()
    errors = found.errors(misfit)
    tiny = errors._replace(variance=np.full(np.shape(misfit.late), 1e-30), shared=np.array(1e-30))  # type: ignore[arg-type]
    cell = found.cells.nearest(octaves(found.designs, REFERENCE))
    common = tiny._replace(error=found.octaves_left + 1e4 * found.cells.root[cell, 0])  # type: ignore[arg-type]
    wild = {"drift": 1e40, "drift_mix": 1e40, "schedule": 1e40}
    assert float(marginal_log_prob(wild, common, misfit)) == -np.inf  # type: ignore[arg-type]


def test_draws_of_the_drift_have_the_conditional_mean_and_covariance() -> None:
    found = table()
    misfit = found.misfit()
    errors = found.errors(misfit)
    seen = np.isfinite(found.loss[:, 0])
    drift = dense(found, misfit)
    total = drift + scatter(found, misfit, errors)
    gain = np.linalg.solve(total[np.ix_(seen, seen)], drift[seen]).T
    mean = curve(found) + gain @ (np.asarray(errors.error) - curve(found))[seen]
    covariance = drift - gain @ drift[seen]
    keys = jax.random.split(jax.random.key(0), 20_000)
    ratio = np.asarray(misfit.ratio)[found.train_run, 0]

    def one(key: jax.Array) -> jax.Array:
        loss = np.ones(len(found.designs))
        return effect(draw(THETA, errors, misfit, key), loss, ratio, misfit, found.train_run)  # type: ignore[arg-type]

    draws = np.asarray(jax.vmap(one)(keys))
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(draws.mean(0), mean, atol=5 * sd.max() / np.sqrt(len(keys)))
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.05 * sd.max() ** 2)


def test_without_drift_the_likelihood_is_the_sum_over_training_runs() -> None:
    found = table()
    misfit = found.misfit()
    errors = found.errors(misfit)
    still = dict.fromkeys(THETA, 0.0)
    weight = np.asarray(errors.weight)
    seen = np.isfinite(found.loss[:, 0])
    own = np.where(
        seen, at_rows(found, misfit, np.asarray(errors.variance)) / weight[found.train_run], np.inf
    )
    square, log_det, count = by_run(errors.error, own, SHARED / weight, found.train_run, 9)  # type: ignore[arg-type]
    expected = -0.5 * float((square + log_det + count * np.log(2 * np.pi)).sum())
    assert expected == pytest.approx(float(marginal_log_prob(still, errors, misfit)), rel=1e-9)  # type: ignore[arg-type]
    alone, rows = squares(errors, misfit, jnp.zeros(len(found.designs)))
    np.testing.assert_allclose(alone * weight, square)
    np.testing.assert_array_equal(rows, count)


def test_the_surface_can_do_nothing_that_a_law_can_do() -> None:
    found = table()
    x, y = found.cells.points.T
    bends = law_bends(found.cells.points)
    assert np.abs(bends.T @ found.cells.root).max() < 1e-6
    assert found.cells.root.shape[1] == len(x) - bends.shape[1]
    for alpha, beta in ((0.3, 0.4), (0.2, 0.5), (0.6, 0.3)):
        n, d = 2 ** (-alpha * x), 2 ** (-beta * y)
        law = 2.0 + 0.4 * n + 0.3 * d
        for slope in (np.ones_like(x), 1 / law, n / law, x * n / law, d / law, y * d / law):
            left = slope @ found.cells.root / np.linalg.norm(slope)
            assert np.abs(left).max() < 0.02 * np.linalg.norm(found.cells.root, axis=0).max()
    free = table(orthogonal=False).cells
    np.testing.assert_allclose(
        free.root @ free.root.T, brownian(free.points, free.points), atol=1e-6
    )


@pytest.mark.parametrize(
    ("sizes", "tokens", "rank"),
    [([1e8], [2e9], 0), ([1e8, 4e8], [2e9, 8e9], 0), ([1e8] * 5, [1e9, 2e9, 4e9, 8e9, 16e9], 1)],
    ids=["one", "two tied", "one size"],
)
def test_few_cells_leave_the_surface_little_or_nothing(
    sizes: list[float], tokens: list[float], rank: int
) -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(3), len(sizes))
    designs = Designs(("a", "b", "c"), weights, np.array(sizes), np.array(tokens))
    cells = Cells.of(designs, np.zeros(len(sizes)), REFERENCE, weights.mean(0))
    assert cells.root.shape == (len(sizes), rank)
    nothing, one = np.zeros(len(sizes)), np.ones((len(sizes), 1))
    misfit = cells.misfit(designs, nothing, nothing, np.arange(len(sizes)), one, 0 * one, True)
    errors = Errors(
        jnp.full(len(misfit.cell), 0.01),
        jnp.full(np.shape(misfit.late), 1e-6),
        jnp.array(SHARED),
        jnp.ones(len(misfit.present)),
    )
    assert np.isfinite(marginal_log_prob(THETA, errors, misfit))  # type: ignore[arg-type]


def test_the_surface_is_exact_at_its_cells_and_widens_with_every_octave() -> None:
    found = table()
    designs, cells = found.designs, found.cells
    weights, root = cells.extend(designs)
    values = np.random.default_rng(0).normal(size=len(cells.points))
    at = cells.nearest(octaves(designs, REFERENCE))
    np.testing.assert_allclose(weights @ values, values[at], atol=1e-6)
    assert np.abs(root).max() < 1e-3
    centre = np.tile(cells.centre, (5, 1))
    beyond = Designs(designs.domains, centre, 4e8 * 2.0 ** np.arange(5), np.full(5, 16e9))
    spread = np.sqrt((cells.extend(beyond)[1] ** 2).sum(1))
    assert (np.diff(spread) > 0).all()
    far = Designs(designs.domains, centre[:1], np.array([4e8 * 2**9]), np.array([16e9]))
    # variance grows by one an octave
    assert (cells.extend(far)[1] ** 2).sum() == pytest.approx(9, rel=0.15)


def test_designs_beyond_the_runs_are_moved_to_where_these_end() -> None:
    found = table()
    designs, cells = found.designs, found.cells
    np.testing.assert_array_equal(cells.clipped(designs).params, designs.params)
    sizes = np.array([[1e7, 6e9], [2e8, 64e9], [5e9, 1e8]])
    clipped = cells.clipped(Designs(designs.domains, np.tile(cells.centre, (3, 1)), *sizes.T))
    np.testing.assert_array_equal(clipped.params, [1e8, 2e8, 4e8])
    np.testing.assert_array_equal(clipped.tokens, [6e9, 16e9, 2e9])


def test_beyond_the_runs_the_surface_stays_what_it_is_at_their_edge() -> None:
    """How far laws miss there is in t; runs that end early lack what the curve says, there too."""
    found = table()
    cells, rng = found.cells, np.random.default_rng(0)
    sites = {
        "drift_surface": rng.normal(0, 0.01, (4, 1, len(cells.points))),
        "drift_schedule": rng.normal(0.01, 0.001, (4, 1, len(cells.ends) - 1)),
        "drift_beyond": np.full((4, 1), 0.3),
    }
    sizes = np.array([[4e8, 16e9], [3e9, 16e9], [4e8, 64e9], [3e9, 64e9], [3e9, 64e9]])
    designs = Designs(found.designs.domains, np.tile(cells.centre, (5, 1)), *sizes.T)
    octaves_left, nothing = np.array([0.0, 0.0, 0.0, 0.0, 1.0]), np.zeros((4, 5, 1))
    scale = np.full((4, 1), 0.01)
    common = surface(cells, sites, scale, nothing, designs, octaves_left, seed=1)
    np.testing.assert_allclose(common[:, :4], np.broadcast_to(common[:, :1], (4, 4, 1)), rtol=1e-6)
    one = sites["drift_schedule"] @ cells.before_end(np.ones(1)).T
    np.testing.assert_allclose(common[:, 4] - common[:, 3], one[..., 0], atol=1e-12)
    fallen = surface(cells, sites, scale, nothing + 0.1, designs, octaves_left, seed=1)
    np.testing.assert_allclose(1 + fallen, (1 + common) * np.exp(0.03))


def test_runs_of_the_same_checkpoints_are_one_pattern() -> None:
    found = table()
    misfit = found.misfit(pad=True)
    patterns = len(set(np.asarray(misfit.pattern)[np.asarray(misfit.present) > 0]))
    assert patterns == 9  # standard errors relative to the loss differ
    assert np.shape(misfit.late)[0] % 4 == 0
    same = found._replace(loss=np.full_like(found.loss, 2.7)).misfit()
    alike = {
        tuple(
            sorted(
                zip(
                    *(
                        v[found.train_run == g]
                        for v in (found.designs.params, found.designs.tokens)
                    ),
                    strict=True,
                )
            )
        )
        for g in range(9)
    }
    assert len(np.asarray(same.late)) == len(alike) < 9


def test_cells_are_merged_where_there_would_be_too_many() -> None:
    rng = np.random.default_rng(0)
    designs = Designs(
        (), np.empty((500, 0)), 10 ** rng.uniform(7, 10, 500), 10 ** rng.uniform(9, 12, 500)
    )
    cells = Cells.of(designs, np.zeros(500), Scale(3e8, 3e10), np.empty(0))
    assert len(cells.points) <= 64
    nothing, one = np.zeros(500), np.ones((500, 1))
    misfit = cells.misfit(designs, nothing, nothing, np.arange(500), one, 0 * one, pad=True)
    assert misfit.root.shape[1] % 8 == 0
