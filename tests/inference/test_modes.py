"""Where chains start."""

import numpy as np
import pytest

from bayesmix.inference.modes import Mode, maximise, worth_a_chain


def peak(at: float, height: float, width: float) -> Mode:
    return Mode(np.full(3, at), -height, np.eye(3) / width**2)


def mass(height: float, width: float) -> float:
    return height + 3 * np.log(width)


def test_newton_finds_the_top_of_a_ridge() -> None:
    curvature = np.array([[1.0, 0.8], [0.8, 1.0]])
    top = np.array([2.0, -1.0])

    def value_and_grad(z: np.ndarray) -> tuple[float, np.ndarray]:
        slope = curvature @ (z - top)
        return 0.5 * float((z - top) @ slope), slope

    found = maximise(value_and_grad, lambda z: curvature, np.array([-30.0, 50.0]))
    assert found is not None
    assert np.abs(found.z - top).max() < 0.05
    assert found.log_mass == pytest.approx(-found.potential - 0.5 * np.log(0.2 * 1.8), abs=1e-9)


def test_a_peak_found_twice_gets_its_share_of_the_chains_once() -> None:
    twice = [peak(0.0, 0.0, 1.0), peak(0.01, -1e-5, 1.0), peak(9.0, -1.0, 1.0)]
    assert [o.z[0] for o in worth_a_chain(twice)] == [0.0, 9.0]


def test_a_high_narrow_peak_is_not_worth_a_chain() -> None:
    wide, narrow = peak(0.0, 0.0, 1.0), peak(9.0, 2.0, 0.1)
    assert mass(2.0, 0.1) < mass(0.0, 1.0) + np.log(0.01)
    assert [o.z[0] for o in worth_a_chain([narrow, wide])] == [0.0]


def test_a_low_wide_peak_comes_first_where_its_mass_is_greatest() -> None:
    wide, narrow = peak(0.0, -2.0, 3.0), peak(9.0, 0.0, 1.0)
    assert [o.z[0] for o in worth_a_chain([narrow, wide])] == [0.0, 9.0]


def test_nothing_is_worth_a_chain_where_nothing_was_found() -> None:
    assert worth_a_chain([]) == []
