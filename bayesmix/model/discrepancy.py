"""`Discrepancy`: model of the error of the law itself, among the runs and beyond them.

A law is an approximation with a handful of parameters. Its error is the same for all runs of one
size and length, so thousands of rows tell little more about its exponents than a few dozen cells
(N, D) do. The discrepancy has four parts:

* a surface over (log N, log D), the same for all mixtures. It is orthogonal to the derivatives of a
  law in its parameters, so that it does not compete with the law: it is zero where the law fits,
  and leaves the law's trend beyond the runs unchanged;
* paths in log N and in log D, which differ between mixtures;
* a schedule curve that all unfinished runs share: the loss of a checkpoint before the end of its
  schedule is higher than that of a run planned for so many tokens;
* beyond the runs, a share of the law's own further fall. The runs inform it only by how far the
  same law, fitted to the smaller of them, would have missed the larger ones.

The first, third and fourth cannot change which mixture is best; the second can.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import cho_solve, solve_triangular

from bayesmix.model.grid import Misfit

LOST = 1e-10
"""Share of a sum of squares below which a difference of two such sums is rounding error."""

Theta = Mapping[str, jax.Array]


@dataclass(frozen=True)
class Discrepancy:
    """Discrepancy of a law: a surface, paths, a schedule curve and an extrapolation error.

    Expected loss = L(N, D, h) (1 + f(N, D) + c(u)) e^(t φ(N, D))
    + L(N, D, h̄) Σⱼ ψⱼ(h) (wⱼ(N) + vⱼ(D)), with

    * f = s W, W a Brownian surface of any level over (x, y) = (log₂ N/N₀, log₂ D/D₀), with
      E(W(x, y) − W(x', y'))² the distance of the two points, conditioned to be orthogonal, over the
      cells of the runs, to the derivatives of a law in its parameters;
    * c = s_c (√u + ½ V(u)), u the octaves that are left to the end of the run's schedule and V a
      Brownian path, linear between a few knots: an unfinished run is hardly ever better than a
      finished one;
    * wⱼ and vⱼ Brownian paths over x and y with standard deviation s_h an octave, linear between a
      few knots;
    * ψⱼ the principal directions in which mixtures differ, scaled so that a typical mixture of the
      runs has Σ ψⱼ² = 1;
    * φ = log L(N̂, D̂, h̄) − log L(N, D, h̄), the law's own fall from the nearest fitted N and D to
      the design; t ~ Normal(0, s_t²).

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | s | `drift` | () | > 0 | – | standard deviation of f over one octave |
    | s_h | `drift_mix` | () | > 0 | – | standard deviation of wⱼ and vⱼ over one octave |
    | s_c | `schedule` | () | > 0 | – | relative excess loss one octave before a run's end |
    | s_t | `extrapolation` | () | > 0 | – | relative error of the law's fall beyond the runs |

    Given the scales and the other parameters f, c, w and v are Gaussian: they are integrated out of
    the likelihood, and drawn afterwards.

    Args:
        orthogonal: whether f is orthogonal to the derivatives of a law in its parameters. False
            lets f compete with the law, which then loses its trend to f among the runs, and so
            beyond them; it is there for comparison.
        prequential: whether the prior of s_t learns from how far the same law, fitted to the
            smaller runs alone, would have missed the larger ones; see `inference.prequential`.

    Source: Plumlee 2017, "Bayesian calibration of inexact computer models", Journal of the American
    Statistical Association 112, 1274–1285, for the orthogonality; the rest is ours.
    """

    orthogonal: bool = True
    prequential: bool = True

    name: ClassVar[str] = "drift"

    def priors(self) -> dict[str, dist.Distribution]:
        """Default priors of the four scales.

        Their medians are 0.4 % an octave for the surface, 0.1 % for the paths between mixtures,
        0.4 % for the schedule curve, and 0.27 of the fall beyond the runs.
        """
        return {
            "drift": dist.LogNormal(math.log(0.004), 0.7),
            "drift_mix": dist.LogNormal(math.log(0.001), 0.7),
            "schedule": dist.LogNormal(math.log(0.004), 0.7),
            "extrapolation": dist.LogNormal(math.log(0.27), 0.6),
        }


class Draws(NamedTuple):
    """Values of the discrepancy in posterior draws."""

    surface: jax.Array  # (cell) f at the cells of the runs
    schedule: jax.Array  # (knot) rise of c over each of its pieces
    paths: jax.Array  # (direction × step) rises of wⱼ and vⱼ inside the runs


class Errors(NamedTuple):
    """Relative errors of the law for the measured losses of one target, and their variances."""

    error: jax.Array  # (run) y/L − 1
    variance: jax.Array  # (pattern, checkpoint) of the jitter of a row of weight 1
    shared: jax.Array  # () variance of the effect that the rows of a training run of weight 1 share
    weight: jax.Array  # (group) precision of each training run

    def target(self, t: int) -> Errors:
        """The errors of one target, where all arrays have a last axis of targets."""
        return Errors(*(v[..., t] for v in self))


def marginal_log_prob(theta: Theta, errors: Errors, misfit: Misfit) -> jax.Array:
    """Log density of the errors of one target with discrepancy and run effects integrated out.

    It is −∞ where the errors that remain are lost to rounding beside those the discrepancy
    explains: such a discrepancy is larger than any loss, and the rounding error of the difference,
    of either sign, would attract the sampler. Derivatives are those in the scales and the errors;
    the weights of training runs are constants.

    Args:
        theta: `drift`, `drift_mix` and `schedule`.
        errors: errors of the law.
        misfit: arrays of the table, for one target.
    """
    return _marginal(Scales(*(jnp.asarray(theta[site]) for site in Scales._fields)), errors, misfit)


class Scales(NamedTuple):
    """Scales of the discrepancy among the runs."""

    drift: jax.Array
    drift_mix: jax.Array
    schedule: jax.Array


@jax.custom_vjp
def _marginal(scales: Scales, errors: Errors, misfit: Misfit) -> jax.Array:
    return _marginal_and_system(scales, errors, misfit)[0]


def _marginal_and_system(
    scales: Scales, errors: Errors, misfit: Misfit
) -> tuple[jax.Array, tuple[Any, ...]]:
    system = _system(scales._asdict(), errors, misfit)
    # −2 log p(e) = eᵀAe − |C⁻¹RᵀAe|² + log |A⁻¹| + log |I + RᵀAR| + n log 2π, C Cᵀ = I + RᵀAR
    lower = jnp.linalg.cholesky(system.inner)
    half = solve_triangular(lower, system.score, lower=True)
    square = system.square - half @ half
    log_det = system.log_det + 2 * jnp.sum(jnp.log(jnp.diag(lower)))
    log_prob = -0.5 * (square + log_det + system.measured * math.log(2 * math.pi))
    return jnp.where(square >= LOST * system.square, log_prob, -jnp.inf), (
        scales,
        errors,
        misfit,
        system,
        lower,
    )


def _slopes(cache: tuple[Any, ...], along: jax.Array) -> tuple[Scales, Errors, None]:
    """Derivatives of the marginal log density by Fisher's identity.

    They are the derivatives of the joint density, expected over the coefficients β given the
    errors. β has the covariance S = (I + RᵀAR)⁻¹ and the mean m = S RᵀA e. With r = e − R m the
    slope in the errors is −A r, that in the log of the scale of some coefficients
    Σ (m² + diag S − 1), and those in the precisions of a pattern come from M = Σ w (r rᵀ + R S Rᵀ)
    over its runs. Automatic differentiation takes longer to compile and to run.
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
    tilted = jnp.einsum(
        "gcj,gj->gc", jnp.einsum("pcs,js->pcj", system.apart, tilts)[pattern], system.psi
    )
    residual = system.error - (system.common @ mean[:split])[pattern] - tilted
    pull = jnp.sum(p[pattern] * residual, axis=1)
    slope = -weight[:, None] * (
        p[pattern] * residual - (shrink[pattern] * pull)[:, None] * p[pattern]
    )
    error = jnp.zeros_like(errors.error).at[misfit.rows].add(slope)
    excess = mean**2 + jnp.diag(covariance) - 1
    surface = misfit.root.shape[1]
    curve = jnp.sum(excess[surface:split]) / scales.schedule - error @ (
        misfit.remaining @ misfit.rise
    )
    by_scale = Scales(
        jnp.sum(excess[:surface]) / scales.drift, jnp.sum(excess[split:]) / scales.drift_mix, curve
    )
    common, apart = system.common, system.apart
    coupling = jnp.einsum(
        "kjs,pj->pks", covariance[:split, split:].reshape(split, *by_path), system.tilt
    )
    paths = jnp.einsum(
        "isjt,pij->pst", covariance[split:, split:].reshape(*by_path, *by_path), system.tilt_square
    )
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
    return (
        jax.tree.map(lambda v: along * v, by_scale),
        jax.tree.map(lambda v: along * v, of_errors),
        None,
    )


_marginal.defvjp(_marginal_and_system, _slopes)


def draw(theta: Theta, errors: Errors, misfit: Misfit, key: jax.Array) -> Draws:
    """One posterior draw of the discrepancy; the arguments are those of `marginal_log_prob`."""
    system = _system(theta, errors, misfit)
    factor = jnp.linalg.cholesky(system.inner)
    mean = cho_solve((factor, True), system.score)
    scatter = solve_triangular(factor.T, jax.random.normal(key, mean.shape), lower=False)
    return _scaled(theta, misfit, mean + scatter)


def draw_effects(theta: Theta, misfit: Misfit, key: jax.Array) -> Draws:
    """One draw of the discrepancy from its prior, given the scales."""
    size = misfit.common.shape[2] + misfit.psi.shape[1] * misfit.apart.shape[2]
    return _scaled(theta, misfit, jax.random.normal(key, (size,)))


def effect(
    draws: Draws, loss: jax.Array, reference_loss: jax.Array, misfit: Misfit, group: jax.Array
) -> jax.Array:
    """Contribution (run) of the discrepancy to the losses.

    Args:
        draws: one draw of the discrepancy.
        loss: losses of the law (run).
        reference_loss: losses of the law (run) for the reference mixture at the same scales.
        misfit: arrays of the table.
        group: position (run) of the training run of each row.
    """
    tilt = draws.paths.reshape(misfit.psi.shape[1], -1) @ misfit.passed.T  # (direction, run)
    apart = jnp.einsum("rj,jr->r", misfit.psi[group], tilt)
    return (
        loss * (draws.surface[misfit.cell] + misfit.remaining @ draws.schedule)
        + reference_loss * apart
    )


def squares(errors: Errors, misfit: Misfit, mean: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared errors (group) of training runs of weight 1 around a mean (run), and row counts."""
    residuals = errors._replace(error=errors.error - mean)
    p, shrink, e = _rows(residuals, misfit)
    pattern = misfit.pattern
    counts = misfit.observed[..., 0][pattern].sum(axis=1) * misfit.present
    return jnp.sum(p[pattern] * e**2, axis=1) - shrink[pattern] * jnp.sum(
        p[pattern] * e, axis=1
    ) ** 2, counts


def _scaled(theta: Theta, misfit: Misfit, coefficients: jax.Array) -> Draws:
    surface, schedule, paths = jnp.split(
        coefficients, [misfit.root.shape[1], misfit.common.shape[2]]
    )
    length = jnp.tile(jnp.sqrt(misfit.length), misfit.psi.shape[1])
    return Draws(
        theta["drift"] * (misfit.root @ surface),
        theta["schedule"] * (misfit.rise + misfit.width * schedule),
        theta["drift_mix"] * length * paths,
    )


def _rows(errors: Errors, misfit: Misfit) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Precisions p (pattern, checkpoint), τ²/(1 + τ² Σp) (pattern), errors (group, checkpoint).

    Precisions and errors are 0 where nothing was measured.
    """
    observed = misfit.observed[..., 0]
    p = jnp.where(observed, 1 / jnp.where(observed, errors.variance, 1.0), 0.0)
    shrink = errors.shared / (1 + errors.shared * jnp.sum(p, axis=1))
    measured = observed[misfit.pattern] & (misfit.present > 0)[:, None]
    return p, shrink, jnp.where(measured, errors.error[misfit.rows], 0.0)


class _System(NamedTuple):
    """Normal equations of the whitened coefficients, I + RᵀAR, and their parts."""

    inner: jax.Array  # (all coefficients, all coefficients) I + RᵀAR
    score: jax.Array  # (all coefficients) RᵀAe
    square: jax.Array  # () eᵀAe
    log_det: jax.Array  # () log |A⁻¹|
    measured: jax.Array  # () number of measured rows
    p: jax.Array  # (pattern, checkpoint) precisions of a run of weight 1
    shrink: jax.Array  # (pattern)
    error: jax.Array  # (group, checkpoint)
    weight: jax.Array  # (group)
    psi: jax.Array  # (group, direction)
    common: jax.Array  # (pattern, checkpoint, coefficient)
    apart: jax.Array  # (pattern, checkpoint, step)
    runs: jax.Array  # (pattern) Σ w over its runs
    tilt: jax.Array  # (pattern, direction) Σ w ψ
    tilt_square: jax.Array  # (pattern, direction, direction) Σ w ψ ψᵀ


def _system(theta: Theta, errors: Errors, misfit: Misfit) -> _System:
    """Normal equations of the coefficients, by the Woodbury identity.

    Run effects are integrated out of each training run, then the coefficients of all rows. A run
    of weight w with precisions w p and shared variance τ²/w has the inverse covariance w Q with
    Q = diag(p) − p pᵀ τ²/(1 + τ² Σp), which all runs of a pattern have in common. So sums over runs
    are of weights and of weighted errors alone, and everything that depends on the parameters is
    computed once a pattern.
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
        return weighted - (shrink[:, None] * p)[..., None] * jnp.sum(
            weighted, axis=1, keepdims=True
        )

    runs, tilt = total(weight), total(weight[:, None] * psi)
    tilt_square = total(weight[:, None, None] * psi[:, :, None] * psi[:, None, :])
    pull, tilt_pull = (
        total(weight[:, None] * e),
        total((weight[:, None] * e)[..., None] * psi[:, None, :]),
    )
    scale = jnp.concatenate(
        [jnp.full(misfit.root.shape[1], theta["drift"]), theta["schedule"] * misfit.width]
    )
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
        [
            jnp.einsum("pck,pc->k", q_common, pull),
            jnp.einsum("pcs,pcj->js", q_apart, tilt_pull).reshape(-1),
        ]
    )
    square = jnp.sum(
        weight
        * (
            jnp.sum(p[pattern] * e**2, axis=1)
            - shrink[pattern] * jnp.sum(p[pattern] * e, axis=1) ** 2
        )
    )
    observed = misfit.observed[..., 0]
    log_dets = jnp.log1p(errors.shared * jnp.sum(p, axis=1)) - jnp.sum(
        jnp.log(jnp.where(observed, p, 1.0)), axis=1
    )
    rows = jnp.sum(observed, axis=1)[pattern] * misfit.present
    log_det = jnp.sum(total(misfit.present) * log_dets) - jnp.sum(rows * jnp.log(errors.weight))
    inner = jnp.eye(inner.shape[0]) + 0.5 * (inner + inner.T)
    parts = p, shrink, e, weight, psi, common, apart, runs, tilt, tilt_square
    return _System(inner, score, square, log_det, jnp.sum(rows), *parts)
