"""`Optimum`: the chosen mixture, its loss, its optimality gap and its comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from bayesmix.design import Design, Mixture, Scale
from bayesmix.summary import Band
from bayesmix.text import SMALLEST, clipped, decimal, table, wrapped


@dataclass(frozen=True)
class BaselineComparison:
    """Comparison of another mixture with the optimum, draw by draw.

    Attributes:
        mixture: the other mixture.
        loss: its loss.
        excess: its loss minus that of the optimum, in nats.
        worse: probability that its loss is the higher one.
    """

    mixture: Mixture
    loss: Band
    excess: Band
    worse: float

    @classmethod
    def of(cls, mixture: Mixture, losses: np.ndarray, best: np.ndarray) -> Self:
        """Compare the loss draws (draw) of `mixture` with those of the optimum (draw)."""
        return cls(mixture, Band.of(losses), Band.of(losses - best), float(np.mean(losses > best)))

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON."""
        return {
            "mixture": self.mixture.as_dict(),
            "loss": self.loss.as_dict(),
            "excess": self.excess.as_dict(),
            "probability_worse": self.worse,
        }


@dataclass(frozen=True, eq=False)
class Optimum:
    """The mixture that minimises a risk of the target loss at one scale.

    Attributes:
        mixture: the chosen mixture.
        scale: the scale it was chosen for.
        risk: the minimised criterion, as the text the command line takes.
        value: the minimised number, in nats.
        targets: weight of each target.
        loss: draws of the combined loss: of the worst target where that is the objective, else the
            weighted mean.
        by_target: the loss of each target.
        gap: an upper bound, in nats, on how far `value` is from the lowest possible one; None where
            none can be given.
        gap_reason: why there is no gap, or what it is relative to; empty when there is nothing to
            add.
        converged: whether the optimiser reached its tolerance.
        spread: highest minus lowest final value of the three best of several starts; None when
            convex.
        evaluations: how often the objective was evaluated.
        baselines: comparisons by name: ``uniform``, ``natural`` when it is known, and those asked
            for.
        chances: chance constraint → the probability with which it holds.
    """

    mixture: Mixture
    scale: Scale
    risk: str
    value: float
    targets: Mapping[str, float]
    loss: Band
    by_target: Mapping[str, Band]
    gap: float | None
    gap_reason: str
    converged: bool
    spread: float | None
    evaluations: int
    baselines: Mapping[str, BaselineComparison]
    chances: Mapping[str, float]

    @property
    def design(self) -> Design:
        """The chosen mixture at its scale, as a design."""
        return Design(self.mixture, self.scale)

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON."""
        return {
            "mixture": self.mixture.as_dict(),
            "params": self.scale.params,
            "tokens": self.scale.tokens,
            "risk": self.risk,
            "targets": dict(self.targets),
            "value": self.value,
            "loss": self.loss.as_dict(),
            "loss_by_target": {target: band.as_dict() for target, band in self.by_target.items()},
            "gap": self.gap,
            "gap_reason": self.gap_reason or None,
            "converged": self.converged,
            "spread": self.spread,
            "chances": dict(self.chances),
            **{name: c.as_dict() for name, c in self.baselines.items() if name == "uniform"},
            "against": {
                name: c.as_dict() for name, c in self.baselines.items() if name != "uniform"
            },
        }

    def __str__(self) -> str:
        return "\n".join([*self.head(), "", *self._shares(), "", *self.losses(), *self.promises()])

    def head(self) -> list[str]:
        """Lines with the minimised criterion and the optimality gap."""
        lines = [f"mixture for {self.scale}, minimising {self.risk}"]
        if self.gap is not None:
            lines.append(f"at most {self.gap:.1g} nats above the best possible" + self._aside())
        else:
            lines.append(f"no certificate: {self.gap_reason}")
        if self.spread is not None:
            spread = decimal(max(self.spread, SMALLEST))
            lines.append(
                f"the three best of several starts ended within {spread} nats of each other"
            )
        if not self.converged:
            lines.append("NOT CONVERGED: the optimiser stopped before it reached its tolerance")
        return [row for line in lines for row in wrapped(line)]

    def _aside(self) -> str:
        return f" ({self.gap_reason})" if self.gap_reason else ""

    def _shares(self) -> list[str]:
        names = [n for n in self.baselines if n in ("uniform", "natural")]
        mixtures = [self.mixture, *(self.baselines[n].mixture for n in names)]
        rows = [
            [clipped(domain, 40), *(m.as_dict().get(domain, 0.0) for m in mixtures)]
            for domain in self.mixture.domains
        ]
        return table(["domain", "share", *names], rows, "< >7.1%")

    def losses(self) -> list[str]:
        """Lines of a table with the losses of the optimum and of the baselines."""
        width = min(max(len(n) for n in (*self.baselines, "this mixture")), 20)
        lines = [
            f"{'':<{width}}  {'loss, mean [90%]':<22}  {'nats above this':<24}  {'P(worse)':>8}"
        ]
        lines.append(f"{'this mixture':<{width}}  {self.loss!s:<22}")
        for name, c in self.baselines.items():
            excess = f"{c.excess.mean:.3g} [{c.excess.q05:.2g}, {c.excess.q95:.2g}]"
            lines.append(
                f"{clipped(name, width):<{width}}  {c.loss!s:<22}  {excess:<24}  {c.worse:8.2f}"
            )
        return [line.rstrip() for line in lines]

    def promises(self) -> list[str]:
        """Lines with the probability of every chance constraint."""
        lines = [f"probability {p:.3f}: {name}" for name, p in self.chances.items()]
        return ["", *(row for line in lines for row in wrapped(line))] if lines else []
