"""`Runs`: what it refuses, its fingerprint, its parts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesmix.design import Designs
from bayesmix.errors import InputError
from bayesmix.runs.load import load_runs
from bayesmix.runs.runs import Runs


@pytest.fixture
def runs(frame: pd.DataFrame) -> Runs:
    return load_runs(frame)


def test_prints_itself(runs: Runs) -> None:
    assert str(runs).startswith(
        "48 measured points of 48 training runs: 3 domains, 2 targets, N 100M to 3B (4 sizes)"
    )
    assert str(runs.take(np.zeros(48, dtype=bool))) == "no measured points: 3 domains, 2 targets"


def test_arrays_cannot_be_written_to(runs: Runs) -> None:
    for values in (runs.mixture, runs.params, runs.loss, runs.loss_se):
        assert values is not None
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1


def test_fingerprint_tells_content_apart(frame: pd.DataFrame, runs: Runs) -> None:
    others = [
        frame.assign(seed=1),
        frame.assign(train_run="a"),
        frame.assign(**{"loss.web": frame["loss.web"] * (1 + 1e-15)}),
        frame.rename(columns={"weight.web": "weight.crawl"}),
        frame.rename(columns={"weight.web": "weight.code", "weight.code": "weight.web"}),
        frame.assign(run_id=frame["run_id"] + "x"),
        frame.assign(**{"loss_se.web": 0.1}),
        frame.iloc[1:],
    ]
    prints = {runs.fingerprint, *(load_runs(other).fingerprint for other in others)}
    assert len(prints) == len(others) + 1


def test_fingerprint_is_stable() -> None:
    table = pd.DataFrame(
        {"run_id": ["b", "a"], "params": 1e6, "tokens": 1e9, "loss.x": [2.5, np.nan]}
    )
    # Stored posteriors carry fingerprints, so a later release must compute the same.
    assert (
        load_runs(table).fingerprint
        == "258cb1c5cdf8575932bfc2c9a2e6432e8c59a0c734e4104c3ea0599cbf70b89c"
    )


def test_take_and_only_keep_rows_together(runs: Runs) -> None:
    part = runs.take(np.array([3, 1])).only(["sums"])
    assert part.designs.ids == ("r3", "r1") and part.targets == ("sums",)
    np.testing.assert_array_equal(part.loss[:, 0], runs.loss[[3, 1], 1])
    with pytest.raises(InputError, match="unknown target"):
        runs.only(["other"])


def test_refuses_what_does_not_fit(runs: Runs) -> None:
    designs, loss = runs.designs, runs.loss
    for arguments, message in [
        ((designs, ("a",), loss), "loss has the wrong shape"),
        ((designs, ("a", "a"), loss), "target stands twice"),
        ((designs, ("a", "b"), loss, ("x",)), "train_run has the wrong length"),
        ((designs, ("a", "b"), loss, (), ("x",)), "seed has the wrong length"),
        ((designs, ("a", "b"), loss, (), (), loss * np.inf), "standard error"),
    ]:
        with pytest.raises(InputError, match=message):
            Runs(*arguments)


def test_tables_do_not_need_jax() -> None:
    # The folder is imported as the command line does it, past the package root.
    check = "import sys, bayesmix.runs.load, bayesmix.runs.lint; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_a_run_is_planned_for_the_most_that_its_rows_have_unless_said_otherwise():
    designs = Designs((), np.empty((4, 0)), np.full(4, 1e8), np.array([1e9, 2e9, 4e9, 3e9]))
    runs = Runs(designs, ("t",), np.full((4, 1), 2.0), ("a", "a", "a", "b"))
    assert runs.planned.tolist() == [4e9, 4e9, 4e9, 3e9]
    np.testing.assert_allclose(runs.octaves_left, [2, 1, 0, 0])
    early = runs.take(np.arange(2))
    assert early.planned.tolist() == [4e9, 4e9]  # rows left out do not end a run sooner
    assert (
        early.fingerprint
        != Runs(designs.take(np.arange(2)), ("t",), early.loss, ("a", "a")).fingerprint
    )
    own = replace(runs, planned=designs.tokens)
    assert not own.octaves_left.any() and own.unusual and not runs.unusual
    with pytest.raises(InputError, match="more tokens than were planned"):
        replace(runs, planned=np.full(4, 2e9))
    with pytest.raises(InputError, match="planned has the wrong shape"):
        replace(runs, planned=np.full(3, 2e9))
