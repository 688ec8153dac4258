"""What a posterior says: predictions, surfaces, files, diagnostics."""

from __future__ import annotations

import warnings
from dataclasses import replace

import arviz as az
import jax
import numpy as np
import pytest
from scipy import stats

from bayesmix.design import Design, Designs, Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.evaluation.prior_predictive import prior_check
from bayesmix.evaluation.score import score
from bayesmix.laws.additive import Additive
from bayesmix.model.model import Model
from bayesmix.posterior.diagnostics import diagnose
from bayesmix.posterior.prediction import Prediction
from bayesmix.posterior.storage import load_posterior, save_posterior
from bayesmix.runtime.compute import enable_x64
from tests.posteriors import DOMAINS, LAW_NAMES, grid, simulated

FLAGSHIP = Scale(params=3e9, tokens=6e10)


def test_predictions_match_domains_by_name(additive):
    one = additive.loss(Design(Mixture({"web": 0.5, "code": 0.3, "books": 0.2}), FLAGSHIP))
    other = additive.loss(Design(Mixture({"books": 0.2, "web": 0.5, "code": 0.3}), FLAGSHIP))
    np.testing.assert_array_equal(one.draws, other.draws)
    assert one.draws.shape == (additive.n_draws, 1, 2)


def test_foreign_domains_are_refused(additive):
    with pytest.raises(InputError, match="other domains"):
        additive.loss(Design(Mixture({"web": 0.5, "prose": 0.5}), FLAGSHIP))


def test_measured_losses_scatter_more_than_expected_ones(additive):
    designs = grid(4)
    expected, measured = additive.predict(designs, noise=False), additive.predict(designs)
    assert (measured.sd > expected.sd).all()
    np.testing.assert_allclose(measured.mean, expected.mean, rtol=2e-3)
    np.testing.assert_array_equal(measured.draws, additive.predict(designs).draws)
    assert not np.array_equal(measured.draws, additive.predict(designs, seed=1).draws)


def test_what_does_not_fit_a_prediction_is_refused(additive):
    with pytest.raises(InputError, match="octaves_left has the wrong shape"):
        additive.predict(grid(4), octaves_left=np.zeros(1))
    with pytest.raises(InputError, match="the model has no discrepancy"):
        replace(additive, drift={}).fall(grid(4))


def test_long_lists_of_designs_are_the_same_as_short_ones(additive, monkeypatch):
    designs = grid(12)
    whole = additive.loss(designs).draws
    monkeypatch.setattr("bayesmix.posterior.posterior.CHUNK", 2000 * 2 * 7)
    np.testing.assert_allclose(additive.loss(designs).draws, whole, rtol=1e-12)


@pytest.mark.parametrize("law", LAW_NAMES)
def test_the_surface_is_the_law_at_one_scale(law, request):
    posterior = request.getfixturevalue(law)
    mixture = Mixture({"web": 0.2, "code": 0.5, "books": 0.3})
    surface = posterior.surface(FLAGSHIP)
    with jax.enable_x64(True):
        weights = mixture.on(posterior.domains)
        losses = np.asarray(jax.jit(lambda s, w: s(w))(surface, weights))
        each = np.asarray(surface.each(np.tile(weights, (posterior.n_draws, 1))))
        assert len(posterior.surface(FLAGSHIP, max_draws=100)(weights)) == 100
    expected = posterior.predict(Design(mixture, FLAGSHIP), noise=False).draws[:, 0]
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_allclose(each, losses, rtol=1e-12)


@pytest.mark.parametrize("law", LAW_NAMES)
def test_files_round_trip(law, request, tmp_path):
    posterior = request.getfixturevalue(law)
    path = tmp_path / "posterior.nc"
    save_posterior(posterior, path)
    again = load_posterior(path)
    for site, draws in posterior.draws.items():
        np.testing.assert_array_equal(again.draws[site], draws)
    assert again.runs.fingerprint == posterior.runs.fingerprint
    assert str(again) == str(posterior)
    designs = grid(3)
    np.testing.assert_array_equal(again.predict(designs).draws, posterior.predict(designs).draws)


def test_arviz_opens_the_file_unaided(additive, tmp_path):
    path = tmp_path / "posterior.nc"
    save_posterior(additive, path)
    tree = az.from_netcdf(path)
    assert {"posterior", "sample_stats", "log_likelihood", "observed_data", "constant_data"} <= set(
        tree.children
    )
    assert list(tree.posterior["gamma"].dims) == ["chain", "draw", "target", "domain"]
    assert list(tree.posterior["share"].dims) == ["chain", "draw", "target", "part"]
    assert tree.attrs["fingerprint"] == additive.runs.fingerprint
    assert "law" in tree.attrs["card"]
    draw = {site: value[2, 7] for site, value in additive.draws.items()}
    run, target = 5, 1
    chains, draws = additive.draws["E"].shape[:2]
    at = (2, 7, run, target)
    drifted = additive.predict(additive.designs, noise=False).draws.reshape(chains, draws, -1, 2)[
        at
    ]
    later = additive.designs.tokens[run] / additive.reference.scale.tokens
    sigma, effect, early = (draw[site][target] for site in ("sigma", "run_effect", "early"))
    growth = (1 + early**2 / later) / (1 + early**2)
    sd = drifted * np.sqrt(effect**2 + sigma**2 * growth)
    expected = stats.t(additive.model.noise.nu, drifted, sd).logpdf(additive.runs.loss[run, target])
    label = additive.runs.train_run[run]
    got = tree.log_likelihood["loss"].sel(train_run=label).values[2, 7, target]
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    with warnings.catch_warnings():
        # Pareto k of single points is not what is tested
        warnings.simplefilter("ignore", UserWarning)
        assert np.isfinite(az.loo(tree, var_name="loss").elpd)


def test_broken_and_foreign_files_are_refused(additive, tmp_path):
    path = tmp_path / "posterior.nc"
    save_posterior(additive, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="whole netCDF"):
        load_posterior(path)
    az.from_dict({"posterior": {"x": np.zeros((2, 5))}}).to_netcdf(tmp_path / "foreign.nc")
    with pytest.raises(InputError, match="schema"):
        load_posterior(tmp_path / "foreign.nc")
    with pytest.raises(InputError, match="no such file"):
        load_posterior(tmp_path / "absent.nc")


def test_diagnostics_fail_when_chains_disagree():
    rng = np.random.default_rng(0)
    stats_ = {name: rng.normal(size=(4, 200, 1)) for name in ("energy", "steps")}
    stats_["diverging"] = np.zeros((4, 200, 1), bool)
    good = rng.normal(size=(4, 200, 1))
    apart = good + np.array([0, 0, 0, 3.0])[:, None, None]
    stuck = np.where(np.arange(4)[:, None, None] == 3, 7.0, good)
    # 800 draws: ESS decides
    assert diagnose({"x": good}, stats_, ("t",)).verdict in (
        "PASS",
        "FAIL",
    )
    assert (
        diagnose({"x": np.tile(good, (1, 5, 1))[:, :1000]}, _longer(stats_), ("t",)).targets[0].rhat
        < 1.02
    )
    for bad in (apart, stuck):
        found = diagnose({"x": bad, "y": good}, stats_, ("t",)).targets[0]
        assert found.fails and found.rhat_of == "x"


def _longer(stats_):
    return {name: np.tile(value, (1, 5, 1)) for name, value in stats_.items()}


def test_one_chain_fails():
    stats_ = {
        "energy": np.random.default_rng(0).normal(size=(1, 500, 1)),
        "steps": np.ones((1, 500, 1)),
    }
    stats_["diverging"] = np.zeros((1, 500, 1), bool)
    draws = {
        "x": np.r_[
            np.random.default_rng(0).normal(0, 1, 250), np.random.default_rng(1).normal(4, 1, 250)
        ]
    }
    assert diagnose({"x": draws["x"][None, :, None]}, stats_, ("t",)).targets[0].fails


def test_crps_of_gaussian_draws_is_the_closed_form():
    rng = np.random.default_rng(0)
    mean, sd, y = 2.0, 0.3, np.array([[1.9], [2.5]])
    z = (y - mean) / sd
    closed = sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    designs = Designs(DOMAINS, np.full((2, 3), 1 / 3), np.full(2, 1e9), np.full(2, 1e10))
    found = score(Prediction(rng.normal(mean, sd, (40_000, 2, 1)), designs, ("t",)), y)
    np.testing.assert_allclose(found.crps, closed.mean(), rtol=0.02)
    np.testing.assert_allclose(found.width, 100 * 2 * 1.645 * sd * (1 / y).mean(), rtol=0.02)
    assert found.coverage[:, 0].tolist() == [0.5, 0.5, 0.5, 1.0]


def test_prior_check_sees_a_wrong_unit():
    model = Model(Additive())
    fine = prior_check(model, simulated(model), draws=300)
    assert (fine.inside > 0.8).all() and not fine.problems
    assert set(fine.as_dict()) == {"chat", "proofs"}


def test_run_noise_on_a_surface_is_one_factor_a_draw_and_target(additive):
    scale = Scale(1e9, 2e10)
    quiet, noisy = additive.surface(scale), additive.surface(scale, noise=True)
    with enable_x64():
        here, there = (
            np.asarray(noisy(h) / quiet(h)) for h in np.array([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]])
        )
    np.testing.assert_allclose(here, there, rtol=1e-12)
    assert here.shape == (additive.n_draws, len(additive.targets))
    # D is above that of most runs: no early jitter to speak of
    total = np.hypot(additive.flat["sigma"], additive.flat["run_effect"])
    half = stats.t(additive.model.noise.nu).ppf(0.75) * total.mean()
    assert np.median(np.abs(here - 1)) == pytest.approx(half, rel=0.15)


def test_the_natural_mixture_is_kept_in_the_file(additive, tmp_path):
    natural = Mixture.of(additive.domains, [0.7, 0.2, 0.1])
    save_posterior(replace(additive, natural=natural), tmp_path / "p.nc")
    assert load_posterior(tmp_path / "p.nc").natural == natural
    assert additive.natural is None
