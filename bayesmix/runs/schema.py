"""Column contract of a table of runs, and misspellings that would lose data without an error.

One row per measured point: `run_id`, `params`, `tokens`, `weight.<domain>`…, `loss.<target>`…;
optional `train_run`, `seed`, `tokens_planned`, `loss_se.<target>` (standard error) or
`loss_se95.<target>` (half width of the 95 % interval). Every other column is the user's own and is
left alone, unless it reads like one of these written wrongly.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from bayesmix.validate import closest, letters

REQUIRED = ("run_id", "params", "tokens")
OPTIONAL = ("train_run", "seed", "tokens_planned")
FAMILIES = ("weight", "loss", "loss_se", "loss_se95")
CONTRACT = "run_id, params, tokens, weight.<domain>…, loss.<target>…"

# Names by which people call the required columns and that no spelling distance would find.
OTHER_NAMES = {
    "run_id": ("id", "run", "name", "index"),
    "params": ("n", "modelsize", "nparams", "numparams", "size"),
    "tokens": ("d", "ntokens", "numtokens", "trainingtokens"),
}


def columns_of(columns: Iterable[str], prefix: str) -> dict[str, str]:
    """Label → column of the columns ``<prefix>.<label>``, in the order they stand."""
    head = f"{prefix}."
    return {
        name.removeprefix(head): name for name in columns if name.startswith(head) and name != head
    }


def closest_column(required: str, columns: Iterable[str]) -> str | None:
    """The column that probably holds the contract's column `required`, or None."""
    columns = list(columns)
    by_plain = {letters(column): column for column in reversed(columns)}
    synonyms = [by_plain[other] for other in OTHER_NAMES.get(required, ()) if other in by_plain]
    return closest(required, columns) or (synonyms[0] if synonyms else None)


def misspelt(frame: pd.DataFrame) -> dict[str, str]:
    """Column → the name it was probably meant to have, for columns whose loss would matter.

    * a dotted name whose head is nearly one of the contract's (``weights.web``, ``Loss.code``);
    * ``weight_web`` or ``loss_web`` when `web` is a known domain or target, or when the whole
      family is absent (for weights: and the columns look like shares);
    * `train_run` or `seed` in another spelling (``TrainRun``, ``seeds``).
    """
    columns = list(frame.columns)
    names = {label.lower() for prefix in FAMILIES[:2] for label in columns_of(columns, prefix)}
    meant: dict[str, str] = {}
    for column in columns:
        head, dot, label = column.partition(".")
        if dot and label and head not in FAMILIES and (right := _family_meant(head)):
            meant[column] = f"{right}.{label}"
    for prefix in ("loss_se", "loss", "weight"):
        undotted = _undotted(columns, prefix)
        absent = not columns_of(columns, prefix) and prefix != "loss_se"
        if absent and prefix == "weight":
            absent = _look_like_shares(frame, list(undotted))
        meant |= {
            c: f"{prefix}.{label}"
            for c, label in undotted.items()
            if absent or label.lower() in names
        }
    for name in OPTIONAL:
        if name not in columns:
            meant |= {
                c: name for c in columns if c not in meant and _singular(c) == _singular(name)
            }
    return meant


def _family_meant(head: str) -> str | None:
    plain = _singular(head)
    for prefix in FAMILIES:
        if plain == _singular(prefix):
            return prefix
    close = [f for f in FAMILIES if difflib.SequenceMatcher(None, plain, letters(f)).ratio() > 0.8]
    return close[0] if close else None


def _undotted(columns: list[str], prefix: str) -> dict[str, str]:
    """Column → label of ``weight_web``, ``weights-web``, ``Weight web`` and the like."""
    lookahead = r"(?!se[_\-/: ])" if prefix == "loss" else ""
    pattern = re.compile(rf"(?:{prefix}(?:s|es)?)[_\-/: ]+{lookahead}(.+)", re.IGNORECASE)
    return {column: match[1] for column in columns if (match := pattern.fullmatch(column))}


def _look_like_shares(frame: pd.DataFrame, columns: list[str]) -> bool:
    """Whether the columns are numbers whose rows sum to about 1, unlike `weight_decay`."""
    if not columns or not all(pd.api.types.is_numeric_dtype(frame[c].dtype) for c in columns):
        return False
    values = frame[columns].to_numpy(dtype=np.float64, na_value=np.nan)
    return bool(len(values)) and float(np.mean(np.abs(values.sum(axis=1) - 1) < 0.05)) > 0.5


def _singular(name: str) -> str:
    """The name without case, separators and plural: ``Losses`` and ``loss`` are the same."""
    return re.sub(r"(?<=s)es$|(?<=[^s])s$", "", letters(name))


def numbers(frame: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (run) of a column as float64, and a mask (run) of entries that are not numbers.

    The values are NaN where the column is blank or holds no number; blanks are not in the mask.
    """
    column: Any = frame[name]
    if pd.api.types.is_bool_dtype(column.dtype):
        return np.full(len(column), np.nan), np.ones(len(column), dtype=bool)
    if not (
        pd.api.types.is_numeric_dtype(column.dtype)
        and not pd.api.types.is_complex_dtype(column.dtype)
    ):
        text = column.astype(object)
        parsed: Any = pd.to_numeric(
            text.where(text.map(lambda v: not isinstance(v, (bool, complex)))), errors="coerce"
        )
        blank = text.isna() | text.map(lambda v: isinstance(v, str) and not v.strip())
        values = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
        return values, np.isnan(values) & ~blank.to_numpy(dtype=bool)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return values, np.zeros(len(values), dtype=bool)


def labels(frame: pd.DataFrame, name: str) -> tuple[str, ...]:
    """Labels (run) of a column as text, empty where blank; 3 and 3.0 are both ``3``."""
    column: Any = frame[name]
    return tuple(_label(value) for value in column.astype(object))


def _label(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()
