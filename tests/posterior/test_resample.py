"""Draws weighted by new runs, and the Laplace approximation, against posteriors of NUTS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bayesmix.inference.laplace import laplace
from bayesmix.posterior.measurement_noise import scatter
from bayesmix.posterior.resample import reweighted, smoothed, thinned
from tests.posteriors import simulated


def test_weights_give_the_conjugate_posterior() -> None:
    """θ ~ N(0, 1), y = θ + N(0, 1): the weighted mean is y/2."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=4000)
    outcomes = np.array([-1.0, 0.0, 1.5])
    found = smoothed(-0.5 * (outcomes[:, None] - theta) ** 2)
    np.testing.assert_allclose(found.weights @ theta, outcomes / 2, atol=0.05)
    assert (found.khat < 0.7).all()


def test_weights_of_outcomes_far_from_every_draw_are_called_unusable() -> None:
    theta = np.random.default_rng(0).normal(size=1000)
    assert smoothed(theta[None] * 10).khat[0] > 0.7


@pytest.mark.parametrize("step", [9.0, 24.5, 400.0])
def test_tails_that_leave_floating_point_are_called_unusable(step: float) -> None:
    found = smoothed(-step * np.arange(200)[None])
    assert (
        found.khat[0] > 0.7
        and np.isfinite(found.weights).all()
        and found.weights.sum() == pytest.approx(1)
    )


def test_equal_ratios_are_equal_weights() -> None:
    found = smoothed(np.zeros((2, 10)))
    np.testing.assert_allclose(found.weights, 0.1)


def test_thinned_draws_are_draws(additive: Any) -> None:
    few = thinned(additive, 100)
    assert few.n_draws == 100
    assert set(few.flat["E"][:, 0]) <= set(additive.flat["E"][:, 0])
    assert thinned(additive, 10**6) is additive


def test_scatter_is_that_of_measured_losses(additive: Any) -> None:
    loss = additive.predict(additive.designs, additive.seed, noise=False).draws
    found = scatter(additive, additive.designs, loss)
    total = np.sqrt(found.residual**2 + found.shared**2)
    residual = additive.runs.loss - loss.mean(axis=0)
    assert total.shape == loss.shape[1:]
    assert 0.7 < np.sqrt(np.mean((residual / total) ** 2)) < 1.4


def test_a_run_that_measures_what_was_expected_narrows_the_posterior(additive: Any) -> None:
    new = simulated(additive.model).take(np.arange(2))
    expected = additive.predict(new.designs, additive.seed, noise=False)
    from dataclasses import replace

    found, khat = reweighted(additive, replace(new, loss=expected.mean))
    assert khat < 0.7
    assert (found.predict(new.designs, found.seed, noise=False).sd < expected.sd).all()
    assert found.n_draws == additive.n_draws


@pytest.mark.slow
def test_laplace_agrees_with_nuts(additive: Any) -> None:
    found, khat = laplace(additive.model, additive.runs, seed=1)
    assert khat.shape == (2,)
    mine, theirs = found.loss(additive.designs), additive.loss(additive.designs)
    assert (np.abs(mine.mean - theirs.mean) < 0.5 * theirs.sd).mean() > 0.95
    ratio = mine.sd / theirs.sd
    assert 0.7 < np.median(ratio) < 1.4
