"""Splits of a table into fitted and predicted runs, with groups kept whole."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np

from bayesmix.design import count
from bayesmix.errors import InputError
from bayesmix.runs.runs import Runs

GroupBy = Literal["run", "mixture", "size", "tokens"]
LEVELS = 12
"""Number of distinct sizes or token counts above which they form `CUTS` groups of equal count."""
CUTS = 5


class Split(NamedTuple):
    """Partition of the rows into fitted and predicted ones.

    Attributes:
        name: name of the group that is held out.
        train: rows that are fitted (run), boolean.
        test: rows that are predicted (run), boolean; rows may be in neither.
    """

    name: str
    train: np.ndarray
    test: np.ndarray


def groups(runs: Runs, group_by: GroupBy) -> np.ndarray:
    """Group (run) of every row, as integers from 0.

    Sizes and tokens are numbered from small to large.
    """
    if group_by == "run":
        labels = runs.train_run_index
    elif group_by == "mixture":
        labels = np.unique(runs.mixture.round(9), axis=0, return_inverse=True)[1]
    elif group_by in get_args(GroupBy):
        labels = _levels(runs.params if group_by == "size" else runs.tokens)
    else:
        raise InputError(
            "unknown kind of group",
            expected=f"one of {get_args(GroupBy)}",
            got=group_by,
            advice="Choose one.",
        )
    return labels.reshape(-1)


def split(
    runs: Runs, group_by: GroupBy, *, folds: int = 5, steps: int = 1, seed: int = 0
) -> tuple[Split, ...]:
    """Splits that each leave groups out.

    By run or mixture the groups are dealt into folds, each held out once; runs are dealt so that
    every fold has every size. By size or tokens the largest group is predicted from all smaller
    ones, then, with more steps, the one below it from those smaller still: never a small run from a
    large one.

    Args:
        runs: the table.
        group_by: kind of group: a training run, a mixture, a size N, or a number of tokens D.
        folds: number of folds of runs or mixtures; as many as there are groups if those are fewer.
        steps: number of the largest sizes or token counts that are held out in turn.
        seed: random seed of the folds.

    Raises:
        InputError: there are fewer than two groups, or fewer than two folds or one step are asked
            for.
    """
    labels = groups(runs, group_by)
    n_groups = int(labels.max(initial=-1)) + 1
    if n_groups < 2:
        advice = "Add runs that differ in it, or choose another kind of group."
        raise InputError(
            f"nothing can be left out by {group_by}",
            expected="at least two groups",
            got=n_groups,
            advice=advice,
        )
    if folds < 2 or steps < 1:
        raise InputError(
            "too few splits",
            expected="folds >= 2, steps >= 1",
            got=(folds, steps),
            advice="Raise the number.",
        )
    if group_by in ("run", "mixture"):
        return _dealt(runs, labels, min(folds, n_groups), group_by, seed)
    values = runs.params if group_by == "size" else runs.tokens
    held_out = range(max(1, n_groups - steps), n_groups)
    return tuple(
        _above(labels, group, values, "N" if group_by == "size" else "D") for group in held_out
    )


def _levels(values: np.ndarray) -> np.ndarray:
    distinct, index = np.unique(values, return_inverse=True)
    if len(distinct) <= LEVELS:
        return index
    cuts = np.quantile(values, np.arange(1, CUTS) / CUTS)
    return np.unique(np.searchsorted(cuts, values, side="left"), return_inverse=True)[1]


def _dealt(
    runs: Runs, labels: np.ndarray, folds: int, group_by: GroupBy, seed: int
) -> tuple[Split, ...]:
    n_groups = int(labels.max()) + 1
    order = np.random.default_rng(seed).permutation(n_groups)
    if group_by == "run":
        size = np.array([runs.params[labels == group].max() for group in range(n_groups)])
        order = order[np.argsort(size[order], kind="stable")]
    fold_of = np.empty(n_groups, int)
    fold_of[order] = np.arange(n_groups) % folds
    fold = fold_of[labels]
    noun = "training runs" if group_by == "run" else "mixtures"
    return tuple(
        Split(f"fold {i + 1}: {np.sum(fold_of == i)} {noun}", fold != i, fold == i)
        for i in range(folds)
    )


def _above(labels: np.ndarray, group: int, values: np.ndarray, symbol: str) -> Split:
    train, test = labels < group, labels == group
    low, high = count(values[test].min()), count(values[test].max())
    return Split(f"{symbol} = {low}" if low == high else f"{symbol} = {low} to {high}", train, test)
