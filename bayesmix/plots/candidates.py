"""Plot of the scores of candidate runs against their costs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.acquisition.proposal import Proposal
from bayesmix.acquisition.scores import CandidateScores
from bayesmix.plots.style import COLOURS, DENSE, GREY, MARKERS, ORANGE, calm, flops_axis, key_above

ORIGINS = {
    "sobol": "spread out",
    "vertex": "nearly one domain",
    "optimum": "near the optimum",
    "replicate": "repeats",
}
LEAST = 1e-3
"""Lowest score drawn, relative to the highest; lower scores are drawn at it.

They would take up most of a logarithmic axis.
"""


def plot_candidates(
    appraisal: CandidateScores, *, ax: Axes, proposal: Proposal | None = None
) -> Axes:
    """Plot the score of every candidate run against its cost.

    A line joins the Pareto-optimal runs.

    Above the dotted line a run lowers the expected regret by more than its FLOPs would, spent on a
    longer flagship run.

    Args:
        appraisal: result of `score_candidates`.
        ax: axes to draw on.
        proposal: result of `propose` for the same candidates; its runs are marked.
    """
    top = float(appraisal.scores.max())
    scores = np.maximum(appraisal.scores, LEAST * top) if top > 0 else appraisal.scores
    for place, origin in enumerate(dict.fromkeys(appraisal.runs.origin)):
        mask = np.array(appraisal.runs.origin) == origin
        label = ORIGINS.get(origin, origin)
        # runs of one cost lie on one line: they are spread a little, so that they can be seen
        spread = np.exp(np.random.default_rng(place).uniform(-0.02, 0.02, mask.sum()))
        ax.plot(
            appraisal.costs[mask] * spread,
            scores[mask],
            MARKERS[place % 8],
            color=COLOURS[place % 8],
            alpha=0.5,
            markersize=4,
            markeredgewidth=0,
            linestyle="",
            label=label,
            rasterized=bool(mask.sum() > DENSE),
        )
    front = appraisal.frontier
    ax.plot(
        appraisal.costs[front],
        scores[front],
        color=GREY,
        linewidth=1.2,
        drawstyle="steps-post",
        label="best at its price",
    )
    low, high = appraisal.costs.min() / 1.6, appraisal.costs.max() * 1.6
    line = np.geomspace(low, high, 50)
    break_even = appraisal.worth(line)
    if break_even is not None and top > 0:
        ax.plot(
            line,
            break_even,
            color="black",
            linewidth=1.0,
            linestyle=":",
            label="worth its cost above",
        )
    if proposal is not None and len(proposal.runs):
        marked = np.maximum(proposal.scores, LEAST * top)
        ax.plot(
            proposal.costs,
            marked,
            "o",
            color="none",
            markeredgecolor=ORANGE,
            markersize=11,
            markeredgewidth=1.8,
            linestyle="",
            label="proposed",
        )
    ax.set_xlim(low, high)
    if top > 0:
        ax.set_yscale("log")
        ax.set_ylim(
            0.7 * LEAST * top,
            2 * max(top, 0.0 if break_even is None else min(float(break_even[-1]), 30 * top)),
        )
    flops_axis(ax.xaxis, "cost of the run (FLOPs)")
    unit = "nats" if appraisal.unit.startswith("nats of expected regret") else appraisal.unit
    ax.set_ylabel(f"regret it takes away ({unit})" if unit == "nats" else appraisal.unit)
    key_above(ax)
    return calm(ax)
