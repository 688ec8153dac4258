"""Cells, patterns of checkpoints and coefficients at which runs inform the discrepancy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from bayesmix.design import Designs, Scale
from bayesmix.model.brownian import (
    MOST_STEPS,
    BrownianPath,
    brownian,
    law_bends,
    octaves,
    square_root,
)
from bayesmix.runtime.compute import padded

MOST_CELLS = 64


MOST_DIRECTIONS = 8


WANDERS = 0.5
"""Standard deviation of the schedule curve at one octave, relative to its mean √u."""


SCHEDULE = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Knots of the schedule curve, in octaves before the end of a run; it is flat beyond the last."""


LEAST = 8
"""Smallest padded number of cells and of patterns.

Padding lets tables of similar size share a compiled program.
"""


SINGULAR = 1e-9


LEVEL = 10.0
"""Prior standard deviation of the level of the surface: any large number.

Orthogonality to a constant removes the level.
"""


RATIO = 2.0
"""Largest ratio of the losses of two mixtures at one scale; larger ratios are clipped to it."""


class Misfit(NamedTuple):
    """Padded arrays of discrepancy and run effects for the likelihood of one table.

    Training runs measured at the same sizes, tokens and targets, with the same standard errors,
    form a pattern.
    """

    cell: jax.Array  # (run) position of the cell of every row
    remaining: jax.Array  # (run, knot) share of each piece of the curve between row and run end
    passed: jax.Array  # (run, step) share of each piece of the paths between reference and row
    rows: jax.Array  # (group, checkpoint) positions of the rows of every training run
    pattern: jax.Array  # (group) of every training run
    present: jax.Array  # (group) 1 for a training run, 0 for padding
    psi: jax.Array  # (group, direction) ψⱼ(h) of every training run
    ratio: jax.Array  # (group, target) measured approximation of L(N, D, h̄)/L(N, D, h)
    common: jax.Array  # (pattern, checkpoint, coefficient) of surface and curve, whitened
    apart: jax.Array  # (pattern, checkpoint, step) of the paths, whitened
    observed: jax.Array  # (pattern, checkpoint, target) whether it was measured
    late: jax.Array  # (pattern, checkpoint) log D/D₀
    loss_se: jax.Array  # (pattern, checkpoint, target) standard error, as a fraction of the loss
    root: jax.Array  # (cell, coefficient) from whitened coefficients to f at the cells, for s = 1
    rise: jax.Array  # (knot) mean rise of each piece of the curve, for s_c = 1
    width: jax.Array  # (knot) standard deviation of that rise
    length: jax.Array  # (step) octaves of each piece of the paths

    def target(self, targets: slice) -> Misfit:
        """The arrays of the given targets."""
        return self._replace(
            ratio=self.ratio[:, targets],
            observed=self.observed[..., targets],
            loss_se=self.loss_se[..., targets],
        )


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of the surface, directions of mixtures, and knots of the paths and of the curve.

    The runs inform the discrepancy there.

    Attributes:
        scale: N₀ and D₀.
        centre: h̄ (domain).
        width: rounding of the cells in octaves.
        points: cells (cell, 2) in octaves from the reference.
        directions: (domain, direction) so that ψ = (h − h̄) @ directions.
        along: knots of the paths in log N and in log D.
        ends: knots of the curve of unfinished runs, in octaves before the end, from 0.
        low, high: smallest and largest fitted N and D (2).
        orthogonal: whether the surface is orthogonal to the derivatives of a law in its parameters.
    """

    scale: Scale
    centre: np.ndarray
    width: float
    points: np.ndarray
    directions: np.ndarray
    along: tuple[BrownianPath, BrownianPath]
    ends: np.ndarray
    low: np.ndarray
    high: np.ndarray
    orthogonal: bool = True

    @classmethod
    def of(
        cls,
        designs: Designs,
        octaves_left: np.ndarray,
        scale: Scale,
        centre: np.ndarray,
        orthogonal: bool = True,
    ) -> Cells:
        """Cells of the given runs, merged where there would be too many.

        Args:
            designs: designs of the runs.
            octaves_left: octaves (run) from each row to the end of its run's schedule.
            scale: N₀ and D₀.
            centre: h̄ (domain).
            orthogonal: as in `Discrepancy`.
        """
        x = octaves(designs, scale)
        for width in (0.02, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0):
            points = np.unique(np.round(x / width), axis=0) * width
            if len(points) <= MOST_CELLS:
                break
        ends = np.unique(np.minimum(SCHEDULE, octaves_left.max(initial=0.0)))
        sizes = np.stack([designs.params, designs.tokens], axis=1)
        along = BrownianPath.of(x[:, 0]), BrownianPath.of(x[:, 1])
        directions = _directions(designs.mixture)
        return cls(
            scale,
            centre,
            width,
            points,
            directions,
            along,
            ends,
            sizes.min(0),
            sizes.max(0),
            orthogonal,
        )

    def misfit(
        self,
        designs: Designs,
        octaves_left: np.ndarray,
        late: np.ndarray,
        train_run: np.ndarray,
        loss: np.ndarray,
        loss_se: np.ndarray,
        pad: bool,
    ) -> Misfit:
        """Arrays of the likelihood.

        Args:
            designs: designs of the runs.
            octaves_left: octaves (run) from each row to the end of its run's schedule.
            late: log D/D₀ (run) for the noise; see `Reference.late`.
            train_run: position (run) of the training run of each row.
            loss: measured losses (run, target), NaN where there is none.
            loss_se: standard errors (run, target).
            pad: whether to round sizes up, so that tables of similar size share a compiled program.
        """
        x = octaves(designs, self.scale)
        cell, remaining = self.nearest(x), self.before_end(octaves_left)
        rows, counts = _checkpoints(train_run, x)
        real = np.arange(rows.shape[1]) < counts[:, None]
        observed = np.isfinite(loss[rows]) & real[..., None]
        relative = np.where(observed, loss_se[rows] / np.where(observed, loss[rows], 1.0), 0.0)
        signature = [
            np.where(real, v[rows], -np.inf) for v in (designs.params, designs.tokens, octaves_left)
        ]
        flat = np.concatenate(
            [*signature, *(v.reshape(len(rows), -1) for v in (observed, relative))], axis=1
        )
        _, first, pattern = np.unique(flat, axis=0, return_index=True, return_inverse=True)
        psi = (designs.mixture[rows[:, 0]] - self.centre) @ self.directions
        inside = self.inside & bool(psi.shape[1])  # no paths when all mixtures are the same

        def full(size: int, minimum: int) -> int:
            # no array is empty
            return padded(size, minimum if size else 1) if pad else max(size, 1)

        runs, groups, patterns = (
            full(len(designs), 32),
            full(len(rows), 32),
            full(len(first), LEAST),
        )
        checkpoints, cells = full(rows.shape[1], 1), full(len(self.points), LEAST)
        knots, steps = (
            full(len(self.ends) - 1, len(SCHEDULE) - 1),
            full(int(inside.sum()), 2 * MOST_STEPS),
        )
        root = _filled(self.root, cells, cells)
        remaining, passed = (
            _filled(remaining, runs, knots),
            _filled(self.passed(x)[:, inside], runs, steps),
        )
        example = rows[first]  # (pattern, checkpoint): the rows of one run of each pattern
        arrays: Any = dict(
            cell=_filled(cell, runs),
            remaining=remaining,
            passed=passed,
            rows=_filled(rows, groups, checkpoints),
            pattern=_filled(pattern.reshape(-1), groups),
            present=_filled(np.ones(len(rows)), groups),
            psi=_filled(psi, groups, max(psi.shape[1], 1)),
            ratio=_filled(_ratios(loss, cell, rows, observed), groups, value=1.0),
            common=_filled(
                np.concatenate([root[cell[example]], remaining[example]], axis=2),
                patterns,
                checkpoints,
            ),
            apart=_filled(passed[example], patterns, checkpoints),
            observed=_filled(observed[first], patterns, checkpoints),
            late=_filled(late[example], patterns, checkpoints),
            loss_se=_filled(relative[first], patterns, checkpoints),
            root=root,
            rise=_filled(np.diff(np.sqrt(self.ends)), knots),
            width=_filled(WANDERS * np.sqrt(np.diff(self.ends)), knots, value=1.0),
            length=_filled(self.steps[inside], steps, value=1.0),
        )
        # NumPy arrays, which JAX converts, in its current precision, where they are used
        return Misfit(**arrays)

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """Position (run) of the cell nearest to each point (run, 2) in octaves."""
        return np.argmin(np.linalg.norm(x[:, None] - self.points[None], axis=2), axis=1)

    def before_end(self, octaves_left: np.ndarray) -> np.ndarray:
        """Share (run, knot) of each piece of the schedule curve between a row and its run's end."""
        return np.clip((octaves_left[:, None] - self.ends[:-1]) / np.diff(self.ends), 0.0, 1.0)

    def passed(self, x: np.ndarray) -> np.ndarray:
        """Share (run, step) of each piece of the paths between the reference and a point.

        Args:
            x: points (run, 2) in octaves.
        """
        return np.concatenate(
            [path.passed(x[:, axis]) for axis, path in enumerate(self.along)], axis=1
        )

    @property
    def inside(self) -> np.ndarray:
        """Whether each piece (step) of the paths lies inside the range of the runs."""
        return np.concatenate([path.inside for path in self.along])

    @property
    def steps(self) -> np.ndarray:
        """Length in octaves of each piece (step) of the paths."""
        return np.concatenate([path.length for path in self.along])

    def basis(self, designs: Designs) -> np.ndarray:
        """Basis (run, direction × step) of the paths at the given designs.

        An entry is ψⱼ(h) times the share of a piece of the paths between reference and design.
        """
        psi = (designs.mixture - self.centre) @ self.directions
        passed = self.passed(octaves(designs, self.scale))
        return (psi[:, :, None] * passed[:, None, :]).reshape(len(designs), -1)

    def slopes(self, scale: Scale) -> np.ndarray:
        """Gradient of `basis` in the mixture (domain, direction × step), at one scale."""
        point = np.log2([[scale.params / self.scale.params, scale.tokens / self.scale.tokens]])
        passed = self.passed(point)[0]
        return (self.directions[:, :, None] * passed).reshape(len(self.directions), -1)

    def clipped(self, designs: Designs) -> Designs:
        """The designs moved to the nearest fitted N and D."""
        params, tokens = np.clip(
            np.stack([designs.params, designs.tokens], axis=1), self.low, self.high
        ).T
        return Designs(designs.domains, designs.mixture, params, tokens, designs.ids)

    @property
    def moves(self) -> bool:
        """Whether the discrepancy differs between any two of the runs."""
        paths = self.directions.shape[1] and self.inside.any()
        return bool(self.root.shape[1] or len(self.ends) > 1 or paths)

    @cached_property
    def root(self) -> np.ndarray:
        """Square root (cell, coefficient) of the covariance of the surface at the cells.

        It maps whitened coefficients to the surface, for s = 1.
        """
        covariance = self._covariance(self.points, self.points)
        if self.orthogonal:
            # K − K B (Bᵀ K B)⁺ Bᵀ K, with B the derivatives of a law at the cells
            bends = covariance @ law_bends(self.points)
            gram = law_bends(self.points).T @ bends
            covariance = (
                covariance - bends @ np.linalg.pinv(gram, rcond=SINGULAR, hermitian=True) @ bends.T
            )
        values, vectors = np.linalg.eigh(covariance)
        keep = values > SINGULAR * LEVEL**2
        return vectors[:, keep] * np.sqrt(values[keep])

    def extend(self, designs: Designs) -> tuple[np.ndarray, np.ndarray]:
        """Conditional distribution of the surface at new designs, given its values at the cells.

        f(new) = weights @ f(cells) + s · root @ ξ with ξ standard normal: kriging, exact for a
        Brownian surface. Given the values at all cells, the condition of orthogonality is met and
        has no further effect.

        Returns:
            The weights (run, cell) and the root (run, run) of the conditional covariance.
        """
        x = octaves(designs, self.scale)
        cell = self.nearest(x)
        new = np.flatnonzero((np.abs(x - self.points[cell]) > 0.5 * self.width + 1e-9).any(axis=1))
        weights, root = np.eye(len(self.points))[cell], np.zeros((len(x), len(x)))
        factor = np.linalg.cholesky(
            self._covariance(self.points, self.points) + 1e-9 * np.eye(len(self.points))
        )
        half = np.linalg.solve(factor, self._covariance(x[new], self.points).T)
        weights[new] = np.linalg.solve(factor.T, half).T
        root[np.ix_(new, new)] = square_root(self._covariance(x[new], x[new]) - half.T @ half)
        return weights, root

    def _covariance(self, x: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Covariance of W between points (point, 2), before the condition of orthogonality.

        With that condition the level of W is free, without it W is 0 at (0, 0).
        """
        return brownian(x, other) + (LEVEL**2 if self.orthogonal else 0.0)


def _filled(array: np.ndarray, *sizes: int, value: float = 0.0) -> np.ndarray:
    """The array with its first axes filled up to the given sizes."""
    padding = [(0, size - now) for size, now in zip(sizes, array.shape, strict=False)]
    return np.pad(array, padding + [(0, 0)] * (array.ndim - len(padding)), constant_values=value)


def _checkpoints(train_run: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (group, checkpoint) of every training run, ordered by N and D, and counts (group)."""
    _, counts = np.unique(train_run, return_counts=True)
    order = np.lexsort((x[:, 1], x[:, 0], train_run))
    place = np.concatenate([np.arange(n) for n in counts])
    rows = np.zeros((len(counts), int(counts.max(initial=1))), int)
    rows[train_run[order], place] = order
    return rows, counts


def _ratios(
    loss: np.ndarray, cell: np.ndarray, rows: np.ndarray, observed: np.ndarray
) -> np.ndarray:
    """Measured ratio (group, target) of the mean loss at a training run's scales to its own."""
    with np.errstate(invalid="ignore"):
        log_loss = np.log(loss)
    measured = np.isfinite(log_loss)
    sums, counts = (np.zeros((cell.max(initial=0) + 1, loss.shape[1])) for _ in range(2))
    np.add.at(sums, cell, np.where(measured, log_loss, 0.0))
    np.add.at(counts, cell, measured)
    log_ratio = np.where(
        observed,
        (sums / np.maximum(counts, 1))[cell[rows]] - np.where(measured, log_loss, 0.0)[rows],
        0.0,
    )
    mean = log_ratio.sum(axis=1) / np.maximum(observed.sum(axis=1), 1)
    return np.exp(np.clip(mean, -math.log(RATIO), math.log(RATIO)))


def _directions(mixture: np.ndarray) -> np.ndarray:
    """Principal directions (domain, direction) of the distinct mixtures, of total variance 1."""
    distinct = np.unique(mixture, axis=0)
    if mixture.shape[1] < 2 or len(distinct) < 2:
        return np.zeros((mixture.shape[1], 0))
    _, spread, axes = np.linalg.svd(distinct - distinct.mean(0), full_matrices=False)
    spread = spread / math.sqrt(len(distinct))
    keep = spread[: min(MOST_DIRECTIONS, mixture.shape[1] - 1)] > 1e-3 * spread[0]
    count = int(keep.sum())
    return axes[:count].T / (spread[:count] * math.sqrt(count))
