"""`score`: accuracy and calibration of predictions against measured losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmix.posterior.prediction import Prediction

LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True, eq=False)
class Score:
    """Accuracy and calibration of predictions, per target (target) and pooled.

    Attributes:
        targets: names of the targets.
        count: number of measured losses (target).
        mre: mean of |mean prediction − measured| / measured (target), in percent.
        coverage: share of measured losses inside the central band of each level (level, target).
        width: mean width of the 90 % band relative to the measured loss (target), in percent.
        crps: mean continuous ranked probability score (target), in nats; lower is better.
        log_score: mean negative log density of the measured loss under a Gaussian with the draws'
            mean and standard deviation (target), in nats; lower is better.
    """

    targets: tuple[str, ...]
    count: np.ndarray
    mre: np.ndarray
    coverage: np.ndarray
    width: np.ndarray
    crps: np.ndarray
    log_score: np.ndarray

    def pooled(self, values: np.ndarray) -> float:
        """Mean of a figure (target) over all measured losses."""
        return float(np.average(values, weights=self.count))

    def as_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        names = (*self.targets, "pooled")
        rows = {
            name: [*getattr(self, name).tolist(), self.pooled(getattr(self, name))]
            for name in FIGURES
        }
        for level, shares in zip(LEVELS, self.coverage, strict=True):
            rows[f"coverage_{round(100 * level)}"] = [*shares.tolist(), self.pooled(shares)]
        return {
            t: {figure: values[i] for figure, values in rows.items()} for i, t in enumerate(names)
        }

    def __str__(self) -> str:
        width = max([len(t) for t in self.targets] + [6])
        lines = [f"{'target':<{width}}  MRE %  cover 50%  80%  90%  95%  width %     CRPS  points"]
        for i, target in enumerate((*self.targets, "pooled")):
            pick = (lambda v, i=i: v[i]) if i < len(self.targets) else self.pooled
            shares = "  ".join(f"{pick(level):.2f}" for level in self.coverage)
            count = self.count[i] if i < len(self.targets) else self.count.sum()
            lines.append(
                f"{target:<{width}}  {pick(self.mre):5.2f}       {shares}  {pick(self.width):7.2f} "
                f" {pick(self.crps):7.5f}  {count:6d}"
            )
        return "\n".join(lines)

    __repr__ = __str__


FIGURES = ("mre", "width", "crps", "log_score")


def score(prediction: Prediction, measured: np.ndarray) -> Score:
    """Compare predictive draws with measured losses (run, target); NaN is not measured.

    CRPS is E|X − y| − ½ E|X − X'| over the draws, computed from their order statistics (Gneiting &
    Raftery 2007, doi 10.1198/016214506000001437).
    """
    mask = np.isfinite(measured)
    draws = np.sort(prediction.draws, axis=0)
    size = len(draws)
    # for sorted draws x: ½ E|X − X'| = Σ gaps·x/size
    gaps = 2 * (np.arange(1, size + 1) - 0.5) / size - 1
    spread = np.tensordot(gaps, draws, (0, 0)) / size
    crps = np.abs(draws - measured).mean(axis=0) - spread
    mean, sd = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    log_score = 0.5 * ((measured - mean) / sd) ** 2 + np.log(sd) + 0.5 * np.log(2 * np.pi)
    band = {
        level: np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0) for level in LEVELS
    }
    inside = np.stack([(low <= measured) & (measured <= high) for low, high in band.values()])
    relative = (band[0.9][1] - band[0.9][0]) / measured

    def mean_of(values: np.ndarray) -> np.ndarray:
        return np.where(mask, values, 0.0).sum(axis=-2) / np.maximum(mask.sum(axis=0), 1)

    return Score(
        prediction.targets,
        mask.sum(axis=0),
        100 * mean_of(np.abs(mean - measured) / measured),
        mean_of(inside),
        100 * mean_of(relative),
        mean_of(crps),
        mean_of(log_score),
    )
