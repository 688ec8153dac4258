"""Files in and out: what cannot be read says why, what is written is whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmix.errors import InputError
from bayesmix.runs import io
from bayesmix.runs.io import read_frame, shipped, write_table
from bayesmix.runs.load import load_runs


def test_unknown_sources(tmp_path: Path) -> None:
    for source, message in [
        ("no-such-set", "no table at no-such-set.*Sets in the package: "),
        (tmp_path / "missing.csv", "no such file"),
        (tmp_path, "a folder"),
    ]:
        with pytest.raises(InputError, match=message):
            load_runs(source)


def test_shipped_sets_are_found_by_name(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    frame.to_csv(tmp_path / "data" / "tiny-set.csv", index=False)
    monkeypatch.setattr(io.resources, "files", lambda package: tmp_path)
    assert shipped() == ("tiny-set",)
    assert load_runs("tiny-set").fingerprint == load_runs(frame).fingerprint
    with pytest.raises(InputError, match="Did you mean tiny-set"):
        load_runs("tinyset")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "cannot read .*a.csv"),
        ("a.csv", b"run_id,params\nr0,1,2\nr1,1\n", "cannot read .*a.csv"),
        ("a.csv", b"run_id,params\nr0,1,2\nr1,1,2\n", "more values than the header"),
        ("a.csv", b"run_id;params;tokens\nr0;1;2\n", "separated by another sign"),
        ("a.csv", b"\xff\xfe\x00r\x00u\x00n", "cannot read .*a.csv"),
        ("a.csv", b"run_id,loss.a,loss.a\nr0,1,2\n", "names a column twice.*loss.a"),
        ("a.csv.gz", b"run_id,params\n", "cannot read .*a.csv.gz"),
        ("a.parquet", b"PAR1 and then nothing", "cannot read .*a.parquet"),
        ("a.xlsx", b"PK", "cannot read .*a.xlsx.*Save the table as CSV or Parquet"),
        ("table", b"run_id\n", "no suffix that says what it is"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_frame(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_header_only_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("run_id,params,tokens,loss.a\n")
    with pytest.raises(InputError, match="no rows"):
        load_runs(tmp_path / "a.csv")


def test_json_is_a_list_of_records(tmp_path: Path) -> None:
    columns = {
        "target": ("web", "sums"),
        "mean": np.array([0.1, np.nan]),
        "n": np.array([1, 2]),
        "max": [np.inf, 1.0],
    }
    write_table(columns, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == [
        {"target": "web", "mean": 0.1, "n": 1, "max": None},
        {"target": "sums", "mean": None, "n": 2, "max": 1.0},
    ]


def test_write_refuses_before_it_writes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a file that ends in \.csv"):
        write_table({"a": [1]}, tmp_path / "out.doc")
    with pytest.raises(InputError, match="differ in length"):
        write_table({"a": [1], "b": [1, 2]}, tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table({"a": [1]}, tmp_path / "out.csv")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OSError, match="disk full"):
        write_table({"a": [2]}, tmp_path / "out.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"] and read_frame(tmp_path / "out.csv")[
        "a"
    ].tolist() == [1]
