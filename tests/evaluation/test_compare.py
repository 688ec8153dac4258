"""Splits keep groups whole; the law that made the runs wins; a stack acts as a posterior."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import bayesmix as bm
from bayesmix.design import Designs, Scale
from bayesmix.evaluation.compare import Comparison, compare, log_predictive_density, stacking
from bayesmix.evaluation.splits import groups, split
from bayesmix.posterior.stack import stack
from bayesmix.runs.runs import Runs

SCALE = Scale(1e9, 2e10)


def table(sizes: int = 3, mixtures: int = 7, checkpoints: int = 2) -> Runs:
    rows = [(m, n, d) for m in range(mixtures) for n in range(sizes) for d in range(checkpoints)]
    weights = np.random.default_rng(0).dirichlet(np.ones(3), mixtures)
    designs = Designs(
        ("web", "code", "books"),
        weights[[m for m, _, _ in rows]],
        np.array([1e8 * 2**n for _, n, _ in rows]),
        np.array([1e9 * 2**d for _, _, d in rows]),
    )
    return Runs(
        designs, ("loss",), np.full((len(rows), 1), 3.0), tuple(f"{m}-{n}" for m, n, _ in rows)
    )


@pytest.mark.parametrize("by", ["run", "mixture"])
def test_folds_hold_out_every_row_once_and_no_group_in_part(by):
    runs = table()
    splits = split(runs, by, folds=4)
    labels = groups(runs, by)
    assert len(splits) == 4 and (sum(s.test.astype(int) for s in splits) == 1).all()
    for part in splits:
        assert (part.train == ~part.test).all()
        assert not set(labels[part.train]) & set(labels[part.test])
        if by == "run":
            assert set(runs.params[part.test]) == set(runs.params)


@pytest.mark.parametrize("by", ["size", "tokens"])
def test_sizes_and_tokens_are_predicted_from_smaller_ones_only(by):
    runs = table(checkpoints=3)
    values = runs.params if by == "size" else runs.tokens
    splits = split(runs, by, steps=2)
    assert [values[s.test].min() for s in splits] == sorted(set(values))[1:]
    assert all(values[s.train].max() < values[s.test].min() for s in splits)


def test_many_token_counts_are_cut_into_a_few_groups():
    designs = Designs(
        ("a", "b"), np.full((50, 2), 0.5), np.full(50, 1e8), np.geomspace(1e9, 1e10, 50)
    )
    runs = Runs(designs, ("loss",), np.full((50, 1), 3.0))
    assert np.bincount(groups(runs, "tokens")).tolist() == [10] * 5


def test_what_cannot_be_split_says_so():
    with pytest.raises(bm.InputError, match="nothing can be left out by size"):
        split(table(sizes=1), "size")
    with pytest.raises(bm.InputError, match="unknown kind"):
        split(table(), "colour")  # pyright: ignore[reportArgumentType]


def test_stacking_finds_the_weights_of_a_mixture():
    rng = np.random.default_rng(0)
    truth = np.array([0.7, 0.3, 0.0])
    centres = np.array([0.0, 3.0, 10.0])
    points = rng.normal(centres[rng.choice(3, size=4000, p=truth)], 1.0)
    log_density = -0.5 * (points - centres[:, None]) ** 2 - 5000  # far below what exp can hold
    np.testing.assert_allclose(stacking(log_density), truth, atol=0.03)


def test_stacking_is_the_best_of_all_mixtures():
    log_density = np.random.default_rng(1).normal(size=(3, 60))
    best = np.log(stacking(log_density) @ np.exp(log_density)).mean()
    others = np.random.default_rng(2).dirichlet(np.ones(3), 2000)
    assert best >= np.log(others @ np.exp(log_density)).mean(axis=1).max() - 1e-9


@pytest.fixture(scope="module")
def rivals(additive) -> dict[str, bm.Posterior]:
    """The law that made the runs, and one that does not look at mixtures and believes itself."""
    blind = bm.Model(bm.laws.Chinchilla(), noise=bm.StudentT(), discrepancy=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.DiagnosticsWarning)  # two short chains
        wrong = bm.fit(blind, additive.runs, seed=0, chains=2, warmup=300, draws=200)
    return {"additive": additive, "chinchilla": wrong}


@pytest.fixture(scope="module")
def comparison(rivals) -> Comparison:
    return compare(rivals, group_by="mixture", folds=2, chains=2, warmup=200, draws=100)


def test_the_law_that_made_the_runs_wins(comparison):
    assert comparison.weights["additive"] > 0.95
    assert comparison.order[0] == 0 and comparison.difference("additive") == (0.0, 0.0)
    gap, error = comparison.difference("chinchilla")
    assert gap < -100 and 0 < error < -gap
    assert np.isfinite(comparison.left_out).all() and len(comparison.splits) == 2
    assert sum(comparison.weights.values()) == pytest.approx(1)
    assert comparison.as_dict()["laws"]["additive"]["targets"]["proofs"]["weight"] > 0.9


def test_leaving_out_a_mixture_is_harder_than_leaving_out_a_point(comparison):
    assert comparison.elpd(loo=True)[0].sum() > comparison.elpd()[0].sum()
    assert (comparison.pareto_k[0] < 0.7).mean() > 0.9


def test_the_table_names_all_that_it_weighs(comparison):
    text = str(comparison)
    assert all(word in text for word in ("additive", "chinchilla", "chat", "proofs", "mixture"))
    assert max(map(len, text.splitlines())) <= 100


def test_held_out_density_is_that_of_the_predictive_draws(additive):
    some = additive.runs.take(np.arange(3))
    # the scatter of runs is drawn many times for every draw of the parameters
    draws = np.concatenate([additive.predict(some.designs, seed).draws for seed in range(20)])
    # in the middle of the band, where the density hardly changes over the window
    test = replace(some, loss=np.quantile(draws, 0.4, axis=0))
    log_density = log_predictive_density(additive, test)
    near = np.quantile(np.abs(draws - test.loss), 0.2, axis=0)
    share = (np.abs(draws - test.loss) < near).mean(axis=0)
    np.testing.assert_allclose(np.exp(log_density), share / (2 * near), rtol=0.15)


def test_posteriors_of_other_runs_are_refused(additive):
    fewer = replace(additive, runs=additive.runs.take(np.arange(5)))
    with pytest.raises(bm.InputError, match="different runs"):
        compare({"additive": additive, "other": fewer}, group_by=None)
    with pytest.raises(bm.InputError, match="at least two"):
        compare({"additive": additive})


def test_a_stack_holds_its_members_in_proportion(rivals):
    both = stack(rivals, {"additive": 3, "chinchilla": 1})
    first, second = (rivals[name].loss(both.designs).draws for name in rivals)
    draws = both.loss(both.designs).draws
    own = [np.isin(draws[:, 5, 0], each[:, 5, 0]) for each in (first, second)]
    assert own[0].mean() == 0.75 and (own[0] ^ own[1]).all()
    assert 0.65 < own[0][: both.n_draws // 2].mean() < 0.85
    assert both.predict(both.designs, seed=1).mean.shape == both.runs.loss.shape
    assert both.convex is rivals["additive"].convex


def test_weights_may_differ_by_target(rivals):
    both = stack(rivals, {"additive": np.array([1.0, 0.25]), "chinchilla": np.array([0.0, 0.75])})
    draws, alone = both.loss(both.designs).draws, rivals["additive"].loss(both.designs).draws
    assert np.isin(draws[:, 0, 0], alone[:, 0, 0]).all()
    assert np.isin(draws[:, 0, 1], alone[:, 0, 1]).mean() == 0.25


@pytest.mark.parametrize("weights", [(0.75, 0.25), ([1.0, 0.25], [0.0, 0.75]), (0.999, 0.001)])
def test_the_surface_of_a_stack_is_its_loss(rivals, x64, weights):
    both = stack(rivals, dict(zip(rivals, map(np.array, weights), strict=True)))
    mixture = bm.Mixture.of(both.domains, [0.5, 0.3, 0.2])
    surface = both.surface(SCALE)
    losses = np.asarray(surface(mixture.weights))
    expected = both.predict(bm.Design(mixture, SCALE), noise=False)
    np.testing.assert_allclose(losses, expected.draws[:, 0], rtol=1e-10)
    np.testing.assert_allclose(
        surface.each(np.tile(mixture.weights, (both.n_draws, 1))), losses, rtol=1e-10
    )
    own = np.random.default_rng(0).dirichlet(np.ones(3), both.n_draws)
    np.testing.assert_allclose(
        np.asarray(surface.each(own))[7], np.asarray(surface(own[7]))[7], rtol=1e-10
    )
    assert both.surface(SCALE, max_draws=1)(mixture.weights).shape == (1, 2)


def test_a_stack_is_optimised_like_any_posterior(rivals):
    best = bm.optimize(stack(rivals, {"additive": 0.5, "chinchilla": 0.5}), SCALE, max_draws=64)
    alone = bm.optimize(rivals["additive"], SCALE, max_draws=64)
    assert best.mixture.distance(alone.mixture) < 0.1  # the other law has no opinion


def test_a_stack_is_saved_and_loaded(rivals, tmp_path):
    both = stack(rivals, {"additive": 0.6, "chinchilla": 0.4})
    bm.save_posterior(both, tmp_path / "stack.nc")
    again = bm.load_any(tmp_path / "stack.nc")
    assert isinstance(again, bm.Stack) and list(again.members) == list(both.members)
    np.testing.assert_array_equal(again.loss(both.designs).draws, both.loss(both.designs).draws)
    assert "additive: 0.60" in str(again)
    with pytest.raises(bm.InputError, match="is a stack"):
        bm.load_posterior(tmp_path / "stack.nc")


def test_a_law_without_weight_is_left_out(rivals):
    assert list(stack(rivals, {"additive": 1.0, "chinchilla": 0.0}).members) == ["additive"]
    with pytest.raises(bm.InputError, match="do not match"):
        stack(rivals, {"additive": 1.0})
    with pytest.raises(bm.InputError, match="not shares"):
        stack(rivals, {"additive": -1.0, "chinchilla": 2.0})
