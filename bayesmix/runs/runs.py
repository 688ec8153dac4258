"""`Runs`: designs with their measured losses, and which rows belong to one training run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from bayesmix.design import Designs, count
from bayesmix.errors import InputError

PLANNED = 1e-3
"""Fraction by which the tokens of a run may exceed the planned ones, as counts are rounded."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Measured points: one row per (design, checkpoint), one loss per target.

    Attributes:
        designs: mixture, params and tokens of every row; `designs.ids` are the run ids, which are
            unique.
        targets: names of the distributions the loss is measured on.
        loss: measured loss (run, target) in nats per token unless the table says otherwise; NaN is
            not measured.
        train_run: label (run) of the training run a row is a checkpoint of; by default every row is
            its own.
        seed: label (run) of the random seed of the training run, or empty.
        loss_se: standard error (run, target) of the evaluation, in the unit of the loss; 0 is exact
            or unknown.
        planned: tokens (run) that the schedule of the training run was made for; by default, and
            where it is NaN, the most that any of its rows has. A row with fewer is a checkpoint
            before the end.

    Raises:
        InputError: a run id or target stands twice, a loss is not positive, a standard error is
            negative, a run has more tokens than were planned, or shapes disagree.
    """

    designs: Designs
    targets: tuple[str, ...]
    loss: np.ndarray
    train_run: tuple[str, ...] = field(default=())
    seed: tuple[str, ...] = field(default=())
    loss_se: np.ndarray | None = None
    planned: np.ndarray | None = None

    def __post_init__(self) -> None:
        size = len(self.designs)
        if not self.train_run:
            object.__setattr__(self, "train_run", self.designs.ids)
        loss = np.array(self.loss, dtype=np.float64)
        loss_se = (
            np.zeros_like(loss)
            if self.loss_se is None
            else np.array(self.loss_se, dtype=np.float64)
        )
        loss_se[np.isnan(loss_se)] = 0.0
        for name, value in (("loss", loss), ("loss_se", loss_se)):
            if value.shape != (size, len(self.targets)):
                raise InputError(
                    f"{name} has the wrong shape",
                    expected=f"(run, target) = {(size, len(self.targets))}",
                    got=value.shape,
                    advice="Give one row a run and one column a target.",
                )
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        self._require_labels()
        self._require_unique_ids()
        object.__setattr__(self, "planned", self._planned())
        bad = np.argwhere(np.isfinite(loss) & (loss <= 0) | np.isinf(loss))
        if len(bad):
            run, target = bad[0]
            raise InputError(
                f"loss.{self.targets[target]} of {self.designs.ids[run]} is not a loss",
                expected="a finite number above 0, or nothing where it was not measured",
                got=float(loss[run, target]),
                advice="Correct the row or filter it out.",
            )
        bad = np.argwhere(~np.isfinite(loss_se) | (loss_se < 0))
        if len(bad):
            run, target = bad[0]
            raise InputError(
                f"the standard error of loss.{self.targets[target]} of {self.designs.ids[run]} is"
                " not one",
                expected="a finite number of at least 0, or nothing where it is unknown",
                got=float(loss_se[run, target]),
                advice="Correct the row or leave the value blank.",
            )

    @cached_property
    def train_runs(self) -> tuple[str, ...]:
        """Labels (train_run) of the training runs, sorted."""
        return tuple(sorted(set(self.train_run)))

    @cached_property
    def train_run_index(self) -> np.ndarray:
        """Position (run) in `train_runs` of the training run of every row."""
        position = {label: i for i, label in enumerate(self.train_runs)}
        return np.array([position[label] for label in self.train_run], dtype=int)

    @property
    def measured(self) -> np.ndarray:
        """Whether any loss of a training run was measured (train_run, target)."""
        measured = np.zeros((len(self.train_runs), len(self.targets)), bool)
        np.logical_or.at(measured, self.train_run_index, np.isfinite(self.loss))
        return measured

    def _planned(self) -> np.ndarray:
        """Tokens (run) of the schedules, checked."""
        longest = np.zeros(len(self.train_runs))
        np.maximum.at(longest, self.train_run_index, self.tokens)
        planned = longest[self.train_run_index]
        if self.planned is not None:
            usual, planned = planned, np.array(self.planned, dtype=np.float64)
            if planned.shape != (len(self),):
                raise InputError(
                    "planned has the wrong shape",
                    expected=f"(run) = {(len(self),)}",
                    got=planned.shape,
                    advice="Give the planned tokens of every row.",
                )
            planned = np.where(np.isnan(planned), usual, planned)
            bad = np.flatnonzero(planned < self.tokens * (1 - PLANNED))
            if len(bad):
                raise InputError(
                    f"{self.designs.ids[bad[0]]} has more tokens than were planned for it",
                    expected=f"tokens_planned of at least {count(float(self.tokens[bad[0]]))}",
                    got=count(float(planned[bad[0]])),
                    advice="Correct tokens_planned, or leave the column out.",
                )
            planned = np.maximum(planned, self.tokens)
        planned.setflags(write=False)
        return planned

    def _require_labels(self) -> None:
        if len(set(self.targets)) < len(self.targets):
            raise InputError(
                "a target stands twice",
                expected="distinct names",
                got=self.targets,
                advice="Rename or drop one.",
            )
        for name, labels in (("train_run", self.train_run), ("seed", self.seed)):
            if labels and len(labels) != len(self.designs):
                raise InputError(
                    f"{name} has the wrong length",
                    expected=f"one label for each of {len(self.designs)} rows",
                    got=len(labels),
                    advice="Give one label a row, or none at all.",
                )

    def _require_unique_ids(self) -> None:
        ids: set[str] = set()
        twice = [i for i in self.designs.ids if i in ids or ids.add(i)]
        if twice:
            raise InputError(
                f"{len(set(twice))} run id(s) stand more than once",
                expected="one row per run_id",
                got=sorted(set(twice))[:3],
                advice=(
                    "Drop the copies, or give checkpoints of one run distinct run_id and the same"
                    " train_run."
                ),
            )

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the training domains."""
        return self.designs.domains

    @property
    def mixture(self) -> np.ndarray:
        """Weights (run, domain)."""
        return self.designs.mixture

    @property
    def params(self) -> np.ndarray:
        """N (run)."""
        return self.designs.params

    @property
    def tokens(self) -> np.ndarray:
        """D (run)."""
        return self.designs.tokens

    @property
    def octaves_left(self) -> np.ndarray:
        """Octaves (run) of D from each row to the end of its run's schedule; 0 at the end."""
        assert self.planned is not None
        return np.log2(self.planned / self.tokens)

    @property
    def unusual(self) -> bool:
        """Whether any run was planned for other tokens than the most that its rows have."""
        return not np.array_equal(self.octaves_left, replace(self, planned=None).octaves_left)

    @property
    def fingerprint(self) -> str:
        """sha256 over names and values; the order of rows, domains and targets does not count.

        Equal fingerprints therefore do not mean equal arrays: match rows by `designs.ids` and
        columns by name.
        """
        digest = hashlib.sha256()
        rows = sorted(range(len(self)), key=self.designs.ids.__getitem__)
        domains = sorted(range(len(self.domains)), key=self.domains.__getitem__)
        targets = sorted(range(len(self.targets)), key=self.targets.__getitem__)
        seed = self.seed or ("",) * len(self)
        for names, order in (
            (self.designs.ids, rows),
            (self.train_run, rows),
            (seed, rows),
            (self.domains, domains),
            (self.targets, targets),
        ):
            digest.update("\x1f".join(names[i] for i in order).encode() + b"\x1e")
        assert self.loss_se is not None
        mixture, loss, loss_se = (
            self.mixture[:, domains],
            self.loss[:, targets],
            self.loss_se[:, targets],
        )
        planned = () if self.planned is None or not self.unusual else (self.planned,)
        for values in (mixture, self.params, self.tokens, loss, loss_se, *planned):
            # Adding 0 turns -0 into 0, and every NaN is written as the same one.
            plain = np.where(np.isnan(values), np.nan, values + 0.0)[rows]
            digest.update(np.ascontiguousarray(plain, dtype="<f8").tobytes())
        return digest.hexdigest()

    def take(self, rows: np.ndarray) -> Runs:
        """The rows at the given positions or where a boolean mask is true."""
        rows = np.arange(len(self))[rows]
        assert self.loss_se is not None and self.planned is not None
        return Runs(
            self.designs.take(rows),
            self.targets,
            self.loss[rows],
            tuple(self.train_run[i] for i in rows),
            tuple(self.seed[i] for i in rows) if self.seed else (),
            self.loss_se[rows],
            self.planned[rows],
        )

    def only(self, targets: Sequence[str]) -> Runs:
        """The same rows with the losses of the named targets.

        Raises:
            InputError: a target is not in the table.
        """
        missing = [t for t in targets if t not in self.targets]
        if missing:
            raise InputError(
                "unknown target",
                expected=f"among {list(self.targets)}",
                got=missing,
                advice="Check the spelling.",
            )
        columns = [self.targets.index(t) for t in targets]
        assert self.loss_se is not None
        return replace(
            self,
            targets=tuple(targets),
            loss=self.loss[:, columns],
            loss_se=self.loss_se[:, columns],
        )

    def __len__(self) -> int:
        return len(self.designs)

    def __str__(self) -> str:
        n, d = self.params, self.tokens
        if not len(self):
            return f"no measured points: {len(self.domains)} domains, {len(self.targets)} targets"
        return (
            f"{len(self)} measured points of {len(self.train_runs)} training runs: "
            f"{len(self.domains)} domains, {len(self.targets)} targets, "
            f"N {count(n.min())} to {count(n.max())} ({len(np.unique(n))} sizes), "
            f"D {count(d.min())} to {count(d.max())}"
        )

    __repr__ = __str__


def joined(first: Runs, second: Runs) -> Runs:
    """The rows of both tables; domains and targets are matched by name.

    Raises:
        InputError: the tables differ in domains or targets, or share a run id.
    """
    theirs, matched = second.designs.on(first.domains), second.only(first.targets)
    assert first.loss_se is not None and matched.loss_se is not None
    assert first.planned is not None and matched.planned is not None
    designs = Designs(
        first.domains,
        np.vstack([first.mixture, theirs.mixture]),
        np.append(first.params, theirs.params),
        np.append(first.tokens, theirs.tokens),
        first.designs.ids + theirs.ids,
    )
    seeds = [runs.seed or ("",) * len(runs) for runs in (first, second)]
    return Runs(
        designs,
        first.targets,
        np.vstack([first.loss, matched.loss]),
        first.train_run + second.train_run,
        seeds[0] + seeds[1] if any(runs.seed for runs in (first, second)) else (),
        np.vstack([first.loss_se, matched.loss_se]),
        np.append(first.planned, matched.planned) if first.unusual or matched.unusual else None,
    )
