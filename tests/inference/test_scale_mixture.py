"""A training run gone wrong: Student-t scatter, and how much the run counts beside a drift."""

from __future__ import annotations

import warnings

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats

import bayesmix.inference.kernel as kernels
import bayesmix.inference.sampler as sampler
from bayesmix.errors import DiagnosticsWarning
from bayesmix.inference.coordinates import Geometry
from bayesmix.inference.density import TargetProblem, as_arrays
from bayesmix.inference.fit import fit
from bayesmix.inference.modes import settle
from bayesmix.inference.scale_mixture import rescaled
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.model.data import Reference
from bayesmix.model.likelihood import log_likelihood
from bayesmix.model.model import Model
from bayesmix.model.noise import Grouped, Rows
from bayesmix.model.priors import Prior
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64
from tests.posteriors import simulated, truth_of

RNG = np.random.default_rng(0)


@pytest.mark.usefixtures("x64")
def test_the_scatter_of_a_training_run_is_a_multivariate_student_t() -> None:
    noise, theta = Grouped(nu=3.0), {"sigma": 0.015, "run_effect": 0.012, "early": 0.5}
    run = np.array([0, 1, 0, 2, 1, 0])
    late, se = RNG.normal(size=6), np.array([0.0, 0.01, 0.0, 0.02, 0.0, 0.0])
    loss, measured = RNG.uniform(2, 3, 6), RNG.uniform(2, 3, 6)
    measured[2] = np.nan
    got = noise.log_prob_by_run(theta, loss, Rows(run, late, se), measured, 4)  # type: ignore[arg-type]
    own = 0.015**2 * (1 + 0.25 * np.exp(-late)) / 1.25 + (se / loss) ** 2
    for j in range(3):
        rows = np.flatnonzero((run == j) & np.isfinite(measured))
        shape = np.diag(own[rows]) + 0.012**2
        errors = measured[rows] / loss[rows] - 1
        expected = (
            stats.multivariate_t(shape=shape, df=3.0).logpdf(errors) - np.log(loss[rows]).sum()
        )
        assert float(got[j]) == pytest.approx(expected)
    assert float(got[3]) == pytest.approx(0, abs=1e-12)  # room for a run that is not there


@pytest.mark.parametrize("nu", [2.3, 4.0, 100.0])
def test_simulated_scatter_has_the_tails_of_its_density(nu: float) -> None:
    noise, theta, size = Grouped(nu=nu), {"sigma": 0.008, "run_effect": 0.006, "early": 0.5}, 20_000
    rows = Rows(*(np.arange(size), np.zeros(size), np.zeros(size)))  # type: ignore[arg-type]
    together = noise.sample(theta, np.ones(size), rows, jax.random.key(0))  # type: ignore[arg-type]
    each = noise.around(theta, np.ones(size), rows).sample(jax.random.key(0))  # type: ignore[arg-type]
    for drawn in (together, each):
        assert stats.kstest(np.asarray(drawn) - 1, stats.t(nu, 0, 0.01).cdf).pvalue > 0.01


def wrong_by(runs: Runs, label: str, factor: float) -> Runs:
    loss = np.where((np.array(runs.train_run) == label)[:, None], factor, 1.0) * runs.loss
    return Runs(runs.designs, runs.targets, loss)


def test_beside_a_drift_a_run_gone_wrong_hardly_counts() -> None:
    model, clean = Model(Chinchilla()), simulated(Model(Chinchilla())).only(["chat"])
    label = clean.train_run[40]
    found = {}
    for name, runs in {"clean": clean, "wrong": wrong_by(clean, label, 1.1)}.items():
        settled = model.at(Reference.of(clean))
        with enable_x64():
            prior, data = settled.priors(3), settled.data(runs, pad=True)
        problem, best = settle(TargetProblem(settled.form, prior, data), seed=0, starts=2)
        position = sorted(set(runs.train_run)).index(label)
        found[name] = np.asarray(problem.data.weight)[:, 0], position, best[0].z
    weight, position, _ = found["wrong"]
    real = len(set(clean.train_run))
    assert weight[position] < 0.1 * np.median(weight[:real])
    assert weight[position] < 0.2 * found["clean"][0][position]
    # coordinates hardly move
    np.testing.assert_allclose(found["wrong"][2], found["clean"][2], atol=0.4)


@pytest.mark.usefixtures("x64")
def test_weights_are_drawn_around_what_is_expected_of_them() -> None:
    noise, square, count = Grouped(nu=4.0), np.array([0.5, 3.0, 40.0]), np.array([1.0, 3.0, 3.0])
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = np.asarray(jax.vmap(lambda key: noise.draw_weight(square, count, key))(keys))  # type: ignore[arg-type]
    for j in range(3):
        expected = stats.gamma(0.5 * (4 + count[j]), scale=2 / (4 + square[j]))
        assert stats.kstest(drawn[:, j], expected.cdf).pvalue > 0.01
        assert expected.mean() == pytest.approx(float(noise.weight(square, count)[j]))  # type: ignore[arg-type]


@pytest.mark.usefixtures("x64")
def test_a_move_of_sigma_with_the_weights_is_judged_by_the_prior_alone() -> None:
    model, runs = Model(Chinchilla()), simulated(Model(Chinchilla())).only(["chat"])
    model = model.at(Reference.of(runs))
    prior = as_arrays(Prior(model.priors(len(runs.domains))))
    data = as_arrays(model.data(runs, pad=True))
    data = data._replace(weight=jax.random.gamma(jax.random.key(0), 2.0, data.weight.shape) / 2)
    before = Geometry(model.form, prior, data)
    z = ravel_pytree(before.inverse(before.draw(jax.random.key(1))))[0]
    weight, factor = rescaled(model.form, data, jax.random.key(2))
    after, moved = (
        Geometry(model.form, prior, data._replace(weight=weight)),
        before.scaled(z, factor),
    )
    old, new = (
        g.transform_and_log_det(g.unravel()[1](at))[0] for g, at in ((before, z), (after, moved))
    )
    assert abs(float(factor) - 1) > 0.01
    assert old.keys() == new.keys()
    for site in old:
        np.testing.assert_allclose(
            new[site], old[site] * (factor if site in ("sigma", "run_effect") else 1), rtol=1e-10
        )
    log_prior = [
        float(
            sum(
                (prior[site].log_prob(v[site]) + np.log(v[site])).sum()
                for site in ("sigma", "run_effect")
            )
        )
        for v in (old, new)
    ]
    change = float(after.potential(moved) - before.potential(z))
    assert change == pytest.approx(log_prior[0] - log_prior[1], abs=1e-8)


def test_draws_beside_the_kernel_share_no_key_with_its_steps() -> None:
    """With one key a weight and the size proposed a step later are nearly the same number."""
    kernel, keys = jax.random.key(0), []
    for _ in range(6):
        kernel, *own = jax.random.split(kernel, 3)  # what the kernel of NumPyro does
        draw, *others = jax.random.split(kernels.fold_in_draw(kernel), 3)
        keys += [kernel, *own, *(part for k in own for part in jax.random.split(k, 3))]
        keys += [draw, *others, *jax.random.split(draw)]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == len(keys)


@pytest.mark.slow
def test_beside_a_drift_of_no_size_scatter_is_believed_as_without_one() -> None:
    """Without a drift the scales of training runs are integrated out; with one they are drawn."""
    law, runs = Chinchilla(), simulated(Model(Chinchilla())).only(["chat"])
    runs = wrong_by(runs, runs.train_run[40], 1.03)
    none = {site: dist.LogNormal(np.log(1e-7), 0.1) for site in ("drift", "drift_mix", "schedule")}
    wide = {site: dist.LogNormal(np.log(0.003), 2.0) for site in ("sigma",)}
    sampled = {"warmup": 300, "draws": 1000, "seed": 1}
    exact = fit(Model(law, Prior(wide), discrepancy=None), runs, **sampled).flat["sigma"]
    drawn = fit(Model(law, Prior(wide | none)), runs, **sampled).flat["sigma"]
    at = [0.1, 0.5, 0.9]
    np.testing.assert_allclose(*(np.log(np.quantile(v, at)) for v in (drawn, exact)), atol=0.02)


@pytest.mark.usefixtures("x64")
def test_without_drift_weights_are_no_matter() -> None:
    model, runs = Model(Chinchilla(), discrepancy=None), simulated(Model(Chinchilla()))
    model = model.at(Reference.of(runs))
    data = model.data(runs)
    theta = {site: jax.numpy.asarray(value) for site, value in truth_of(model).items()}
    heavier = data._replace(weight=2.0 * data.weight)
    np.testing.assert_array_equal(
        log_likelihood(model.form, theta, data), log_likelihood(model.form, theta, heavier)
    )


def test_chains_that_disagree_go_on_and_as_many_draws_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        sampler, "_agree", lambda chains: len(asked) > 1 or bool(asked.append(len(chains)))
    )
    runs = simulated(Model(Chinchilla())).only(["chat"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticsWarning)
        longer = fit(
            Model(Chinchilla(), discrepancy=None), runs, seed=0, warmup=150, draws=200, extensions=2
        )
    assert asked == [4, 4]  # and then no more
    assert longer.draws["alpha"].shape[:2] == (4, 200)
    assert longer.diagnostics.targets[0].rhat < 1.01
