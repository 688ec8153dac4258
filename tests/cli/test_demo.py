"""The demonstration: what is kept aside, what is told, and the whole of it when asked for."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from bayesmix.runs.load import load_runs
from bayesmix.runs.runs import Runs
from tests.cli.conftest import run_program

module = importlib.import_module("bayesmix.cli.demo")  # the name in the package is the command


@pytest.fixture(scope="module")
def apart() -> tuple[Runs, Runs]:
    return module._apart(load_runs(module.SET, where="seed == 0", targets=module.TARGETS))


def test_the_largest_size_is_not_fitted(apart: tuple[Runs, Runs]) -> None:
    small, large = apart
    every = load_runs(module.SET)
    assert set(large.params) == {every.params.max()} and set(large.tokens) == {every.tokens.max()}
    assert small.params.max() < large.params.min() and len(set(small.params)) >= 3
    assert not set(small.train_run) & set(large.train_run)
    assert {tuple(each) for each in large.mixture} == {tuple(each) for each in small.mixture}


def test_the_table_says_where_its_numbers_come_from(
    apart: tuple[Runs, Runs], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert module._runs(tmp_path, *apart) == 0
    said = capsys.readouterr().out
    assert "MEASURED" in said and "CPU" in said and "kept aside" in said
    assert all(len(line) <= 80 for line in said.splitlines())
    np.testing.assert_array_equal(load_runs(tmp_path / "runs.csv").loss, apart[0].loss)


def test_mixtures_keep_the_names_they_have_in_the_plan(apart: tuple[Runs, Runs]) -> None:
    assert {"uniform", "natural", "prose-heavy"} <= set(module._names(apart[1]))


@pytest.mark.slow
def test_the_demo_runs_through(tmp_path: Path) -> None:
    said = run_program("demo", "--quick", "--out", tmp_path)
    assert said.code == 0, said.err
    assert (
        "MEASURED" in said.out
        and "nine of ten should" in said.out
        and "The posterior expects" in said.out
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"runs.csv", "posterior.nc", "designs.csv", "predictions.csv", "optimum.json"}
    weights = json.loads((tmp_path / "optimum.json").read_text(encoding="utf-8"))["mixture"]
    assert min(weights.values()) >= module.FLOOR - 1e-6
