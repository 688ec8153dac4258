"""`Proposal`: the runs to make next, with their scores, costs and reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmix.acquisition.estimators import Bracket, Estimate
from bayesmix.acquisition.pool import Pool
from bayesmix.design import Scale, count
from bayesmix.text import table, wrapped


@dataclass(frozen=True, eq=False)
class DecisionValue:
    """Effect of a set of runs on the decision at the flagship.

    Attributes:
        flagship: the scale to decide at.
        regret: expected regret of deciding without the runs (pending ones counted as made), in
            nats.
        remaining_regret: expected regret of deciding with them, in nats.
        worth: further FLOPs at the flagship that lower its loss as much as the runs do.
        domain_pair: the two domains whose shares the outcome moves most, against each other; None
            where nothing moves.
    """

    flagship: Scale
    regret: float
    remaining_regret: float
    worth: float
    domain_pair: tuple[str, str] | None


@dataclass(frozen=True, eq=False)
class Proposal:
    """Proposal of the runs to make next.

    Attributes:
        runs: the chosen runs, in the order they were chosen; empty when none is affordable.
        score: score of the whole set, in `unit`.
        unit: unit of the score.
        scores: gain of each run over those before it (run).
        costs: FLOPs of each run (run).
        candidates: number of runs to choose from.
        decision: effect of the set on the decision; None for criteria without a decision.
        checks: other estimates of the regret reduction of the first run.
        first: the Gaussian estimate the checks are compared with.
        bracket: bounds on the information of the first run.
        stop: whether the runs are not worth their cost.
        reason: why to run or to stop, in a sentence.
    """

    runs: Pool
    score: float
    unit: str
    scores: np.ndarray
    costs: np.ndarray
    candidates: int
    decision: DecisionValue | None
    checks: tuple[Estimate, ...]
    first: float
    bracket: Bracket | None
    stop: bool
    reason: str

    @property
    def agreement(self) -> str:
        """Sentence on the agreement of the estimators of regret reduction; empty for only one."""
        usable = [check for check in self.checks if check.usable]
        if not self.checks:
            return ""
        text = "; ".join(str(check) for check in self.checks)
        if not usable:
            return f"only the Gaussian estimate can be used ({self.first:.3g} nats): {text}"
        verdict = "agree" if all(check.agrees(self.first) for check in usable) else "DISAGREE"
        return f"the estimators {verdict}: Gaussian {self.first:.3g}; {text}"

    @property
    def agreed(self) -> bool:
        """Whether there are usable second estimates and all of them agree with the first."""
        usable = [check for check in self.checks if check.usable]
        return bool(usable) and bool(all(check.agrees(self.first) for check in usable))

    def as_dict(self) -> dict[str, Any]:
        """Dictionary of the proposal, ready for JSON."""
        last = self.runs.last
        return {
            "runs": [
                last.as_dict(i)
                | {
                    "score": float(self.scores[i]),
                    "cost": float(self.costs[i]),
                    "origin": self.runs.origin[i],
                }
                for i in range(len(self.runs))
            ],
            "score": self.score,
            "unit": self.unit,
            "cost": float(self.costs.sum()),
            "candidates": self.candidates,
            "expected_regret": self.decision
            and {"before": self.decision.regret, "after": self.decision.remaining_regret},
            "worth_flops": self.decision and self.decision.worth,
            "agreement": self.agreement or None,
            "agreed": self.agreed if self.checks else None,
            "bracket": self.bracket and vars(self.bracket),
            "stop": self.stop,
            "reason": self.reason,
        }

    def __str__(self) -> str:
        lines = wrapped(("stop: " if self.stop else "") + self.reason)
        if not len(self.runs):
            return "\n".join(lines)
        last = self.runs.last
        rows = []
        for i in range(len(self.runs)):
            score = f"{self.scores[i]:.3g} ({self.runs.origin[i]})"
            size = (count(last.params[i]), count(last.tokens[i]))
            rows.append((i + 1, *size, self.costs[i], score))
        header = ("", "params", "tokens", "FLOPs", self.unit)
        head, *entries = table(header, rows, ">3 >7 >7 >8.2g <")
        lines += ["", head]
        for entry, mixture in zip(entries, last.mixture, strict=True):
            lines += [entry, *wrapped(shares(last.domains, mixture), 5, 5)]
        for remark in filter(None, (self.agreement, str(self.bracket or ""))):
            lines += ["", *wrapped(remark)]
        return "\n".join(lines)

    __repr__ = __str__


def shares(domains: tuple[str, ...], weights: np.ndarray, threshold: float = 0.005) -> str:
    """Text of a mixture with the largest shares first and the small ones left out."""
    order = [i for i in np.argsort(-weights, kind="stable") if weights[i] >= threshold]
    text = "  ".join(f"{domains[i]} {100 * weights[i]:.1f}%" for i in order)
    rest = 100 * (1 - weights[order].sum())
    return text + (f"  others {rest:.1f}%" if rest >= 0.05 else "")
