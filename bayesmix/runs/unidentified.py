"""Parameters that the designs of runs leave to the prior: each question is decided here, once.

`lint` reports the findings, `fit` warns of those on N and D, and `check` gives them as advice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bayesmix.design import TIED, correlation
from bayesmix.runs.finding import Finding, Severity
from bayesmix.runs.lenient import LenientTable, is_positive, listed
from bayesmix.runs.runs import Runs

TIED_REVIEW, TIED_INFO = 0.9, 0.7
"""Correlations of log N and log D from which a finding is `review`, and `info`.

A correlation r multiplies the variance of both slopes by 1/(1 − r²): by 5 and 2 here, by 10 at
`TIED`, above which laws have other coordinates and the finding is `fail`.
"""
LEAST_VALUES = 3
"""Minimum number of distinct N, or D, that tells a floor, an amplitude and an exponent apart."""
SAME_VALUE = 0.01
"""Difference of logs up to which two N, or D, are one value: counts are rounded."""
LEAST_SPREAD, LEAST_RELATIVE_SPREAD = 0.002, 0.02
"""Minimum standard deviation of a weight over the mixtures, as a share and relative to its mean.

Relative too, since laws depend on a weight by its ratio to the mean one.
"""

type TableCheck = Callable[[LenientTable], Finding | None]
"""Function from a table to what it finds, if anything."""


def findings_on_scales(runs: Runs) -> tuple[Finding, ...]:
    """Findings, graver than `info`, on the exponents of N and D: extrapolation rests on them."""
    return _grave(SCALE_CHECKS, runs)


def findings_on_mixtures(runs: Runs) -> tuple[Finding, ...]:
    """Findings, graver than `info`, on the effects of domains, for laws that have them."""
    return _grave(MIXTURE_CHECKS, runs)


def _grave(checks: tuple[TableCheck, ...], runs: Runs) -> tuple[Finding, ...]:
    table = LenientTable.of(runs)
    findings = [finding for check in checks if (finding := check(table))] if len(table) else []
    return tuple(finding for finding in findings if finding.severity != "info")


def tied_scales(table: LenientTable) -> Finding | None:
    """Find log N and log D that move together."""
    use = is_positive(table.params) & is_positive(table.tokens)
    tie = correlation(table.params[use], table.tokens[use])
    if abs(tie) < TIED_INFO:
        return None
    severity: Severity = (
        "fail" if abs(tie) > TIED else "review" if abs(tie) >= TIED_REVIEW else "info"
    )
    message = (
        f"The logs of N and D have correlation {tie:.2f}: alpha and beta are hard to tell apart."
    )
    advice = "Run one N to several D; checkpoints at a constant learning rate do."
    return Finding("tied-scale", severity, message, advice, int(use.sum()))


def few_params(table: LenientTable) -> Finding | None:
    """Find fewer distinct N than the exponent alpha takes."""
    return _few(table.params, "few-params", "N", "alpha")


def few_tokens(table: LenientTable) -> Finding | None:
    """Find fewer distinct D than the exponent beta takes."""
    return _few(table.tokens, "few-tokens", "D", "beta")


def _few(values: np.ndarray, code: str, symbol: str, site: str) -> Finding | None:
    count = _distinct(values)
    if count >= LEAST_VALUES or count == 0:
        return None
    message = (
        f"The runs have {count} distinct {symbol}: {site} is not identified and keeps its prior."
    )
    advice = f"Run at least {LEAST_VALUES} values of {symbol}, or do not extrapolate in {symbol}."
    return Finding(code, "review", message, advice, count)


def _distinct(values: np.ndarray) -> int:
    """Number of values that are apart: each exceeds the one counted before by over 1 %."""
    logs = np.unique(np.log(values[is_positive(values)]))
    count, position = 0, 0
    while position < logs.size:
        count += 1
        position = int(np.searchsorted(logs, logs[position] + SAME_VALUE, side="right"))
    return count


def few_mixtures(table: LenientTable) -> Finding | None:
    """Find fewer distinct mixtures than the mixture term has parameters."""
    k, mixtures = len(table.domains), int(table.recipe.max()) + 1
    parameters = 2 * k + 1
    if k < 2 or mixtures >= parameters:
        return None
    message = (
        f"The runs have {mixtures} distinct mixture(s) of {k} domains, fewer than the {parameters}"
        " parameters of the mixture term."
    )
    return Finding(
        "few-mixtures", "review", message, "Add mixtures, or merge domains (rename).", mixtures
    )


def constant_domains(table: LenientTable) -> Finding | None:
    """Find domains whose weight hardly varies from mixture to mixture."""
    if not table.domains:
        return None
    recipes = table.mixture[np.unique(table.recipe, return_index=True)[1]]
    sd, mean = recipes.std(axis=0), recipes.mean(axis=0)
    constant = np.flatnonzero(sd < np.maximum(LEAST_SPREAD, LEAST_RELATIVE_SPREAD * mean))
    if not constant.size:
        return None
    names = listed(f"{table.domains[i]} ({mean[i]:.3g} +- {sd[i]:.1g})" for i in constant)
    message = (
        f"The runs hardly vary the weight of {names} over {len(recipes)} mixture(s): its effect is"
        " not identified and keeps its prior."
    )
    advice = "Merge such domains (rename), or vary them in further runs."
    return Finding("constant-domain", "review", message, advice, constant.size)


SCALE_CHECKS: tuple[TableCheck, ...] = (tied_scales, few_params, few_tokens)
MIXTURE_CHECKS: tuple[TableCheck, ...] = (few_mixtures, constant_domains)
