"""The checks of `lint`, each a function from the table to its findings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesmix.design import SUM_TOLERANCE
from bayesmix.runs.finding import Finding
from bayesmix.runs.lenient import LenientTable, groups_of_rows, is_positive, listed
from bayesmix.runs.robust import robust_trend, trend_terms
from bayesmix.runs.runs import PLANNED
from bayesmix.runs.unidentified import MIXTURE_CHECKS, SCALE_CHECKS, TableCheck

# robust standard deviations; the trend it is measured from is crude, so only gross errors may show
OUTLYING = 8.0


def all_findings(table: LenientTable) -> list[Finding]:
    """Every finding of every check that the table allows."""
    if not len(table):
        return [
            Finding(
                "no-rows", "fail", "The table has no rows.", "Check the file and the filter.", 0
            )
        ]
    return [finding for check in CHECKS if (finding := check(table))]


def duplicate_ids(table: LenientTable) -> Finding | None:
    """A run id that stands twice, or a row without one."""
    if table.ids is None:
        return None
    ids = pd.Series(table.ids)
    twice = sorted(set(ids[ids.duplicated() & (ids != "")]))
    blank = int((ids == "").sum())
    if not twice and not blank:
        return None
    parts = [f"{len(twice)} run_id(s) stand more than once: {listed(twice)}."] if twice else []
    parts += [f"{blank} row(s) have no run_id."] if blank else []
    advice = "Give every row its own run_id, and checkpoints of one run the same train_run."
    return Finding("duplicate-run-id", "fail", " ".join(parts), advice, len(twice) + blank)


def bad_scales(table: LenientTable) -> Finding | None:
    """N or D that is missing, not finite or not above 0."""
    bad = {
        name: rows
        for name, value in (("params", table.params), ("tokens", table.tokens))
        if not np.isnan(value).all() and (rows := np.flatnonzero(~is_positive(value))).size
    }
    if not bad:
        return None
    where = "; ".join(f"{name}: {table.names(rows)}" for name, rows in bad.items())
    count = sum(rows.size for rows in bad.values())
    return Finding(
        "bad-scale",
        "fail",
        f"Sizes that are not above 0: {where}.",
        "Correct or drop the rows.",
        count,
    )


def bad_plans(table: LenientTable) -> Finding | None:
    """Schedules that end before the row does."""
    rows = np.flatnonzero(table.planned < table.tokens * (1 - PLANNED))
    if not rows.size:
        return None
    message = f"{rows.size} row(s) have more tokens than tokens_planned: {table.names(rows)}."
    return Finding("bad-plan", "fail", message, "Correct tokens_planned, or blank it.", rows.size)


def bad_weights(table: LenientTable) -> Finding | None:
    """Weights that are negative or missing."""
    rows, columns = np.nonzero(~(np.isfinite(table.mixture) & (table.mixture >= 0)))
    if not rows.size:
        return None
    message = (
        f"Weights that are negative or blank in {len(np.unique(rows))} row(s), "
        f"first {table.domains[columns[0]]} in {table.name(int(rows[0]))}."
    )
    return Finding(
        "bad-weight", "fail", message, "Write 0 for a domain that is not used.", rows.size
    )


def row_sums(table: LenientTable) -> Finding | None:
    """Rows of weights that do not sum to 1."""
    if not table.domains:
        return None
    total = table.mixture.sum(axis=1)
    wrong = np.flatnonzero(np.abs(total - 1) > SUM_TOLERANCE)
    if not wrong.size:
        return None
    low, high = total[wrong].min(), total[wrong].max()
    message = (
        f"Weights of {wrong.size} row(s) sum to {low:.4g} to {high:.4g} instead of 1, "
        f"first {table.name(int(wrong[0]))}."
    )
    hint = (
        "These look like rounding: pass"
        if max(1 - low, high - 1) < 0.02
        else "Correct the rows, or pass"
    )
    return Finding("row-sum", "fail", message, f"{hint} normalize=True (--normalize).", wrong.size)


def bad_losses(table: LenientTable) -> Finding | None:
    """Losses that are infinite or not above 0."""
    rows, columns = np.nonzero(np.isinf(table.loss) | (table.loss <= 0))
    if not rows.size:
        return None
    message = (
        f"Losses that are infinite or not above 0, first {table.targets[columns[0]]} of"
        f" {table.name(int(rows[0]))}."
    )
    return Finding("bad-loss", "fail", message, "Blank them or drop the rows.", rows.size)


def duplicate_rows(table: LenientTable) -> Finding | None:
    """Rows that are equal in everything but their run id."""
    values = np.column_stack([table.params, table.tokens, table.mixture, table.loss])
    seed = (
        pd.factorize(np.array(table.seed, dtype=object))[0]
        if table.seed is not None
        else np.zeros(len(table))
    )
    copy = (
        pd.Series(groups_of_rows(np.column_stack([values, seed]), size=len(table)))
        .duplicated()
        .to_numpy()
    )
    copies = np.flatnonzero(copy & np.isfinite(table.loss).any(axis=1))
    if not copies.size:
        return None
    message = (
        f"{copies.size} row(s) repeat another row in all but the run_id: {table.names(copies)}."
    )
    return Finding(
        "duplicate-row",
        "fail",
        message,
        "Drop the copies: each counts a measurement twice.",
        copies.size,
    )


def duplicate_checkpoints(table: LenientTable) -> Finding | None:
    """Checkpoints whose losses are, to the last digit, those of the checkpoint before."""
    order = np.lexsort((np.arange(len(table)), table.tokens, table.group))
    loss, group, tokens = table.loss[order], table.group[order], table.tokens[order]
    equal = (loss[1:] == loss[:-1]) | (np.isnan(loss[1:]) & np.isnan(loss[:-1]))
    shared = np.isfinite(loss[1:]).sum(axis=1)
    repeat = equal.all(axis=1) & (shared > 0) & (group[1:] == group[:-1])
    if not table.said_runs:
        # with equal tokens too it is a repeated row, and reported as that
        repeat &= tokens[1:] != tokens[:-1]
    rows = np.sort(order[1:][repeat])
    if not rows.size:
        return None
    # Equality of several losses is a copy; that of one may come from rounding or a figure read off.
    sure = bool((shared[repeat] > 1).any())
    message = (
        f"{rows.size} checkpoint(s) have exactly the losses of the one before: {table.names(rows)}."
    )
    advice = (
        "Drop them: the evaluation was stored twice."
        if sure
        else "Drop them unless the losses are merely rounded."
    )
    return Finding("duplicate-checkpoint", "fail" if sure else "review", message, advice, rows.size)


def missing_losses(table: LenientTable) -> Finding | None:
    """Blank losses, by target."""
    blank = np.isnan(table.loss).sum(axis=0)
    if not blank.any():
        return None
    worst = [t for t in np.argsort(-blank, kind="stable") if blank[t]]
    names = listed(f"{table.targets[t]} {blank[t]}" for t in worst)
    empty = int((~np.isfinite(table.loss)).all(axis=1).sum())
    message = f"Losses are blank: {names} of {len(table)} rows." + (
        f" {empty} rows have no loss." if empty else ""
    )
    return Finding(
        "missing-loss",
        "info",
        message,
        "They are simply not observed; check that is meant.",
        int(blank.sum()),
    )


def short_targets(table: LenientTable) -> Finding | None:
    """Targets with fewer losses than the laws have parameters."""
    k = len(table.domains)
    additive, joint = 5 + 2 * k, 5 + 4 * k
    measured = np.isfinite(table.loss).sum(axis=0)
    short = np.flatnonzero(measured < joint)
    if not short.size:
        return None
    names = listed(f"{table.targets[t]} {measured[t]}" for t in short)
    message = (
        f"Measured losses: {names}; the joint law has {joint} parameters a target, the additive"
        f" {additive}."
    )
    advice = "Leave the target out, add runs, or take a law with fewer parameters."
    return Finding(
        "short-target",
        "fail" if (measured < additive).any() else "review",
        message,
        advice,
        short.size,
    )


def exact_zeros(table: LenientTable) -> Finding | None:
    """Weights that are exactly 0, or none near 0."""
    if not table.mixture.size:
        return None
    zeros = table.mixture == 0
    if zeros.any():
        message = (
            f"{100 * zeros.mean():.0f} % of the weights are exactly 0, in {zeros.any(axis=0).sum()}"
            " of the domains."
        )
        advice = "Legal. The loss rises steeply towards 0: expect wide bands there."
        return Finding("exact-zeros", "info", message, advice, int(zeros.sum()))
    lowest = np.nanmin(table.mixture)
    if lowest < 0.005:
        return None
    message = (
        f"No weight is below {lowest:.3g}: no run says what happens when a domain is left out."
    )
    return Finding(
        "no-corners",
        "info",
        message,
        "Bound the domains from below, or add such runs.",
        len(table.domains),
    )


def pseudo_replicates(table: LenientTable) -> Finding | None:
    """Checkpoints of one training run that pass as independent runs, or that are declared."""
    if table.said_runs:
        runs = len(np.unique(table.group))
        message = (
            f"{len(table)} rows are checkpoints of {runs} training runs, which the noise has to"
            " know about."
        )
        return Finding(
            "checkpoints", "info", message, "train_run says so: nothing to do.", len(table) - runs
        )
    lengths = pd.Series(table.tokens).groupby(table.group).transform("nunique").to_numpy()
    rows = int((lengths > 1).sum())
    if not rows:
        return None
    key = "N, mixture and seed" if table.domains else "N"
    message = (
        f"{rows} rows share {key} and differ in D. Checkpoints of one run are no independent"
        " measurements."
    )
    advice = (
        "If they are checkpoints, add a train_run column: bands come out far too narrow without it."
    )
    # Without mixtures, several D at one N may as well be separate runs of one ladder.
    return Finding(
        "pseudo-replicates", "review" if table.domains else "info", message, advice, rows
    )


def mixed_train_runs(table: LenientTable) -> Finding | None:
    """Training runs whose N or mixture changes on the way."""
    if not table.said_runs:
        return None
    distinct = (
        pd.DataFrame({"params": table.params, "recipe": table.recipe})
        .groupby(table.group)
        .nunique()
    )
    mixed = int((distinct > 1).any(axis=1).sum())
    if not mixed:
        return None
    message = f"{mixed} train_run(s) have rows of different N or mixture."
    return Finding(
        "mixed-train-run",
        "review",
        message,
        "Check the labels: the laws assume one mixture a run.",
        mixed,
    )


def outlying_losses(table: LenientTable) -> Finding | None:
    """Losses far from a smooth trend in log N, log D and the weights.

    Far is more than `OUTLYING` robust standard deviations.
    """
    rows = np.flatnonzero(
        is_positive(table.params) & is_positive(table.tokens) & (table.mixture >= 0).all(axis=1)
    )
    if not rows.size:
        return None
    terms = trend_terms(table.params[rows], table.tokens[rows], table.mixture[rows])
    loss = table.loss[rows]
    log_loss = np.log(loss, where=is_positive(loss), out=np.full_like(loss, np.nan))
    planes, scales = (
        zip(*(robust_trend(terms, y) for y in log_loss.T), strict=True)
        if table.targets
        else ((), ())
    )
    far = np.abs(
        log_loss - terms @ np.array(planes).reshape(-1, terms.shape[1]).T
    ) > OUTLYING * np.array(scales)
    outliers = [f"{table.targets[t]} of {table.name(int(rows[i]))}" for i, t in np.argwhere(far)]
    if not outliers:
        return None
    message = f"{len(outliers)} loss(es) lie far from the trend of the rest: {listed(outliers)}."
    advice = "Check them; early checkpoints and diverged runs do this."
    return Finding("outlying-loss", "review", message, advice, len(outliers))


CHECKS: tuple[TableCheck, ...] = (
    duplicate_ids,
    bad_scales,
    bad_plans,
    bad_weights,
    row_sums,
    bad_losses,
    duplicate_rows,
    duplicate_checkpoints,
    *SCALE_CHECKS,
    short_targets,
    pseudo_replicates,
    mixed_train_runs,
    *MIXTURE_CHECKS,
    outlying_losses,
    missing_losses,
    exact_zeros,
)
