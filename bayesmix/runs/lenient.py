"""Arrays of a table as it stands, valid or not, for `lint`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bayesmix.runs.finding import Finding
from bayesmix.runs.runs import Runs
from bayesmix.runs.schema import REQUIRED, closest_column, columns_of, labels, misspelt, numbers


@dataclass(frozen=True, eq=False)
class LenientTable:
    """Arrays of a table as it stands, valid or not.

    A missing number is NaN, and a missing column of labels is None.
    """

    ids: tuple[str, ...] | None
    params: np.ndarray
    tokens: np.ndarray
    domains: tuple[str, ...]
    mixture: np.ndarray
    targets: tuple[str, ...]
    loss: np.ndarray
    train_run: tuple[str, ...] | None
    seed: tuple[str, ...] | None
    planned: np.ndarray

    @classmethod
    def of(cls, runs: Runs) -> LenientTable:
        """The table of loaded runs."""
        assert runs.planned is not None
        return cls(
            ids=runs.designs.ids,
            params=runs.params,
            tokens=runs.tokens,
            domains=runs.domains,
            mixture=runs.mixture,
            targets=runs.targets,
            loss=runs.loss,
            train_run=None if runs.train_run == runs.designs.ids else runs.train_run,
            seed=runs.seed if any(runs.seed) else None,
            planned=runs.planned,
        )

    def __len__(self) -> int:
        return len(self.params)

    @cached_property
    def recipe(self) -> np.ndarray:
        """Number (run) of the distinct mixture of each row, counted from 0."""
        return groups_of_rows(np.round(self.mixture, 9), size=len(self))

    @cached_property
    def group(self) -> np.ndarray:
        """Number (run) of the training run of each row.

        As in the column `train_run`; without it, rows of equal N, mixture and seed are one run.
        """
        if self.train_run is not None:
            placeholders = (f"\x1f{row}" for row in range(len(self)))
            return pd.factorize(
                np.array([name or next(placeholders) for name in self.train_run], dtype=object)
            )[0]
        seed = (
            np.zeros(len(self))
            if self.seed is None
            else pd.factorize(np.array(self.seed, dtype=object))[0]
        )
        return groups_of_rows(np.column_stack([self.params, self.recipe, seed]), size=len(self))

    @property
    def said_runs(self) -> bool:
        """Whether the table says which rows belong to one training run."""
        return self.train_run is not None and len(set(self.train_run) - {""}) < len(self)

    def name(self, row: int) -> str:
        """Name of a row in messages: its run id or position."""
        return self.ids[row] if self.ids is not None and self.ids[row] else f"row {row + 1}"

    def names(self, rows: np.ndarray) -> str:
        """Names of the first few of the rows as text."""
        return listed([self.name(int(row)) for row in rows])


def lenient(frame: pd.DataFrame) -> tuple[LenientTable, list[Finding]]:
    """The table as arrays, and findings on its columns.

    Values that are missing or no number are NaN.
    """
    weights, losses = columns_of(frame.columns, "weight"), columns_of(frame.columns, "loss")
    findings = _column_findings(frame, has_loss=bool(losses))
    wrong: dict[str, int] = {}

    def values(column: str) -> np.ndarray:
        if column not in frame:
            return np.full(len(frame), np.nan)
        parsed, bad = numbers(frame, column)
        if bad.any():
            wrong[column] = int(bad.sum())
        return parsed

    def matrix(columns: dict[str, str]) -> np.ndarray:
        return np.array([values(c) for c in columns.values()]).reshape(len(columns), len(frame)).T

    def text(column: str) -> tuple[str, ...] | None:
        return labels(frame, column) if column in frame else None

    table = LenientTable(
        ids=text("run_id"),
        params=values("params"),
        tokens=values("tokens"),
        domains=tuple(weights),
        mixture=matrix(weights),
        targets=tuple(losses),
        loss=matrix(losses),
        train_run=text("train_run"),
        seed=text("seed"),
        planned=values("tokens_planned"),
    )
    if wrong:
        message = (
            f"Values that are not numbers in {listed(f'{c} ({n})' for c, n in wrong.items())}."
        )
        findings.append(
            Finding(
                "not-a-number",
                "fail",
                message,
                "Write plain numbers: 7e9, not 7B.",
                sum(wrong.values()),
            )
        )
    return table, findings


def _column_findings(frame: pd.DataFrame, *, has_loss: bool) -> list[Finding]:
    findings = []
    missing = [name for name in REQUIRED if name not in frame] + (
        [] if has_loss else ["loss.<target>"]
    )
    if missing:
        meant = [
            f"{c} for {name}" for name in missing if (c := closest_column(name, frame.columns))
        ]
        advice = (
            f"Did you mean {', '.join(meant)}?"
            if meant
            else "Add the columns, or use a preset (--preset)."
        )
        message = f"The table has no column {', '.join(missing)}."
        findings.append(Finding("missing-column", "fail", message, advice, len(missing)))
    wrong = misspelt(frame)
    if wrong:
        message = f"Columns that look like the contract's but would be ignored: {listed(wrong)}."
        pairs = ", ".join(f"{old} to {new}" for old, new in list(wrong.items())[:3])
        findings.append(Finding("misspelt-column", "fail", message, f"Rename {pairs}.", len(wrong)))
    return findings


def groups_of_rows(values: np.ndarray, *, size: int) -> np.ndarray:
    """Number (run) of the distinct row of `values`, in order of appearance.

    NaN equals NaN and -0 equals 0.
    """
    if not values.shape[1]:
        return np.zeros(size, dtype=np.int64)
    plain = np.ascontiguousarray(np.where(np.isnan(values), np.nan, values + 0.0))
    whole_rows = plain.view(np.dtype((np.void, plain.itemsize * plain.shape[1]))).ravel()
    return pd.factorize(np.unique(whole_rows, return_inverse=True)[1])[0]


def is_positive(values: np.ndarray) -> np.ndarray:
    """Mask of the values that are finite and above 0."""
    return np.isfinite(values) & (values > 0)


def listed(names: Iterable[object], limit: int = 3) -> str:
    """The first few names as text."""
    names = [str(name) for name in names]
    return ", ".join(names[:limit]) + (
        f" and {len(names) - limit} more" if len(names) > limit else ""
    )
