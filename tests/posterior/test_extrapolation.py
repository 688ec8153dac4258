"""How far designs lie beyond the runs."""

from __future__ import annotations

import numpy as np
import pytest

import bayesmix.posterior.extrapolation as extrapolation
from bayesmix.design import Designs
from bayesmix.posterior.extrapolation import Extrapolation

FITTED = Designs(
    ("a", "b", "c"),
    np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]),
    np.array([1e8, 2e8, 4e8]),
    np.array([1e9, 4e9, 8e9]),
)


def designs(weights: list[float], params: float = 2e8, tokens: float = 2e9) -> Designs:
    return Designs(("a", "b", "c"), np.array([weights]), np.array([params]), np.array([tokens]))


def test_a_design_among_the_runs_has_no_flag() -> None:
    beyond = Extrapolation.of(designs([0.3, 0.3, 0.4]), FITTED)
    assert (beyond.params[0], beyond.tokens[0]) == (1, 1)
    assert beyond.mixture[0] == pytest.approx(0, abs=1e-9)
    assert beyond.flags == ("",)


def test_sizes_beyond_the_runs_are_factors() -> None:
    beyond = Extrapolation.of(designs([0.3, 0.3, 0.4], 4e9, 5e8), FITTED)
    assert beyond.params[0] == pytest.approx(10) and beyond.tokens[0] == pytest.approx(0.5)
    assert beyond.flags == ("N ×10, D ÷2, 0.12 tokens a parameter, where laws break",)


def test_the_distance_of_a_corner_is_what_its_weights_must_give_up() -> None:
    beyond = Extrapolation.of(designs([1.0, 0.0, 0.0]), FITTED)
    assert beyond.mixture[0] == pytest.approx(0.2)
    assert "outside" in beyond.flags[0]


def test_the_distance_agrees_with_a_search_over_the_hull() -> None:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.full(3, 0.4))
    inside = rng.dirichlet(np.ones(3), 200_000) @ FITTED.mixture
    best = 0.5 * np.abs(inside - weights).sum(1).min()
    assert Extrapolation.of(designs(weights.tolist()), FITTED).mixture[0] == pytest.approx(
        best, abs=3e-3
    )


def test_mixtures_looked_at_together_are_as_far_as_each_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = np.random.default_rng(1).dirichlet(np.full(3, 0.4), 40)
    many = Designs(
        FITTED.domains, np.vstack([weights, FITTED.mixture]), np.full(43, 2e8), np.full(43, 2e9)
    )
    together = Extrapolation.of(many, FITTED).mixture
    monkeypatch.setattr(extrapolation, "TOGETHER", 1)
    np.testing.assert_allclose(together, Extrapolation.of(many, FITTED).mixture, atol=1e-12)
    assert (together[:40] > 0.01).any() and (together[40:] == 0).all()
