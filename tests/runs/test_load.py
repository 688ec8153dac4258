"""`load_runs` and `load_designs`: what they read, and what each bad table is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmix.errors import InputError
from bayesmix.runs.io import runs_columns, write_table
from bayesmix.runs.load import load_designs, load_runs
from bayesmix.runs.runs import Runs


def test_wide_table_becomes_runs(frame: pd.DataFrame) -> None:
    runs = load_runs(frame)
    assert runs.domains == ("web", "code", "books")
    assert runs.targets == ("web", "sums")
    assert runs.designs.ids == tuple(frame["run_id"])
    assert runs.train_run == runs.designs.ids
    np.testing.assert_array_equal(
        runs.mixture, frame[["weight.web", "weight.code", "weight.books"]]
    )
    np.testing.assert_array_equal(runs.loss[:, 1], frame["loss.sums"])


def test_source_is_not_changed(frame: pd.DataFrame) -> None:
    before = frame.copy()
    load_runs(frame, rename={"web": "w"}, normalize=True, where="params > 0")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("name", ["runs.csv", "runs.csv.gz", "runs.tsv", "runs.parquet"])
def test_every_file_format_gives_the_same_runs(
    frame: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    frame.loc[3, "loss.web"] = np.nan
    runs = load_runs(frame.assign(train_run=frame["run_id"].str[:2], seed=7))
    write_table(runs_columns(runs), tmp_path / name)
    assert load_runs(tmp_path / name).fingerprint == runs.fingerprint
    assert load_runs(str(tmp_path / name)).seed == ("7",) * len(frame)


def test_a_filter_does_not_end_a_run_sooner(frame: pd.DataFrame, tmp_path: Path) -> None:
    rows = frame.iloc[:3].assign(train_run="one", params=1e8, tokens=[1e9, 2e9, 4e9])
    early = load_runs(rows, where="tokens < 3e9")
    np.testing.assert_allclose(early.octaves_left, [2, 1])
    write_table(runs_columns(early), tmp_path / "early.csv")
    again = load_runs(tmp_path / "early.csv")
    np.testing.assert_array_equal(again.planned, early.planned)
    assert again.fingerprint == early.fingerprint
    assert not load_runs(rows.assign(tokens_planned=rows["tokens"])).octaves_left.any()
    partly = rows.assign(tokens_planned=[None, None, 8e9])
    # blank: the most that a row of the run has
    np.testing.assert_allclose(load_runs(partly).octaves_left, [2, 1, 1])
    np.testing.assert_allclose(load_runs(partly, where="tokens < 3e9").octaves_left, [2, 1])


def test_table_without_mixture_is_legal(frame: pd.DataFrame) -> None:
    runs = load_runs(frame.filter(regex="run_id|params|tokens|loss"))
    assert runs.domains == () and runs.mixture.shape == (len(frame), 0)


def test_blank_losses_are_not_measured(frame: pd.DataFrame) -> None:
    frame["loss.web"] = frame["loss.web"].astype(object)
    frame.loc[0, "loss.web"], frame.loc[1, "loss.web"], frame.loc[2, "loss.web"] = None, "", " "
    assert np.isnan(load_runs(frame).loss[:, 0]).sum() == 3


def test_named_index_is_a_column(frame: pd.DataFrame) -> None:
    assert load_runs(frame.set_index("run_id")).designs.ids == tuple(frame["run_id"])


def test_ids_keep_their_zeros_and_lose_their_fractions(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame["run_id"] = [f"{i:03}" for i in range(len(frame))]
    frame.to_csv(tmp_path / "runs.csv", index=False)
    assert load_runs(tmp_path / "runs.csv").designs.ids[7] == "007"
    assert load_runs(frame.assign(run_id=np.arange(len(frame), dtype=float))).designs.ids[7] == "7"


def test_whole_number_labels_compare_as_numbers(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.assign(train_run=np.arange(len(frame)) // 4).to_csv(tmp_path / "runs.csv", index=False)
    runs = load_runs(tmp_path / "runs.csv", where="train_run < 2")
    assert len(runs) == 8 and set(runs.train_run) == {"0", "1"}


def test_blank_train_run_is_a_run_of_its_own(frame: pd.DataFrame) -> None:
    frame["train_run"] = ["a", "a", None, *(["b"] * (len(frame) - 3))]
    assert load_runs(frame).train_run[:4] == ("a", "a", "r2", "b")


def test_metadata_is_ignored(frame: pd.DataFrame) -> None:
    plain = load_runs(frame)
    extra = dict.fromkeys(
        [
            "flops",
            "lr",
            "split",
            "params_no_embed",
            "tokens_per_param",
            "train_set",
            "eval.seconds",
        ],
        1,
    )
    extra |= {
        "weight_decay": 0.1,
        "weight_sum_raw": 1.0,
        "loss_scale": 2.0,
        "speed": 3.0,
        "Unnamed: 0": 0,
    }
    assert load_runs(frame.assign(**extra)).fingerprint == plain.fingerprint
    bare = frame.filter(regex="run_id|params|tokens|loss")
    assert load_runs(bare.assign(weight_decay=0.1)).domains == ()


def test_spaces_after_commas_and_byte_order_mark(frame: pd.DataFrame, tmp_path: Path) -> None:
    text = frame.to_csv(index=False).replace(",", ", ")
    (tmp_path / "runs.csv").write_text(text, encoding="utf-8-sig")
    assert load_runs(tmp_path / "runs.csv").fingerprint == load_runs(frame).fingerprint


def test_standard_errors(frame: pd.DataFrame) -> None:
    frame["loss_se.web"], frame["loss_se95.sums"] = 0.01, 0.0196
    frame.loc[0, "loss_se.web"] = np.nan
    se = load_runs(frame).loss_se
    assert se is not None
    np.testing.assert_allclose(se[0], [0, 0.01], rtol=1e-4)
    np.testing.assert_allclose(se[1], [0.01, 0.01], rtol=1e-4)


@pytest.mark.parametrize("targets", ["sums, web", ["sums", "web"], ("sums", "web")])
def test_targets_are_kept_in_the_order_asked_for(frame: pd.DataFrame, targets: object) -> None:
    runs = load_runs(frame, targets=targets)  # pyright: ignore[reportArgumentType]
    assert runs.targets == ("sums", "web")
    np.testing.assert_array_equal(runs.loss[:, 0], frame["loss.sums"])


@pytest.mark.parametrize(
    "where", ["params < 1e9", ["params < 1e9"], ["params < 1e9", "`weight.web` >= 0"]]
)
def test_where(frame: pd.DataFrame, where: object) -> None:
    runs = load_runs(frame, where=where)  # pyright: ignore[reportArgumentType]
    assert runs.designs.ids == tuple(frame.loc[frame["params"] < 1e9, "run_id"])


def test_where_sees_metadata_and_blank_is_false(frame: pd.DataFrame) -> None:
    flag = pd.array([True, None] + [False] * (len(frame) - 2), dtype="boolean")
    assert len(load_runs(frame.assign(good=flag), where="good")) == 1
    assert len(load_runs(frame.assign(good=flag == True), where="not good")) == len(frame) - 2  # noqa: E712


def test_where_rescues_a_table_with_a_bad_row(frame: pd.DataFrame) -> None:
    frame["params"] = frame["params"].astype(object)
    frame.loc[5, "params"] = "7B"
    frame.loc[5, "weight.web"] = -1
    with pytest.raises(InputError, match="params of r5 is not a number"):
        load_runs(frame.drop(columns=["weight.web", "weight.code", "weight.books"]))
    assert len(load_runs(frame, where="run_id != 'r5'")) == len(frame) - 1


def test_params_and_tokens_from_the_caller(frame: pd.DataFrame) -> None:
    runs = load_runs(
        frame.drop(columns=["params", "tokens"]), params=1e6, tokens=1e9, where="params == 1e6"
    )
    assert set(runs.params) == {1e6} and set(runs.tokens) == {1e9}


def test_normalize(frame: pd.DataFrame) -> None:
    percent = frame.copy()
    percent[["weight.web", "weight.code", "weight.books"]] *= 100
    with pytest.raises(
        InputError, match=r"weights of row r0 do not sum to 1 \(48 row\(s\) are off\).*--normalize"
    ):
        load_runs(percent)
    np.testing.assert_allclose(
        load_runs(percent, normalize=True).mixture, load_runs(frame).mixture, atol=1e-12
    )


def test_normalize_does_not_repair_an_empty_mixture(frame: pd.DataFrame) -> None:
    frame.loc[1, ["weight.web", "weight.code", "weight.books"]] = 0.0
    with pytest.raises(InputError, match="weights of row r1 do not sum to 1"):
        load_runs(frame, normalize=True)


def test_rename_touches_domain_and_target(frame: pd.DataFrame) -> None:
    frame["loss_se.web"] = 0.1
    runs = load_runs(frame, rename={"web": "crawl"})
    assert runs.domains == ("crawl", "code", "books") and runs.targets == ("crawl", "sums")
    assert runs.loss_se is not None and runs.loss_se[0, 0] == 0.1


def test_rename_merges_domains(frame: pd.DataFrame) -> None:
    runs = load_runs(frame, rename={"weight.web": "text", "books": "text"})
    assert runs.domains == ("text", "code") and runs.targets == ("web", "sums")
    np.testing.assert_allclose(runs.mixture[:, 0], frame["weight.web"] + frame["weight.books"])


def test_rename_swaps(frame: pd.DataFrame) -> None:
    runs = load_runs(frame, rename={"code": "books", "books": "code"})
    np.testing.assert_array_equal(runs.mixture[:, 1], frame["weight.code"])
    assert runs.domains == ("web", "books", "code")


def test_rename_scoped_to_the_target(frame: pd.DataFrame) -> None:
    runs = load_runs(frame, rename={"loss.web": "loss.crawl"})
    assert runs.domains[0] == "web" and runs.targets[0] == "crawl"


def column(name: str, value: object):
    return lambda frame: frame.assign(**{name: value})


def cell(name: str, value: object):
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({name: object})
        frame.loc[4, name] = value
        return frame

    return change


def renamed(**names: str):
    return lambda frame: frame.rename(
        columns={old.replace("__", "."): new for old, new in names.items()}
    )


BAD_TABLES = [
    (renamed(run_id="id"), "no column run_id.*Did you mean id for run_id"),
    (renamed(params="param"), "no column params.*Did you mean param for params"),
    (renamed(params="N"), "no column params.*Did you mean N for params"),
    (renamed(tokens="tokens_"), "no column tokens.*Did you mean tokens_ for tokens"),
    (
        renamed(tokens="D", params="Params"),
        "no column params nor tokens.*Params for params, D for tokens",
    ),
    (renamed(params="foo"), r"no column params.*give params= \(--params\)"),
    (renamed(weight__web="weights.web"), "Did you mean weight.web for weights.web"),
    (renamed(weight__web="weigth.web"), "Did you mean weight.web for weigth.web"),
    (renamed(weight__web="Weight.web"), "Did you mean weight.web for Weight.web"),
    (renamed(loss__web="Loss.web"), "Did you mean loss.web for Loss.web"),
    (renamed(loss__web="losses.web"), "Did you mean loss.web for losses.web"),
    (renamed(loss__web="loss_web"), "Did you mean loss.web for loss_web"),
    (
        renamed(weight__web="weight_web", weight__code="weight_code", weight__books="weight_books"),
        "weight.web for weight_",
    ),
    (renamed(loss__web="a", loss__sums="b"), "no losses"),
    (column("TrainRun", "a"), "Did you mean train_run for TrainRun"),
    (column("seeds", 1), "Did you mean seed for seeds"),
    (column("loss_se_web", 0.1), "Did you mean loss_se.web for loss_se_web"),
    (column("loss_se.text", 0.1), "belongs to no loss"),
    (
        lambda f: f.assign(**{"loss_se.web": 0.1, "loss_se95.web": 0.1}),
        "two kinds of standard error",
    ),
    (column("loss_se.web", -0.1), "standard error of loss.web of r0"),
    (
        cell("weight.web", "a lot"),
        r"weight.web of r4 is not a number \(1 row\(s\) are not\).*got 'a lot'",
    ),
    (cell("loss.web", "1,5"), "loss.web of r4 is not a number"),
    (cell("params", True), "params of r4 is not a number"),
    (column("loss.web", True), "loss.web of r0 is not a number"),
    (cell("weight.web", -0.1), "weight of web in row r4 is not a share.*got -0.1"),
    (cell("weight.web", None), "weight of web in row r4 is not a share.*Write 0"),
    (cell("weight.web", 2.0), "weights of row r4 do not sum to 1"),
    (cell("params", 0), "params of r4 is not a size"),
    (cell("tokens", -1e9), "tokens of r4 is not a size"),
    (cell("tokens", None), "tokens of r4 is not a size"),
    (cell("loss.web", 0.0), "loss.web of r4 is not a loss"),
    (cell("loss.web", float("inf")), "loss.web of r4 is not a loss"),
    (cell("run_id", "r0"), r"1 run id\(s\) stand more than once.*r0"),
    (cell("run_id", None), "run_id is blank.*row 5"),
    (lambda f: f.iloc[:0], "the table has no rows"),
    (lambda f: pd.concat([f, f["loss.web"]], axis=1), "names a column twice.*loss.web"),
    (lambda f: f.set_index(["run_id", "params"]), "hierarchical index"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_TABLES, ids=map(str, range(len(BAD_TABLES))))
def test_bad_table(frame: pd.DataFrame, spoil, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_runs(spoil(frame))
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


BAD_ARGUMENTS = [
    ({"where": "params < "}, "filter 'params < ' does not work"),
    ({"where": "param < 1e9"}, "Did you mean params"),
    ({"where": "weight.web > 0"}, "in backticks: `weight.web`"),
    ({"where": "params"}, "not true or false"),
    ({"where": "x = params"}, "does not work"),
    ({"where": "params < @np.inf"}, "does not work"),
    (
        {"where": ["params > 0", "params < 0"]},
        "no row satisfies the filter.*params > 0 and params < 0",
    ),
    ({"targets": "webb"}, "unknown target.*Did you mean web"),
    ({"targets": []}, "no target"),
    ({"params": 1e6}, "params is given twice"),
    ({"rename": {"wbe": "x"}}, "cannot rename.*Did you mean web"),
    ({"rename": {"loss.web": "sums"}}, r"two targets would both be called sums.*weight.OLD=NEW"),
    ({"preset": "pile"}, "unknown preset.*wide, olmix, regmix, columns"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD_ARGUMENTS, ids=map(str, range(len(BAD_ARGUMENTS)))
)
def test_bad_argument(frame: pd.DataFrame, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_runs(frame, **arguments)


def test_row_numbers_survive_the_filter(frame: pd.DataFrame) -> None:
    frame.loc[7, "run_id"] = None
    with pytest.raises(InputError, match="none in row 8 of the table"):
        load_runs(frame, where=f"tokens == {float(frame['tokens'][7])!r}")


def test_designs(frame: pd.DataFrame, tmp_path: Path) -> None:
    designs = load_designs(frame)
    assert designs.ids == tuple(frame["run_id"]) and designs.domains == ("web", "code", "books")
    assert load_designs(frame.rename(columns={"run_id": "id"}).assign(note="x")).ids == designs.ids
    assert load_designs(frame.drop(columns="run_id")).ids[:2] == ("0", "1")
    assert load_designs(frame.assign(id="same", run_id=1)).ids[:2] == ("same", "same")
    frame.to_csv(tmp_path / "designs.csv", index=False)
    assert load_designs(tmp_path / "designs.csv").ids == designs.ids


def test_bad_designs(frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"no column params.*Did you mean model_params for params"):
        load_designs(frame.rename(columns={"params": "model_params"}))
    with pytest.raises(InputError, match="no rows"):
        load_designs(frame.iloc[:0])
    with pytest.raises(InputError, match="do not sum to 1"):
        load_designs(frame.assign(**{"weight.web": 1.0}))
    assert len(load_designs(frame.assign(**{"weight.web": 1.0}), normalize=True)) == len(frame)


@settings(max_examples=25)
@given(data=st.data(), rows=st.integers(1, 12), domains=st.integers(1, 5))
def test_order_of_rows_and_columns_does_not_matter(
    make_frame, data, rows: int, domains: int
) -> None:
    frame = make_frame(rows, domains)
    columns = data.draw(st.permutations(list(frame.columns)))
    order = data.draw(st.permutations(range(rows)))
    assert load_runs(frame.iloc[order][columns]).fingerprint == load_runs(frame).fingerprint


positive = st.floats(1e-300, 1e300)
names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@settings(max_examples=25)
@given(
    data=st.data(),
    targets=st.lists(names, min_size=1, max_size=3, unique=True),
    rows=st.integers(1, 5),
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_round_trip_keeps_every_bit(
    tmp_path_factory, suffix: str, data, targets: list[str], rows: int
) -> None:
    def column(values):
        return np.array(data.draw(st.lists(values, min_size=rows, max_size=rows)))

    share = column(st.floats(0, 1))
    table = {
        "run_id": [f"run {i}" for i in range(rows)],
        "params": column(positive),
        "tokens": column(positive),
    }
    table |= {"weight.a": share, "weight.b": 1 - share}
    table |= {f"loss.{target}": column(positive | st.just(np.nan)) for target in targets}
    runs = load_runs(pd.DataFrame(table))
    path = tmp_path_factory.mktemp("round") / f"runs{suffix}"
    write_table(runs_columns(runs), path)
    again = load_runs(path)
    assert isinstance(again, Runs)
    assert again.fingerprint == runs.fingerprint
    np.testing.assert_array_equal(again.loss, runs.loss)


SHAPES = {
    "slimpajama": (2408, 7, 8),
    "regmix": (768, 17, 13),
    "chinchilla": (245, 0, 1),
    "gadre": (104, 0, 8),
}


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_published_tables_load_as_they_are(
    shared_data: Path, name: str, shape: tuple[int, int, int]
) -> None:
    runs = load_runs(shared_data / name / "runs.csv")
    assert (len(runs), len(runs.domains), len(runs.targets)) == shape


def test_the_fit_window_of_slimpajama(shared_data: Path) -> None:
    window = (
        "(params == 310e6 & tokens >= 4e9) | (600e6 < params < 1e9 & tokens >= 7e9) | (params > 1e9"
        " & tokens >= 13e9)"
    )
    runs = load_runs(
        shared_data / "slimpajama" / "runs.csv",
        where=["not repeat_of_previous", window],
        targets="c4",
    )
    assert len(runs) == 1314 and runs.targets == ("c4",)
    assert len(set(runs.train_run)) < len(runs) / 4
