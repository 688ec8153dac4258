"""Reading and writing of tables: CSV, Parquet, JSON, shipped sets, and pandas queries."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesmix.errors import InputError
from bayesmix.runs.runs import Runs
from bayesmix.runtime.files import atomic_write
from bayesmix.validate import closest

CSV = (".csv", ".csv.gz", ".tsv")
PARQUET = (".parquet", ".pq")
JSON = (".json",)
LABELS = ("run_id", "id", "train_run", "run", "run_name", "name", "index")


def shipped() -> tuple[str, ...]:
    """Names of the sets of runs that come with the package, for `load_runs(name)`."""
    folder = resources.files("bayesmix.runs") / "data"
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(
            entry.name.removesuffix(".csv")
            for entry in folder.iterdir()
            if entry.name.endswith(".csv")
        )
    )


def read_frame(source: str | os.PathLike[str] | pd.DataFrame) -> pd.DataFrame:
    """Read a table as it is.

    The source is a DataFrame, the path of a CSV, TSV or Parquet file, or the name of a shipped set.
    A bare name (no folder, no suffix) that is a shipped set means that set; write `./name` for a
    file of that name.

    Returns:
        A new frame with text column names and rows numbered from 0. A named index has become a
        column.

    Raises:
        InputError: the file is missing, empty, truncated, not a table, or names a column twice.
    """
    if isinstance(source, pd.DataFrame):
        return _tidy(source, "the DataFrame")
    if isinstance(source, str) and source in shipped():
        with resources.as_file(resources.files("bayesmix.runs") / "data" / f"{source}.csv") as path:
            return _tidy(_read_csv(path), source)
    path = Path(source)
    suffix = _suffix(path)
    if not path.is_file():
        raise _not_found(path)
    if suffix in CSV:
        return _tidy(_read_csv(path), str(path))
    if suffix in PARQUET:
        return _tidy(_read_parquet(path), str(path))
    raise InputError(
        f"{path} has no suffix that says what it is" if not suffix else f"cannot read {path}",
        expected=f"a file that ends in {', '.join(CSV + PARQUET)}",
        got=suffix or path.name,
        advice="Save the table as CSV or Parquet.",
    )


def query(frame: pd.DataFrame, where: str | Iterable[str]) -> pd.Series:
    """Mask of the rows that satisfy all of the pandas queries `where`.

    A query is for example ``"params < 1e9"`` or ``"`weight.web` > 0"``.

    Raises:
        InputError: a query does not parse, names an unknown column, or is not true or false for
            every row.
    """
    keep = pd.Series(True, index=frame.index)
    for expression in [where] if isinstance(where, str) else where:
        try:
            # No variables of ours: `@name` in a query must not reach into this module.
            mask = frame.eval(expression, engine="python", local_dict={}, global_dict={})
        # pandas and Python raise a dozen kinds here; all mean that the query is wrong
        except Exception as error:
            raise _bad_query(
                expression, str(error).splitlines()[0] if str(error) else repr(error), frame
            ) from error
        if not (isinstance(mask, pd.Series) and pd.api.types.is_bool_dtype(mask.dtype)):
            raise _bad_query(expression, "a value that is not true or false", frame)
        keep &= mask.fillna(False).astype(bool)
    return keep


def write_table(
    columns: Mapping[str, Sequence[Any] | np.ndarray], path: str | os.PathLike[str]
) -> None:
    """Write columns of equal length to a CSV, TSV, Parquet or JSON file, whole or not at all.

    A JSON file is a list of records. Floats are written so that reading them gives the same bits
    back; JSON writes null for NaN and infinity.

    Raises:
        InputError: the suffix names no format, the columns differ in length, or the place cannot be
            written to.
    """
    suffix = _suffix(Path(path))
    if suffix not in CSV + PARQUET + JSON:
        raise InputError(
            f"cannot write {path}",
            expected=f"a file that ends in {', '.join(CSV + PARQUET + JSON)}",
            got=suffix or "no suffix",
            advice="Give the file one of these suffixes.",
        )
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(
            "columns differ in length",
            expected="one value per row",
            got=lengths,
            advice="Give columns of one length.",
        )
    frame = pd.DataFrame(dict(columns))
    with atomic_write(path) as draft:
        if suffix in CSV:
            frame.to_csv(
                draft,
                index=False,
                sep=_separator(suffix),
                compression="gzip" if suffix == CSV[1] else None,
            )
        elif suffix in PARQUET:
            frame.to_parquet(draft, index=False)
        else:
            draft.write_text(
                json.dumps(_records(frame), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )


def runs_columns(runs: Runs) -> dict[str, np.ndarray | tuple[str, ...]]:
    """The runs as the columns of the wide table, for `write_table`.

    `load_runs` of that table gives the same runs.
    """
    columns: dict[str, np.ndarray | tuple[str, ...]] = {"run_id": runs.designs.ids}
    if runs.train_run != runs.designs.ids:
        columns["train_run"] = runs.train_run
    if runs.unusual and runs.planned is not None:
        columns["tokens_planned"] = runs.planned
    if any(runs.seed):
        columns["seed"] = runs.seed
    columns |= {"params": runs.params, "tokens": runs.tokens}
    columns |= {f"weight.{domain}": runs.mixture[:, i] for i, domain in enumerate(runs.domains)}
    columns |= {f"loss.{target}": runs.loss[:, i] for i, target in enumerate(runs.targets)}
    assert runs.loss_se is not None
    if runs.loss_se.any():
        columns |= {
            f"loss_se.{target}": runs.loss_se[:, i] for i, target in enumerate(runs.targets)
        }
    return columns


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain Python values that JSON knows."""
    rows = frame.astype(object).to_dict(orient="records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".csv.gz" if name.endswith(".csv.gz") else path.suffix.lower()


def _separator(suffix: str) -> str:
    return "\t" if suffix == ".tsv" else ","


def _read_csv(path: Path) -> pd.DataFrame:
    options: dict[str, Any] = {
        "sep": _separator(_suffix(path)),
        "skipinitialspace": True,
        "encoding": "utf-8-sig",  # Excel begins its files with a byte-order mark
    }
    try:
        header = (
            pd.read_csv(path, header=None, nrows=1, dtype=str, **options).iloc[0].dropna().tolist()
        )
        _require_distinct(header, str(path))
        text: Any = dict.fromkeys(LABELS, str)
        frame = pd.read_csv(path, low_memory=False, dtype=text, **options)
    except (
        pd.errors.EmptyDataError,
        pd.errors.ParserError,
        UnicodeDecodeError,
        OSError,
        EOFError,
    ) as error:
        raise _unreadable(path, error) from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise _unreadable(path, "rows with more values than the header has names")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise _unreadable(
            path, f"a single column {header[0][:60]!r}, which looks separated by another sign"
        )
    for label in [name for name in LABELS if name in frame]:
        frame[label] = _numbers_if_whole(frame[label])
    return frame


def _numbers_if_whole(labels: pd.Series) -> pd.Series:
    """Labels as integers, where all are whole numbers, so that queries compare them.

    ``007`` is not one, and stays text.
    """
    whole = bool(labels.notna().all() and labels.str.fullmatch(r"0|[1-9]\d{0,17}").all())
    return labels.astype(np.int64) if whole else labels


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise _unreadable(path, error) from error


def _tidy(frame: pd.DataFrame, label: str) -> pd.DataFrame:
    if frame.columns.nlevels > 1 or frame.index.nlevels > 1:
        raise InputError(
            f"{label} has a hierarchical index",
            expected="one row of column names",
            got=f"{max(frame.columns.nlevels, frame.index.nlevels)} levels",
            advice="Flatten it with reset_index() and plain column names.",
        )
    frame = frame.reset_index(drop=frame.index.name is None or frame.index.name in frame.columns)
    frame.columns = [str(name).strip() for name in frame.columns]
    _require_distinct(list(frame.columns), label)
    return frame


def _require_distinct(names: Sequence[str], label: str) -> None:
    stripped = [name.strip() for name in names]
    twice = sorted({name for name in stripped if stripped.count(name) > 1})
    if twice:
        raise InputError(
            f"{label} names a column twice",
            expected="distinct column names",
            got=twice,
            advice="Rename or drop one.",
        )


def _not_found(path: Path) -> InputError:
    sets = ", ".join(shipped()) or "none"
    if path.is_dir():
        got = "a folder"
        advice = (
            "Give the file in it; for a folder of two files pass preset='olmix' or 'regmix'"
            " (--preset)."
        )
    else:
        similar = [name for name in shipped() if closest(str(path), [name])]
        got = "no such file"
        advice = (
            f"Did you mean {similar[0]}?"
            if similar
            else f"Check the path. Sets in the package: {sets}."
        )
    return InputError(
        f"there is no table at {path}",
        expected="the path of a CSV or Parquet file, or the name of a set in the package",
        got=got,
        advice=advice,
    )


def _unreadable(path: Path, problem: Exception | str) -> InputError:
    words = str(problem).splitlines()
    return InputError(
        f"cannot read {path}",
        expected=(
            "a comma-separated table with one header row"
            if _suffix(path) in CSV
            else "a table in the format its suffix names"
        ),
        got=words[0] if words else type(problem).__name__,
        advice="Check that the file is whole and saved in the format its suffix says.",
    )


def _bad_query(expression: str, got: str, frame: pd.DataFrame) -> InputError:
    dotted = [
        name
        for name in frame.columns
        if "." in name and name in expression and f"`{name}`" not in expression
    ]
    unknown = got.split("'")[1] if got.startswith("name '") else ""
    similar = closest(unknown, frame.columns) if unknown else None
    if dotted:
        advice = f"Put names with a dot in backticks: `{dotted[0]}`."
    elif similar:
        advice = f"Did you mean {similar}?"
    else:
        advice = 'Compare columns, as in "params < 1e9" or "split == \'train\'".'
    return InputError(
        f"the filter {expression!r} does not work",
        expected="a pandas query that is true or false for every row",
        got=got,
        advice=advice,
    )
