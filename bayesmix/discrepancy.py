"""`Discrepancy`: how the law itself is wrong, among the runs and beyond them.

A law is a guess with a handful of parameters. Where it is wrong, it is wrong for all runs of one size and length alike,
so thousands of rows tell little more about its exponents than a few dozen cells (N, D) do. The discrepancy has four
parts:

* a surface over (log N, log D) that moves all mixtures alike. It is orthogonal to what a law can bend to, so that it
  cannot do the law's work: where the law fits nothing is left for it to say, and beyond the runs the law goes on;
* paths in log N and in log D that move mixtures apart;
* a curve that all unfinished runs share: a checkpoint before the end of its schedule is worse than a run that was
  planned for so many tokens;
* beyond the runs, a share of the law's own further fall, of which the runs say nothing but how far the same law, fitted
  to the smaller of them, would have missed the larger ones.

The first, third and fourth cannot change which mixture is best; the second can.
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

from bayesmix.brownian import MOST_STEPS, BrownianPath, brownian, law_bends, octaves, square_root
from bayesmix.compute import padded
from bayesmix.design import Designs, Scale

MOST_CELLS = 64
MOST_DIRECTIONS = 8
WANDERS = 0.5
"""Standard deviation of what the curve strays from its mean √u at one octave, relative to that."""
SCHEDULE = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Knots of the curve of unfinished runs, in octaves before their end; it is flat beyond the last."""
LEAST = 8
"""Cells and patterns are padded to at least so many, so that tables of similar size share a compiled program."""
LOST = 1e-10
"""Share of a sum of squares below which a difference of two such sums is rounding."""
SINGULAR = 1e-9
LEVEL = 10.0
"""Standard deviation of the surface's own level, which orthogonality to 1 takes away: any large number."""
RATIO = 2.0
"""Largest ratio of losses of two mixtures at one scale that is taken for real."""

Theta = Mapping[str, jax.Array]


@dataclass(frozen=True)
class Discrepancy:
    """Expected loss = L(N, D, h) (1 + f(N, D) + c(u)) e^(t φ(N, D)) + L(N, D, h̄) Σⱼ ψⱼ(h) (wⱼ(N) + vⱼ(D)).

    f = s W with W a Brownian surface of any level over (x, y) = (log₂ N/N₀, log₂ D/D₀), E(W(x, y) − W(x', y'))² the
    distance of the two points, conditioned to be orthogonal, over the cells of the runs, to what a law can bend to;
    c = s_c (√u + ½ V(u)) with u the octaves that are left to the end of the run's schedule and V a Brownian path,
    linear between a few knots: an unfinished run is hardly ever better than a finished one; wⱼ and vⱼ Brownian paths
    over x and y with standard deviation s_h an octave, linear between a few knots; ψⱼ the principal directions in which
    mixtures differ, scaled so that a typical mixture of the runs has Σ ψⱼ² = 1; φ = log L(N̂, D̂, h̄) − log L(N, D, h̄)
    the law's own fall from the nearest fitted N and D to the design;
    t Normal(0, s_t²).

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | s | `drift` | () | > 0 | – | standard deviation over one octave of what moves all mixtures alike, a fraction |
    | s_h | `drift_mix` | () | > 0 | – | standard deviation over an octave of N or D of what moves mixtures apart |
    | s_c | `schedule` | () | > 0 | – | what a run lacks one octave before its end, a fraction |
    | s_t | `extrapolation` | () | > 0 | – | by which share of its own fall beyond the runs the law is wrong |

    Given the scales and the other parameters f, c, w and v are Gaussian: they are integrated out of the likelihood, and
    drawn afterwards.

    Args:
        orthogonal: whether f is orthogonal to what a law can bend to. False lets it compete with the law, which then
            loses its trend to f and gives it up beyond the runs; it is there for comparison.
        prequential: whether the prior of s_t learns from how far the same law, fitted to the smaller runs alone, would
            have missed the larger ones; see `inference.prequential`.

    Source: Plumlee 2017, "Bayesian calibration of inexact computer models", Journal of the American Statistical
    Association 112, 1274–1285, for the orthogonality; the rest is ours.
    """

    orthogonal: bool = True
    prequential: bool = True

    name: ClassVar[str] = "drift"

    def priors(self) -> dict[str, dist.Distribution]:
        """0.4 % an octave among the runs, 0.1 % between mixtures, 0.4 % before the end; 0.27 of the fall beyond."""
        return {
            "drift": dist.LogNormal(math.log(0.004), 0.7),
            "drift_mix": dist.LogNormal(math.log(0.001), 0.7),
            "schedule": dist.LogNormal(math.log(0.004), 0.7),
            "extrapolation": dist.LogNormal(math.log(0.27), 0.6),
        }


class Misfit(NamedTuple):
    """Discrepancy and run effects as the likelihood of one table reads them, padded.

    Training runs measured at the same sizes, tokens and targets, with the same standard errors, form a pattern.
    """

    cell: jax.Array  # (run) position of the cell of every row
    remaining: jax.Array  # (run, knot) share of each piece of the curve of unfinished runs before the row's end
    passed: jax.Array  # (run, step) share of each piece of the paths between the reference and the row
    rows: jax.Array  # (group, checkpoint) positions of the rows of every training run
    pattern: jax.Array  # (group) of every training run
    present: jax.Array  # (group) 1 for a training run, 0 for padding
    psi: jax.Array  # (group, direction) ψⱼ
    ratio: jax.Array  # (group, target) about L(N, D, h̄)/L(N, D, h), as measured
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
        """Those of some targets."""
        return self._replace(
            ratio=self.ratio[:, targets], observed=self.observed[..., targets], loss_se=self.loss_se[..., targets]
        )


class Draws(NamedTuple):
    """Values of the discrepancy that belong to posterior draws."""

    surface: jax.Array  # (cell) f at the cells of the runs
    schedule: jax.Array  # (knot) rise of c over each of its pieces
    paths: jax.Array  # (direction × step) rises of wⱼ and vⱼ inside the runs


class Errors(NamedTuple):
    """How far the measured losses of one target are from the law."""

    error: jax.Array  # (run) y/L − 1
    variance: jax.Array  # (pattern, checkpoint) of the jitter of a row of weight 1
    shared: jax.Array  # () variance of the effect that the rows of a training run of weight 1 share
    weight: jax.Array  # (group) precision of each training run

    def target(self, t: int) -> Errors:
        """Those of one target, where all arrays have a last axis of targets."""
        return Errors(*(v[..., t] for v in self))


def marginal_log_prob(theta: Theta, errors: Errors, misfit: Misfit) -> jax.Array:
    """Log density of the errors of one target with discrepancy and run effects integrated out.

    It is −∞ where the errors that remain are lost to rounding beside those the discrepancy explains: such a discrepancy
    is larger than any loss, and what is left of the difference, of either sign, would draw the sampler there.
    Derivatives are those in the scales and the errors; the weights of training runs count as given.

    Args:
        theta: `drift`, `drift_mix` and `schedule`.
        errors: of the law.
        misfit: the table's arrays, of one target.
    """
    return _marginal(Scales(*(jnp.asarray(theta[site]) for site in Scales._fields)), errors, misfit)


class Scales(NamedTuple):
    """Sizes of the discrepancy among the runs."""

    drift: jax.Array
    drift_mix: jax.Array
    schedule: jax.Array


@jax.custom_vjp
def _marginal(scales: Scales, errors: Errors, misfit: Misfit) -> jax.Array:
    return _marginal_and_system(scales, errors, misfit)[0]


def _marginal_and_system(scales: Scales, errors: Errors, misfit: Misfit) -> tuple[jax.Array, tuple[Any, ...]]:
    system = _system(scales._asdict(), errors, misfit)
    lower = jnp.linalg.cholesky(system.inner)
    half = solve_triangular(lower, system.score, lower=True)
    square = system.square - half @ half
    log_det = system.log_det + 2 * jnp.sum(jnp.log(jnp.diag(lower)))
    log_prob = -0.5 * (square + log_det + system.measured * math.log(2 * math.pi))
    return jnp.where(square >= LOST * system.square, log_prob, -jnp.inf), (scales, errors, misfit, system, lower)


def _slopes(cache: tuple[Any, ...], along: jax.Array) -> tuple[Scales, Errors, None]:
    """Derivatives by Fisher's identity: those of the joint density, expected over the coefficients β given the errors.

    β has the covariance S = (I + RᵀAR)⁻¹ and the mean m = S RᵀA e. With r = e − R m the slope in the errors is −A r,
    that in the log of the scale of some coefficients Σ (m² + diag S − 1), and those in the precisions of a pattern come
    from M = Σ w (r rᵀ + R S Rᵀ) over its runs. JAX's own take longer to compile and to run.
    """
    scales, errors, misfit, system, lower = cache
    p, shrink, pattern, weight = system.p, system.shrink, misfit.pattern, system.weight
    patterns, split = p.shape[0], system.common.shape[2]
    covariance = cho_solve((lower, True), jnp.eye(len(lower)))
    mean = covariance @ system.score

    def total(values: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(values, pattern, num_segments=patterns)

    by_path = (system.psi.shape[1], system.apart.shape[2])
    tilts = mean[split:].reshape(by_path)
    tilted = jnp.einsum("gcj,gj->gc", jnp.einsum("pcs,js->pcj", system.apart, tilts)[pattern], system.psi)
    residual = system.error - (system.common @ mean[:split])[pattern] - tilted
    pull = jnp.sum(p[pattern] * residual, axis=1)
    slope = -weight[:, None] * (p[pattern] * residual - (shrink[pattern] * pull)[:, None] * p[pattern])
    error = jnp.zeros_like(errors.error).at[misfit.rows].add(slope)
    excess = mean**2 + jnp.diag(covariance) - 1
    surface = misfit.root.shape[1]
    curve = jnp.sum(excess[surface:split]) / scales.schedule - error @ (misfit.remaining @ misfit.rise)
    by_scale = Scales(jnp.sum(excess[:surface]) / scales.drift, jnp.sum(excess[split:]) / scales.drift_mix, curve)
    common, apart = system.common, system.apart
    coupling = jnp.einsum("kjs,pj->pks", covariance[:split, split:].reshape(split, *by_path), system.tilt)
    paths = jnp.einsum("isjt,pij->pst", covariance[split:, split:].reshape(*by_path, *by_path), system.tilt_square)
    cross = common @ coupling @ apart.mT
    unsure = system.runs[:, None, None] * (common @ covariance[:split, :split] @ common.mT)
    unsure = unsure + cross + cross.mT + apart @ paths @ apart.mT
    diagonal = total(weight[:, None] * residual**2) + jnp.diagonal(unsure, axis1=1, axis2=2)
    pulled = total((weight * pull)[:, None] * residual) + jnp.einsum("pcd,pd->pc", unsure, p)
    sums, counts = jnp.sum(p, axis=1), total(misfit.present)
    whole = jnp.sum(p * pulled, axis=1)
    of_p = counts[:, None] * (1 / jnp.where(p > 0, p, 1.0) - shrink[:, None])
    of_p = of_p - diagonal + 2 * shrink[:, None] * pulled - (shrink**2 * whole)[:, None]
    rest = 1 / (1 + errors.shared * sums)
    shared = 0.5 * jnp.sum(rest**2 * whole - counts * rest * sums)
    of_errors = Errors(error, -0.5 * p**2 * of_p, shared, jnp.zeros_like(errors.weight))
    return jax.tree.map(lambda v: along * v, by_scale), jax.tree.map(lambda v: along * v, of_errors), None


_marginal.defvjp(_marginal_and_system, _slopes)


def draw(theta: Theta, errors: Errors, misfit: Misfit, key: jax.Array) -> Draws:
    """One draw of the discrepancy given the errors of the law; arguments as in `marginal_log_prob`."""
    system = _system(theta, errors, misfit)
    factor = jnp.linalg.cholesky(system.inner)
    mean = cho_solve((factor, True), system.score)
    scatter = solve_triangular(factor.T, jax.random.normal(key, mean.shape), lower=False)
    return _scaled(theta, misfit, mean + scatter)


def draw_effects(theta: Theta, misfit: Misfit, key: jax.Array) -> Draws:
    """One draw of the discrepancy before any run is seen."""
    size = misfit.common.shape[2] + misfit.psi.shape[1] * misfit.apart.shape[2]
    return _scaled(theta, misfit, jax.random.normal(key, (size,)))


def effect(draws: Draws, loss: jax.Array, reference_loss: jax.Array, misfit: Misfit, group: jax.Array) -> jax.Array:
    """What the discrepancy adds to the law's losses (run), given those of the reference mixture at the same scales."""
    tilt = draws.paths.reshape(misfit.psi.shape[1], -1) @ misfit.passed.T  # (direction, run)
    apart = jnp.einsum("rj,jr->r", misfit.psi[group], tilt)
    return loss * (draws.surface[misfit.cell] + misfit.remaining @ draws.schedule) + reference_loss * apart


def squares(errors: Errors, misfit: Misfit, mean: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared errors (group) of training runs of weight 1 around a mean (run), and how many rows they have."""
    residuals = errors._replace(error=errors.error - mean)
    p, shrink, e = _rows(residuals, misfit)
    pattern = misfit.pattern
    counts = misfit.observed[..., 0][pattern].sum(axis=1) * misfit.present
    return jnp.sum(p[pattern] * e**2, axis=1) - shrink[pattern] * jnp.sum(p[pattern] * e, axis=1) ** 2, counts


def _scaled(theta: Theta, misfit: Misfit, coefficients: jax.Array) -> Draws:
    surface, schedule, paths = jnp.split(coefficients, [misfit.root.shape[1], misfit.common.shape[2]])
    length = jnp.tile(jnp.sqrt(misfit.length), misfit.psi.shape[1])
    return Draws(
        theta["drift"] * (misfit.root @ surface),
        theta["schedule"] * (misfit.rise + misfit.width * schedule),
        theta["drift_mix"] * length * paths,
    )


def _rows(errors: Errors, misfit: Misfit) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Precisions p (pattern, checkpoint), τ²/(1 + τ² Σp) (pattern) and errors (group, checkpoint), 0 where unseen."""
    observed = misfit.observed[..., 0]
    p = jnp.where(observed, 1 / jnp.where(observed, errors.variance, 1.0), 0.0)
    shrink = errors.shared / (1 + errors.shared * jnp.sum(p, axis=1))
    measured = observed[misfit.pattern] & (misfit.present > 0)[:, None]
    return p, shrink, jnp.where(measured, errors.error[misfit.rows], 0.0)


class _System(NamedTuple):
    """Normal equations of the whitened coefficients, I + RᵀAR, and what they are made of."""

    inner: jax.Array
    score: jax.Array
    square: jax.Array
    log_det: jax.Array
    measured: jax.Array
    p: jax.Array  # (pattern, checkpoint) precisions of a run of weight 1
    shrink: jax.Array  # (pattern)
    error: jax.Array  # (group, checkpoint)
    weight: jax.Array  # (group)
    psi: jax.Array  # (group, direction)
    common: jax.Array  # (pattern, checkpoint, coefficient)
    apart: jax.Array  # (pattern, checkpoint, step)
    runs: jax.Array  # (pattern) sums of the weights of its runs, and of their products with ψ
    tilt: jax.Array  # (pattern, direction)
    tilt_square: jax.Array  # (pattern, direction, direction)


def _system(theta: Theta, errors: Errors, misfit: Misfit) -> _System:
    """Woodbury twice: run effects are integrated out of each training run, then the coefficients of all rows.

    A training run of weight w with precisions w p and shared variance τ²/w has the inverse covariance w Q with
    Q = diag(p) − p pᵀ τ²/(1 + τ² Σp), which all runs of a pattern have in common. So sums over runs are of weights and
    of weighted errors alone, and all that depends on the parameters is computed once a pattern.
    """
    expected = misfit.remaining @ (theta["schedule"] * misfit.rise)
    p, shrink, e = _rows(errors._replace(error=errors.error - expected), misfit)
    patterns, pattern = p.shape[0], misfit.pattern
    weight = errors.weight * misfit.present
    psi = misfit.psi * misfit.ratio

    def total(values: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(values, pattern, num_segments=patterns)

    def precision(design: jax.Array) -> jax.Array:
        """Q times the design (pattern, checkpoint, coefficient)."""
        weighted = p[..., None] * design
        return weighted - (shrink[:, None] * p)[..., None] * jnp.sum(weighted, axis=1, keepdims=True)

    runs, tilt = total(weight), total(weight[:, None] * psi)
    tilt_square = total(weight[:, None, None] * psi[:, :, None] * psi[:, None, :])
    pull, tilt_pull = total(weight[:, None] * e), total((weight[:, None] * e)[..., None] * psi[:, None, :])
    scale = jnp.concatenate([jnp.full(misfit.root.shape[1], theta["drift"]), theta["schedule"] * misfit.width])
    common = misfit.common * scale
    apart = misfit.apart * theta["drift_mix"] * jnp.sqrt(misfit.length)
    q_common, q_apart = precision(common), precision(apart)
    first = jnp.einsum("pck,pcl->kl", runs[:, None, None] * q_common, common)
    cross = jnp.einsum("pks,pj->kjs", jnp.einsum("pck,pcs->pks", q_common, apart), tilt)
    last = jnp.einsum("pst,pij->isjt", jnp.einsum("pcs,pct->pst", q_apart, apart), tilt_square)
    size = last.shape[0] * last.shape[1]
    cross, last = cross.reshape(-1, size), last.reshape(size, size)
    inner = jnp.block([[first, cross], [cross.T, last]])
    score = jnp.concatenate(
        [jnp.einsum("pck,pc->k", q_common, pull), jnp.einsum("pcs,pcj->js", q_apart, tilt_pull).reshape(-1)]
    )
    square = jnp.sum(
        weight * (jnp.sum(p[pattern] * e**2, axis=1) - shrink[pattern] * jnp.sum(p[pattern] * e, axis=1) ** 2)
    )
    observed = misfit.observed[..., 0]
    log_dets = jnp.log1p(errors.shared * jnp.sum(p, axis=1)) - jnp.sum(jnp.log(jnp.where(observed, p, 1.0)), axis=1)
    rows = jnp.sum(observed, axis=1)[pattern] * misfit.present
    log_det = jnp.sum(total(misfit.present) * log_dets) - jnp.sum(rows * jnp.log(errors.weight))
    inner = jnp.eye(inner.shape[0]) + 0.5 * (inner + inner.T)
    parts = p, shrink, e, weight, psi, common, apart, runs, tilt, tilt_square
    return _System(inner, score, square, log_det, jnp.sum(rows), *parts)


@dataclass(frozen=True, eq=False)
class Cells:
    """Where the runs pin the discrepancy: cells of the surface, directions of mixtures, knots of paths and curve.

    Attributes:
        scale: N₀ and D₀.
        centre: h̄ (domain).
        width: rounding of the cells in octaves.
        points: cells (cell, 2) in octaves from the reference.
        directions: (domain, direction) so that ψ = (h − h̄) @ directions.
        along: of the paths in log N and in log D.
        ends: knots of the curve of unfinished runs, in octaves before the end, from 0.
        low, high: smallest and largest fitted N and D (2).
        orthogonal: whether the surface is orthogonal to what a law can bend to.
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
        cls, designs: Designs, octaves_left: np.ndarray, scale: Scale, centre: np.ndarray, orthogonal: bool = True
    ) -> Cells:
        """The cells of the given runs; cells are merged where there would be too many.

        Args:
            designs: of the runs.
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
        return cls(scale, centre, width, points, directions, along, ends, sizes.min(0), sizes.max(0), orthogonal)

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
        """The arrays of the likelihood.

        Args:
            designs: of the runs.
            octaves_left: octaves (run) from each row to the end of its run's schedule.
            late: log D/D₀ (run) as the noise reads it.
            train_run: position (run) of the training run of each row.
            loss: measured losses (run, target), NaN where nothing was.
            loss_se: standard errors (run, target).
            pad: whether to round sizes up, so that tables of similar size share a compiled program.
        """
        x = octaves(designs, self.scale)
        cell, remaining = self.nearest(x), self.before_end(octaves_left)
        rows, counts = _checkpoints(train_run, x)
        real = np.arange(rows.shape[1]) < counts[:, None]
        observed = np.isfinite(loss[rows]) & real[..., None]
        relative = np.where(observed, loss_se[rows] / np.where(observed, loss[rows], 1.0), 0.0)
        signature = [np.where(real, v[rows], -np.inf) for v in (designs.params, designs.tokens, octaves_left)]
        flat = np.concatenate([*signature, *(v.reshape(len(rows), -1) for v in (observed, relative))], axis=1)
        _, first, pattern = np.unique(flat, axis=0, return_index=True, return_inverse=True)
        psi = (designs.mixture[rows[:, 0]] - self.centre) @ self.directions
        inside = self.inside & bool(psi.shape[1])  # where mixtures are all the same no path moves them apart

        def full(size: int, minimum: int) -> int:
            return padded(size, minimum if size else 1) if pad else max(size, 1)  # no array is empty

        runs, groups, patterns = full(len(designs), 32), full(len(rows), 32), full(len(first), LEAST)
        checkpoints, cells = full(rows.shape[1], 1), full(len(self.points), LEAST)
        knots, steps = full(len(self.ends) - 1, len(SCHEDULE) - 1), full(int(inside.sum()), 2 * MOST_STEPS)
        root = _filled(self.root, cells, cells)
        remaining, passed = _filled(remaining, runs, knots), _filled(self.passed(x)[:, inside], runs, steps)
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
            common=_filled(np.concatenate([root[cell[example]], remaining[example]], axis=2), patterns, checkpoints),
            apart=_filled(passed[example], patterns, checkpoints),
            observed=_filled(observed[first], patterns, checkpoints),
            late=_filled(late[example], patterns, checkpoints),
            loss_se=_filled(relative[first], patterns, checkpoints),
            root=root,
            rise=_filled(np.diff(np.sqrt(self.ends)), knots),
            width=_filled(WANDERS * np.sqrt(np.diff(self.ends)), knots, value=1.0),
            length=_filled(self.steps[inside], steps, value=1.0),
        )
        return Misfit(**arrays)  # NumPy arrays: they become JAX's, in its precision, where they are used

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """Position (run) of the cell nearest to each point (run, 2) in octaves."""
        return np.argmin(np.linalg.norm(x[:, None] - self.points[None], axis=2), axis=1)

    def before_end(self, octaves_left: np.ndarray) -> np.ndarray:
        """Share (run, knot) of each piece of the curve of unfinished runs that lies before a row's end."""
        return np.clip((octaves_left[:, None] - self.ends[:-1]) / np.diff(self.ends), 0.0, 1.0)

    def passed(self, x: np.ndarray) -> np.ndarray:
        """Share (run, step) of each piece of the paths between the reference and points (run, 2) in octaves."""
        return np.concatenate([path.passed(x[:, axis]) for axis, path in enumerate(self.along)], axis=1)

    @property
    def inside(self) -> np.ndarray:
        """Whether each piece of the paths lies inside the runs (step)."""
        return np.concatenate([path.inside for path in self.along])

    @property
    def steps(self) -> np.ndarray:
        """Octaves of each piece of the paths (step)."""
        return np.concatenate([path.length for path in self.along])

    def basis(self, designs: Designs) -> np.ndarray:
        """ψⱼ(h) times the share of every piece of the paths between reference and design (run, direction × step)."""
        psi = (designs.mixture - self.centre) @ self.directions
        passed = self.passed(octaves(designs, self.scale))
        return (psi[:, :, None] * passed[:, None, :]).reshape(len(designs), -1)

    def slopes(self, scale: Scale) -> np.ndarray:
        """How every piece of the paths tilts the loss at one scale over the weights (domain, direction × step)."""
        point = np.log2([[scale.params / self.scale.params, scale.tokens / self.scale.tokens]])
        passed = self.passed(point)[0]
        return (self.directions[:, :, None] * passed).reshape(len(self.directions), -1)

    def clipped(self, designs: Designs) -> Designs:
        """The designs moved to the nearest fitted N and D."""
        params, tokens = np.clip(np.stack([designs.params, designs.tokens], axis=1), self.low, self.high).T
        return Designs(designs.domains, designs.mixture, params, tokens, designs.ids)

    @property
    def moves(self) -> bool:
        """Whether the discrepancy differs between any two of the runs."""
        paths = self.directions.shape[1] and self.inside.any()
        return bool(self.root.shape[1] or len(self.ends) > 1 or paths)

    @cached_property
    def root(self) -> np.ndarray:
        """From whitened coefficients to the surface at the cells (cell, coefficient), for s = 1."""
        covariance = self._covariance(self.points, self.points)
        if self.orthogonal:
            bends = covariance @ law_bends(self.points)  # of the cells with what a law can bend to
            gram = law_bends(self.points).T @ bends
            covariance = covariance - bends @ np.linalg.pinv(gram, rcond=SINGULAR, hermitian=True) @ bends.T
        values, vectors = np.linalg.eigh(covariance)
        keep = values > SINGULAR * LEVEL**2
        return vectors[:, keep] * np.sqrt(values[keep])

    def extend(self, designs: Designs) -> tuple[np.ndarray, np.ndarray]:
        """The surface at new designs given its values at the cells: weights (run, cell) and covariance root (run, run).

        f(new) = weights @ f(cells) + s · root @ ξ with ξ standard normal: kriging, exact for a Brownian surface. Given
        its values at all cells it no longer matters that they are orthogonal to something.
        """
        x = octaves(designs, self.scale)
        cell = self.nearest(x)
        new = np.flatnonzero((np.abs(x - self.points[cell]) > 0.5 * self.width + 1e-9).any(axis=1))
        weights, root = np.eye(len(self.points))[cell], np.zeros((len(x), len(x)))
        factor = np.linalg.cholesky(self._covariance(self.points, self.points) + 1e-9 * np.eye(len(self.points)))
        half = np.linalg.solve(factor, self._covariance(x[new], self.points).T)
        weights[new] = np.linalg.solve(factor.T, half).T
        root[np.ix_(new, new)] = square_root(self._covariance(x[new], x[new]) - half.T @ half)
        return weights, root

    def _covariance(self, x: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Of W between points (point, 2) before it is orthogonal: then its level is free, else it is 0 at (0, 0)."""
        return brownian(x, other) + (LEVEL**2 if self.orthogonal else 0.0)


def _filled(array: np.ndarray, *sizes: int, value: float = 0.0) -> np.ndarray:
    """The array with its first axes filled up to the given sizes."""
    padding = [(0, size - now) for size, now in zip(sizes, array.shape, strict=False)]
    return np.pad(array, padding + [(0, 0)] * (array.ndim - len(padding)), constant_values=value)


def _checkpoints(train_run: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (group, checkpoint) of every training run, in order of N and D, and how many there are (group)."""
    _, counts = np.unique(train_run, return_counts=True)
    order = np.lexsort((x[:, 1], x[:, 0], train_run))
    place = np.concatenate([np.arange(n) for n in counts])
    rows = np.zeros((len(counts), int(counts.max(initial=1))), int)
    rows[train_run[order], place] = order
    return rows, counts


def _ratios(loss: np.ndarray, cell: np.ndarray, rows: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Typical loss at the scales of a training run over its own (group, target), as measured."""
    with np.errstate(invalid="ignore"):
        log_loss = np.log(loss)
    measured = np.isfinite(log_loss)
    sums, counts = (np.zeros((cell.max(initial=0) + 1, loss.shape[1])) for _ in range(2))
    np.add.at(sums, cell, np.where(measured, log_loss, 0.0))
    np.add.at(counts, cell, measured)
    log_ratio = np.where(
        observed, (sums / np.maximum(counts, 1))[cell[rows]] - np.where(measured, log_loss, 0.0)[rows], 0.0
    )
    mean = log_ratio.sum(axis=1) / np.maximum(observed.sum(axis=1), 1)
    return np.exp(np.clip(mean, -math.log(RATIO), math.log(RATIO)))


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
