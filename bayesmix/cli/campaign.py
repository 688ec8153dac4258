"""Command `bayesmix campaign`: a ledger of requested runs, for people and for launch scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bayesmix.cli import options
from bayesmix.cli.output import echo, hint, json_text
from bayesmix.errors import InputError

NOTHING_TO_RUN = 5

app = typer.Typer(
    help=(
        "Choose runs one after the other: init, ask, tell, ask again. A killed process cannot break"
        " its ledger."
    ),
    epilog=options.examples(
        "bayesmix campaign init pilots.db posterior.nc --params 7e9 --tokens 150e9 \\",
        "    --scale 190M:4B --scale 190M:16B --budget 1e21",
        "bayesmix campaign ask pilots.db --json > job.json",
        "bayesmix campaign tell pilots.db t0001 wiki=2.31 code=1.02 --flops 4.7e18",
        "bayesmix campaign fail pilots.db t0002 --why 'node lost'",
        "bayesmix campaign export pilots.db --out told.csv",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _command(*examples: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return app.command(no_args_is_help=True, epilog=options.examples(*examples))


Ledger = Annotated[Path, typer.Argument(metavar="LEDGER", help="The file of the campaign.")]
Trial = Annotated[str, typer.Argument(metavar="TRIAL", help="Its id, such as t0001.")]


@_command(
    "bayesmix campaign init pilots.db posterior.nc --params 7e9 --tokens 150e9 \\",
    "    --scale 190M:4B --scale 190M:16B --budget 1e21",
)
def init(
    ledger: Ledger,
    posterior: options.PosteriorFile,
    params: options.Params,
    tokens: options.Tokens,
    scale: Annotated[
        list[str],
        typer.Option(
            "--scale", metavar="N:D", help="A size runs may have, as 190M:4B; repeatable."
        ),
    ],
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET=W,…", help="Weights of the targets; equal when not given."),
    ] = None,
    bounds: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN=LO:HI", help="Lowest and highest share; repeatable."),
    ] = None,
    constraints: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML table of constraints, as for `bayesmix optimize`."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="FLOPS", help="For all runs together.")
    ] = None,
    fixed: Annotated[
        float, typer.Option(metavar="FLOPS", help="What every run costs besides training.")
    ] = 0.0,
    count: Annotated[
        int,
        typer.Option(
            metavar="INT", min=1, help="Space-filling mixtures to choose from, at every scale."
        ),
    ] = 64,
    checkpoint: Annotated[
        list[float] | None,
        typer.Option(
            metavar="FRACTION", help="Where a run is measured besides its end, as 0.5; repeatable."
        ),
    ] = None,
    include: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Further candidates: table of params, tokens, weight.<domain>…."
        ),
    ] = None,
    seed: options.Seed = 0,
) -> None:
    """Begin a campaign: which runs teach most about a choice?

    The choice is that of a mixture for a run of --params and --tokens; runs may have the sizes of
    --scale.
    """
    from bayesmix.campaign.campaign import Campaign
    from bayesmix.campaign.config import CampaignConfig
    from bayesmix.cli.decision_options import read_toml
    from bayesmix.decision.constraint import parse_bounds
    from bayesmix.design import Scale

    table = read_toml(str(constraints)) if constraints else {}
    table["bounds"] = {**table.get("bounds", {}), **parse_bounds(bounds or [])}
    spec = CampaignConfig(
        posterior=posterior,
        flagship=Scale(options.size(params, "--params"), options.size(tokens, "--tokens")),
        scales=tuple(options.scale(text) for text in scale),
        targets=options.weights(weights or [], None),
        constraints=table,
        count=count,
        budget=budget,
        fixed=fixed,
        checkpoints=tuple(checkpoint or ()),
        include=_included(include) if include else (),
        seed=seed,
    )
    Campaign.create(ledger, spec)
    hint(f"wrote {ledger}; next: bayesmix campaign ask {ledger}")


@_command(
    "bayesmix campaign ask pilots.db -n 4", "bayesmix campaign ask pilots.db --json > job.json"
)
def ask(
    ledger: Ledger,
    count: Annotated[
        int, typer.Option("-n", "--count", metavar="INT", min=1, help="How many runs at most.")
    ] = 1,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Ask even if the run is not worth its cost.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Choose the next runs and register them.

    Exit code 5 when no run is worth its cost, or the budget is spent.
    """
    from bayesmix.campaign.campaign import Campaign
    from bayesmix.runtime.compute import keep_compiled_programs

    keep_compiled_programs()
    answer = Campaign.open(ledger).ask(count, force=anyway)
    echo(answer, answer.as_dict() if json else None)
    if not answer.trials:
        raise typer.Exit(NOTHING_TO_RUN)


@_command("bayesmix campaign tell pilots.db t0001 wiki=2.31 code=1.02 --flops 4.7e18")
def tell(
    ledger: Ledger,
    trial: Trial,
    losses: Annotated[list[str], typer.Argument(metavar="TARGET=LOSS…", help="What was measured.")],
    flops: Annotated[
        float | None, typer.Option(metavar="FLOPS", help="What the run really cost.")
    ] = None,
    checkpoints: Annotated[
        list[str] | None,
        typer.Option(
            "--at", metavar="TOKENS:TARGET=LOSS,…", help="What was measured on the way; repeatable."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Record the losses of a run that has ended."""
    from bayesmix.campaign.campaign import Campaign

    measured = _losses(losses)
    record = Campaign.open(ledger).tell(
        trial, measured, flops, checkpoints=dict(map(_checkpoint, checkpoints or []))
    )
    echo(f"{record.id} told: {len(measured)} losses", record.as_dict() if json else None)


@_command("bayesmix campaign fail pilots.db t0002 --why 'node lost'")
def fail(
    ledger: Ledger,
    trial: Trial,
    reason: Annotated[str, typer.Option("--why", metavar="TEXT", help="For the record.")] = "",
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Never ask for this design again.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Record that a run did not finish."""
    from bayesmix.campaign.campaign import Campaign

    ended = Campaign.open(ledger).fail(trial, reason, abandon=abandon)
    echo(f"{ended.id} {ended.status}", ended.as_dict() if json else None)


@_command("bayesmix campaign status pilots.db")
def status(ledger: Ledger, json: options.Json = False) -> None:
    """Show the requested runs, their results and their cost."""
    from bayesmix.campaign.campaign import Campaign

    campaign = Campaign.open(ledger)
    echo(campaign, campaign.as_dict() if json else None)


@_command("bayesmix campaign export pilots.db --out told.csv")
def export(
    ledger: Ledger,
    out: Annotated[
        str,
        typer.Option(metavar="FILE", help="CSV or Parquet table of runs, or JSON of everything."),
    ],
) -> None:
    """Write what was told as a table that `bayesmix fit` reads.

    With a file that ends in .json, the whole history.
    """
    from bayesmix.campaign.campaign import Campaign
    from bayesmix.runs.io import write_table
    from bayesmix.runtime.files import atomic_write

    campaign = Campaign.open(ledger)
    if out.endswith(".json"):
        with atomic_write(out) as draft:
            draft.write_text(json_text(campaign.as_dict()) + "\n", encoding="utf-8")
        hint(f"wrote {out}")
        return
    runs = campaign.runs()
    if runs is None:
        raise InputError(
            "there is nothing to export",
            expected="a trial that was told",
            got="none",
            advice="Tell one first, or export everything to a .json file.",
        )
    columns = {
        "run_id": list(runs.designs.ids),
        "train_run": list(runs.train_run),
        "seed": list(runs.seed),
    }
    columns |= {"params": runs.params, "tokens": runs.tokens}
    columns |= {f"weight.{d}": runs.mixture[:, i] for i, d in enumerate(runs.domains)}
    write_table(columns | {f"loss.{t}": runs.loss[:, i] for i, t in enumerate(runs.targets)}, out)
    hint(f"wrote {out}")


def _losses(texts: list[str]) -> dict[str, float]:
    pairs = options.pairs(texts, "losses", example="wiki=2.31")
    return {target: options.number(text, target) for target, text in pairs.items()}


def _checkpoint(text: str) -> tuple[float, dict[str, float]]:
    tokens, _, losses = text.partition(":")
    return options.size(tokens, "--at"), _losses(losses.split(","))


def _included(path: str) -> tuple[tuple[dict[str, float], float, float], ...]:
    from bayesmix.runs.load import load_designs

    designs = load_designs(path)
    candidates = [designs[i] for i in range(len(designs))]
    return tuple((d.mixture.as_dict(), d.scale.params, d.scale.tokens) for d in candidates)
