"""Partial pooling: targets that agree share a narrow prior, others keep the wide one."""

from __future__ import annotations

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from bayesmix.errors import InputError
from bayesmix.inference.laplace import laplace
from bayesmix.inference.pooling import Free, concentration, population, shared_priors
from bayesmix.inference.problems import pooled
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.model.data import Reference
from bayesmix.model.model import Model
from bayesmix.model.simulate import simulate
from tests.posteriors import grid, simulated

PRIOR = Free(np.array([-1.0]), np.array([0.25]))


def said(means: list[float], sd: float) -> np.ndarray:
    """Posterior draws (draw, target, 1) of targets that were fitted alone, exact in mean and sd."""
    z = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    z = np.random.default_rng(0).permutation(z / z.std(ddof=1))
    return np.array(means)[None, :, None] + sd * z[:, None, None]


def test_targets_that_agree_narrow_the_prior_around_what_they_say() -> None:
    found = population(said([-1.2] * 8, 0.02), PRIOR)
    assert found.mean[0] == pytest.approx(-1.2, abs=0.02)
    assert np.sqrt(found.var[0]) < 0.25 * np.sqrt(PRIOR.var[0])


def test_targets_that_differ_or_say_nothing_keep_the_prior() -> None:
    apart = population(said([-2.0, -1.5, -0.5, 0.0], 0.02), PRIOR)
    assert np.sqrt(apart.var[0]) > 0.7 * np.sqrt(PRIOR.var[0])
    silent = population(said([-1.0] * 8, 0.5), PRIOR)
    assert silent.mean[0] == pytest.approx(-1.0, abs=0.01)
    assert silent.var[0] == pytest.approx(PRIOR.var[0], rel=0.01)


def test_a_dirichlet_has_the_wanted_centred_moments() -> None:
    alpha = np.array([0.7, 2.0, 5.0])
    draws = np.log(np.random.default_rng(0).dirichlet(alpha, 200_000))
    centred = draws - draws.mean(1, keepdims=True)
    np.testing.assert_allclose(
        concentration(centred.mean(0), centred.var(0).sum()), alpha, rtol=0.03
    )


@pytest.mark.usefixtures("x64")
def test_every_family_keeps_its_kind_and_its_shape() -> None:
    priors = {
        "alpha": dist.LogNormal(-1.0, 0.5),
        "rho": dist.Beta(1.5, 1.5),
        "share": dist.Dirichlet(np.ones(4)),
        "gamma": dist.LogNormal(-0.5, 0.4).expand([3]).to_event(1),
        "nu": dist.HalfNormal(1.0),
    }
    keys = jax.random.split(jax.random.key(0), len(priors))
    draws = {
        site: np.asarray(b.sample(k, (300, 5)))
        for k, (site, b) in zip(keys, priors.items(), strict=True)
    }
    found = shared_priors(priors, draws, priors)
    assert set(found) == set(priors) - {"nu"}
    for site, belief in found.items():
        assert belief.event_shape == priors[site].event_shape
        assert np.isfinite(belief.log_prob(draws[site][0, 0]))  # type: ignore[arg-type]


def test_pooling_needs_targets_and_reaches_the_fit() -> None:
    model = Model(Chinchilla(), pooling="partial")
    runs = simulated(Model(Chinchilla()), ("a", "b"))
    with pytest.raises(InputError, match="pooling needs several targets"):
        pooled(model.at(Reference.of(runs)), runs)
    with pytest.raises(InputError, match="no such pooling"):
        Model(Chinchilla(), pooling="complete")


@pytest.mark.slow
def test_few_runs_of_many_targets_know_more_together() -> None:
    truth = {"E": 1.2, "A": 0.5, "alpha": 0.35, "B": 0.6, "beta": 0.4, "sigma": 0.01}
    truth |= {"early": 0.1, "run_effect": 0.001, "drift": 0.002, "drift_mix": 0.001}
    truth |= {"schedule": 0.002, "extrapolation": 0.2}
    targets = tuple("abcdef")
    parameters = {site: np.full(6, value) for site, value in truth.items()}
    model = Model(Chinchilla())
    runs = simulate(model, grid(1), targets=targets, parameters=parameters, seed=0)
    alone, _ = laplace(model, runs, draws=400)
    together, _ = laplace(Model(Chinchilla(), pooling="partial"), runs, draws=400)
    error = {
        name: np.abs(p.flat["alpha"] / 0.35 - 1).mean()
        for name, p in (("alone", alone), ("together", together))
    }
    assert error["together"] < 0.8 * error["alone"]
