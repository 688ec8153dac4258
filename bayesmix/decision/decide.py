"""`decide`: an optimum with its regret, near-optimal set, split-sample risk and compute gains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np

from bayesmix.decision.compute_gain import Multiplier, compute_multiplier
from bayesmix.decision.near_optimal import NearOptimalSet, near_optimal
from bayesmix.decision.objective import WeightedLoss
from bayesmix.decision.optimize import Options, optimize
from bayesmix.decision.optimum import Optimum
from bayesmix.decision.protocols import PosteriorLike
from bayesmix.decision.regret import RegretReport, SplitRisk, regret, split_risk
from bayesmix.deprecation import renamed
from bayesmix.design import Mixture, Scale
from bayesmix.runtime.progress import bar
from bayesmix.text import WIDTH, clipped, decimal, table, wrapped

SHARE, SPAN = 7, 13


@dataclass(frozen=True, eq=False)
class Decision:
    """An optimum with its regret, near-optimal set, split-sample risk and compute gains.

    Regret and near-optimal set are those of the weighted loss under the law, whatever criterion was
    minimised.

    Attributes:
        optimum: the chosen mixture.
        regret: regret of the chosen mixture, and the expected value of perfect information.
        near_optimal: the set of mixtures that are as good.
        split: risk on draws not used to choose the mixture; None with another objective than the
            weighted loss or with chance constraints.
        worth: name → factor of compute that the mixture of that name would need to catch up.
    """

    optimum: Optimum
    regret: RegretReport
    near_optimal: NearOptimalSet
    split: SplitRisk | None
    worth: Mapping[str, Multiplier]

    @property
    def mixture(self) -> Mixture:
        """The chosen mixture."""
        return self.optimum.mixture

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON: the fields of the optimum, and one for every other part."""
        split = self.split and {"apparent": self.split.apparent, "honest": self.split.honest}
        return {
            **self.optimum.as_dict(),
            "regret": self.regret.as_dict(),
            "equivalents": self.near_optimal.as_dict(),
            "split_draws": split,
            "compute_multiplier": {name: m.as_dict() for name, m in self.worth.items()},
        }

    def __str__(self) -> str:
        head, losses, promises = self.optimum.head(), self.optimum.losses(), self.optimum.promises()
        return "\n".join(
            [*head, "", *self._shares(), "", *losses, *promises, "", *self._sentences()]
        )

    def _shares(self) -> list[str]:
        """Lines of a table with a row per domain.

        The columns are the share, its range in the near-optimal set, and the shares of the mixtures
        to compare with.
        """
        baselines = self.optimum.baselines
        compared = {n: baselines[n].mixture for n in ("natural", "uniform") if n in baselines}
        members = {name: m for name, m in self.near_optimal.members.items() if name != "centre"}
        domains = self.mixture.domains
        width = min(max(len(d) for d in (*domains, "domain")), 24)
        room = (WIDTH - width - SHARE - SPAN - 4) // (SHARE + 2)
        columns = {**compared, **dict(list(members.items())[: max(room - len(compared), 0)])}
        titles = [
            *[(n, "") for n in compared],
            *(tuple(n.split(" ", 1)) for n in [*columns][len(compared) :]),
        ]
        header = ["domain", "share", "as good:", *(clipped(a, SHARE) for a, _ in titles)]
        rows: list[list[object]] = [["", "", "range", *(clipped(b, SHARE) for _, b in titles)]]
        for domain, share in self.mixture.as_dict().items():
            low, high = self.near_optimal.ranges.get(domain, (np.nan, np.nan))
            span = "–" if self.near_optimal.empty else f"{100 * low:.0f} to {100 * high:.0f}%"
            cells = [m.as_dict().get(domain, 0.0) for m in columns.values()]
            rows.append([clipped(domain, width), share, span, *cells])
        return table(header, rows, f"< >{SHARE}.1% >{SPAN} >{SHARE}.1%")

    def _sentences(self) -> list[str]:
        near_optima, cost = self.near_optimal, self.regret
        if near_optima.empty:
            as_good = [str(near_optima)]
        else:
            as_good = [
                f"As good: within {near_optima.epsilon:.2g} nats of the best in the same draw, with"
                f" probability {near_optima.probability:g}; each range lets the other shares move"
                " with it."
            ]
            swaps = [
                f"{100 * t:.0f} points from {a} to {b}"
                for (a, b), t in list(near_optima.trades.items())[:3]
            ]
            as_good += [f"All else equal one may move {'; '.join(swaps)}."] if swaps else []
        lines = [
            *as_good,
            (
                f"Acting now costs {decimal(cost.regret.mean)} nats"
                f" [{decimal(cost.regret.q05, 1)}, {decimal(cost.regret.q95, 1)}] against knowing"
                f" the truth; perfect knowledge is worth {decimal(cost.evpi)}."
            ),
        ]
        if self.split is not None:
            lines.append(
                f"Risk on draws not used to choose: {self.split.honest:.5g}; on those used:"
                f" {self.split.apparent:.5g}."
            )
        lines += [f"{name} {worth}." for name, worth in self.worth.items()]
        return [row for line in lines for row in wrapped(line)]


@renamed(within="feasible", promises="chance_constraints", against="baselines", look="regret_draws")
def decide(
    posterior: PosteriorLike,
    scale: Scale,
    *,
    epsilon: float | None = None,
    probability: float = 0.9,
    regret_draws: int = 500,
    **options: Unpack[Options],
) -> Decision:
    """Optimal mixture with its regret, near-optimal set, split-sample risk and compute gains.

    Args:
        posterior: the fitted losses.
        scale: parameters and tokens of the run the mixture is for.
        epsilon: largest regret, in nats, of a near-optimal mixture; see `near_optimal`.
        probability: probability that the regret of a near-optimal mixture stays below epsilon.
        regret_draws: draws for regret and the near-optimal set; the optimum of every draw is
            computed by itself.
        **options: arguments of `optimize`.

    Raises:
        InputError: unknown targets or domains.
        InfeasibleError: no mixture meets the constraints, or none found meets the chance
            constraints.
    """
    with bar(doing="deciding", total=4) as progress:
        best = optimize(posterior, scale, **options)
        progress.update()
        targets, feasible = options.get("targets"), options.get("feasible")
        draws = options.get("max_draws")
        capped_draws = min(regret_draws, draws or regret_draws)
        is_weighted_loss = isinstance(options.get("objective") or WeightedLoss(), WeightedLoss)
        split = None
        if is_weighted_loss and not options.get("chance_constraints"):
            split = split_risk(
                posterior,
                scale,
                targets=targets,
                risk=options.get("risk"),
                feasible=feasible,
                max_draws=draws,
                noise=options.get("noise", False),
                seed=options.get("seed", 0),
            )
        progress.update()
        cost = regret(
            posterior,
            scale,
            best.mixture,
            targets=targets,
            feasible=feasible,
            baselines=options.get("baselines"),
            max_draws=capped_draws,
        )
        progress.update()
        near_optima = near_optimal(
            posterior,
            scale,
            epsilon=epsilon,
            probability=probability,
            targets=targets,
            feasible=feasible,
            max_draws=capped_draws,
        )
        progress.update()
    worth = {
        name: compute_multiplier(
            posterior, scale, best.mixture, baseline=other.mixture, targets=targets, max_draws=draws
        )
        for name, other in best.baselines.items()
    }
    return Decision(best, cost, near_optima, split, worth)
