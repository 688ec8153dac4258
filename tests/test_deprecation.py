"""Old names work, and say what the new one is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import bayesmix
from bayesmix.cli.output import plain_warnings
from bayesmix.deprecation import CLASSES, renamed, renamed_keys


@renamed(near="radius")
def ball(*, radius: float = 1.0) -> float:
    return radius


@renamed(near="radius")
@dataclass(frozen=True)
class Ball:
    radius: float = 1.0


@pytest.mark.parametrize("make", [ball, lambda **options: Ball(**options).radius])
def test_an_old_keyword_is_taken_for_the_new_one(make) -> None:
    with pytest.warns(DeprecationWarning, match=r"near=\) is now called radius=") as record:
        assert make(near=2.0) == 2.0
    assert record[0].filename == __file__  # where the old name was written
    assert make(radius=3.0) == 3.0


def test_both_keywords_are_one_too_many() -> None:
    with pytest.raises(TypeError, match="both near= and radius="):
        ball(near=1.0, radius=2.0)  # type: ignore[call-arg]


def test_unknown_keywords_are_refused_as_ever() -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        ball(far=1.0)  # type: ignore[call-arg]


@pytest.mark.parametrize("old", CLASSES)
def test_an_old_class_is_the_new_one(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"bayesmix.{old} is now called {CLASSES[old]}"):
        assert getattr(bayesmix, old) is getattr(bayesmix, CLASSES[old])


def test_the_program_says_old_keys_of_files(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_warnings():
        renamed_keys({"near": 1}, "the constraints", near="trust_region")
    assert "warning: the key 'near' of the constraints is now called" in " ".join(
        capsys.readouterr().err.split()
    )


def test_old_keys_of_files() -> None:
    with pytest.warns(
        DeprecationWarning, match="'near' of the constraints is now called 'trust_region'"
    ):
        assert renamed_keys({"near": 1, "stock": 2}, "the constraints", near="trust_region") == {
            "trust_region": 1,
            "stock": 2,
        }
    both = {"near": 1, "trust_region": 2}
    assert renamed_keys(both, "the constraints", near="trust_region") == both


def test_old_modules_of_extensions_are_read_from_their_new_ones() -> None:
    from bayesmix.laws import components, pieces

    with pytest.warns(DeprecationWarning, match=r"pieces\.zero_sum is now in bayesmix\.laws\.comp"):
        assert pieces.zero_sum is components.zero_sum
    with pytest.raises(
        AttributeError, match=r"gone: use bayesmix\.laws\.bijections\.LevelAndRises"
    ):
        pieces.scale_to_theta  # noqa: B018
    with pytest.warns(DeprecationWarning, match=r"now in bayesmix\.acquisition\.functions"):
        from bayesmix.acquisition.criteria import View  # noqa: F401
    with pytest.warns(DeprecationWarning, match=r"now in bayesmix\.laws\.simplex"):
        from bayesmix.simplex import power  # noqa: F401


def test_coordinates_of_the_old_form_are_a_bijection() -> None:
    from bayesmix.laws import Bijection, Coordinates

    with pytest.warns(DeprecationWarning, match="now called Bijection") as record:

        class Halves(Coordinates):
            def to_theta(self, z):  # type: ignore[no-untyped-def]
                return {"a": z["a"] / 2}, 0.0

            def from_theta(self, theta):  # type: ignore[no-untyped-def]
                return {"a": 2 * theta["a"]}

    assert record[0].filename == __file__
    halves: Bijection = Halves()
    theta, log_det = halves.transform_and_log_det({"a": 3.0})  # type: ignore[dict-item]
    assert (theta, log_det) == ({"a": 1.5}, 0.0)
    assert halves.inverse(theta) == {"a": 3.0}
