"""Plots of what is believed, decided and proposed, drawn from an invented posterior."""

from __future__ import annotations

import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from bayesmix.acquisition.functions import RegretReduction
from bayesmix.acquisition.pool import Pool
from bayesmix.acquisition.scores import CandidateScores, score_candidates
from bayesmix.campaign.replay import Replays, Step, Trace
from bayesmix.decision.decide import Decision, decide
from bayesmix.decision.effects import effects
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.design import Design, Designs, Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.evaluation.convergence import mixing
from bayesmix.plots.candidates import plot_candidates
from bayesmix.plots.convergence import plot_convergence
from bayesmix.plots.decisions import plot_shares
from bayesmix.plots.files import svg_of
from bayesmix.plots.interactions import plot_effects
from bayesmix.plots.learned import plot_learned, plot_prior_posterior
from bayesmix.plots.replays import plot_regret_by_flops
from bayesmix.plots.shares import plot_loss_by_share
from bayesmix.plots.sizes import plot_loss_by_size, plot_scales
from bayesmix.plots.style import plain
from bayesmix.plots.ternary import plot_ternary_loss, plot_ternary_regret, ternary_axes
from bayesmix.posterior.posterior import Posterior
from tests.large import invented

SCALE = Scale(4e9, 80e9)


@pytest.fixture(scope="module")
def believed() -> Posterior:
    return invented(("web", "$code$", "_books"), ("prose", "python"), rows=80, draws=30)


@pytest.fixture(scope="module")
def decision(believed: Posterior) -> Decision:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return decide(believed, SCALE, max_draws=60)


@pytest.fixture
def ax():
    """Axes; drawing on them changes no global setting."""
    before = dict(matplotlib.rcParams)
    yield Figure(figsize=(7, 4), layout="constrained").subplots()
    assert dict(matplotlib.rcParams) == before


def lines(ax) -> dict:
    return {line.get_label(): line for line in ax.lines}


def test_the_package_has_plots_but_does_not_load_them() -> None:
    script = (
        "import sys, bayesmix as bm\n"
        "assert 'matplotlib' not in sys.modules and 'jinja2' not in sys.modules\n"
        "assert callable(bm.plots.plot_shares)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("along", ["params", "tokens", "flops"])
def test_loss_by_size_goes_beyond_the_runs(believed: Posterior, ax, along: str) -> None:
    design = Design(Mixture.uniform(believed.domains), SCALE)
    assert plot_loss_by_size(believed, design, target="prose", ax=ax, along=along) is ax  # type: ignore[arg-type]
    x, y = lines(ax)["median"].get_xydata().T
    own = {"params": SCALE.params, "tokens": SCALE.tokens, "flops": SCALE.flops}[along]
    at = believed.predict(design, noise=False).quantile(0.5)[0, 0]
    assert np.exp(np.interp(np.log(own), np.log(x), np.log(y))) == pytest.approx(at, rel=5e-3)
    assert x[-1] > own and (np.diff(y[[0, 10, 20, -1]]) < 0).all()


def test_loss_by_share_is_a_line_through_the_design(believed: Posterior, ax) -> None:
    design = Design(Mixture({"web": 0.5, "$code$": 0.3, "_books": 0.2}), SCALE)
    assert plot_loss_by_share(believed, design, "web", target="python", ax=ax) is ax
    x, y = lines(ax)["median"].get_xydata().T
    at = believed.predict(design, noise=False).quantile(0.5)[0, 1]
    assert (x[0], x[-1]) == (0.0, 1.0) and np.interp(0.5, x, y) == pytest.approx(at, rel=1e-3)
    edge = Figure().subplots()
    plot_loss_by_share(believed, design, "web", target="python", ax=edge, other_domain="$code$")
    x, y = lines(edge)["median"].get_xydata().T
    assert x[-1] == pytest.approx(0.8) and np.interp(0.5, x, y) == pytest.approx(at, rel=1e-3)
    with pytest.raises(InputError, match="no such line"):
        plot_loss_by_share(believed, design, "web", target="python", ax=edge, other_domain="web")


def test_ternary_maps_mark_the_choice_and_are_lowest_near_it(
    believed: Posterior, decision: Decision
) -> None:
    ax = ternary_axes(Figure())
    assert plot_ternary_regret(believed, decision, ax=ax) is ax
    filled = ax.collections[0]
    low, high = filled.get_clim()
    assert 0 <= low < high and filled.levels[0] == 0
    chosen = lines(ax)["chosen"].get_xydata()
    flat = ternary_axes(Figure())
    assert plot_ternary_loss(believed, decision.optimum.design, ax=flat) is flat
    np.testing.assert_allclose(lines(flat)["chosen"].get_xydata(), chosen)
    with pytest.raises(InputError, match="three domains"):
        plot_ternary_loss(believed, decision.optimum.design, ["web", "web", "_books"], ax=flat)


def test_what_constraints_forbid_is_grey_where_it_would_be_better(
    believed: Posterior, decision: Decision
) -> None:
    free = ternary_axes(Figure())
    plot_ternary_regret(believed, decision, ax=free)
    assert "better, but not allowed" not in {
        text.get_text() for text in free.get_legend().get_texts()
    }
    best = max(decision.mixture.as_dict().items(), key=lambda item: item[1])[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound = decide(
            believed, SCALE, feasible=FeasibleSet(bounds={best: (0.0, 0.2)}), max_draws=60
        )
    ax = ternary_axes(Figure())
    plot_ternary_regret(believed, bound, ax=ax)
    assert "better, but not allowed" in {text.get_text() for text in ax.get_legend().get_texts()}


def test_shares_of_many_domains_say_what_the_rest_have(decision: Decision, ax) -> None:
    plot_shares(decision, ax=ax, max_domains=2)
    names = [label.get_text() for label in ax.get_yticklabels()]
    chosen = lines(ax)["chosen"].get_xdata()
    assert len(names) == len(chosen) == 2
    assert f"1 smaller domain has {100 * (1 - sum(chosen)):.0f} %" in [
        t.get_text() for t in ax.texts
    ]


def test_effects_are_differences_of_predictions(believed: Posterior, ax) -> None:
    mixture = Mixture({"web": 0.5, "$code$": 0.3, "_books": 0.2})
    found = effects(believed, Design(mixture, SCALE), step=0.1)
    more = Mixture({"web": 0.55, "$code$": 0.27, "_books": 0.18})
    both = believed.predict(
        Designs.of(Design(mixture, SCALE), Design(more, SCALE)), noise=False
    ).draws
    change = 100 * (both[:, 1] / both[:, 0] - 1)
    np.testing.assert_allclose(found.mean[:, 0], change.mean(axis=0), rtol=1e-6)
    assert (found.q05 <= found.mean).all() and (found.mean <= found.q95).all()
    assert plot_effects(found, ax=ax) is ax
    assert f"{found.mean[0, 0]:+.2f}".replace("-", "−") in [text.get_text() for text in ax.texts]
    with pytest.raises(InputError, match="step is no share"):
        effects(believed, Design(mixture, SCALE), step=1.5)


def test_effects_of_a_large_table_show_the_largest(ax) -> None:
    many = invented(
        tuple(f"d{i}" for i in range(60)),
        tuple(f"t{i}" for i in range(40)),
        rows=80,
        chains=1,
        draws=20,
    )
    assert many.natural is not None
    found = effects(many, Design(many.natural, SCALE))
    plot_effects(found, ax=ax, max_domains=12, max_targets=30)
    assert ax.images[0].get_array().shape == (30, 12)
    shown = [label.get_text() for label in ax.get_xticklabels()]
    size = np.abs(found.mean).max(axis=0)
    assert set(shown) == {f"d{i}" for i in np.argsort(-size)[:12]}


def test_prior_and_posterior_are_in_the_unit_of_the_parameter(believed: Posterior, ax) -> None:
    assert plot_prior_posterior(believed, "gamma[web]", target="prose", ax=ax) is ax
    draws = believed.flat["gamma"][:, 0, 0]
    low, high = ax.get_xlim()
    assert low <= draws.min() and draws.max() <= high and "gamma[web] of prose" in ax.get_xlabel()
    unit = Figure().subplots()
    plot_prior_posterior(believed, "A", target="prose", ax=unit)
    assert "nats" in unit.get_xlabel()
    for parameter, target in (("delta", "prose"), ("alpha", "poetry")):
        with pytest.raises(InputError):
            plot_prior_posterior(believed, parameter, target=target, ax=unit)


def test_learned_shows_every_parameter_in_quantiles_of_its_prior(believed: Posterior, ax) -> None:
    assert plot_learned(believed, target="python", ax=ax) is ax
    names = [label.get_text() for label in ax.get_yticklabels()]
    middle = lines(ax)["median"].get_xdata()
    assert len(names) == len(middle) == 6 + 4 + 3 and "alpha" in names
    assert ((middle >= 0) & (middle <= 100)).all()


def test_convergence_counts_the_parameters_that_fail(believed: Posterior, ax) -> None:
    assert plot_convergence(believed, ax=ax) is ax
    found = mixing(believed)
    worst = max(t.rhat for t in believed.diagnostics.targets)
    assert found.rhat.max() == pytest.approx(worst)
    assert min(found.ess_bulk.min(), found.ess_tail.min()) == pytest.approx(
        min(min(t.ess_bulk, t.ess_tail) for t in believed.diagnostics.targets)
    )
    size = sum(
        len(line.get_xdata())
        for line in ax.lines
        if "fail" in line.get_label() or "param" in line.get_label()
    )
    assert size == len(found.parameter) == sum(v[0, 0].size for v in believed.draws.values())


def test_scales_show_every_size(believed: Posterior, ax) -> None:
    plot_scales(believed.designs, ax=ax, flagship=SCALE)
    sizes = {(n, d) for n, d in zip(believed.designs.params, believed.designs.tokens, strict=True)}
    assert {tuple(row) for row in ax.collections[0].get_offsets().data} == sizes
    assert ax.get_xlim()[1] > SCALE.params and ax.get_ylim()[1] > SCALE.tokens


def test_candidates_are_worth_what_propose_says(believed: Posterior, ax) -> None:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(3), 12)
    designs = Designs(believed.domains, weights, np.repeat([1e8, 3e8, 1e9], 4), np.full(12, 4e9))
    found = score_candidates(believed, Pool.of(designs), acquisition=RegretReduction(SCALE))
    assert isinstance(found, CandidateScores) and (found.scores >= -1e-12).all()
    front = found.frontier
    assert (np.diff(found.costs[front]) >= 0).all() and (np.diff(found.scores[front]) > 0).all()
    assert found.scores[front[-1]] == found.scores.max()
    needed = found.worth(np.array([0.0, SCALE.flops]))
    assert needed is not None and needed[0] == 0 and needed[1] > 0
    assert plot_candidates(found, ax=ax) is ax
    assert "FLOPs" in ax.get_xlabel() and "nats" in ax.get_ylabel()


def test_regret_by_flops_is_the_mean_over_seeds(ax) -> None:
    steps = [
        [Step(10 + i, 1e19 * (1 + i), 0.02 / (1 + i + seed), 0.01, 0.3) for i in range(5)]
        for seed in (0, 1)
    ]
    replays = Replays(tuple(Trace("regret", seed, tuple(each)) for seed, each in enumerate(steps)))
    plot_regret_by_flops(replays, ax=ax)
    x, y = ax.lines[0].get_xydata().T
    assert (x[0], x[-1]) == pytest.approx((1, 5))  # times what the first runs cost
    assert y[0] == pytest.approx((0.02 + 0.01) / 2) and y[-1] == pytest.approx(
        (0.02 / 5 + 0.02 / 6) / 2
    )


def test_names_are_drawn_as_they_are() -> None:
    assert (
        plain("$x$") == r"\$x\$"
        and plain("_x") == " _x"
        and len(plain("x" * 99)) == 18
        and plain("a\x07b") == "a b"
    )


def test_a_figure_for_a_page_has_no_paper_of_its_own(decision: Decision) -> None:
    svg = svg_of(lambda ax: plot_shares(decision, ax=ax), name="one")
    assert svg.startswith("<svg viewBox=") and svg.endswith("</svg>")
    assert "DejaVu" not in svg and "#000000" not in svg and "$code$" in svg
    assert svg == svg_of(lambda ax: plot_shares(decision, ax=ax), name="one"), (
        "the same bytes again"
    )
