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
