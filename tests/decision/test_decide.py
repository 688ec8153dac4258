"""The whole answer is consistent, fits a terminal, and its parts are those of the functions."""

import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from bayesmix.decision.decide import Decision, decide
from bayesmix.decision.objective import WorstTarget
from bayesmix.design import Scale
from bayesmix.plots.decisions import plot_regret, plot_shares
from tests.decision.stub import StubPosterior, posterior

SCALE = Scale(7e9, 1.5e11)


@pytest.fixture(scope="module")
def small() -> StubPosterior:
    return posterior(draws=40, targets=2, domains=4, spread=0.3)


@pytest.fixture(scope="module")
def decision(small) -> Decision:
    return decide(small, SCALE)


def test_the_parts_agree(decision):
    assert decision.regret.mixture == decision.mixture == decision.optimum.mixture
    assert decision.regret.losses.mean() == pytest.approx(decision.regret.regret.mean)
    assert decision.regret.regret.mean == pytest.approx(decision.regret.evpi, abs=1e-5), (
        "the mean choice regrets EVPI"
    )
    for domain, (low, high) in decision.near_optimal.ranges.items():
        assert low - 0.02 <= decision.mixture[domain] <= high + 0.02
    assert set(decision.worth) == {"uniform", "natural"}
    assert all(m.median > 1 for m in decision.worth.values())
    assert decision.split.honest >= decision.split.apparent - 1e-3


def test_it_prints_within_80_columns_and_as_json(decision, small):
    text = str(decision)
    assert max(map(len, text.splitlines())) <= 80
    for word in (
        "as good",
        "natural",
        "uniform",
        "knowing the truth",
        "FLOPs",
        "not used to choose",
        "P(worse)",
    ):
        assert word in text
    table = json.loads(json.dumps(decision.as_dict(), allow_nan=False))
    assert {"mixture", "regret", "equivalents", "split_draws", "compute_multiplier"} <= set(table)
    long = replace(
        small, domains=tuple(f"a-domain-with-a-very-long-name-{i}" for i in range(4)), natural=None
    )
    assert max(map(len, str(decide(long, SCALE)).splitlines())) <= 80


def test_an_empty_set_and_another_objective_are_said(small):
    found = decide(small, SCALE, epsilon=1e-9, objective=WorstTarget())
    assert found.split is None
    assert found.near_optimal.empty
    assert "no mixture has a regret below" in str(found)
    json.dumps(found.as_dict(), allow_nan=False)


def test_shares_are_drawn_with_their_ranges(decision):
    ax = Figure().subplots()
    assert plot_shares(decision, ax=ax) is ax
    order = [label.get_text() for label in ax.get_yticklabels()]
    chosen = next(line for line in ax.lines if line.get_label() == "chosen")
    np.testing.assert_allclose(chosen.get_xdata(), [decision.mixture[d] for d in order])
    assert (
        list(chosen.get_xdata()) == sorted(chosen.get_xdata(), reverse=True) and ax.yaxis_inverted()
    )
    for bar, domain in zip(ax.patches, order, strict=True):
        low, high = decision.near_optimal.ranges[domain]
        assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx((low, high))
    assert {"natural", "uniform"} <= set(ax.get_legend_handles_labels()[1])


def test_regret_is_drawn_with_its_mean(decision):
    ax = Figure().subplots()
    assert plot_regret(decision, ax=ax) is ax
    assert ax.lines[0].get_xdata()[0] == pytest.approx(decision.regret.regret.mean)
    assert "nats" in ax.get_xlabel()
