"""Command `bayesmix fit`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.cli import options
from bayesmix.cli.output import echo, hint
from bayesmix.errors import DiagnosticsWarning, InputError

if TYPE_CHECKING:
    from bayesmix.cards.card import Card
    from bayesmix.posterior.posterior import Posterior
    from bayesmix.runs.runs import Runs


def fit(
    runs: options.Table,
    model: options.ModelCard = "joint",
    out: Annotated[
        str, typer.Option(metavar="FILE", help="Where the posterior goes (netCDF).")
    ] = "posterior.nc",
    chains: Annotated[
        int | None, typer.Option(metavar="INT", min=1, help="Chains.", show_default="4")
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(metavar="INT", min=1, help="Draws kept, a chain.", show_default="1000"),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(metavar="INT", min=1, help="Draws of warm-up, a chain.", show_default="1000"),
    ] = None,
    target_accept: Annotated[
        float | None,
        typer.Option(
            metavar="P", help="Nearer 1: smaller steps, fewer divergences.", show_default="0.95"
        ),
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--near",
            metavar="FILE",
            help="A posterior of almost the same runs, to start from: quicker.",
        ),
    ] = None,
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
    """Sample the posterior of a scaling law, given a table of runs.

    Prints the diagnostics, and what to do if they fail (exit code 3; the posterior is written all
    the same).
    """
    table = options.table_arguments(preset, where, params, tokens, rename)
    overrides = {"chains": chains, "draws": draws, "warmup": warmup, "target_accept": target_accept}

    from bayesmix.cards.read import load_card
    from bayesmix.inference.fit import fit as sample
    from bayesmix.posterior.storage import load_posterior, save_posterior
    from bayesmix.runs.load import load_runs
    from bayesmix.runtime.compute import keep_compiled_programs
    from bayesmix.runtime.files import atomic_write

    card = load_card(model)
    chosen = options.names(targets) or list(card.targets) or None
    data = load_runs(options.source(runs), targets=chosen, normalize=normalize, **table)
    require_domains(card, data)
    hint(f"{data}\nmodel {card.name}: {card.title}")
    settings = dict(card.sampler) | {
        name: value for name, value in overrides.items() if value is not None
    }
    start = load_posterior(warm_start) if warm_start else None
    keep_compiled_programs()
    with (
        atomic_write(out) as draft,
        warnings.catch_warnings(),
    ):  # fails before the fit where the file cannot be written
        warnings.simplefilter("ignore", DiagnosticsWarning)  # the table below has the details
        posterior = sample(card.model, data, seed=seed, warm_start=start, progress=True, **settings)  # type: ignore[arg-type]
        save_posterior(posterior, draft)
    echo(posterior.diagnostics, _summary(posterior, out) if json else None)
    if len(data.targets) > 1:
        hint(
            "Targets have independent posteriors: draws of two targets say nothing about their"
            " correlation."
        )
    hint(f"wrote {out}")
    if not posterior.diagnostics.passed:
        raise typer.Exit(3)


def _summary(posterior: Posterior, out: str) -> dict[str, Any]:
    chains, draws = next(iter(posterior.draws.values())).shape[:2]
    return {
        "posterior": out,
        "model": posterior.model.name,
        "targets": posterior.targets,
        "domains": posterior.domains,
        "runs": len(posterior.runs),
        "fingerprint": posterior.runs.fingerprint,
        "chains": chains,
        "draws": draws,
        "seed": posterior.seed,
        "diagnostics": posterior.diagnostics.as_dict(),
    }


def require_domains(card: Card, data: Runs) -> None:
    """Require that the domains of a table are those of a card."""
    if card.domains and set(card.domains) != set(data.domains):
        raise InputError(
            f"the card {card.name} is for other domains",
            expected=f"weight columns for {sorted(card.domains)}",
            got=sorted(data.domains),
            advice="Rename them with --rename, or take domains out of the card.",
        )
