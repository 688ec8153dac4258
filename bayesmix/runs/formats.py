"""Presets: layouts of existing tables, with their columns for run, scale, mixture and losses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from bayesmix.errors import InputError
from bayesmix.runs.schema import FAMILIES, OPTIONAL, columns_of, labels, numbers


@dataclass(frozen=True)
class Preset:
    """Mapping of one layout to the column contract.

    Attributes:
        name: name that a user writes.
        layout: the layout in one line, for messages.
        run_id: names the run id may have, the preferred one first; likewise `params`, `tokens` and
            `train_run`.
        params: names of N.
        tokens: names of D.
        train_run: names of the label that checkpoints of one training run share.
        weight: pattern of a weight column; its group is the domain.
        loss: pattern of a loss column; its group is the target.
        metadata: pattern of columns that are neither, whatever the other patterns say.
        files: file-name patterns (mixtures, losses) where the layout is a pair of tables in a
            folder.
        single: whether mixtures and losses may stand in one table.
        numbered: whether rows without a run id are named by their position in the file.
        checkpoints: whether rows of equal mixture, N and seed are checkpoints of one training run
            unless a column says.
    """

    name: str
    layout: str
    run_id: tuple[str, ...] = ("run_id",)
    params: tuple[str, ...] = ("params",)
    tokens: tuple[str, ...] = ("tokens",)
    train_run: tuple[str, ...] = ("train_run",)
    weight: str = r"weight\.(.+)"
    loss: str = r"loss\.(.+)"
    metadata: str = r"(?!)"
    files: tuple[str, str] | None = None
    single: bool = True
    numbered: bool = False
    checkpoints: bool = False


WIDE = Preset("wide", "run_id, params, tokens, weight.<domain>…, loss.<target>…")

OLMIX = Preset(
    "olmix",
    "ratios.csv (run or run_id, <domain>…) and metrics.csv (run or run_id, <target>…)",
    run_id=("run_id", "run"),
    weight=r"(.+)",
    loss=r"(.+)",
    metadata=(
        r"(Unnamed: \d+|_.*|run|run_id|name|index|params|tokens|tokens_planned|train_run|seed|"
        r"loss_se(95)?\..+)?"
    ),
    files=("*ratios.csv", "*metrics.csv"),
    single=False,
)

REGMIX = Preset(
    "regmix",
    "index, train_the_pile_<domain>…, metric/the_pile_<target>_val_loss…, in one table or two",
    run_id=("run_id", "index"),
    weight=r"train_the_pile_(.+)",
    loss=r"metric/the_pile_(.+)_val_loss",
    files=("*mixture*.csv", "*loss*.csv"),
    numbered=True,
)

COLUMNS = Preset(
    "columns",
    "weight_<domain>…, model_size, n_tokens, <target>_loss…",
    run_id=("run_id", "id"),
    params=("model_size", "params", "n_params"),
    tokens=("n_tokens", "tokens"),
    train_run=("train_run", "run", "run_name"),
    weight=r"weight_(.+)",
    loss=r"(.+)_loss",
    metadata=r"weight_decay|weight_sum.*",
    numbered=True,
    checkpoints=True,
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {p.name: p for p in (WIDE, OLMIX, REGMIX, COLUMNS)}
)


def find_preset(name: str | None) -> Preset:
    """The preset of that name; None is the wide table.

    Raises:
        InputError: there is no preset of that name.
    """
    if name is None:
        return WIDE
    if name not in PRESETS:
        raise InputError(
            "unknown preset",
            expected=f"one of {', '.join(PRESETS)}",
            got=repr(name),
            advice="; ".join(f"{p.name}: {p.layout}" for p in PRESETS.values()) + ".",
        )
    return PRESETS[name]


def recognise(columns: Iterable[str]) -> Preset | None:
    """The one preset other than `wide` whose weight and loss columns both occur, or None."""
    columns = list(columns)
    fits = [
        p
        for p in (REGMIX, COLUMNS)
        if _labelled(columns, p.weight, p.metadata) and _labelled(columns, p.loss, "(?!)")
    ]
    return fits[0] if len(fits) == 1 else None


def to_wide(frame: pd.DataFrame, preset: Preset) -> pd.DataFrame:
    """The table with contract names instead of the preset's.

    Its other columns keep their own names.

    Raises:
        InputError: the layout is a pair of tables.
    """
    if not preset.single:
        raise InputError(
            f"preset {preset.name} is a pair of tables",
            expected=preset.layout,
            got="one table",
            advice="Give the folder that holds both, or the pair of paths.",
        )
    wide = _renamed(frame, preset, weight=preset.weight, loss=preset.loss)
    return _with_train_run(_with_run_id(wide, preset), preset)


def join(mixtures: pd.DataFrame, losses: pd.DataFrame, preset: Preset) -> pd.DataFrame:
    """Join mixtures and losses of the same runs into one wide table.

    Rows are matched by run id and never by position.

    Raises:
        InputError: no common id column, an id stands twice or in one table only, or the tables
            contradict each other.
    """
    key = next((name for name in preset.run_id if name in mixtures and name in losses), None)
    if key is None:
        raise InputError(
            "the two tables have no common run id",
            expected=f"a column {' or '.join(preset.run_id)} in both",
            got=f"{_some(mixtures.columns)} and {_some(losses.columns)}",
            advice="Name the id column alike in both; rows are never matched by position.",
        )
    # The key is renamed first, so that no pattern takes it for a domain or a target.
    mixture_table = _renamed(
        mixtures.rename(columns={key: "run_id"}), preset, weight=preset.weight, loss=None
    )
    loss_table = _renamed(
        losses.rename(columns={key: "run_id"}), preset, weight=None, loss=preset.loss
    )
    ids, other_ids = labels(mixture_table, "run_id"), labels(loss_table, "run_id")
    _require_distinct_ids(ids, "mixtures")
    _require_distinct_ids(other_ids, "losses")
    _require_partners(ids, other_ids)
    mixture_table["run_id"] = ids
    place = {run: row for row, run in enumerate(other_ids)}
    loss_table = loss_table.iloc[[place[run] for run in ids]].reset_index(drop=True)
    shared = [name for name in loss_table if name in mixture_table and name != "run_id"]
    _require_agreement(
        mixture_table,
        loss_table,
        [name for name in shared if name in ("params", "tokens", *OPTIONAL)],
    )
    joined = pd.concat([mixture_table, loss_table.drop(columns=["run_id", *shared])], axis=1)
    return _with_train_run(joined, preset)


def _renamed(
    frame: pd.DataFrame, preset: Preset, *, weight: str | None, loss: str | None
) -> pd.DataFrame:
    # Where any name may be a domain, a column of text is the user's own note.
    columns = [name for name in frame.columns if preset.single or _holds_numbers(frame, name)]
    source: dict[str, str] = {}
    for pattern, prefix in ((weight, "weight"), (loss, "loss")):
        if pattern:
            source |= {
                f"{prefix}.{label}": c
                for label, c in _labelled(columns, pattern, preset.metadata).items()
            }
    for target in ("run_id", "params", "tokens", "train_run"):
        match = next(
            (c for c in getattr(preset, target) if c in frame and c not in source.values()), None
        )
        if match:
            source[target] = match
    source |= {
        name: name for prefix in FAMILIES[2:] for name in columns_of(frame.columns, prefix).values()
    }
    rest = [c for c in frame.columns if c not in source.values() and c not in source]
    names = {column: name for name, column in source.items()}
    order = [c for c in frame.columns if c in names or c in rest]
    wide = frame.loc[:, order]
    wide.columns = [names.get(c, c) for c in order]
    return wide


def _labelled(columns: Iterable[str], pattern: str, metadata: str) -> dict[str, str]:
    """Label → column of the columns that fit `pattern`."""
    fits = re.compile(pattern)
    return {m[1]: c for c in columns if not re.fullmatch(metadata, c) and (m := fits.fullmatch(c))}


def _holds_numbers(frame: pd.DataFrame, name: str) -> bool:
    """Whether any value is a number, or all are blank."""
    values, wrong = numbers(frame, name)
    return bool(np.isfinite(values).any() or not wrong.any())


def _with_run_id(wide: pd.DataFrame, preset: Preset) -> pd.DataFrame:
    if "run_id" in wide or not preset.numbered:
        return wide
    return wide.assign(run_id=[f"row-{row}" for row in range(1, len(wide) + 1)])


def _with_train_run(wide: pd.DataFrame, preset: Preset) -> pd.DataFrame:
    if "train_run" in wide or not preset.checkpoints or "params" not in wide or not len(wide):
        return wide
    weights = [numbers(wide, name)[0] for name in columns_of(wide.columns, "weight").values()]
    seed = [pd.Series(labels(wide, "seed"))] if "seed" in wide else []
    keys = pd.concat(
        [pd.Series(np.round(w, 9)) for w in weights] + [pd.Series(labels(wide, "params"))] + seed,
        axis=1,
    )
    number = keys.groupby(list(keys.columns), sort=False, dropna=False).ngroup()
    return wide.assign(train_run=[f"run-{group}" for group in number + 1])


def _require_distinct_ids(ids: Sequence[str], table: str) -> None:
    if "" in ids:
        raise InputError(
            f"a run id is blank in the {table}",
            expected="an id in every row",
            got=f"none in row {ids.index('') + 1}",
            advice="Fill it in or delete the row.",
        )
    twice = [run for run, times in Counter(ids).items() if times > 1]
    if twice:
        raise InputError(
            f"{len(twice)} run id(s) stand more than once in the {table}",
            expected="one row per run",
            got=twice[:3],
            advice="Delete the copies; a join would multiply the rows.",
        )


def _require_partners(mixture_ids: Sequence[str], loss_ids: Sequence[str]) -> None:
    for have, lack, fault in (
        (mixture_ids, set(loss_ids), "a mixture but no losses"),
        (loss_ids, set(mixture_ids), "losses but no mixture"),
    ):
        lonely = [run for run in have if run not in lack]
        if lonely:
            raise InputError(
                f"{len(lonely)} of {len(have)} run(s) have {fault}",
                expected="every run in both tables",
                got=lonely[:3],
                advice="Delete these rows, or check that the two files belong together.",
            )


def _require_agreement(
    mixtures: pd.DataFrame, losses: pd.DataFrame, columns: Iterable[str]
) -> None:
    wrong = [name for name in columns if labels(mixtures, name) != labels(losses, name)]
    if wrong:
        raise InputError(
            "the two tables contradict each other",
            expected=f"the same {wrong[0]} for the same run",
            got="different values",
            advice=f"Keep {wrong[0]} in one of them.",
        )


def _some(names: Iterable[str], limit: int = 8) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
