"""`backtest`: coverage of predictive bands on runs that were left out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import binom

from bayesmix.deprecation import renamed
from bayesmix.design import Designs
from bayesmix.errors import DataWarning, DiagnosticsWarning
from bayesmix.evaluation.score import LEVELS, Score, score
from bayesmix.evaluation.splits import GroupBy, Split, split
from bayesmix.inference.fit import fit
from bayesmix.model.model import Model
from bayesmix.posterior.prediction import Prediction
from bayesmix.runs.runs import Runs
from bayesmix.runtime.parallel import parallel_map
from bayesmix.runtime.progress import bar


@dataclass(frozen=True, eq=False)
class Backtest:
    """Predictions of runs that were left out, with their measured losses.

    Attributes:
        model: name of the model.
        group_by: kind of group that each refit left out.
        splits: names of the groups that each refit left out.
        fitted: number of points that each refit was fitted to.
        split_of: position in `splits` of each predicted point (run).
        prediction: draws of the loss each left-out run would measure.
        measured: the losses they measured (run, target); NaN is not measured.
        train_run: training run of each predicted point (run).
        failed: refits with failing diagnostics.
    """

    model: str
    group_by: GroupBy
    splits: tuple[str, ...]
    fitted: tuple[int, ...]
    split_of: np.ndarray
    prediction: Prediction
    measured: np.ndarray
    train_run: tuple[str, ...]
    failed: tuple[str, ...] = ()

    @property
    def score(self) -> Score:
        """Scores over all left-out points."""
        return score(self.prediction, self.measured)

    def score_of(self, position: int) -> Score:
        """Scores over the points of one split."""
        rows = np.flatnonzero(self.split_of == position)
        designs = self.prediction.designs.take(rows)
        part = Prediction(self.prediction.draws[:, rows], designs, self.prediction.targets)
        return score(part, self.measured[rows])

    @property
    def chance(self) -> tuple[float, float]:
        """Range of the share of losses that calibrated 90 % bands hold in 19 of 20 tables.

        Checkpoints and targets of one training run are counted as one, which is conservative.
        """
        count = len(set(self.train_run))
        low, high = binom.interval(0.95, count, 0.9)
        return float(low) / count, float(high) / count

    @property
    def verdict(self) -> str:
        """Verdict on the coverage of the 90 % bands: NARROW, WIDE or RIGHT.

        FAIL when a refit cannot be used.
        """
        if self.failed:
            return "FAIL"
        low, high = self.chance
        covered = self.score.pooled(self.score.coverage[LEVELS.index(0.9)])
        return "NARROW" if covered < low else "WIDE" if covered > high else "RIGHT"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        splits = [
            {"left_out": name, "fitted_points": count, "scores": self.score_of(i).as_dict()}
            for i, (name, count) in enumerate(zip(self.splits, self.fitted, strict=True))
        ]
        return {
            "model": self.model,
            "by": self.group_by,
            "verdict": self.verdict,
            "coverage_90_if_right": list(self.chance),
            "scores": self.score.as_dict(),
            "splits": splits,
            "failed": list(self.failed),
        }

    def __str__(self) -> str:
        lines = [f"{self.model}: points left out by {self.group_by}, predicted from the others"]
        width = max(map(len, self.splits))
        if len(self.splits) > 1:
            lines.append(f"{'left out':<{width}}  fitted  points  cover 90%  width %  MRE %")
        for i, (name, count) in enumerate(zip(self.splits, self.fitted, strict=True)):
            if len(self.splits) == 1:
                lines.append(f"left out {name}, fitted to {count} points")
                continue
            figures = self.score_of(i)
            cover, width_90 = (
                figures.pooled(v) for v in (figures.coverage[LEVELS.index(0.9)], figures.width)
            )
            lines.append(
                f"{name:<{width}}  {count:6d}  {figures.count.sum():6d}  {cover:9.2f} "
                f" {width_90:7.2f}  {figures.pooled(figures.mre):5.2f}"
            )
        lines += ["", str(self.score), ""]
        lines += [f"diagnostics fail: {name}" for name in self.failed]
        return "\n".join([*lines, f"{self.verdict}: {self._sentence()}"])

    def _sentence(self) -> str:
        low, high = self.chance
        figures = self.score
        cover = figures.pooled(figures.coverage[LEVELS.index(0.9)])
        count = len(set(self.train_run))
        text = (
            f"90 % bands held {100 * cover:.0f} % of the left-out losses (with {count} training"
            f" runs, {100 * low:.0f} to {100 * high:.0f} % is what chance allows)"
        )
        return (
            text
            + {
                "RIGHT": "; they told the truth here",
                "NARROW": "; the bands are too narrow: expect surprises beyond the fitted runs",
                "WIDE": "; the bands are wider than they need be",
                "FAIL": "; but not all refits can be trusted",
            }[self.verdict]
        )

    __repr__ = __str__


@renamed(by="group_by")
def backtest(
    model: Model,
    runs: Runs,
    *,
    group_by: GroupBy = "size",
    steps: int = 1,
    folds: int = 5,
    seed: int = 0,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 500,
    target_accept: float = 0.95,
    progress: bool = False,
    executor: Executor | None = None,
) -> Backtest:
    """Leave runs out, fit the rest, and compare predictive bands with the left-out losses.

    Args:
        model: model to fit.
        runs: all measured points.
        group_by: kind of group that is left out: the largest sizes N or token counts D, predicted
            from all smaller ones, or folds of mixtures or training runs.
        steps: number of the largest sizes or token counts that are left out in turn.
        folds: number of folds of mixtures or runs.
        seed: random seed of folds, refits and predictions.
        chains: chains of a refit.
        warmup: warm-up of a refit.
        draws: draws of a refit.
        target_accept: as in `fit`.
        progress: show a bar over the refits on standard error.
        executor: executor of the refits, each as one task; one after the other in this process when
            not given.

    Raises:
        InputError: nothing can be left out, or what remains cannot identify the model.
        WorkerError: workers of the executor died.
    """
    splits = split(runs, group_by, folds=folds, steps=steps, seed=seed)
    options = {
        "seed": seed,
        "chains": chains,
        "warmup": warmup,
        "draws": draws,
        "target_accept": target_accept,
    }
    with bar(doing="refits", total=len(splits), unit="fit", visible=progress) as refits:
        names = [part.name for part in splits]
        results = parallel_map(
            partial(_predicted, model, runs, options),
            splits,
            executor,
            lambda _: refits.update(),
            names,
        )
    predictions = [prediction for prediction, _ in results]
    failed = [
        f"without {part.name}"
        for part, (_, passed) in zip(splits, results, strict=True)
        if not passed
    ]
    rows = np.concatenate([np.flatnonzero(part.test) for part in splits])
    return Backtest(
        model.name,
        group_by,
        tuple(part.name for part in splits),
        tuple(int(part.train.sum()) for part in splits),
        np.repeat(np.arange(len(splits)), [int(part.test.sum()) for part in splits]),
        Prediction(
            np.concatenate([p.draws for p in predictions], axis=1),
            _joined(predictions),
            runs.targets,
        ),
        runs.loss[rows],
        tuple(runs.train_run[i] for i in rows),
        tuple(failed),
    )


def _predicted(
    model: Model, runs: Runs, options: dict[str, Any], part: Split
) -> tuple[Prediction, bool]:
    """Prediction of the runs that a split leaves out, and whether the diagnostics pass.

    Both are of a fit to the other runs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticsWarning)  # the verdict reports them
        warnings.simplefilter("ignore", DataWarning)
        posterior = fit(model, runs.take(part.train), **options)
    test = runs.take(part.test)
    prediction = posterior.predict(test.designs, options["seed"], octaves_left=test.octaves_left)
    return prediction, posterior.diagnostics.passed


def _joined(parts: Sequence[Prediction]) -> Designs:
    designs = [part.designs for part in parts]
    return Designs(
        designs[0].domains,
        np.concatenate([d.mixture for d in designs]),
        np.concatenate([d.params for d in designs]),
        np.concatenate([d.tokens for d in designs]),
        tuple(i for d in designs for i in d.ids),
    )
