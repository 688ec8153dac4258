"""Risks against closed forms and independent estimates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mstats

from bayesmix.decision.risk import CVaR, Entropic, Mean, MeanDeviation, Quantile, Risk, WorstDraw
from bayesmix.errors import InputError
from bayesmix.runtime.compute import enable_x64

EVERY = [Mean(), Quantile(0.9), CVaR(0.9), Entropic(3.0), MeanDeviation(0.4), WorstDraw()]


def value(risk: Risk, draws) -> float:
    with enable_x64():
        return float(risk(jnp.asarray(draws, dtype=float)))


@pytest.mark.parametrize(
    ("level", "expected"), [(0.75, 9.2), (0.5, 8.0), (0.0, 5.5), (0.95, 10.0), (0.999, 10.0)]
)
def test_cvar_counts_the_edge_of_the_tail_in_part(level, expected):
    assert value(CVaR(level), np.arange(1, 11)) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.floats(0, 0.99))
def test_cvar_is_the_minimum_of_rockafellar_and_uryasev(draws, level):
    losses = np.array(draws)
    least = min(c + np.maximum(losses - c, 0).sum() / (len(losses) * (1 - level)) for c in losses)
    assert value(CVaR(level), losses) == pytest.approx(least, abs=1e-9)


def test_quantile_is_the_estimate_of_harrell_and_davis():
    draws = np.random.default_rng(0).normal(size=200)
    assert value(Quantile(0.9), draws) == pytest.approx(
        float(mstats.hdquantiles(draws, [0.9])[0]), abs=1e-12
    )


def test_entropic_risk_of_a_gaussian_is_mean_plus_half_the_aversion_times_the_variance():
    draws = 2 + 0.1 * np.random.default_rng(0).normal(size=200_000)
    assert value(Entropic(4.0), draws) == pytest.approx(2 + 0.5 * 4.0 * 0.01, abs=2e-3)


def test_mean_deviation_by_hand():
    assert value(MeanDeviation(0.5), [1.0, 2.0, 6.0]) == pytest.approx(3 + 0.5 * 2)


@pytest.mark.parametrize("risk", EVERY, ids=str)
def test_every_risk_of_a_constant_is_the_constant_and_moves_with_the_losses(risk):
    draws = np.random.default_rng(1).normal(size=50)
    assert value(risk, np.full(50, 1.7)) == pytest.approx(1.7, abs=1e-12)
    assert value(risk, draws + 3) == pytest.approx(value(risk, draws) + 3, abs=1e-9)
    assert value(risk, np.random.default_rng(2).permutation(draws)) == pytest.approx(
        value(risk, draws), abs=1e-12
    )


@pytest.mark.parametrize("risk", [r for r in EVERY if r.convex], ids=str)
def test_convex_risks_are_convex_and_never_reward_a_worse_draw(risk):
    rng = np.random.default_rng(3)
    for _ in range(30):
        a, b = rng.normal(size=(2, 20))
        assert value(risk, (a + b) / 2) <= (value(risk, a) + value(risk, b)) / 2 + 1e-12
        with enable_x64():
            assert np.asarray(jax.grad(risk)(jnp.asarray(a))).min() >= -1e-12


def test_a_large_aversion_to_deviation_is_not_called_convex():
    losses = np.array([0.0] * 9 + [-10.0])  # one draw far below: making it worse would be rewarded
    assert value(MeanDeviation(2.0), losses) > value(
        MeanDeviation(2.0), np.append(losses[:-1], -9.0)
    )
    assert not MeanDeviation(2.0).convex
    assert MeanDeviation(0.5).convex


@pytest.mark.parametrize("risk", EVERY, ids=str)
def test_the_text_of_a_risk_is_read_back(risk):
    assert Risk.parse(str(risk)) == risk


def test_the_repr_is_what_one_would_write():
    assert repr(CVaR(0.9)) == "CVaR(0.9)"
    assert repr(Mean()) == "Mean()"


@pytest.mark.parametrize(
    "text", ["", "cvar", "cvar:x", "mean:1", "var:0.9", "cvar:1", "quantile:0", "entropic:-1"]
)
def test_a_text_that_is_no_risk_is_refused(text):
    with pytest.raises(InputError, match="expected"):
        Risk.parse(text)
