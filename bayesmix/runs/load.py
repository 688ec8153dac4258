"""`load_runs`, `load_designs`: from a table in a file or in memory to validated nouns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bayesmix.design import Designs
from bayesmix.errors import InputError
from bayesmix.runs.formats import Preset, find_preset, join, recognise, to_wide
from bayesmix.runs.io import query, read_frame
from bayesmix.runs.runs import Runs
from bayesmix.runs.schema import (
    CONTRACT,
    REQUIRED,
    closest_column,
    columns_of,
    labels,
    misspelt,
    numbers,
)
from bayesmix.validate import closest

type Table = str | os.PathLike[str] | pd.DataFrame
type Source = Table | tuple[Table, ...] | list[Table]

PLANNED = "tokens_planned"
Z95 = 1.959963984540054  # half width of a normal 95 % interval, in standard errors


def load_runs(
    source: Source,
    *,
    preset: str | None = None,
    where: str | Iterable[str] | None = None,
    targets: str | Sequence[str] | None = None,
    normalize: bool = False,
    params: float | None = None,
    tokens: float | None = None,
    rename: Mapping[str, str] | None = None,
) -> Runs:
    """Read a table of training runs.

    Columns are matched by name: `run_id`, `params` (N), `tokens` (D), `weight.<domain>` (rows sum
    to 1; none at all for runs without a mixture), `loss.<target>` (blank is not measured); optional
    `train_run` (rows of one training run), `seed`, `tokens_planned` (tokens that the run's schedule
    was made for; by default the most that a row of the run has, filtered out or not),
    `loss_se.<target>` (standard error of the evaluation) or `loss_se95.<target>` (half width of its
    95 % interval). Other columns are ignored, save those that look like one of these written
    wrongly.

    Args:
        source: path of a CSV, TSV or Parquet file, a DataFrame, the name of a set in the package,
            or for the presets that are a pair of tables the folder that holds both or the pair
            (mixtures, losses).
        preset: layout of the table: `wide` (default), `olmix`, `regmix` or `columns`.
        where: pandas queries that a row must all satisfy, e.g.
            ``["params < 1e9", "`weight.web` > 0"]``. They can use the table's own columns and the
            contract's.
        targets: the targets to keep, in this order, after `rename`; a text is split at commas.
            Default: all.
        normalize: divide each row of weights by its sum.
        params: N of every run, where the table does not say.
        tokens: D of every run, where the table does not say.
        rename: old → new name of domains and targets. Domains given one name are merged and their
            weights add. Write ``weight.old`` or ``loss.old`` to rename only the domain or only the
            target.

    Returns:
        The runs in the order of the table.

    Raises:
        InputError: the table is not valid; the message is one sentence on the reason.
    """
    frame = read_table(
        source, preset=preset, where=where, params=params, tokens=tokens, rename=rename
    )
    _require_contract(frame, find_preset(preset))
    names = _targets(frame, targets)
    ids = _ids(frame)
    loss = _matrix(frame, {t: f"loss.{t}" for t in names}, ids)
    return Runs(
        designs=_designs(frame, ids, normalize=normalize),
        targets=names,
        loss=loss,
        train_run=_train_run(frame, ids),
        seed=labels(frame, "seed") if "seed" in frame else (),
        loss_se=_loss_se(frame, names, ids),
        planned=_matrix(frame, {PLANNED: PLANNED}, ids)[:, 0] if PLANNED in frame else None,
    )


def load_designs(source: Table, *, normalize: bool = False) -> Designs:
    """Read designs to predict for.

    The columns are `params`, `tokens` and `weight.<domain>`; `id` or `run_id` is carried over. Any
    other column is ignored. Ids need not be distinct; without them designs are numbered from 0.

    Args:
        source: path of a CSV, TSV or Parquet file, or a DataFrame.
        normalize: divide each row of weights by its sum.

    Returns:
        The designs in the order of the table.

    Raises:
        InputError: the table is not valid; the message is one sentence on the reason.
    """
    frame = read_frame(source)
    _require_columns(frame, ("params", "tokens"), expected="params, tokens, weight.<domain>…")
    if not len(frame):
        raise _no_rows(None)
    label = next((name for name in ("id", "run_id") if name in frame), None)
    row_labels = labels(frame, label) if label else ()
    ids = tuple(name or str(row) for row, name in enumerate(row_labels)) or tuple(
        str(row) for row in range(len(frame))
    )
    return _designs(frame, ids, normalize=normalize)


def read_table(
    source: Source,
    *,
    preset: str | None = None,
    where: str | Iterable[str] | None = None,
    params: float | None = None,
    tokens: float | None = None,
    rename: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read a table with the contract's column names, filtered and renamed but not validated.

    `lint` takes it. Arguments as in `load_runs`.

    Raises:
        InputError: the table cannot be read, the tables of a pair do not match, a filter or a
            rename is wrong, or no row is left.
    """
    layout = find_preset(preset)
    raw, frame = _read(source, layout)
    for name, value in (("params", params), ("tokens", tokens)):
        if value is not None:
            frame = _with_constant(frame, name, value)
    if where is not None:
        where = [where] if isinstance(where, str) else list(where)
        frame = _with_planned(frame)  # while all rows of a run are there
        union = pd.concat([frame, raw[[c for c in raw if c not in frame]]], axis=1)
        frame = frame.loc[query(union, where)]
    if not len(frame):
        raise _no_rows(where)
    return _rename(frame, rename or {})


def _read(source: Source, preset: Preset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table as it is and with the contract's names; rows agree."""
    pair = _pair(source, preset)
    if pair is not None:
        frame = join(read_frame(pair[0]), read_frame(pair[1]), preset)
        return frame, frame
    if isinstance(source, (tuple, list)):
        raise InputError(
            f"preset {preset.name} is one table",
            expected="one path or DataFrame",
            got=f"{len(source)} of them",
            advice="Give one table, or a preset that is a pair (olmix, regmix).",
        )
    raw = read_frame(source)
    return raw, to_wide(raw, preset)


def _pair(source: Source, preset: Preset) -> tuple[Table, Table] | None:
    """The two tables of a layout that is a pair, or None where the source is a single table."""
    if preset.files is None:
        return None
    if isinstance(source, (tuple, list)):
        if len(source) != 2:
            raise InputError(
                f"preset {preset.name} is a pair of tables",
                expected=preset.layout,
                got=f"{len(source)} tables",
                advice="Give (mixtures, losses).",
            )
        return source[0], source[1]
    if isinstance(source, pd.DataFrame) or not Path(source).is_dir():
        return None
    matches = [sorted(Path(source).glob(pattern)) for pattern in preset.files]
    for pattern, paths in zip(preset.files, matches, strict=True):
        if len(paths) != 1:
            raise InputError(
                f"the folder {source} does not hold one pair of tables",
                expected=f"one file {pattern}",
                got=[path.name for path in paths] or "none",
                advice="Give the two paths (mixtures, losses) instead of the folder.",
            )
    return matches[0][0], matches[1][0]


def _with_constant(frame: pd.DataFrame, name: str, value: float) -> pd.DataFrame:
    if name in frame:
        raise InputError(
            f"{name} is given twice",
            expected=f"{name} in the table or as an argument",
            got=f"a column and {name}={value:g}",
            advice=f"Drop {name}= (--{name}), or drop the column.",
        )
    return frame.assign(**{name: float(value)})


def _with_planned(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the planned tokens of its runs, where they are known.

    A filter of rows would hide them.
    """
    if "train_run" not in frame or "tokens" not in frame:
        return frame
    tokens, _ = numbers(frame, "tokens")
    run = np.array(labels(frame, "train_run"), dtype=object)
    longest = pd.Series(tokens).groupby(run).transform("max").to_numpy()
    usual = np.where(run == "", tokens, longest)
    if PLANNED not in frame:
        return frame.assign(**{PLANNED: usual})
    planned, wrong = numbers(frame, PLANNED)
    return (
        frame
        if wrong.any()
        else frame.assign(**{PLANNED: np.where(np.isnan(planned), usual, planned)})
    )


def _rename(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Domains and targets under their new names; domains of one name are added up."""
    renamed: dict[str, str] = {}
    columns = {p: columns_of(frame.columns, p) for p in ("weight", "loss")}
    for old, new in names.items():
        prefix, _, label = old.partition(".")
        scope = (
            {prefix: label}
            if prefix in columns and label in columns[prefix]
            else dict.fromkeys(columns, old)
        )
        hits = [p for p, name in scope.items() if name in columns[p]]
        if not hits:
            everything = list(dict.fromkeys([*columns["weight"], *columns["loss"]]))
            raise InputError(
                "cannot rename what is not there",
                expected=f"a domain or target among {everything}",
                got=repr(old),
                advice=f"Did you mean {closest(old, everything)}?"
                if closest(old, everything)
                else "Check the spelling.",
            )
        for p in hits:
            renamed[f"{p}.{scope[p]}"] = f"{p}.{new.removeprefix(f'{p}.')}"
            if p == "loss":
                renamed |= {
                    f"{se}.{scope[p]}": f"{se}.{new.removeprefix('loss.')}"
                    for se in ("loss_se", "loss_se95")
                }
    return _merged(frame, renamed) if renamed else frame


def _merged(frame: pd.DataFrame, renamed: Mapping[str, str]) -> pd.DataFrame:
    groups: dict[str, list[str]] = {}
    for column in frame.columns:
        groups.setdefault(renamed.get(column, column), []).append(column)
    columns: dict[str, pd.Series] = {}
    for new, old in groups.items():
        if len(old) == 1:
            columns[new] = frame.loc[:, old[0]]
        elif new.startswith("weight."):
            columns[new] = pd.Series(
                _matrix(frame, {c: c for c in old}).sum(axis=1), index=frame.index
            )
        else:
            raise InputError(
                f"two targets would both be called {new.partition('.')[2]}",
                expected="distinct names for targets (only the weights of domains can be added up)",
                got=old,
                advice="To merge domains and leave the targets, write weight.OLD=NEW.",
            )
    return pd.DataFrame(columns, index=frame.index)


def _require_contract(frame: pd.DataFrame, preset: Preset) -> None:
    _require_columns(frame, REQUIRED, expected=CONTRACT if preset.name == "wide" else preset.layout)
    wrong = misspelt(frame) if preset.name == "wide" else {}
    if wrong:
        column, meant = next(iter(wrong.items()))
        raise InputError(
            f"{len(wrong)} column(s) look like the contract's but are not spelt like it",
            expected=CONTRACT,
            got=_listed(wrong),
            advice=f"Did you mean {meant} for {column}? Rename the columns or drop them."
            + _preset_hint(frame),
        )
    if not columns_of(frame.columns, "loss"):
        raise InputError(
            "the table has no losses",
            expected=CONTRACT if preset.name == "wide" else preset.layout,
            got=_listed(frame.columns),
            advice="Name each loss column loss.<target>." + _preset_hint(frame),
        )


def _require_columns(frame: pd.DataFrame, required: Sequence[str], *, expected: str) -> None:
    missing = [name for name in required if name not in frame]
    if not missing:
        return
    runs = "run_id" in required
    meant = {name: column for name in missing if (column := closest_column(name, frame.columns))}
    hints = ", ".join(f"{column} for {name}" for name, column in meant.items())
    options = [f"{name}= (--{name})" for name in missing if name != "run_id" and name not in meant]
    raise InputError(
        f"the table has no column {' nor '.join(missing)}",
        expected=expected,
        got=_listed(frame.columns),
        advice=(f"Did you mean {hints}? Rename it." if hints else "Add the column.")
        + (
            f" If it is the same for all runs, give {' and '.join(options)}."
            if options and runs
            else ""
        )
        + (_preset_hint(frame) if runs else ""),
    )


def _preset_hint(frame: pd.DataFrame) -> str:
    preset = recognise(frame.columns)
    if preset:
        return f" These are the columns of preset='{preset.name}' (--preset {preset.name})."
    return " Other layouts have a preset (--preset olmix, regmix or columns)."


def _targets(frame: pd.DataFrame, targets: str | Sequence[str] | None) -> tuple[str, ...]:
    names = list(columns_of(frame.columns, "loss"))
    if targets is None:
        return tuple(names)
    selection = (
        [t.strip() for t in targets.split(",")] if isinstance(targets, str) else list(targets)
    )
    missing = [t for t in selection if t not in names]
    if missing or not selection:
        similar = [s for t in missing if (s := closest(t, names))]
        raise InputError(
            "unknown target" if missing else "no target",
            expected=f"among {names}",
            got=missing or "none",
            advice=f"Did you mean {', '.join(similar)}?" if similar else "Check the spelling.",
        )
    return tuple(dict.fromkeys(selection))


def _designs(frame: pd.DataFrame, ids: tuple[str, ...], *, normalize: bool) -> Designs:
    columns = columns_of(frame.columns, "weight")
    weights = _matrix(frame, columns, ids)
    if normalize and columns:
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total > 0, total, 1.0)
    scale = _matrix(frame, {"params": "params", "tokens": "tokens"}, ids)
    return Designs(tuple(columns), weights, scale[:, 0], scale[:, 1], ids)


def _ids(frame: pd.DataFrame) -> tuple[str, ...]:
    ids = labels(frame, "run_id")
    if "" in ids:
        raise InputError(
            "a run_id is blank",
            expected="an id in every row",
            got=f"none in row {frame.index[ids.index('')] + 1} of the table",
            advice="Fill it in or filter the row out.",
        )
    return ids


def _train_run(frame: pd.DataFrame, ids: tuple[str, ...]) -> tuple[str, ...]:
    if "train_run" not in frame:
        return ()
    return tuple(run or run_id for run, run_id in zip(labels(frame, "train_run"), ids, strict=True))


def _loss_se(
    frame: pd.DataFrame, targets: Sequence[str], ids: tuple[str, ...]
) -> np.ndarray | None:
    exact, half = columns_of(frame.columns, "loss_se"), columns_of(frame.columns, "loss_se95")
    stray = [f for name, f in (exact | half).items() if f"loss.{name}" not in frame]
    duplicates = [name for name in exact if name in half]
    if stray or duplicates:
        raise InputError(
            "a standard error belongs to no loss"
            if stray
            else "a target has two kinds of standard error",
            expected="loss_se.<target> or loss_se95.<target> beside loss.<target>",
            got=stray or duplicates,
            advice="Rename or drop the column.",
        )
    if not exact and not half:
        return None
    se = np.zeros((len(frame), len(targets)))
    for position, target in enumerate(targets):
        if target in exact:
            se[:, position] = _matrix(frame, {target: exact[target]}, ids)[:, 0]
        elif target in half:
            se[:, position] = _matrix(frame, {target: half[target]}, ids)[:, 0] / Z95
    return se


def _matrix(
    frame: pd.DataFrame, columns: Mapping[str, str], ids: Sequence[str] | None = None
) -> np.ndarray:
    """Values (run, column) of the columns, NaN where blank.

    Raises:
        InputError: a value is not a number.
    """
    values = np.empty((len(frame), len(columns)))
    for position, name in enumerate(columns.values()):
        values[:, position], wrong = numbers(frame, name)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            place = ids[row] if ids is not None else f"row {frame.index[row] + 1}"
            raise InputError(
                f"{name} of {place} is not a number ({int(wrong.sum())} row(s) are not)",
                expected="plain numbers, such as 1.3e9, and blanks where a loss was not measured",
                got=repr(frame[name].iloc[row]),
                advice="Correct the column or filter the rows out.",
            )
    return values


def _no_rows(where: str | Iterable[str] | None) -> InputError:
    return InputError(
        "no row satisfies the filter" if where else "the table has no rows",
        expected="at least one row",
        got=f"none with {' and '.join(where)}" if where else "none",
        advice="Loosen the filter; text needs quotes inside it: \"split == 'train'\"."
        if where
        else "Check the file.",
    )


def _listed(names: Iterable[str], limit: int = 8) -> str:
    names = list(names)
    return (
        ", ".join(names[:limit]) + (f", … ({len(names)} in all)" if len(names) > limit else "")
        or "no columns"
    )
