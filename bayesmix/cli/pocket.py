"""Commands `bayesmix pocket`: corpora, plans, training and sweeps of tiny real models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from bayesmix.cli.options import Seed, examples, size
from bayesmix.cli.output import hint

Setting = Annotated[str, typer.Option(metavar="NAME", help="multimodal, language or vision.")]
Out = Annotated[str, typer.Option(metavar="FILE", help="Where the result goes.")]

app = typer.Typer(
    name="pocket",
    help="Train tiny models on real mixtures (needs bayesmix[pocket]).",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=examples(
        "bayesmix pocket plan --setting multimodal --out plan.csv",
        "bayesmix pocket sweep plan.csv --out runs.jsonl",
        "bayesmix pocket table runs.jsonl --out runs.csv",
    ),
)


def _command(*lines: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return app.command(no_args_is_help=True, epilog=examples(*lines))


@_command("bayesmix pocket corpus --setting multimodal")
def corpus(setting: Setting) -> None:
    """Make the sequences of a setting from public packages.

    They are kept in the cache folder of the user.
    """
    from bayesmix.pocket.corpora import corpus_path, load_corpus

    data = load_corpus(setting)
    for (name, tokens), share in zip(data.tokens.items(), data.natural, strict=True):
        print(f"{name:<12} {tokens / 1e6:6.2f}M tokens  {share:6.1%}")
    print(f"{data.vocabulary} symbols, fingerprint {data.fingerprint}, in {corpus_path(setting)}")


@_command("bayesmix pocket plan --setting vision --out plan.csv")
def plan(setting: Setting, out: Out) -> None:
    """Write the plan of the set of runs that comes with the package."""
    from bayesmix.pocket.corpora import load_corpus
    from bayesmix.pocket.plan import plan as planned
    from bayesmix.pocket.plan import write_plan

    jobs = planned(setting, load_corpus(setting))
    write_plan(jobs, out)
    print(f"{len(jobs)} runs")


@_command(
    "bayesmix pocket train --setting language --params-size S0 \\",
    "    --mixture code=0.5,prose=0.5 --tokens 1M",
)
def train(
    setting: Setting,
    params_size: Annotated[str, typer.Option(metavar="SIZE", help="S0, S1, S2, S3 or S4.")],
    mixture: Annotated[str, typer.Option(metavar="DOMAIN=WEIGHT,…", help="Weights that sum to 1.")],
    tokens: Annotated[str, typer.Option(metavar="D", help="Tokens to train on, as 4e6 or 4M.")],
    seed: Seed = 0,
) -> None:
    """Train one model and print it as a table of one row."""
    from bayesmix.cli.options import weights
    from bayesmix.errors import InputError
    from bayesmix.pocket.corpora import find_setting
    from bayesmix.pocket.plan import TrainingJob, checked_weights
    from bayesmix.pocket.sizes import find_size
    from bayesmix.pocket.sweep import table_columns
    from bayesmix.pocket.worker import record

    shares = weights([mixture], None)
    if shares is None:
        raise InputError(
            "--mixture is empty",
            expected="DOMAIN=WEIGHT,…",
            got=repr(mixture),
            advice="Give weights.",
        )
    find_size(params_size)
    proportions = dict(
        zip(find_setting(setting).domains, checked_weights(shares, setting).tolist(), strict=True)
    )
    job = TrainingJob(
        f"{setting}-{params_size}-{seed}",
        setting,
        params_size,
        seed,
        (round(size(tokens, "--tokens")),),
        proportions,
    )
    columns = table_columns([record(job)])
    print(",".join(columns))
    print(",".join(str(values[0]) for values in columns.values()))


@_command("bayesmix pocket sweep plan.csv --out runs.jsonl --processes 2")
def sweep(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="A CSV table of runs to train.")],
    out: Out,
    processes: Annotated[
        int | None, typer.Option(metavar="INT", min=1, help="Default: one for every core.")
    ] = None,
) -> None:
    """Train the runs of a plan, one JSON line each.

    The same command goes on where it was stopped.
    """
    from bayesmix.pocket.plan import read_plan
    from bayesmix.pocket.sweep import sweep as swept

    print(f"{swept(read_plan(plan), out, processes, hint)} runs trained")


@_command("bayesmix pocket table runs.jsonl --out runs.csv")
def table(
    runs: Annotated[str, typer.Argument(metavar="RUNS.jsonl", help="The file of a sweep.")],
    out: Out,
) -> None:
    """Write finished runs as a table that `bayesmix fit` reads."""
    from bayesmix.pocket.sweep import write_runs

    print(f"{write_runs(runs, out)} rows")
