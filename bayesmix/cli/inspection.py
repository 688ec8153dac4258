"""Commands `bayesmix lint`, `bayesmix prior-check` and `bayesmix models`: checks before a fit."""

from __future__ import annotations

from typing import Annotated

import typer

from bayesmix.cli import options
from bayesmix.cli.output import echo, hint
from bayesmix.text import wrapped


def lint(
    runs: options.Table,
    preset: options.Preset = None,
    where: options.Where = None,
    targets: options.Targets = None,
    params: options.AllParams = None,
    tokens: options.AllTokens = None,
    rename: options.Rename = None,
    json: options.Json = False,
) -> None:
    """Look for what spoils a fit in a table of runs.

    Exit code 2 when something has to be mended before fitting, else 0.
    """
    table = options.table_arguments(preset, where, params, tokens, rename)

    from bayesmix.runs.lint import lint as inspect
    from bayesmix.runs.load import read_table

    frame = read_table(options.source(runs), **table)
    target_names = options.names(targets)
    if target_names is not None:
        columns = [
            c
            for c in frame.columns
            if c.startswith("loss") and "." in c and c.partition(".")[2] not in target_names
        ]
        frame = frame.drop(columns=columns)
    report = inspect(frame)
    echo(report, report.as_dict() if json else None)
    if report.failed:
        raise typer.Exit(2)


def prior_check(
    card: Annotated[str, typer.Argument(metavar="CARD", help="Name or path of a model card.")],
    runs: options.Table,
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
    """Show what a prior expects of losses, beside those measured."""
    table = options.table_arguments(preset, where, params, tokens, rename)

    from bayesmix.cards.read import load_card
    from bayesmix.evaluation.prior_predictive import prior_check as compare
    from bayesmix.runs.load import load_runs
    from bayesmix.runtime.compute import keep_compiled_programs

    model_card = load_card(card)
    chosen = options.names(targets) or list(model_card.targets) or None
    data = load_runs(options.source(runs), targets=chosen, normalize=normalize, **table)
    keep_compiled_programs()
    hint(f"drawing losses from the prior of {model_card.name}")
    check = compare(model_card.model, data, seed=seed)
    echo(check, check.as_dict() if json else None)


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="CARD", help="Show this card in full.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the model cards, or show one with its priors in words."""
    from bayesmix.cards.read import load_card, model_names

    if name is not None:
        card = load_card(name)
        echo(card, card.as_dict() if json else None)
        return
    cards = [load_card(model) for model in model_names()]
    width = max(len(card.name) for card in cards)
    lines = [
        line
        for card in cards
        for line in wrapped(f"{card.name:<{width}}  {card.title}", continuation=width + 2)
    ]
    echo("\n".join(lines), {card.name: card.as_dict() for card in cards} if json else None)
