"""Sampling of one chain: warm-up in phases with a whitening of their own, then draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.errors import InputError
from bayesmix.inference.coordinates import Whitening
from bayesmix.inference.density import TargetProblem, as_arrays, coordinates_of
from bayesmix.inference.kernel import (
    PHASES,
    SEGMENT,
    ChainDraws,
    Settings,
    begin_chain,
    fixed_arguments,
    run_segment,
    start_at,
)
from bayesmix.inference.modes import Mode, whitening
from bayesmix.model.priors import Prior
from bayesmix.runtime.compute import enable_x64

OVERDISPERSION = 1.5


SHRINKAGE = 2.0
"""Weight of the previous whitening against the last phase, in draws per coordinate."""


class Watch(NamedTuple):
    """Stop signal and progress callbacks of the sampler."""

    stop: Event
    advance: Callable[[int], None]  # called with numbers of finished draws
    extend: Callable[[int], None]  # called with numbers of additional draws


class Points(NamedTuple):
    """Points that the chains of one problem visited, in the coordinates of its model."""

    by_chain: Sequence[np.ndarray]  # (draw, coordinate) each

    @property
    def whitening(self) -> Whitening:
        """Whitening by the common mean and covariance of all points."""
        pooled = np.concatenate(self.by_chain)
        return Whitening(
            jnp.asarray(pooled.mean(axis=0)),
            jnp.asarray(np.linalg.cholesky(np.atleast_2d(np.cov(pooled.T)))),
        )

    @classmethod
    def near(cls, problem: TargetProblem, chains: int) -> Points:
        """Draws that the problem starts from, divided among the chains in order.

        Raises:
            InputError: there are too few draws to estimate a covariance.
        """
        with enable_x64():
            fixed = (
                as_arrays(Prior(problem.prior)),
                as_arrays(problem.data),
                as_arrays(dict(problem.warm_start or {})),
            )
            z = np.asarray(coordinates_of(problem.form, *fixed))
        if len(z) < 2 * z.shape[1]:
            raise InputError(
                "the posterior to start from has too few draws",
                expected=f"at least {2 * z.shape[1]}, twice the parameters of a target",
                got=len(z),
                advice="Fit without it.",
            )
        return cls(np.array_split(z, chains))


def run_chain(
    problem: TargetProblem, settings: Settings, best: list[Mode], seed: int, watch: Watch
) -> ChainDraws | None:
    """Sample one chain from a point spread around an optimum; None when it was stopped early.

    The warm-up has phases, each with a whitening of its own: first the curvature at the optimum,
    then the covariance of the draws of the phase before, shrunk towards the whitening they were
    drawn with. NumPyro's own windows begin with a covariance of a few dozen draws, which in forty
    coordinates costs more than the whole warm-up.
    """
    with enable_x64():
        white = whitening_at(best[0])
        spread = OVERDISPERSION * np.random.default_rng(seed).normal(size=len(best[0].z))
        optimum = np.linalg.solve(white.scale, best[seed % len(best)].z - best[0].z)
        x = optimum + spread
        fixed = fixed_arguments(problem, settings, white)
        while not np.isfinite(start_at(fixed, x).potential_energy):
            if np.abs(x - optimum).max() < 1e-3:
                break  # it would never move
            x = optimum + (x - optimum) / 2
        for phase in range(PHASES - 1):
            points = _walk(
                problem,
                settings,
                white,
                x,
                jax.random.fold_in(jax.random.key(seed), phase),
                0,
                watch,
            )
            if points is None:
                return None
            white, x = _whiten_again(white, points.z[settings.phase // 4 :])
        key = jax.random.fold_in(jax.random.key(seed), PHASES - 1)
        return _walk(problem, settings, white, x, key, settings.draws, watch)


def run_longer(
    problem: TargetProblem,
    settings: Settings,
    points: Points,
    number: int,
    times: int,
    seed: int,
    watch: Watch,
) -> ChainDraws | None:
    """Continue a chain from its last point, and thin it; None when it was stopped early.

    It is whitened by the points of all chains.

    Args:
        problem: density to sample.
        settings: sampler settings, with the number of draws that are kept.
        points: points that the chains visited.
        number: number of this chain.
        times: draws made for each one kept.
        seed: random seed of the chain.
        watch: stop signal and progress callbacks.
    """
    with enable_x64():
        white = points.whitening
        x = np.linalg.solve(white.scale, points.by_chain[number][-1] - np.asarray(white.centre))
        key = jax.random.fold_in(jax.random.key(seed), PHASES + times)
        chain = _walk(problem, settings, white, x, key, times * settings.draws, watch)
    return None if chain is None else jax.tree.map(lambda v: v[times - 1 :: times], chain)


def _walk(
    problem: TargetProblem,
    settings: Settings,
    white: Whitening,
    x: np.ndarray,
    key: jax.Array,
    draws: int,
    watch: Watch,
) -> ChainDraws | None:
    """Adapt the step size for one phase, then draw; None when stopped early.

    Where no draws are asked for, those of the phase are returned.
    """
    form, _, prior, data, _ = fixed = fixed_arguments(problem, settings, white)
    state, segments = begin_chain(*fixed, start_at(fixed, x), key), []
    for offset in range(0, settings.phase + draws, SEGMENT):
        if watch.stop.is_set():
            return None
        (state, weight), part = run_segment(form, settings, prior, data, white, state)
        data = data._replace(weight=weight)
        if offset >= settings.phase or not draws:
            segments.append(jax.tree.map(np.asarray, part))
        watch.advance(SEGMENT)
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), *segments)
    return jax.tree.map(lambda v: v[: draws or settings.phase], whole)


def _whiten_again(white: Whitening, z: np.ndarray) -> tuple[Whitening, np.ndarray]:
    """Whitening of the given points (draw, coordinate), and the last point in its coordinates."""
    x = np.linalg.solve(white.scale, (z - np.asarray(white.centre)).T).T
    draws, size = x.shape
    trust = draws / (draws + SHRINKAGE * size)
    centre = x.mean(axis=0)
    # L Lᵀ = w S + (1 − w) I, with S the covariance of x and w = draws/(draws + SHRINKAGE · size)
    scale = np.linalg.cholesky(trust * np.cov(x.T).reshape(size, size) + (1 - trust) * np.eye(size))
    result = Whitening(white.centre + white.scale @ centre, white.scale @ scale)
    return result, np.linalg.solve(scale, x[-1] - centre)


def whitening_at(best: Mode) -> Whitening:
    """Centre and scale of the Gaussian with the curvature at a mode."""
    return Whitening(jnp.asarray(best.z), jnp.asarray(whitening(best.hessian)))
