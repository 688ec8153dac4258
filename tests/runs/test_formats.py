"""Tables in the layouts people already have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmix.errors import InputError
from bayesmix.runs.formats import PRESETS
from bayesmix.runs.load import load_runs, read_table

SCALE = {"params": 3e7, "tokens": 3e9}


@pytest.fixture
def olmix() -> tuple[pd.DataFrame, pd.DataFrame]:
    ratios = pd.DataFrame(
        {
            "Unnamed: 0": [0, 1, 2],
            "run": ["x7", "a1", "k3"],
            "name": ["swarm-0000", "swarm-0001", "swarm-0002"],
            "index": [0, 1, 2],
            "wiki": [0.2, 0.5, 1.0],
            "code": [0.8, 0.5, 0.0],
        }
    )
    metrics = pd.DataFrame(
        {
            "run": ["k3", "x7", "a1"],
            "name": ["swarm-0002", "swarm-0000", "swarm-0001"],
            "index": [0, 1, 2],
            "_runtime": [9.0, 9.0, 9.0],
            "state": ["finished"] * 3,
            "wiki": [3.0, 1.0, 2.0],
            "arc_easy:rc::olmes": [1.3, 1.1, None],
        }
    )
    return ratios, metrics


@pytest.fixture
def regmix() -> tuple[pd.DataFrame, pd.DataFrame]:
    mixtures = pd.DataFrame(
        {
            "index": [1, 2, 3],
            "train_the_pile_arxiv": [0.1, 0.4, 1.0],
            "train_the_pile_pile_cc": [0.9, 0.6, 0.0],
        }
    )
    losses = pd.DataFrame({"index": [3, 1, 2], "metric/the_pile_pile_cc_val_loss": [6.3, 6.1, 6.2]})
    return mixtures, losses


@pytest.fixture
def checkpoints() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model_size": [1e8, 1e8, 3e8, 3e8],
            "n_tokens": [1e9, 2e9, 1e9, 2e9],
            "weight_web": [0.3, 0.3, 0.3, 0.6],
            "weight_code": [0.7, 0.7, 0.7, 0.4],
            "weight_decay": [0.1] * 4,
            "web_loss": [4.0, 3.9, 3.8, 3.7],
            "code_loss": [2.0, 1.9, 1.8, 1.7],
        }
    )


def test_olmix_is_joined_by_id(olmix) -> None:
    runs = load_runs(olmix, preset="olmix", **SCALE)
    assert runs.designs.ids == ("x7", "a1", "k3")
    assert runs.domains == ("wiki", "code") and runs.targets == ("wiki", "arc_easy:rc::olmes")
    np.testing.assert_array_equal(runs.loss[:, 0], [1, 2, 3])
    np.testing.assert_array_equal(runs.loss[:, 1], [1.1, np.nan, 1.3])


@settings(max_examples=20)
@given(data=st.data(), rows=st.integers(1, 8))
def test_join_does_not_depend_on_order(data, rows: int) -> None:
    ids = [f"r{i}" for i in range(rows)]
    ratios = pd.DataFrame(
        {"run_id": ids, "a": np.linspace(0, 1, rows), "b": 1 - np.linspace(0, 1, rows)}
    )
    metrics = pd.DataFrame({"run_id": ids, "bpb": 1.0 + np.arange(rows)})
    left, right = (data.draw(st.permutations(range(rows))) for _ in range(2))
    shuffled = load_runs([ratios.iloc[left], metrics.iloc[right]], preset="olmix", **SCALE)
    assert shuffled.fingerprint == load_runs([ratios, metrics], preset="olmix", **SCALE).fingerprint


@pytest.mark.parametrize("prefix", ["", "dclm_"])
def test_olmix_folder(olmix, tmp_path: Path, prefix: str) -> None:
    olmix[0].to_csv(tmp_path / f"{prefix}ratios.csv", index=False)
    olmix[1].to_csv(tmp_path / f"{prefix}metrics.csv", index=False)
    runs = load_runs(tmp_path, preset="olmix", **SCALE)
    assert runs.fingerprint == load_runs(olmix, preset="olmix", **SCALE).fingerprint
    with pytest.raises(InputError, match=r"a folder.*preset='olmix'"):
        load_runs(tmp_path)


def test_olmix_scale_from_columns_and_filter(olmix) -> None:
    ratios = olmix[0].assign(params=[1e7, 2e7, 3e7], tokens=1e9)
    metrics = olmix[1].assign(tokens=1e9)
    runs = load_runs(
        (ratios, metrics), preset="olmix", where=["params > 1e7", "`loss.wiki` < 3", "name != 'x'"]
    )
    assert runs.designs.ids == ("a1",) and runs.params[0] == 2e7
    with pytest.raises(InputError, match=r"contradict each other.*same tokens"):
        load_runs((ratios, metrics.assign(tokens=2e9)), preset="olmix")


def test_olmix_refuses_what_would_misjoin(olmix) -> None:
    ratios, metrics = olmix
    cases = [
        (
            (ratios, pd.concat([metrics, metrics.iloc[:1]])),
            "1 run id.*more than once in the losses.*k3",
        ),
        (
            (pd.concat([ratios, ratios.iloc[:1]]), metrics),
            "1 run id.*more than once in the mixtures.*x7",
        ),
        ((ratios, metrics.iloc[1:]), "1 of 3 run.*mixture but no losses.*k3"),
        ((ratios.iloc[:2], metrics), "1 of 3 run.*losses but no mixture.*k3"),
        ((ratios.drop(columns="run"), metrics), "no common run id"),
        (
            (ratios.assign(run=[None, "a1", "k3"]), metrics),
            "run id is blank in the mixtures.*row 1",
        ),
        ((ratios,), "a pair of tables.*got 1 tables"),
        (ratios, "a pair of tables.*got one table"),
    ]
    for source, message in cases:
        with pytest.raises(InputError, match=message):
            load_runs(source, preset="olmix", **SCALE)
    with pytest.raises(InputError, match="no column params nor tokens"):
        load_runs(olmix, preset="olmix")


def test_regmix_pair_and_single_table(regmix, tmp_path: Path) -> None:
    pair = load_runs(regmix, preset="regmix", **SCALE)
    assert pair.domains == ("arxiv", "pile_cc") and pair.targets == ("pile_cc",)
    np.testing.assert_array_equal(pair.loss[:, 0], [6.1, 6.2, 6.3])
    single = regmix[0].merge(regmix[1], on="index")
    assert load_runs(single, preset="regmix", **SCALE).fingerprint == pair.fingerprint
    regmix[0].to_csv(tmp_path / "train_mixture_1m.csv", index=False)
    regmix[1].to_csv(tmp_path / "train_pile_loss_1m.csv", index=False)
    assert load_runs(tmp_path, preset="regmix", **SCALE).fingerprint == pair.fingerprint
    regmix[0].to_csv(tmp_path / "test_mixture_1m.csv", index=False)
    with pytest.raises(InputError, match=r"does not hold one pair.*test_mixture_1m.csv"):
        load_runs(tmp_path, preset="regmix", **SCALE)
    assert load_runs(
        (tmp_path / "train_mixture_1m.csv", tmp_path / "train_pile_loss_1m.csv"),
        preset="regmix",
        **SCALE,
    ).designs.ids == ("1", "2", "3")


def test_columns_layout(checkpoints: pd.DataFrame) -> None:
    runs = load_runs(checkpoints, preset="columns")
    assert runs.domains == ("web", "code") and runs.targets == ("web", "code")
    assert runs.designs.ids == ("row-1", "row-2", "row-3", "row-4")
    assert runs.train_run == ("run-1", "run-1", "run-2", "run-3")
    filtered = load_runs(checkpoints, preset="columns", where=["model_size > 1e8", "params > 1e8"])
    assert filtered.designs.ids == ("row-3", "row-4")


def test_columns_layout_believes_the_table(checkpoints: pd.DataFrame) -> None:
    assert load_runs(checkpoints.assign(run=list("aabb")), preset="columns").train_run == tuple(
        "aabb"
    )
    assert (
        len(set(load_runs(checkpoints.assign(seed=[0, 1, 0, 0]), preset="columns").train_run)) == 4
    )
    assert load_runs(
        checkpoints.assign(run_id=list("abcd")), preset="columns"
    ).designs.ids == tuple("abcd")


def test_the_error_names_the_preset_that_fits(checkpoints: pd.DataFrame, regmix) -> None:
    with pytest.raises(InputError, match="--preset columns"):
        load_runs(checkpoints)
    with pytest.raises(InputError, match="--preset columns"):
        load_runs(checkpoints.assign(run_id=list("abcd")), params=1, tokens=1)
    with pytest.raises(InputError, match="--preset regmix"):
        load_runs(regmix[0].merge(regmix[1], on="index"))


def test_a_pair_needs_a_preset(regmix) -> None:
    with pytest.raises(InputError, match="preset wide is one table"):
        load_runs(regmix)


def test_read_table_keeps_other_columns_and_judges_nothing(checkpoints: pd.DataFrame) -> None:
    table = read_table(checkpoints.assign(web_loss=-1.0), preset="columns")
    assert {"run_id", "params", "weight.web", "loss.web", "weight_decay"} <= set(table)


def test_every_preset_says_what_it_is() -> None:
    for name, preset in PRESETS.items():
        assert preset.name == name and "<domain>" in preset.layout and "<target>" in preset.layout


def test_regmix_layout_of_the_published_table(shared_data: Path) -> None:
    wide = pd.read_csv(shared_data / "regmix" / "runs.csv")
    domains, targets = wide.filter(regex=r"^weight\."), wide.filter(regex=r"^loss\.")
    raw = pd.concat(
        [
            domains.rename(columns=lambda c: f"train_the_pile_{c.removeprefix('weight.')}"),
            targets.rename(columns=lambda c: f"metric/the_pile_{c.removeprefix('loss.')}_val_loss"),
            wide[["run_id", "split"]],
        ],
        axis=1,
    )
    runs = load_runs(raw, preset="regmix", params=1310720, tokens=1e9, where="split == 'train'")
    assert (
        len(runs) == 512
        and runs.fingerprint == load_runs(wide, where="split == 'train'").fingerprint
    )
