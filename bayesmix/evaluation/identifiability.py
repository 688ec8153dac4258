"""`check`: how much the runs inform the parameters, the role of the prior, and what would help."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import arviz_base
import jax
import numpy as np
from arviz_stats.psense import psense_summary

from bayesmix.design import Scale
from bayesmix.evaluation.basis import Bases, bases, log_priors
from bayesmix.inference.prequential import Misses, misses
from bayesmix.laws.base import Law
from bayesmix.model.priors import draw_prior
from bayesmix.posterior.labels import entries
from bayesmix.posterior.log_likelihood import log_likelihood_by_train_run
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.runs import Runs
from bayesmix.runs.unidentified import findings_on_mixtures, findings_on_scales
from bayesmix.runtime.compute import enable_x64

UNINFORMED = 0.1
"""Contraction below which a parameter keeps its prior."""
SENSITIVE = 0.05
"""Power-scaling sensitivity above which the posterior depends on the prior.

Source: Kallioinen et al. 2023, arXiv 2107.14054.
"""
PRIOR_DRAWS = 4000


@dataclass(frozen=True)
class Informed:
    """Information of the runs on one entry of one parameter of one target.

    Attributes:
        target: name of the target.
        parameter: site, with the domain or position of the entry.
        contraction: 1 − posterior variance / prior variance; 0 is nothing learned, 1 is known.
        prior: sensitivity of the posterior to the strength of the prior.
        likelihood: sensitivity of the posterior to the strength of the likelihood.
    """

    target: str
    parameter: str
    contraction: float
    prior: float
    likelihood: float


@dataclass(frozen=True)
class Check:
    """Information of the runs on a posterior's parameters and bands.

    Attributes:
        informed: figures of each target and parameter.
        effective_runs: target → number of independent points that the rows are worth.
        rows: number of measured points.
        train_runs: number of training runs.
        advice: advice to the user, in sentences.
        bases: sources of the variance of the bands at the scale that is asked about.
        record: prediction errors of the same law, fitted to the smaller runs, for the larger ones;
            None where the model does not use them.
    """

    informed: tuple[Informed, ...]
    effective_runs: Mapping[str, float]
    rows: int
    train_runs: int
    advice: tuple[str, ...]
    bases: Bases
    record: Misses | None

    def as_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        table: dict[str, object] = asdict(replace(self, record=None))
        record = self.record.as_dict() if self.record else None
        return table | {"bases": self.bases.as_dict(), "record": record}

    def __str__(self) -> str:
        width = max([len(row.target) for row in self.informed] + [6])
        lines = [f"{'target':<{width}}  least informed parameters (contraction, prior sensitivity)"]
        for target in self.effective_runs:
            rows = sorted(
                (r for r in self.informed if r.target == target), key=lambda r: r.contraction
            )[:3]
            words = ", ".join(
                f"{r.parameter} ({max(r.contraction, 0):.0%}, {r.prior:.2f})" for r in rows
            )
            lines.append(f"{target:<{width}}  {words}")
        worth = ", ".join(
            f"{n:.0f} ({target})" for target, n in list(self.effective_runs.items())[:4]
        )
        lines.append(
            f"{self.rows} points of {self.train_runs} training runs are worth {worth} independent"
            " points"
        )
        blocks = [
            "\n".join([*lines, *self.advice]),
            str(self.bases),
            *([str(self.record)] if self.record else []),
        ]
        return "\n\n".join(blocks)

    __repr__ = __str__


def check(posterior: Posterior, seed: int = 0, scale: Scale | None = None) -> Check:
    """Check how much the runs inform every parameter, and which runs would help.

    Also how many independent points the runs are worth.

    Args:
        posterior: a fitted posterior.
        seed: random seed of the prior draws that contraction is measured against.
        scale: N and D of the bands whose variance is split; an octave beyond the largest N and D
            when not given.
    """
    informed = _informed(posterior, seed)
    effective = _effective_runs(posterior)
    basis, runs, model = bases(posterior, scale, seed), posterior.runs, posterior.model
    advice = [*_design_advice(model.law, runs), *_parameter_advice(posterior, informed)]
    record = (
        misses(model, runs, seed=posterior.seed)
        if model.discrepancy and model.discrepancy.prequential
        else None
    )
    return Check(informed, effective, len(runs), len(runs.train_runs), tuple(advice), basis, record)


def _informed(posterior: Posterior, seed: int) -> tuple[Informed, ...]:
    places = entries(posterior)
    prior = prior_draws(posterior, seed)
    likelihood, of_site = log_likelihood_by_train_run(posterior), log_priors(posterior)
    of_law = posterior.model.law.priors(len(posterior.domains))
    log_prior = np.sum([value for site, value in of_site.items() if site in of_law], axis=0)
    rows = []
    for t, target in enumerate(posterior.targets):
        values = {
            label: (
                posterior.draws[site][:, :, t]
                if position is None
                else posterior.draws[site][:, :, t, position]
            )
            for label, (site, position) in places.items()
        }
        sensitivity = _sensitivity(values, likelihood[..., t], log_prior[..., t])
        for label, (site, position) in places.items():
            prior_values = prior[site] if position is None else prior[site][:, position]
            unit = (
                posterior.reference.loss[target] if site in posterior.model.law.amplitudes else 1.0
            )
            # on the log scale, where most priors are stated; it is the same for a change of unit
            spread = (
                np.log(np.maximum(values[label] / unit, 1e-12)).std(),
                np.log(np.maximum(prior_values, 1e-12)).std(),
            )
            rows.append(
                Informed(target, label, 1 - float(spread[0] / spread[1]) ** 2, *sensitivity[label])
            )
    return tuple(rows)


def prior_draws(posterior: Posterior, seed: int) -> dict[str, np.ndarray]:
    """Prior draws (draw, ...) of the sites of the law, for one target.

    Amplitudes are in units of its loss.
    """
    with enable_x64():
        priors = posterior.model.law.priors(len(posterior.domains))
        beliefs = {
            s: b for s, b in posterior.model.priors(len(posterior.domains)).items() if s in priors
        }
        draws = draw_prior(beliefs, PRIOR_DRAWS, jax.random.key(seed))
        return {site: np.asarray(value) for site, value in draws.items()}


def _sensitivity(
    values: Mapping[str, np.ndarray], likelihood: np.ndarray, log_prior: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Label → power-scaling sensitivity to the prior and to the likelihood."""
    finite = np.isfinite(likelihood).all((0, 1))
    # one variable of all parameters: many are slow, and ArviZ does not allow all names of domains
    groups = {
        "posterior": {"parameter": np.stack([*values.values()], axis=-1)},
        "log_likelihood": {"loss": likelihood[..., finite]},
        "log_prior": {"all": log_prior},
    }
    with warnings.catch_warnings():
        # a Pareto tail that does not fit leaves a large value, which is enough
        warnings.simplefilter("ignore")
        # the threshold of a remark is `SENSITIVE`
        table: Any = psense_summary(arviz_base.from_dict(groups), threshold=np.inf)
    sensitivity = table[["prior", "likelihood"]].to_numpy(float)
    return {
        label: (float(prior), float(loss))
        for label, (prior, loss) in zip(values, sensitivity, strict=True)
    }


def _effective_runs(posterior: Posterior) -> dict[str, float]:
    """Number of independent points that the rows of each target are worth.

    Σ n/(1 + (n − 1)·ρ) over training runs of n points, with ρ the mean share of the scatter that
    the points of a run have in common.
    """
    runs = posterior.runs
    worth = {}
    for t, target in enumerate(runs.targets):
        counts = np.bincount(
            runs.train_run_index, np.isfinite(runs.loss[:, t]), len(runs.train_runs)
        )
        shared = 0.0
        if "run_effect" in posterior.draws:
            effect, residual = (
                posterior.draws[site][:, :, t] ** 2 for site in ("run_effect", "sigma")
            )
            shared = float(np.mean(effect / (effect + residual)))
        worth[target] = float(np.sum(counts / np.maximum(1 + (counts - 1) * shared, 1.0)))
    return worth


def _design_advice(law: Law, runs: Runs) -> list[str]:
    """Advice on what the designs leave to the prior, in the words of `lint`."""
    on_mixtures = findings_on_mixtures(runs) if law.uses_mixture else ()
    return [finding.remark for finding in (*findings_on_scales(runs), *on_mixtures)]


def _parameter_advice(posterior: Posterior, informed: tuple[Informed, ...]) -> list[str]:
    advice = []
    for t, target in enumerate(posterior.targets):
        if "E" in posterior.draws:
            low = (
                float(np.quantile(posterior.draws["E"][:, :, t], 0.05))
                / posterior.reference.loss[target]
            )
            if low < 0.05:
                advice.append(
                    f"{target}: the floor E may be 0; gains at far larger scale rest on its prior"
                )
        rows = [row for row in informed if row.target == target]
        uninformed = [row.parameter for row in rows if row.contraction < UNINFORMED]
        if uninformed:
            remainder = f" and {len(uninformed) - 4} more" if len(uninformed) > 4 else ""
            advice.append(
                f"{target}: the runs say nothing about {', '.join(uninformed[:4])}{remainder}: do"
                " not read them"
            )
        sensitive = [
            r.parameter for r in rows if r.prior > SENSITIVE and r.contraction >= UNINFORMED
        ]
        if sensitive:
            remainder = f" and {len(sensitive) - 4} more" if len(sensitive) > 4 else ""
            advice.append(
                f"{target}: a stronger or weaker prior would move"
                f" {', '.join(sensitive[:4])}{remainder}"
            )
    return advice
