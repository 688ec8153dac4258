"""Diagnostics of a posterior, by target, in numbers and words.

R-hat, effective sample sizes, divergences, E-BFMI, and remarks on the law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import arviz_base
import numpy as np
from arviz_stats import sampling_diagnostics

from bayesmix.text import table

RHAT = 1.01
ESS = 400.0
BFMI = 0.3
DIVERGENT_SHARE = 0.001


@dataclass(frozen=True)
class TargetDiagnostics:
    """Worst figures over the parameters of one target.

    Attributes:
        target: name of the target.
        rhat: largest split rank-normalised R-hat, and the parameter it belongs to in `rhat_of`.
        ess_bulk: smallest bulk effective sample size, and the parameter it belongs to in `ess_of`.
        ess_tail: smallest tail effective sample size.
        divergences: number of divergent draws after warm-up.
        bfmi: smallest E-BFMI over the chains.
        steps: mean leapfrog steps a draw.
        problems: problems of the draws, in sentences; empty when there are none.
        fails: whether a problem forbids using the draws (otherwise they deserve a look).
        remarks: problems of the law, in sentences; they deserve a look and forbid nothing.
    """

    target: str
    rhat: float
    rhat_of: str
    ess_bulk: float
    ess_of: str
    ess_tail: float
    divergences: int
    bfmi: float
    steps: float
    problems: tuple[str, ...]
    fails: bool
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of a posterior.

    Attributes:
        targets: figures of each target.
    """

    targets: tuple[TargetDiagnostics, ...]

    @property
    def verdict(self) -> str:
        """Verdict: PASS, REVIEW (a problem worth a look) or FAIL (do not use these draws)."""
        if any(t.fails for t in self.targets):
            return "FAIL"
        return "REVIEW" if any(t.problems or t.remarks for t in self.targets) else "PASS"

    @property
    def passed(self) -> bool:
        """Whether the draws may be shown as an answer."""
        return self.verdict != "FAIL"

    def as_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return {"verdict": self.verdict, "targets": [asdict(t) for t in self.targets]}

    def __str__(self) -> str:
        header = ("target", "R-hat", "bulk ESS", "tail ESS", "divergent", "E-BFMI", "steps")
        rows = [
            (t.target, t.rhat, t.ess_bulk, t.ess_tail, t.divergences, t.bfmi, t.steps)
            for t in self.targets
        ]
        lines = table(header, rows, "< >.3f >.0f >.0f > >.2f >.0f")
        lines += [
            f"{t.target}: {problem}" for t in self.targets for problem in t.problems + t.remarks
        ]
        lines.append(f"{self.verdict}: " + _MEANING[self.verdict])
        return "\n".join(lines)


_MEANING = {
    "PASS": "the chains agree and the draws can be used",
    "REVIEW": "the draws can be used; read the remarks above",
    "FAIL": "do not trust these draws; see what to try above",
}


def diagnose(
    draws: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    targets: tuple[str, ...],
    remarks: Sequence[tuple[str, ...]] = (),
) -> Diagnostics:
    """Diagnose draws (chain, draw, target, ...) with their statistics (chain, draw, target).

    Remarks (target, remark) concern the law.
    """
    return Diagnostics(
        tuple(
            _of_target(
                name,
                {site: value[:, :, t] for site, value in draws.items()},
                {k: v[:, :, t] for k, v in stats.items()},
                remarks[t] if remarks else (),
            )
            for t, name in enumerate(targets)
        )
    )


class Convergence(NamedTuple):
    """Worst convergence figures over the parameters, and the parameters they belong to."""

    rhat: float
    rhat_of: str
    ess_bulk: float
    ess_of: str
    ess_tail: float


def convergence(draws: Mapping[str, np.ndarray]) -> Convergence:
    """Worst split R-hat and effective sample sizes of draws (chain, draw, ...)."""
    posterior = arviz_base.from_dict({"posterior": dict(draws)}).posterior
    # a chain that never moved gives no number: no convergence
    with np.errstate(divide="ignore", invalid="ignore"):
        rhat, rhat_of = _worst(_values(sampling_diagnostics.rhat(posterior)), np.max)
        bulk, ess_of = _worst(_values(sampling_diagnostics.ess(posterior)), np.min)
        tail, _ = _worst(_values(sampling_diagnostics.ess(posterior, method="tail")), np.min)
    return Convergence(rhat, rhat_of, bulk, ess_of, tail)


def _of_target(
    name: str,
    draws: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    remarks: tuple[str, ...],
) -> TargetDiagnostics:
    figures = convergence(draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        # not a number where an energy is infinite: a problem below
        bfmi = float(np.min(_bfmi(stats["energy"])))
    divergences = int(stats["diverging"].sum())
    share = divergences / stats["diverging"].size
    problems, fails = _problems(figures, divergences, share, bfmi)
    steps = float(stats["steps"].mean())
    return TargetDiagnostics(name, *figures, divergences, bfmi, steps, problems, fails, remarks)


def _values(table: Any) -> dict[str, np.ndarray]:
    return {str(site): np.asarray(values, float) for site, values in table.data_vars.items()}


def _bfmi(energy: np.ndarray) -> np.ndarray:
    return np.asarray(
        sampling_diagnostics.bfmi(arviz_base.from_dict({"sample_stats": {"energy": energy}}))[
            "energy"
        ]
    )


def _worst(
    by_site: Mapping[str, np.ndarray], pick: Callable[[np.ndarray], Any]
) -> tuple[float, str]:
    """Worst value over all sites and its site; NaN as soon as one value is."""
    worst = {site: float(pick(values)) for site, values in by_site.items()}
    broken = [site for site, value in worst.items() if not np.isfinite(value)]
    site = (
        broken[0]
        if broken
        else min(worst, key=lambda s: abs(worst[s] - pick(np.array(list(worst.values())))))
    )
    return worst[site], site


def _problems(
    figures: Convergence, divergences: int, share: float, bfmi: float
) -> tuple[tuple[str, ...], bool]:
    rhat, rhat_of, bulk, ess_of, tail = figures
    problems: list[str] = []
    fails = False
    if not rhat <= RHAT:  # also when it is not a number: one chain, or a chain that never moved
        fails = True
        problems.append(
            f"the chains disagree about {rhat_of} (R-hat {rhat:.3f}, should be at most {RHAT}); "
            "use at least 4 chains, double --warmup and --draws, or tighten its prior"
        )
    if not min(bulk, tail) >= ESS:
        fails = True
        problems.append(
            f"too few effective draws of {ess_of} (bulk {bulk:.0f}, tail {tail:.0f}, should be at"
            f" least {ESS:.0f}); double --draws"
        )
    if divergences:
        fails = fails or share > DIVERGENT_SHARE
        problems.append(
            f"{divergences} divergent draws ({100 * share:.2g} %): the sampler may miss a corner of"
            " the posterior; raise --target-accept to 0.99"
        )
    if not bfmi >= BFMI:
        problems.append(
            f"E-BFMI {bfmi:.2f} is below {BFMI}: heavy tails, the sampler moves slowly; run longer"
        )
    return tuple(problems), fails
