"""Commands `bayesmix compare` and `bayesmix backtest`: choice of a law, check of its bands."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bayesmix.cli import options
from bayesmix.cli.fit import require_domains
from bayesmix.cli.output import echo, hint
from bayesmix.errors import DiagnosticsWarning, InputError

if TYPE_CHECKING:
    from bayesmix.cards.card import Card
    from bayesmix.runs.runs import Runs

Group = Literal["run", "mixture", "size", "tokens"]
Folds = Annotated[
    int, typer.Option(metavar="INT", min=2, help="Folds of training runs or mixtures.")
]
Steps = Annotated[
    int, typer.Option(metavar="INT", min=1, help="How many of the largest sizes or token counts.")
]
Chains = Annotated[int, typer.Option(metavar="INT", min=1, help="Chains of a refit.")]
Draws = Annotated[int, typer.Option(metavar="INT", min=4, help="Draws of a refit, a chain.")]
Warmup = Annotated[
    int, typer.Option(metavar="INT", min=50, help="Draws of warm-up of a refit, a chain.")
]
Plot = Annotated[
    str | None, typer.Option(metavar="FILE", help="Draw it, as PNG, SVG or PDF by suffix.")
]


def compare(
    runs: options.Table,
    models: Annotated[
        list[str],
        typer.Option(
            "--models", metavar="A,B", help="Model cards, separated by commas; repeatable."
        ),
    ],
    group_by: Annotated[
        Group, typer.Option("--by", help="What is left out of the refits.")
    ] = "run",
    loo: Annotated[bool, typer.Option("--loo", help="PSIS-LOO only, without refits.")] = False,
    folds: Folds = 5,
    steps: Steps = 1,
    chains: Chains = 4,
    draws: Draws = 500,
    warmup: Warmup = 500,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Where the stacked posterior goes (netCDF), if anywhere."
        ),
    ] = None,
    plot: Plot = None,
    processes: options.Processes = 1,
    seed: options.Seed = 0,
    preset: options.Preset = None,
    where: options.Where = None,
    targets: options.Targets = None,
    params: options.AllParams = None,
    tokens: options.AllTokens = None,
    rename: options.Rename = None,
    normalize: options.Normalize = False,
    json: options.Json = False,
) -> None:
    """Weigh laws by how well they predict runs they have not seen.

    Fits every law to the table, then again without each group. Prints log scores and stacking
    weights; with --out the laws in these proportions become one posterior, which predict and
    optimize take.
    """
    table = options.table_arguments(preset, where, params, tokens, rename)
    _try_plot(plot)
    names = options.names(models) or []

    from bayesmix.cards.read import load_card
    from bayesmix.evaluation.compare import compare as weigh
    from bayesmix.inference.fit import fit
    from bayesmix.posterior.stack import stack
    from bayesmix.posterior.storage import save_posterior
    from bayesmix.runtime.compute import keep_compiled_programs
    from bayesmix.runtime.files import atomic_write
    from bayesmix.runtime.parallel import processes as pool

    cards = {card.name: card for card in map(load_card, names)}
    if len(cards) < 2:
        raise InputError(
            "nothing to compare",
            expected="two or more cards",
            got=names,
            advice="Try --models additive,joint.",
        )
    data = _runs(runs, [*cards.values()], targets, normalize, table)
    keep_compiled_programs()
    refits: dict[str, Any] = {
        "chains": chains,
        "draws": draws,
        "warmup": warmup,
        "folds": folds,
        "steps": steps,
    }
    posteriors = {}
    for name, card in cards.items():
        hint(f"fitting {name}: {card.title}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DiagnosticsWarning)  # the printed table names them
            posteriors[name] = fit(card.model, data, seed=seed, progress=True, **dict(card.sampler))  # type: ignore[arg-type]
    grouping = None if loo else group_by
    with pool(processes) as executor:
        comparison = weigh(
            posteriors, group_by=grouping, seed=seed, progress=True, executor=executor, **refits
        )
    echo(comparison, comparison.as_dict() if json else None)
    if plot:
        from bayesmix.plots.comparison import plot_comparison
        from bayesmix.plots.files import save_plots

        save_plots(
            plot,
            lambda ax: plot_comparison(comparison, ax=ax),
            height=1.6 + 0.45 * len(comparison.targets),
        )
        hint(f"wrote {plot}")
    if out:
        joined = stack(posteriors, comparison.weights)
        with atomic_write(out) as draft:
            save_posterior(joined, draft)
        hint(
            f"wrote {out}: "
            + ", ".join(
                f"{n} {w.mean():.2f}" for n, w in zip(joined.members, joined.weights, strict=True)
            )
        )
    if comparison.failed:
        raise typer.Exit(3)


def backtest(
    runs: options.Table,
    model: options.ModelCard = "joint",
    group_by: Annotated[Group, typer.Option("--by", help="What is left out.")] = "size",
    steps: Steps = 1,
    folds: Folds = 5,
    chains: Chains = 4,
    draws: Draws = 500,
    warmup: Warmup = 500,
    plot: Plot = None,
    processes: options.Processes = 1,
    seed: options.Seed = 0,
    preset: options.Preset = None,
    where: options.Where = None,
    targets: options.Targets = None,
    params: options.AllParams = None,
    tokens: options.AllTokens = None,
    rename: options.Rename = None,
    normalize: options.Normalize = False,
    json: options.Json = False,
) -> None:
    """Say whether bands would have been right one size earlier.

    Leaves the largest runs out (or mixtures, or training runs), fits the rest, and compares bands
    with what the left-out runs measured. RIGHT, NARROW or WIDE is about the 90 % bands.
    """
    table = options.table_arguments(preset, where, params, tokens, rename)
    _try_plot(plot)

    from bayesmix.cards.read import load_card
    from bayesmix.evaluation.backtest import backtest as test
    from bayesmix.runtime.compute import keep_compiled_programs
    from bayesmix.runtime.parallel import processes as pool

    card = load_card(model)
    data = _runs(runs, [card], targets, normalize, table)
    keep_compiled_programs()
    refits: dict[str, Any] = {
        "chains": chains,
        "draws": draws,
        "warmup": warmup,
        "folds": folds,
        "steps": steps,
    }
    with pool(processes) as executor:
        outcome = test(
            card.model,
            data,
            group_by=group_by,
            seed=seed,
            progress=True,
            executor=executor,
            **refits,
        )
    echo(outcome, outcome.as_dict() if json else None)
    if plot:
        from bayesmix.plots.backtest import plot_coverage, plot_misses
        from bayesmix.plots.files import save_plots

        save_plots(
            plot,
            lambda ax: plot_coverage(outcome, ax=ax),
            lambda ax: plot_misses(outcome, ax=ax),
            width=5.5,
        )
        hint(f"wrote {plot}")
    if outcome.failed:
        raise typer.Exit(3)


def _try_plot(path: str | None) -> None:
    if path is not None:
        from bayesmix.plots.files import require_suffix

        require_suffix(path)


def _runs(
    runs: list[str],
    cards: list[Card],
    targets: list[str] | None,
    normalize: bool,
    table: dict[str, Any],
) -> Runs:
    from bayesmix.runs.load import load_runs

    chosen = options.names(targets) or list(cards[0].targets) or None
    data = load_runs(options.source(runs), targets=chosen, normalize=normalize, **table)
    for card in cards:
        require_domains(card, data)
    hint(str(data))
    return data
