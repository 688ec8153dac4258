"""What designs leave to the prior is decided once: loaded runs and tables get the same findings."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bayesmix.runs.finding import Finding
from bayesmix.runs.lint import lint
from bayesmix.runs.load import load_runs
from bayesmix.runs.unidentified import findings_on_mixtures, findings_on_scales

WEIGHTS = ["weight.web", "weight.code", "weight.books"]
type Spoil = Callable[[pd.DataFrame], pd.DataFrame]


def findings(frame: pd.DataFrame) -> tuple[Finding, ...]:
    runs = load_runs(frame)
    return (*findings_on_scales(runs), *findings_on_mixtures(runs))


def tied(frame: pd.DataFrame, spread: float) -> pd.DataFrame:
    """D in proportion to N, but for a factor that alternates."""
    factors = np.tile([1 / spread, spread], len(frame) // 2)
    return frame.assign(tokens=20 * frame["params"] * factors)


SPOILT: list[tuple[str, str, Spoil]] = [
    ("few-params", "1 distinct N: alpha is not identified", lambda f: f.assign(params=1e8)),
    (
        "few-tokens",
        "2 distinct D: beta is not identified",
        lambda f: f.assign(tokens=np.resize([1e9, 1.004e9, 2e9], len(f))),  # counts are rounded
    ),
    ("tied-scale", "correlation 1.00: alpha and beta are hard", lambda f: tied(f, 1.1)),
    (
        "constant-domain",
        r"hardly vary the weight of same \(0.1",
        lambda f: f.assign(**{w: 0.9 * f[w] for w in WEIGHTS}, **{"weight.same": 0.1}),
    ),
    (
        "few-mixtures",
        "5 distinct mixture.* fewer than the 7",
        lambda f: f.assign(**{w: np.resize(f[w][:5], len(f)) for w in WEIGHTS}),
    ),
]


@pytest.mark.parametrize(("code", "text", "spoil"), SPOILT, ids=[code for code, *_ in SPOILT])
def test_a_question_has_one_answer(frame: pd.DataFrame, code: str, text: str, spoil: Spoil) -> None:
    spoilt = spoil(frame)
    (finding,) = findings(spoilt)
    assert finding == lint(spoilt).of(code) == lint(load_runs(spoilt)).of(code)
    assert re.search(text, finding.message)


def test_good_designs_have_no_findings(frame: pd.DataFrame) -> None:
    assert findings(frame) == ()


def test_only_what_is_graver_than_info_is_passed_on(frame: pd.DataFrame) -> None:
    grades = {s: lint(tied(frame, s)).of("tied-scale") for s in (1.1, 1.58, 2.5)}
    assert [f and f.severity for f in grades.values()] == ["fail", "review", "info"]
    assert [bool(findings(tied(frame, s))) for s in grades] == [True, True, False]


def test_many_close_values_are_many_values(frame: pd.DataFrame) -> None:
    """Each is within 1 % of the next, and the last is four times the first."""
    assert findings(frame.assign(tokens=1e9 * np.geomspace(1, 4, 48))) == ()
    dense = pd.concat([frame] * 4).assign(
        tokens=1e9 * np.geomspace(1, 4, 192), run_id=[f"r{i}" for i in range(192)]
    )
    assert findings(dense) == ()


def test_a_rare_domain_that_varies_is_not_constant(frame: pd.DataFrame) -> None:
    """Laws depend on a weight by its ratio to the mean: 0.2 % to 1 % is wide."""
    rare = np.resize([0.002, 0.01], len(frame))
    spoilt = frame.assign(**{w: (1 - rare) * frame[w] for w in WEIGHTS}, **{"weight.rare": rare})
    assert findings(spoilt) == ()


def test_a_remark_is_one_clause() -> None:
    finding = Finding("code", "review", "The runs are few.", "Make more.", 3)
    assert finding.remark == "the runs are few; make more"
