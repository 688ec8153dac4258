"""Fitting: recovery, repeatability, missing losses, compiled once."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace

import jax
import numpy as np
import pytest

from bayesmix.design import Designs
from bayesmix.errors import DataWarning, DiagnosticsError, DiagnosticsWarning, InputError
from bayesmix.inference.fit import fit
from bayesmix.inference.kernel import ChainDraws, Settings, run_segment
from bayesmix.inference.sampler import _longer
from bayesmix.laws.additive import Additive
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.model.likelihood import log_likelihood
from bayesmix.model.model import Model
from bayesmix.model.priors import Prior
from bayesmix.posterior.resample import thinned
from bayesmix.runs.runs import Runs
from bayesmix.runs.unidentified import findings_on_scales
from tests.posteriors import LAW_NAMES, grid, simulated, truth_of

QUICK = {"chains": 2, "warmup": 100, "draws": 100}


@pytest.mark.parametrize("law", LAW_NAMES)
def test_recovers_the_truth(law, request):
    posterior = request.getfixturevalue(law)
    assert max(t.rhat for t in posterior.diagnostics.targets) < 1.03, str(posterior)
    for site, true in truth_of(posterior.model).items():
        draws = posterior.flat[site]
        z = (draws.mean(0) - true) / draws.std(0)
        assert np.abs(z).max() < 4.5, (site, z)


@pytest.mark.parametrize("law", LAW_NAMES)
def test_draws_have_the_shapes_of_the_sites(law, request):
    posterior = request.getfixturevalue(law)
    for site, prior in posterior.model.priors(3).items():
        assert posterior.draws[site].shape == (4, 400, 2, *prior.event_shape)
        assert posterior.draws[site].dtype == np.float64


def test_band_covers_the_true_loss_at_a_larger_scale(additive):
    larger = Designs(
        ("books", "code", "web"), np.full((1, 3), 1 / 3), np.array([3e9]), np.array([6e10])
    )
    law = additive.model.law
    with jax.enable_x64(True):
        from bayesmix.model.data import Data
        from bayesmix.model.likelihood import expected_loss

        data = Data.of(larger.on(additive.domains), additive.reference, additive.targets)
        true = np.asarray(expected_loss(law, truth_of(additive.model), data))
    low, high = np.moveaxis(additive.loss(larger).interval(0.998), -1, 0)
    assert ((low < true) & (true < high)).all()


def test_the_same_seed_gives_the_same_draws():
    model = Model(Chinchilla())
    runs = simulated(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticsWarning)
        first, again, other = (fit(model, runs, seed=s, **QUICK) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.draws["alpha"], again.draws["alpha"])
    assert not np.array_equal(first.draws["alpha"], other.draws["alpha"])


def test_a_second_fit_compiles_nothing():
    model = Model(Additive())
    runs = simulated(model)
    compiled: list[str] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticsWarning)
        programs = run_segment._cache_size()
        fit(model, runs, **QUICK)
        assert run_segment._cache_size() == programs + 1  # one program for all segments
        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            # fewer rows, another prior, another target: the same program
            fit(
                Model(Additive(), Prior(model.priors(3)) | {}),
                runs.take(np.arange(130)).only(["proofs"]),
                **QUICK,
            )
        finally:
            jax.monitoring.clear_event_listeners()
    assert compiled == []


@pytest.mark.usefixtures("x64")
def test_missing_losses_are_not_observed():
    model, runs = Model(Chinchilla()), simulated(Model(Chinchilla()))
    model, keep = model.bind(runs), np.arange(len(runs)) % 2 == 0
    holes = Runs(runs.designs, runs.targets, np.where(keep[:, None], runs.loss, np.nan))
    theta = {site: jax.numpy.asarray(value) for site, value in truth_of(model).items()}
    gaps, short = (
        log_likelihood(model.form, theta, model.data(part)) for part in (holes, runs.take(keep))
    )
    np.testing.assert_allclose(gaps, short, rtol=1e-9)


def test_fit_warns_of_what_the_designs_leave_to_the_prior(monkeypatch: pytest.MonkeyPatch):
    def stop() -> None:
        raise InterruptedError  # before anything is compiled, bound or sampled

    module = sys.modules["bayesmix.inference.fit"]  # the package has the function of that name
    monkeypatch.setattr(module, "keep_compiled_programs", stop)
    designs = grid()
    designs = designs.take(designs.params < 2e8)
    few = Runs(designs, ("chat",), np.linspace(2, 3, len(designs))[:, None])
    with (
        pytest.warns(DataWarning, match="2 distinct N: alpha is not identified") as record,
        pytest.raises(InterruptedError),
    ):
        fit(Model(Chinchilla()), few)
    assert [str(w.message) for w in record] == [f.remark for f in findings_on_scales(few)]
    assert record[0].filename == __file__


def test_failed_diagnostics_warn_or_raise():
    model = Model(Chinchilla())
    runs = simulated(model)
    with pytest.warns(DiagnosticsWarning, match="diagnostics fail"):
        bad = fit(model, runs, chains=1, warmup=50, draws=20)
    assert bad.diagnostics.verdict == "FAIL"
    with pytest.raises(DiagnosticsError):
        fit(model, runs, chains=1, warmup=50, draws=20, strict=True)


@pytest.mark.parametrize(
    ("setting", "word"),
    [({"chains": 0}, "chains"), ({"draws": 1}, "draws"), ({"target_accept": 1.5}, "target_accept")],
)
def test_senseless_settings_are_refused(setting, word):
    model = Model(Chinchilla())
    with pytest.raises(InputError, match=word):
        fit(model, simulated(model), **setting)


def test_a_mixture_law_needs_mixtures():
    runs = Runs(
        Designs((), np.empty((4, 0)), np.full(4, 1e8), np.full(4, 1e9)),
        ("loss",),
        np.full((4, 1), 3.0),
    )
    with pytest.raises(InputError, match="needs mixtures"):
        fit(Model(Additive()), runs)


def test_fewer_losses_than_parameters_are_refused():
    model = Model(Additive())
    with pytest.raises(InputError, match="at least 13 measured losses, one a parameter, got 9"):
        fit(model, simulated(model).take(np.arange(9)))


def test_unknown_prior_sites_are_refused():
    with pytest.raises(InputError, match="no parameter 'alfa'"):
        Model(Additive(), Prior({"alfa": Model(Additive()).priors(3)["alpha"]})).priors(3)


def test_grid_is_not_tied():
    designs = grid()
    assert abs(np.corrcoef(np.log(designs.params), np.log(designs.tokens))[0, 1]) < 0.1


@pytest.mark.slow
def test_a_fit_near_another_agrees_with_one_from_nothing(additive):
    new = np.isin(np.arange(len(additive.runs)), (5, 40, 90, 120, 141))
    before, again = (
        additive,
        fit(
            additive.model,
            additive.runs.take(~new),
            warm_start=additive,
            seed=1,
            target_accept=0.97,
        ),
    )
    assert again.diagnostics.passed, str(again)
    assert again.reference is before.reference
    for site, value in again.flat.items():  # 139 of 144 points are the same
        apart = np.abs(value.mean(0) - before.flat[site].mean(0)) / before.flat[site].std(0)
        assert apart.max() < 0.6, (site, apart)


def test_a_fit_near_another_walks_no_further_than_it_says(
    additive, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bayesmix.inference.sampler.settle", None)  # nothing is optimised
    runs = additive.runs.only(["proofs"])
    runs = replace(runs, designs=runs.designs.on(additive.domains[::-1]))
    with pytest.warns(DiagnosticsWarning):  # of so few draws
        near = fit(
            additive.model, runs, warm_start=additive, chains=2, warmup=150, draws=50, extensions=0
        )
    assert near.domains == additive.domains
    assert near.draws["A"].shape == (2, 50, 1)


def test_another_posterior_is_no_start(additive):
    with pytest.raises(InputError, match="another model"):
        fit(Model(Additive(), discrepancy=None), additive.runs, warm_start=additive, **QUICK)
    with pytest.raises(InputError, match="another target"):
        fit(
            additive.model,
            replace(additive.runs, targets=("chat", "poems")),
            warm_start=additive,
            **QUICK,
        )
    with pytest.raises(InputError, match="too few draws"):
        fit(additive.model, additive.runs, warm_start=thinned(additive, 30), **QUICK)


def chains_with(draws: np.ndarray, diverging: np.ndarray) -> list[ChainDraws]:
    empty = ChainDraws({}, *[np.zeros(draws.shape[1])] * 6, None)
    return [
        empty._replace(theta={"E": e}, diverging=d) for e, d in zip(draws, diverging, strict=True)
    ]


def test_extensions_are_as_long_as_effective_draws_ask_for():
    independent = np.random.default_rng(0).normal(size=(4, 100))
    none = np.zeros((4, 100), bool)
    settings = Settings(draws=100)
    short = chains_with(independent, none)  # about 400 are effective: once more is the least
    assert [
        _longer(settings, short, made, extension)[1] for made, extension in ((1, 0), (2, 1), (4, 1))
    ] == [2, 4, 8]
    slow = chains_with(np.repeat(independent[:, ::4], 4, axis=1), none)  # about 100 are
    assert [_longer(settings, slow, 1, extension)[1] for extension in (0, 1)] == pytest.approx(
        [4, 6], abs=1
    )
    stuck = chains_with(independent + 100 * np.arange(4)[:, None], none)
    assert [_longer(settings, stuck, 1, extension)[1] for extension in (0, 1, 2)] == [4, 8, 16]


def test_divergences_make_extensions_careful():
    draws, diverging = np.random.default_rng(0).normal(size=(4, 100)), np.zeros((4, 100), bool)
    settings = Settings(target_accept=0.9)
    assert _longer(settings, chains_with(draws, diverging), 1, 0)[0].target_accept == 0.9
    diverging[0, :3] = True
    careful = [
        _longer(settings, chains_with(draws, diverging), 1, extension)[0] for extension in (0, 1)
    ]
    assert [c.target_accept for c in careful] == pytest.approx([0.95, 0.975])
