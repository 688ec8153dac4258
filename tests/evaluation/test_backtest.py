"""A backtest says whether bands held what they promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bayesmix as bm
from bayesmix.posterior.prediction import Prediction

SETTINGS = {"chains": 2, "warmup": 200, "draws": 100}


@pytest.fixture(scope="module")
def by_size(additive) -> bm.Backtest:
    return bm.backtest(
        bm.Model(bm.laws.Additive(), discrepancy=bm.Discrepancy(prequential=False)),
        additive.runs,
        group_by="size",
        **SETTINGS,
    )


def test_the_largest_size_is_predicted_from_smaller_ones(by_size, additive):
    runs = additive.runs
    assert set(by_size.prediction.designs.params) == {runs.params.max()}
    assert by_size.fitted == (int((runs.params < runs.params.max()).sum()),)
    assert by_size.measured.shape == (36, 2) and len(by_size.train_run) == 36
    rows = [runs.designs.ids.index(i) for i in by_size.prediction.designs.ids]
    np.testing.assert_array_equal(by_size.measured, runs.loss[rows])


def test_the_true_law_is_nearly_right(by_size):
    figures = by_size.score
    assert figures.pooled(figures.mre) < 1.0
    assert figures.pooled(figures.coverage[2]) > 0.8
    assert by_size.as_dict()["splits"][0]["left_out"] == "N = 400M"


def shrunk(test: bm.Backtest, factor: float) -> bm.Backtest:
    """The same predictions with bands of another width, refits all well."""
    mean = test.prediction.mean
    draws = mean + factor * (test.prediction.draws - mean)
    return replace(
        test,
        prediction=Prediction(draws, test.prediction.designs, test.prediction.targets),
        failed=(),
    )


def test_bands_that_are_too_narrow_or_too_wide_are_called_so(by_size):
    assert shrunk(by_size, 0.3).verdict == "NARROW"
    assert shrunk(by_size, 5.0).verdict == "WIDE"
    assert replace(by_size, failed=("without N = 400M",)).verdict == "FAIL"
    assert "too narrow" in str(shrunk(by_size, 0.3))


def test_few_training_runs_allow_more_chance(by_size):
    low, high = by_size.chance
    fewer = replace(by_size, train_run=tuple("abcd" * 9))
    assert 0.7 < low < 0.9 < high <= 1.0
    assert fewer.chance[0] < low


def test_figures_of_a_split_are_those_of_its_rows(by_size):
    halves = replace(by_size, splits=("a", "b"), fitted=(1, 1), split_of=np.repeat([0, 1], 18))
    both = [halves.score_of(i) for i in range(2)]
    np.testing.assert_allclose(np.mean([s.mre for s in both], axis=0), by_size.score.mre)
    assert "cover 90%" in str(halves)
