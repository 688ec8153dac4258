"""The figures of the page, as pieces of SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bayesmix.design import Mixture
from bayesmix.plots.candidates import plot_candidates
from bayesmix.plots.convergence import plot_convergence
from bayesmix.plots.decisions import plot_regret, plot_shares
from bayesmix.plots.files import svg_of
from bayesmix.plots.interactions import plot_effects
from bayesmix.plots.learned import plot_learned
from bayesmix.plots.loo_pit import plot_loo_pit
from bayesmix.plots.shares import plot_loss_by_share
from bayesmix.plots.sizes import plot_loss_by_size, plot_scales
from bayesmix.plots.ternary import plot_ternary_regret
from bayesmix.posterior.labels import entries
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import thinned
from bayesmix.report.content import Report

DRAWS = 1000
MULTIPLES = 6
LEARNED, PARAMETERS = 2, 30
DOMAINS, TARGETS = 20, 40
WIDTH, HEIGHT = 4.6, 3.1


@dataclass(frozen=True)
class Picture:
    """One figure of the page.

    Attributes:
        svg: SVG element of the figure.
        caption: caption of one sentence.
        says: text for readers who do not see the figure.
        wide: whether the figure takes the whole width.
    """

    svg: str
    caption: str
    says: str
    wide: bool = False


def pictures(report: Report) -> dict[str, list[Picture]]:
    """Figures of the page, as section → figures."""
    return {
        section: [*builder(report)]
        for section, builder in (
            ("runs", _runs),
            ("sampler", _sampler),
            ("bands", _bands),
            ("decision", _decision),
            ("next", _next),
        )
    }


def first_targets(report: Report, max_targets: int) -> list[str]:
    """Targets with the largest weights, in the order of the table."""
    weights = report.decision.optimum.targets
    top_targets = sorted(report.posterior.targets, key=lambda t: -weights[t])[:max_targets]
    return [t for t in report.posterior.targets if t in top_targets]


def _runs(report: Report) -> Iterator[Picture]:
    designs = report.posterior.designs
    yield _picture(
        "scales",
        lambda ax: plot_scales(designs, ax=ax, flagship=report.scale),
        "Where the runs are in N and D, larger dots for more measured points, and the scale to"
        " decide at.",
    )


def _sampler(report: Report) -> Iterator[Picture]:
    posterior = report.posterior
    if not isinstance(posterior, Posterior):
        return
    yield _picture(
        "convergence",
        lambda ax: plot_convergence(posterior, ax=ax),
        "Every parameter of every target: chains agree where R-hat is near 1, and have drawn enough"
        " far to the right.",
    )
    subset = thinned(posterior, DRAWS)
    for place, target in enumerate(first_targets(report, LEARNED)):
        rows = min(PARAMETERS, len(entries(posterior)))
        yield _picture(
            f"learned-{place}",
            lambda ax, target=target: plot_learned(
                subset, target=target, ax=ax, max_parameters=PARAMETERS
            ),
            f"What the runs taught about the parameters of {target}: a bar over the whole width"
            " keeps its prior.",
            height=max(HEIGHT, 1.2 + 0.155 * rows),
        )


def _bands(report: Report) -> Iterator[Picture]:
    if report.loo_pit is not None:
        loo_pit = report.loo_pit
        yield _picture(
            "loo-pit",
            lambda ax: plot_loo_pit(loo_pit, ax=ax),
            "Where each fitted run lies in what the others predict for it: in the grey band when"
            " bands hold among the runs. Beyond them only a backtest can tell.",
        )
    design, posterior = report.decision.optimum.design, _few(report)
    for place, target in enumerate(first_targets(report, MULTIPLES)):
        yield _picture(
            f"size-{place}",
            lambda ax, target=target: plot_loss_by_size(posterior, design, target=target, ax=ax),
            f"Loss on {target} of the chosen mixture against model size, with the runs carried to"
            " it by the law.",
        )
    first = first_targets(report, 1)[0]
    yield _picture(
        "tokens",
        lambda ax: plot_loss_by_size(posterior, design, target=first, ax=ax, along="tokens"),
        f"Loss on {first} of the chosen mixture against training tokens.",
    )
    domain = max(posterior.domains, key=lambda d: report.decision.mixture[d])
    if len(posterior.domains) > 1:
        yield _picture(
            "share",
            lambda ax: plot_loss_by_share(posterior, design, domain, target=first, ax=ax),
            f"Expected loss on {first} as the share of {domain} changes and the others keep their"
            " proportions.",
        )


def _decision(report: Report) -> Iterator[Picture]:
    decision, effects = report.decision, report.effects
    bars = min(len(decision.mixture.domains), DOMAINS)
    yield _picture(
        "shares",
        lambda ax: plot_shares(decision, ax=ax, max_domains=DOMAINS),
        "The chosen share of every domain, and how far it may move with the others following while"
        " the mixture stays as good.",
        height=max(2.4, 1.2 + 0.22 * bars),
    )
    yield _picture(
        "regret",
        lambda ax: plot_regret(decision, ax=ax),
        "What acting now costs in every draw, against the mixture that is best in that draw.",
    )
    if sum(_positive(decision.mixture)) >= 3:
        yield _picture(
            "ternary",
            lambda ax: plot_ternary_regret(_few(report), decision, ax=ax),
            "Expected regret over the three largest domains, all others as chosen.",
            ternary=True,
            height=3.4,
        )
    rows, columns = min(len(effects.targets), TARGETS), min(len(effects.domains), DOMAINS)
    yield _picture(
        "effects",
        lambda ax: plot_effects(effects, ax=ax, max_domains=DOMAINS, max_targets=TARGETS),
        "Which domain helps (purple) or harms (orange) which target, from the chosen mixture.",
        height=max(HEIGHT, 1.4 + 0.17 * rows),
        width=WIDTH if columns <= 8 else 2 * WIDTH,
    )


def _next(report: Report) -> Iterator[Picture]:
    if report.appraisal is None:
        return
    appraisal = report.appraisal
    yield _picture(
        "candidates",
        lambda ax: plot_candidates(appraisal, ax=ax, proposal=report.proposal),
        "What every candidate run would take away from the expected regret, against what it costs.",
    )


def _few(report: Report) -> Any:
    """Posterior thinned to the number of draws that a figure needs."""
    return (
        thinned(report.posterior, DRAWS)
        if isinstance(report.posterior, Posterior)
        else report.posterior
    )


def _positive(mixture: Mixture) -> list[bool]:
    return [share >= 0.005 for share in mixture.weights.tolist()]


def _picture(
    name: str,
    plot: Callable[[Any], object],
    caption: str,
    *,
    width: float = WIDTH,
    height: float = HEIGHT,
    ternary: bool = False,
) -> Picture:
    svg = svg_of(plot, name=f"plot-{name}", width=width, height=height, ternary=ternary)
    return Picture(svg, caption, f"Figure: {caption}", wide=width > WIDTH)
