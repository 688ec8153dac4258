"""`Drift`: how the law itself is wrong away from the middle of the runs.

A law is a guess with a handful of parameters. Where it is wrong, it is wrong for all the checkpoints of one size alike,
so thousands of rows tell little more about its exponents than a few dozen cells (N, D) do. The drift has two parts:

* one that moves all mixtures alike: a Brownian surface over (log₂ N, log₂ D), with one value a cell;
* one that moves mixtures apart: a Brownian path in log₂ N for every direction in which the mixtures of the runs differ.

Both are zero at the reference, are pinned by the runs where there are any, and go on beyond them, so that bands widen
with every octave nobody has trained. The first cannot change which mixture is best; the second can.

Among the runs the law was free to bend, so what it misses there understates how wrong it is where nothing was fitted.
Beyond the runs a further surface is added, of which they tell nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import cho_solve, solve_triangular

from bayesmix.compute import padded
from bayesmix.design import Designs, Scale

MOST_CELLS = 64
MOST_DIRECTIONS = 8
MOST_STEPS = 6
OCTAVES_AROUND = 12
"""How many octaves beyond the fitted sizes the paths that move mixtures apart are prepared for."""
PADDING = 8
LOST = 1e-10
"""Share of a sum of squares below which a difference of two such sums is rounding."""

Theta = Mapping[str, jax.Array]


@dataclass(frozen=True)
class Drift:
    """Expected loss = L(N, D, h) (1 + f(N, D) + g(N, D)) + L(N, D, h̄) Σⱼ ψⱼ(h) wⱼ(N).

    f = s W with W a Brownian surface over x = (log₂ N/N₀, log₂ D/D₀), E(W(x) − W(x'))² = |x − x'|; g = s_b V with V
    another one over the way from the fitted sizes to x, zero between their smallest and largest N and D; wⱼ Brownian
    paths over log₂ N/N₀ with standard deviation s_h an octave; ψⱼ the principal directions in which mixtures differ,
    scaled so that a typical mixture of the runs has Σ ψⱼ² = 1.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | s | `drift` | () | > 0 | – | standard deviation over one octave of what moves all mixtures alike, a fraction |
    | s_b | `drift_far` | () | > 0 | – | what one octave beyond the runs adds to it; the runs say nothing of it |
    | s_h | `drift_mix` | () | > 0 | – | standard deviation over one octave of N of what moves a typical mixture apart |

    Given s, s_h and the other parameters f and w are Gaussian: they are integrated out of the likelihood, and drawn
    afterwards.
    """

    name: ClassVar[str] = "drift"

    def priors(self) -> dict[str, dist.Distribution]:
        """0.4 % an octave among the runs and 0.6 % more beyond, 0.1 % between mixtures, within a factor of 2 or 3."""
        return {
            "drift": dist.LogNormal(math.log(0.004), 0.7),
            "drift_far": dist.LogNormal(math.log(0.006), 0.5),
            "drift_mix": dist.LogNormal(math.log(0.001), 0.7),
        }


class Misfit(NamedTuple):
    """A drift and run effects as the likelihood of one table reads them: arrays by training run, padded."""

    rows: jax.Array  # (group, checkpoint) positions of the rows of every training run
    real: jax.Array  # (group, checkpoint) 1 where there is such a row
    in_cell: jax.Array  # (group, checkpoint, cell) 1 for the cell (N, D) of the row
    cell: jax.Array  # (run) position of the cell of every row
    root: jax.Array  # (cell, cell) Cholesky factor of the covariance of W
    basis: jax.Array  # (group, path) ψⱼ times the share of each increment of wⱼ between the reference and the run
    length: jax.Array  # (path) octaves of each increment
    group: jax.Array  # (run) position of the training run


class Draws(NamedTuple):
    """Values of the drift that belong to posterior draws."""

    surface: jax.Array  # (cell) f at the cells of the runs
    paths: jax.Array  # (path) increments of wⱼ inside the runs


class Errors(NamedTuple):
    """How far the measured losses of one target are from the law."""

    error: jax.Array  # (run) y/L − 1
    ratio: jax.Array  # (run) L(N, D, h̄)/L(N, D, h)
    variance: jax.Array  # (run) of the jitter of each row, infinite where nothing was observed
    shared: jax.Array  # (group) variance of the effect that the rows of each training run share


def marginal_log_prob(theta: Theta, errors: Errors, misfit: Misfit) -> jax.Array:
    """Log density of the errors of one target with drift and run effects integrated out.

    It is −∞ where the errors that remain are lost to rounding beside those the drift explains: such a drift is larger
    than any loss, and what is left of the difference, of either sign, would draw the sampler there.

    Args:
        theta: `drift` and `drift_mix`.
        errors: of the law.
        misfit: the table's arrays.
    """
    system = _system(theta, errors, misfit)
    half = solve_triangular(system.factor, system.score, lower=True)
    log_det = system.log_det + 2 * jnp.sum(jnp.log(jnp.diag(system.factor)))
    square = system.square - half @ half
    log_prob = -0.5 * (square + log_det + system.measured * math.log(2 * math.pi))
    return jnp.where(square >= LOST * system.square, log_prob, -jnp.inf)


def draw(theta: Theta, errors: Errors, misfit: Misfit, key: jax.Array) -> Draws:
    """One draw of the drift given the errors of the law; arguments as in `marginal_log_prob`."""
    system = _system(theta, errors, misfit)
    mean = cho_solve((system.factor, True), system.score)
    scatter = solve_triangular(system.factor.T, jax.random.normal(key, mean.shape), lower=False)
    return _scaled(theta, misfit, mean + scatter)


def draw_prior(theta: Theta, misfit: Misfit, key: jax.Array) -> Draws:
    """One draw of the drift before any run is seen."""
    return _scaled(theta, misfit, jax.random.normal(key, (misfit.root.shape[0] + misfit.length.shape[0],)))


def effect(draws: Draws, loss: jax.Array, reference_loss: jax.Array, misfit: Misfit) -> jax.Array:
    """What the drift adds to the law's losses (run), given those of the reference mixture at the same scales."""
    return loss * draws.surface[misfit.cell] + reference_loss * (misfit.basis @ draws.paths)[misfit.group]


def _scaled(theta: Theta, misfit: Misfit, coefficients: jax.Array) -> Draws:
    surface, paths = jnp.split(coefficients, [misfit.root.shape[0]])
    return Draws(theta["drift"] * (misfit.root @ surface), theta["drift_mix"] * jnp.sqrt(misfit.length) * paths)


class _System(NamedTuple):
    """Normal equations of the whitened coefficients of the drift, I + RᵀAR = F Fᵀ."""

    factor: jax.Array
    score: jax.Array
    square: jax.Array
    log_det: jax.Array
    measured: jax.Array


def _system(theta: Theta, errors: Errors, misfit: Misfit) -> _System:
    """Woodbury twice: run effects are integrated out of each training run, then the coefficients of all rows.

    A training run with precisions p and shared variance τ² has V⁻¹ = diag(p) − f p pᵀ, f = τ²/(1 + τ² Σp). All its
    checkpoints have the same N and h, so nothing larger than (group, coefficient) is multiplied.
    """
    seen = jnp.isfinite(errors.variance[misfit.rows]) & (misfit.real > 0)
    p = jnp.where(seen, 1 / jnp.where(seen, errors.variance[misfit.rows], 1.0), 0.0)
    e = jnp.where(seen, errors.error[misfit.rows], 0.0)
    ratio = errors.ratio[misfit.rows]
    by_cell, tilted = (jnp.einsum("gc,gck->gk", v, misfit.in_cell) for v in (p, p * ratio))

    def total(values: jax.Array) -> jax.Array:
        return jnp.sum(values, axis=1)

    weight, pull = total(p), total(p * e)
    f = errors.shared / (1 + errors.shared * weight)
    lean, lean_square, lean_pull = total(p * ratio), total(p * ratio**2), total(p * ratio * e)
    basis = misfit.basis
    # precision matrix and score of surface and paths
    surface = jnp.diag(by_cell.sum(0)) - by_cell.T @ (f[:, None] * by_cell)
    cross = (tilted - (f * lean)[:, None] * by_cell).T @ basis
    paths = basis.T @ ((lean_square - f * lean**2)[:, None] * basis)
    to_surface = jnp.einsum("gc,gck->k", p * e, misfit.in_cell) - by_cell.T @ (f * pull)
    to_paths = basis.T @ (lean_pull - f * lean * pull)
    # whitened by the prior
    root, scale = theta["drift"] * misfit.root, theta["drift_mix"] * jnp.sqrt(misfit.length)
    corner = root.T @ cross * scale
    inner = jnp.block([[root.T @ surface @ root, corner], [corner.T, scale[:, None] * paths * scale]])
    factor = jnp.linalg.cholesky(jnp.eye(inner.shape[0]) + 0.5 * (inner + inner.T))
    log_det = jnp.sum(jnp.log1p(errors.shared * weight)) - jnp.sum(
        jnp.where(seen, jnp.log(jnp.where(seen, p, 1.0)), 0.0)
    )
    score = jnp.concatenate([root.T @ to_surface, scale * to_paths])
    return _System(factor, score, jnp.sum(p * e**2) - jnp.sum(f * pull**2), log_det, jnp.sum(seen))


@dataclass(frozen=True, eq=False)
class Cells:
    """Where the runs pin the drift: cells of the surface, directions of mixtures, knots of the paths.

    Attributes:
        scale: N₀ and D₀.
        centre: h̄ (domain).
        width: rounding of the cells in octaves.
        points: cells (cell, 2) in octaves from the reference.
        directions: (domain, direction) so that ψ = (h − h̄) @ directions.
        knots: of the paths, in octaves from the reference, ascending, beyond the runs too.
        inside: whether each increment between knots is inside the runs (increment).
    """

    scale: Scale
    centre: np.ndarray
    width: float
    points: np.ndarray
    directions: np.ndarray
    knots: np.ndarray
    inside: np.ndarray

    @classmethod
    def of(cls, designs: Designs, scale: Scale, centre: np.ndarray) -> Cells:
        """The cells of the given runs; cells are merged where there would be too many."""
        x = octaves(designs, scale)
        for width in (0.02, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0):
            points = np.unique(np.round(x / width), axis=0) * width
            if len(points) <= MOST_CELLS:
                break
        knots, inside = _knots(x[:, 0])
        return cls(scale, centre, width, points, _directions(designs.mixture), knots, inside)

    def misfit(self, designs: Designs, train_run: np.ndarray, pad: bool) -> Misfit:
        """The arrays of the likelihood for runs of these designs and training runs (run)."""
        cell = self.nearest(octaves(designs, self.scale))
        _, first, counts = np.unique(train_run, return_index=True, return_counts=True)
        groups, most = padded(len(first)) if pad else len(first), int(counts.max(initial=1))
        rows, real = np.zeros((groups, most), int), np.zeros((groups, most))
        order = np.argsort(train_run, kind="stable")
        place = np.concatenate([np.arange(n) for n in counts])
        rows[train_run[order], place], real[train_run[order], place] = order, 1.0
        cells = _grown(len(self.points), pad)
        root = np.eye(cells)
        root[: len(self.points), : len(self.points)] = self._root
        inside = np.tile(self.inside, self.directions.shape[1])
        length = np.tile(np.diff(self.knots), self.directions.shape[1])[inside]
        paths = _grown(len(length), pad)
        basis = np.zeros((groups, paths))
        basis[: len(first), : len(length)] = self.basis(designs.take(first))[:, inside]
        extra = padded(len(designs)) - len(designs) if pad else 0
        arrays: Any = (
            rows,
            real,
            np.eye(cells)[cell[rows]] * real[..., None],
            np.pad(cell, (0, extra)),
            root,
            basis,
            np.pad(length, (0, paths - len(length)), constant_values=1.0),
            np.pad(train_run, (0, extra)),
        )
        return Misfit(*arrays)  # NumPy arrays: they become JAX's, in its precision, where they are used

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """Position (run) of the cell nearest to each point (run, 2) in octaves."""
        return np.argmin(np.linalg.norm(x[:, None] - self.points[None], axis=2), axis=1)

    def basis(self, designs: Designs) -> np.ndarray:
        """ψⱼ(h) times the share of every increment of wⱼ between the reference and the design (run, path)."""
        psi = (designs.mixture - self.centre) @ self.directions
        passed = _passed(octaves(designs, self.scale)[:, 0], self.knots) - _passed(np.zeros(1), self.knots)
        return (psi[:, :, None] * passed[:, None, :]).reshape(len(designs), -1)

    def slopes(self, params: float) -> np.ndarray:
        """How every increment tilts the loss at one size over the weights (domain, path)."""
        at = np.log2([params / self.scale.params])
        passed = _passed(at, self.knots)[0] - _passed(np.zeros(1), self.knots)[0]
        return (self.directions[:, :, None] * passed).reshape(len(self.directions), -1)

    @property
    def moves(self) -> bool:
        """Whether the drift differs between any two of the runs."""
        return len(self.points) > 1 or bool(self.inside.any())

    @cached_property
    def _root(self) -> np.ndarray:
        return np.linalg.cholesky(brownian(self.points, self.points) + 1e-9 * np.eye(len(self.points)))

    def extend(self, designs: Designs) -> tuple[np.ndarray, np.ndarray]:
        """The surface at new designs given its values at the cells: weights (run, cell) and covariance root (run, run).

        f(new) = weights @ f(cells) + s · root @ ξ with ξ standard normal: kriging, exact for a Brownian surface.
        """
        x = octaves(designs, self.scale)
        nearest = self.points[self.nearest(x)]
        x = np.where((np.abs(x - nearest) <= 0.5 * self.width + 1e-9).all(1)[:, None], nearest, x)
        cross = brownian(x, self.points)
        half = np.linalg.solve(self._root, cross.T)
        weights = np.linalg.solve(self._root.T, half).T
        return weights, _square_root(brownian(x, x) - half.T @ half)

    def beyond(self, designs: Designs) -> np.ndarray:
        """Covariance root (run, run) of V at the designs."""
        x = octaves(designs, self.scale)
        half = 0.5 * self.width  # cells are rounded
        outside = x - np.clip(x, self.points.min(axis=0) - half, self.points.max(axis=0) + half)
        return _square_root(brownian(outside, outside))


def _square_root(covariance: np.ndarray) -> np.ndarray:
    """A matrix whose product with its transpose is the covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def octaves(designs: Designs, scale: Scale) -> np.ndarray:
    """log₂ N/N₀ and log₂ D/D₀ (run, 2)."""
    return np.log2(np.stack([designs.params / scale.params, designs.tokens / scale.tokens], axis=1))


def brownian(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Covariance of Lévy's Brownian surface between points (point, 2): ½(|x| + |x'| − |x − x'|)."""
    norm, norm_other = np.linalg.norm(x, axis=1), np.linalg.norm(other, axis=1)
    return 0.5 * (norm[:, None] + norm_other[None] - np.linalg.norm(x[:, None] - other[None], axis=2))


def _grown(size: int, pad: bool) -> int:
    """At least one, so that no array is empty."""
    return -(-max(size, 1) // PADDING) * PADDING if pad else max(size, 1)


def _knots(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of the runs, at most a few, and one knot an octave beyond them; increments inside the runs."""
    sizes = np.unique(np.round(x, 2))
    if len(sizes) > MOST_STEPS + 1:
        sizes = np.linspace(sizes[0], sizes[-1], MOST_STEPS + 1)
    around = np.arange(1, OCTAVES_AROUND + 1)
    knots = np.concatenate([sizes[0] - around[::-1], sizes, sizes[-1] + around])
    inside = np.zeros(len(knots) - 1, bool)
    inside[OCTAVES_AROUND : OCTAVES_AROUND + len(sizes) - 1] = True
    return knots, inside


def _passed(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Which share of each increment lies below x (run, increment)."""
    return np.clip((x[:, None] - knots[:-1]) / np.diff(knots), 0.0, 1.0)


def _directions(mixture: np.ndarray) -> np.ndarray:
    """Principal directions of the distinct mixtures (domain, direction), scaled to a total variance of 1."""
    distinct = np.unique(mixture, axis=0)
    if mixture.shape[1] < 2 or len(distinct) < 2:
        return np.zeros((mixture.shape[1], 0))
    _, spread, axes = np.linalg.svd(distinct - distinct.mean(0), full_matrices=False)
    spread = spread / math.sqrt(len(distinct))
    keep = spread[: min(MOST_DIRECTIONS, mixture.shape[1] - 1)] > 1e-3 * spread[0]
    count = int(keep.sum())
    return axes[:count].T / (spread[:count] * math.sqrt(count))
