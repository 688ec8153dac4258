"""Command `bayesmix replay`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from bayesmix.cli import options
from bayesmix.cli.output import echo, hint, json_text
from bayesmix.errors import InputError

CRITERIA = ("regret", "flagship", "variance", "D-optimal", "random", "space-filling")


def replay(
    runs: options.Table,
    judge: Annotated[
        str,
        typer.Option(
            metavar="QUERY", help="Runs to judge by, held out of the pool, as 'params == 1.2e9'."
        ),
    ],
    model: options.ModelCard = "additive",
    strategies: Annotated[
        list[str] | None,
        typer.Option("--strategy", metavar="A,B", help=f"Of {', '.join(CRITERIA)}; repeatable."),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(metavar="QUERY", help="Runs to choose from; the others by default."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET=W,…", help="Weights of the targets; equal when not given."),
    ] = None,
    preset: options.Preset = None,
    first: Annotated[
        int, typer.Option(metavar="INT", min=1, help="Random runs that everyone begins with.")
    ] = 10,
    count: Annotated[
        int | None,
        typer.Option("--until", metavar="INT", min=1, help="Runs to reveal; all when not given."),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(metavar="INT", min=1, help="How often, each with other random first runs."),
    ] = 20,
    refit: Annotated[
        str, typer.Option(metavar="HOW", help="laplace, nuts, or laplace-or-nuts.")
    ] = "laplace",
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write every step as JSON.")
    ] = None,
    processes: options.Processes = 1,
    json: options.Json = False,
) -> None:
    """Replay recorded runs: which way of choosing them is cheapest?

    Reveals the runs of a pool one by one, as each strategy picks them, and judges the mixture it
    would choose by runs that were held out. With --json, and in --out, every step is listed.
    """
    import numpy as np

    from bayesmix.campaign.replay import Trace, refit_named, replays
    from bayesmix.cards.read import load_model
    from bayesmix.design import Mixture, Scale
    from bayesmix.runs.load import load_runs
    from bayesmix.runtime.compute import keep_compiled_programs
    from bayesmix.runtime.files import atomic_write
    from bayesmix.runtime.parallel import processes as workers
    from bayesmix.runtime.progress import bar

    update, law, source = refit_named(refit), load_model(model), options.source(runs)
    test_runs = load_runs(source, preset=preset, where=[judge])
    chosen = load_runs(source, preset=preset, where=[pool or f"not ({judge})"])
    scale = Scale(float(test_runs.params.max()), float(test_runs.tokens.max()))
    mixtures = [Mixture.of(test_runs.domains, h) for h in np.unique(test_runs.mixture, axis=0)]
    policies = [
        _strategy(name, scale, mixtures)
        for name in options.names(strategies) or ("regret", "random")
    ]
    of_targets = options.weights(weights or [], None)
    keep_compiled_programs()
    settings: dict[str, Any] = {
        "targets": of_targets,
        "initial": first,
        "count": count,
        "refit": update,
    }
    looks = max(min(count or len(chosen), len(chosen.train_runs)) - first + 1, 1)
    with (
        workers(processes) as executor,
        bar(doing="replaying", total=seeds * len(policies) * looks, unit="fit") as progress,
    ):

        def say(trace: Trace) -> None:
            if executor:
                progress.update(looks)
            regret = trace.steps[-1].regret
            progress.write(
                f"seed {trace.seed}, {trace.strategy}: regret {regret:.4g} nats", sys.stderr
            )

        callbacks: dict[str, Any] = (
            {} if executor else {"looks": lambda _: progress.update() or True}
        )
        outcome = replays(
            law,
            chosen,
            test_runs,
            policies,
            seeds=range(seeds),
            executor=executor,
            on_trace=say,
            **settings,
            **callbacks,
        )
    if out:
        with atomic_write(out) as draft:
            draft.write_text(json_text(outcome.as_dict()) + "\n", encoding="utf-8")
    echo(outcome, outcome.as_dict() if json else None)
    if out:
        hint(f"wrote {out}")


def _strategy(name: str, scale: Any, mixtures: Any) -> Any:
    from bayesmix.acquisition.functions import PredictionGain, PredictiveVariance, RegretReduction
    from bayesmix.campaign.strategies import D_OPTIMAL, AtRandom, ByCriterion, SpaceFilling

    strategies = {
        "regret": ByCriterion(RegretReduction(scale, mixtures=mixtures), label="regret"),
        "flagship": ByCriterion(PredictionGain(scale, mixtures=mixtures), label="flagship"),
        "variance": ByCriterion(PredictiveVariance(scale, mixtures=mixtures), label="variance"),
        "D-optimal": D_OPTIMAL,
        "random": AtRandom(),
        "space-filling": SpaceFilling(),
    }
    if name not in strategies:
        raise InputError("the strategy is unknown", expected=f"one of {list(strategies)}", got=name)
    return strategies[name]
