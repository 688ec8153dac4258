"""`Report`: the content of a report; the page and the JSON read the same table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Unpack

import numpy as np

from bayesmix.acquisition.candidates import candidates
from bayesmix.acquisition.cost import flops
from bayesmix.acquisition.functions import RegretReduction
from bayesmix.acquisition.pool import Pool
from bayesmix.acquisition.proposal import Proposal
from bayesmix.acquisition.propose import DRAWS, propose
from bayesmix.acquisition.scores import CandidateScores, score_candidates
from bayesmix.cards.read import read_card
from bayesmix.cards.write import card_text
from bayesmix.decision.decide import Decision, decide
from bayesmix.decision.effects import Effects, effects
from bayesmix.decision.optimize import Options
from bayesmix.deprecation import renamed
from bayesmix.design import Design, Designs, Mixture, Scale, count
from bayesmix.errors import DiagnosticsWarning
from bayesmix.evaluation.identifiability import Check, check
from bayesmix.evaluation.loo_pit import LooPit, loo_pit
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.prediction import Prediction
from bayesmix.posterior.resample import thinned
from bayesmix.posterior.stack import Stack
from bayesmix.runs.lint import LintReport, lint
from bayesmix.runs.runs import Runs
from bayesmix.text import decimal, wrapped

LEVELS = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
LIKELIHOODS = 20_000_000
"""Largest number of log densities (draw × training run × target) in the check of a table."""
FEWEST = 200
LOOKED_AT = 250_000
"""Largest number of losses (draw × domain × target) for regret and ranges.

At least 100 draws are used.
"""
MIXTURES = 64
NAMED = 5
TRADES = 10

type Status = Literal["ANSWER", "REVIEW", "NO ANSWER"]


@renamed(named="mixtures", allowed="feasible_set")
@dataclass(frozen=True, eq=False)
class Report:
    """Report on the mixture for one scale, with the evidence.

    Attributes:
        posterior: a fitted posterior.
        decision: the chosen mixture, its uncertainty, and near-optimal mixtures.
        prediction: draws of the loss that a run of each named mixture would measure.
        mixtures: name → mixture of `prediction`, ``chosen`` first.
        lint: findings about the runs.
        check: result of `check`; None for a stack, which has no parameters of its own.
        loo_pit: calibration among the fitted runs; None for a stack.
        effects: effects of more of each domain on each target, at the chosen mixture.
        pilots: sizes that further runs may have.
        appraisal: scores of candidate runs; None for a stack.
        proposal: the run to make next; None for a stack.
        source: source of the posterior, in words.
        feasible_set: the allowed mixtures, in words.
    """

    posterior: Posterior | Stack
    decision: Decision
    prediction: Prediction
    mixtures: Mapping[str, Mixture]
    lint: LintReport
    check: Check | None
    loo_pit: LooPit | None
    effects: Effects
    pilots: tuple[Scale, ...]
    appraisal: CandidateScores | None
    proposal: Proposal | None
    source: str = ""
    feasible_set: str = "every mixture"
    seed: int = 0

    @property
    def scale(self) -> Scale:
        """Scale of the run that the mixture is for."""
        return self.decision.optimum.scale

    @property
    def status(self) -> Status:
        """Status of the report: ANSWER, REVIEW or NO ANSWER.

        REVIEW is an answer with remarks to read first; NO ANSWER means that the computation cannot
        be trusted.
        """
        if not (self.posterior.diagnostics.passed and self.decision.optimum.converged):
            return "NO ANSWER"
        return "REVIEW" if self.remarks else "ANSWER"

    @property
    def why_not(self) -> tuple[str, ...]:
        """Reasons why no answer can be given, in sentences; empty where one can."""
        diagnostics = self.posterior.diagnostics
        failing = [t for t in diagnostics.targets if t.fails]
        reasons = [f"{t.target}: {problem}" for t in failing for problem in t.problems]
        if not self.decision.optimum.converged:
            reasons.append(
                "the optimiser stopped before it reached its tolerance; loosen the constraints"
            )
        return tuple(reasons)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks to read before acting on an answer, in sentences."""
        remarks: list[str] = []
        if self.lint.failed:
            remarks.append(
                "The table of runs has faults that should be mended before it is fitted."
            )
        targets = self.posterior.diagnostics.targets
        if self.posterior.diagnostics.passed and any(t.problems for t in targets):
            remarks.append("The sampler has remarks: the draws can be used, but read them.")
        bent = [t.target for t in targets if t.remarks]
        if bent:
            remainder = f" and {len(bent) - NAMED} more targets" if len(bent) > NAMED else ""
            names = f"{', '.join(bent[:NAMED])}{remainder}"
            remarks.append(
                f"The law misses the trend of its own runs for {names}: beyond them it is unsafe."
            )
        extrapolation = self.prediction.extrapolation
        if extrapolation is not None and extrapolation.flags[0]:
            remarks.append(
                f"The answer lies beyond the runs ({extrapolation.flags[0]}): there it rests on the"
                " law."
            )
        if self.decision.near_optimal.empty:
            remarks.append(
                "No mixture is near the best in most draws: the runs do not tell which is best."
            )
        return tuple(remarks)

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        if self.status == "NO ANSWER":
            return f"No answer can be given for {self.wanted}."
        return f"For {self.wanted}, train on {self.shares}."

    @property
    def wanted(self) -> str:
        """The scale in words."""
        return f"{count(self.scale.params)} parameters and {count(self.scale.tokens)} tokens"

    @property
    def shares(self) -> str:
        """The chosen mixture in words, the largest shares by name."""
        mixture = self.decision.mixture
        order = sorted(mixture.domains, key=lambda d: -mixture[d])
        domains = [d for d in order[:NAMED] if mixture[d] >= 0.005]
        parts = [f"{d} {100 * mixture[d]:.0f}\u00a0%" for d in domains]
        rest = len(order) - len(domains)
        remainder = 100 * (1 - sum(mixture[d] for d in domains))
        if rest and remainder >= 0.5:
            parts.append(f"{rest} other{'s' if rest > 1 else ''} {remainder:.0f}\u00a0%")
        return ", ".join(parts[:-1]) + f" and {parts[-1]}" if len(parts) > 1 else parts[0]

    @cached_property
    def table(self) -> dict[str, Any]:
        """Every number of the page by name.

        Numbers that are not finite are null in JSON, and a dash on the page.
        """
        return _table_of(self)

    def as_dict(self) -> dict[str, Any]:
        """Table of the report, ready for JSON."""
        return self.table

    def __str__(self) -> str:
        lines = [f"{self.status}: {self.headline}"]
        if self.status == "NO ANSWER":
            lines += self.why_not
        else:
            best = self.decision.optimum
            lines.append(
                f"Its expected loss is {best.loss}; acting now costs"
                f" {decimal(self.decision.regret.regret.mean)} nats."
            )
            lines += [
                f"Better than {name} with probability {c.worse:.2f}."
                for name, c in best.baselines.items()
            ]
            lines += self.remarks
            lines += [f"Next: {self.proposal.reason}."] if self.proposal else []
        return "\n".join(row for line in lines for row in wrapped(line))

    __repr__ = __str__


@renamed(within="feasible", promises="chance_constraints", against="baselines")
def make_report(
    posterior: Posterior | Stack,
    scale: Scale,
    *,
    pilots: Sequence[Scale] | None = None,
    epsilon: float | None = None,
    source: str = "",
    **options: Unpack[Options],
) -> Report:
    """Make the report on the mixture for one scale, with the evidence.

    Args:
        posterior: a fitted posterior.
        scale: N and D of the run the mixture is for.
        pilots: sizes that further runs may have; by default the smallest, the middle and the
            largest that were run.
        epsilon: regret that is negligible, in nats; see `near_optimal`.
        source: source of the posterior, for the page.
        **options: options of `optimize`.

    Raises:
        InputError: unknown targets or domains.
        InfeasibleError: no mixture meets the constraints.
    """
    seed = options.get("seed", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticsWarning)  # the page shows them
        decision = decide(
            posterior, scale, epsilon=epsilon, regret_draws=_look(posterior), **options
        )
        subset = thinned(posterior, DRAWS) if isinstance(posterior, Posterior) else posterior
        mixtures = {"chosen": decision.mixture} | {
            n: c.mixture for n, c in decision.optimum.baselines.items()
        }
        prediction = subset.predict(
            Designs.of(*(Design(m, scale) for m in mixtures.values())), seed=seed
        )
        sizes = tuple(pilots) if pilots else usual_pilots(posterior.runs)
        appraisal, proposal = (
            _next(subset, decision, sizes, options)
            if isinstance(subset, Posterior)
            else (None, None)
        )
        feasible = options.get("feasible")
        return Report(
            posterior,
            decision,
            prediction,
            mixtures,
            lint(posterior.runs),
            *(
                _checked(posterior, scale, seed)
                if isinstance(posterior, Posterior)
                else (None, None)
            ),
            effects(subset, decision.optimum.design),
            sizes,
            appraisal,
            proposal,
            source,
            str(feasible) if feasible else "every mixture",
            seed,
        )


def _look(posterior: Posterior | Stack) -> int:
    """Number of draws for regret and near-optimal mixtures; each draw is optimised by itself."""
    return int(np.clip(LOOKED_AT // (len(posterior.domains) * len(posterior.targets)), 100, 500))


def usual_pilots(runs: Runs) -> tuple[Scale, ...]:
    """Smallest, middle and largest size of the training runs, by FLOPs."""
    last = Pool.of_runs(runs).last
    sizes = sorted(
        {(n, d) for n, d in zip(last.params.tolist(), last.tokens.tolist(), strict=True)},
        key=np.prod,
    )
    return tuple(dict.fromkeys(Scale(*sizes[i]) for i in (0, len(sizes) // 2, len(sizes) - 1)))


def _next(
    posterior: Posterior, decision: Decision, pilots: tuple[Scale, ...], options: Options
) -> tuple[CandidateScores, Proposal]:
    feasible, scale, seed = options.get("feasible"), decision.optimum.scale, options.get("seed", 0)
    acquisition = RegretReduction(scale, options.get("targets"), feasible)
    pool = candidates(feasible, pilots, MIXTURES, flagship=scale).on(posterior, seed)
    return score_candidates(posterior, pool, acquisition=acquisition, seed=seed), propose(
        posterior, pool, acquisition=acquisition, cost=flops, seed=seed
    )


def _checked(posterior: Posterior, scale: Scale, seed: int) -> tuple[Check, LooPit]:
    """Check of the parameters and leave-one-out calibration, on fewer draws for large tables."""
    densities = len(posterior.runs.train_runs) * len(posterior.targets)
    subset = thinned(posterior, max(FEWEST, LIKELIHOODS // densities))
    return check(subset, seed, scale), loo_pit(subset, seed)


def _table_of(report: Report) -> dict[str, Any]:
    posterior, decision, runs = report.posterior, report.decision, report.posterior.runs
    chosen = decision.as_dict()
    chosen["equivalents"]["trades"] = chosen["equivalents"]["trades"][:TRADES]
    return {
        "verdict": {
            "status": report.status,
            "headline": report.headline,
            "why_not": list(report.why_not),
            "remarks": list(report.remarks),
        },
        "question": {
            "params": report.scale.params,
            "tokens": report.scale.tokens,
            "flops": report.scale.flops,
            "risk": decision.optimum.risk,
            "targets": dict(decision.optimum.targets),
            "allowed": report.feasible_set,
        },
        "runs": {
            "rows": len(runs),
            "train_runs": len(runs.train_runs),
            "domains": len(runs.domains),
            "targets": len(runs.targets),
            "params": [float(runs.params.min()), float(runs.params.max())],
            "tokens": [float(runs.tokens.min()), float(runs.tokens.max())],
        },
        "lint": report.lint.as_dict(),
        "diagnostics": posterior.diagnostics.as_dict(),
        "check": report.check.as_dict() if report.check else None,
        "loo_pit": report.loo_pit.as_dict() if report.loo_pit else None,
        "bands": _bands(report),
        "beyond": _beyond(report.prediction),
        "decision": chosen,
        "effects": report.effects.as_dict(),
        "next": report.proposal.as_dict() if report.proposal else None,
        "pilots": [{"params": s.params, "tokens": s.tokens} for s in report.pilots],
        "appendix": _appendix(report),
    }


def _bands(report: Report) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and quantiles of the loss a run would measure, as target → mixture → numbers."""
    quantiles = report.prediction.quantile(list(LEVELS.values()))
    figures = {"mean": report.prediction.mean, **dict(zip(LEVELS, quantiles, strict=True))}
    return {
        target: {
            name: {figure: float(values[m, t]) for figure, values in figures.items()}
            for m, name in enumerate(report.mixtures)
        }
        for t, target in enumerate(report.posterior.targets)
    }


def _beyond(prediction: Prediction) -> dict[str, float] | None:
    """Distances of the chosen design beyond the runs; None where they are unknown."""
    extrapolation = prediction.extrapolation
    if extrapolation is None:
        return None
    return {
        name: float(getattr(extrapolation, name)[0]) for name in ("params", "tokens", "mixture")
    }


def _appendix(report: Report) -> dict[str, Any]:
    posterior = report.posterior
    members = posterior.members if isinstance(posterior, Stack) else {posterior.name: posterior}
    texts = {name: card_text(member.model, len(member.domains)) for name, member in members.items()}
    first = next(iter(members.values()))
    chains, draws = next(iter(first.draws.values())).shape[:2]
    return {
        "source": report.source,
        "model": posterior.name,
        "cards": {
            name: read_card(text, name).as_dict() | {"toml": text} for name, text in texts.items()
        },
        "fingerprint": posterior.runs.fingerprint,
        "chains": chains,
        "draws": draws,
        "seed": first.seed,
        "seed_of_report": report.seed,
        "versions": dict(first.versions),
    }
