"""One corrupt loss may not set the unit of the priors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesmix.design import Designs
from bayesmix.model.data import Reference
from bayesmix.runs.io import runs_columns
from bayesmix.runs.lint import lint
from bayesmix.runs.robust import gross_errors
from bayesmix.runs.runs import Runs


def smooth(rows: int, domains: int = 3) -> Runs:
    rng = np.random.default_rng(0)
    mixture = rng.dirichlet(np.ones(domains), rows)
    params, tokens = 10 ** rng.uniform(7, 9, rows), 10 ** rng.uniform(9, 11, rows)
    loss = 1.5 + 60 * params**-0.3 + 100 * tokens**-0.3 + 0.3 * mixture[:, 0]
    names = tuple("abc"[:domains])
    return Runs(
        Designs(names, mixture, params, tokens),
        ("t",),
        (loss * np.exp(0.003 * rng.normal(size=rows)))[:, None],
    )


def corrupt(runs: Runs, row: int, value: float) -> Runs:
    loss = runs.loss.copy()
    loss[row] = value
    return replace(runs, loss=loss)


@pytest.mark.parametrize("rows", [12, 80])
def test_a_corrupt_low_loss_sets_no_unit(rows: int) -> None:
    runs = smooth(rows)
    assert not gross_errors(runs).any()
    wrong = corrupt(runs, 5, 0.02)
    assert np.argwhere(gross_errors(wrong)).tolist() == [[5, 0]]
    assert Reference.of(wrong).loss["t"] == pytest.approx(np.delete(runs.loss[:, 0], 5).min())


def test_lint_names_it() -> None:
    import pandas as pd

    wrong = corrupt(smooth(80), 5, 0.02)
    found = lint(pd.DataFrame(runs_columns(wrong)))
    assert any(
        finding.code == "outlying-loss" and "5" in finding.message for finding in found.findings
    )


def test_a_range_of_two_percent_or_tenfold_losses_are_no_errors() -> None:
    runs = smooth(80)
    assert not gross_errors(replace(runs, loss=10 + 0.05 * runs.loss)).any()
    assert not gross_errors(replace(runs, loss=np.exp(runs.loss))).any()


def test_a_target_with_few_losses_is_left_alone() -> None:
    runs = smooth(80)
    loss = np.full_like(runs.loss, np.nan)
    loss[:4] = [[2.0], [2.1], [2.2], [0.02]]
    assert not gross_errors(replace(runs, loss=loss)).any()
