"""Command `bayesmix predict`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from bayesmix.cli import options
from bayesmix.cli.output import echo, hint
from bayesmix.text import table


def predict(
    posterior_file: options.PosteriorFile,
    designs: Annotated[
        str, typer.Option(metavar="FILE", help="Table of params, tokens, weight.<domain>….")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="CSV, TSV, Parquet or JSON by suffix; stdout when not given."
        ),
    ] = None,
    normalize: options.Normalize = False,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Predict the loss of designs, with bands.

    One row a design and target: mean, sd and quantiles of the loss a run would measure (what is
    unknown about the law, and the scatter of runs), and law_q05, law_q95 without that scatter.
    Designs stay in the order given. A terminal gets a table to read, a pipe gets CSV.
    """
    from bayesmix.posterior.bands import bands
    from bayesmix.posterior.storage import load_any
    from bayesmix.runs.io import read_frame, write_table
    from bayesmix.runs.load import load_designs
    from bayesmix.runtime.compute import keep_compiled_programs

    frame = read_frame(designs)
    stack = load_designs(frame, normalize=normalize)
    label = next((name for name in ("id", "run_id") if name in frame), "id")
    posterior = load_any(posterior_file)
    keep_compiled_programs()
    table = bands(posterior, stack, seed=seed, progress=True)
    columns = {label if name == "id" else name: values for name, values in table.items()}
    if out:
        write_table(columns, out)
        hint(f"wrote {out}: {len(stack)} designs × {len(posterior.targets)} targets")
    if json:
        rows = zip(*columns.values(), strict=True)
        echo(None, {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})
    elif not out:
        _print_table(columns) if sys.stdout.isatty() else _print_csv(columns)
    if not posterior.diagnostics.passed:
        hint(
            f"warning: the diagnostics of {posterior_file} fail, so these bands are not to be"
            " trusted"
        )
        raise typer.Exit(3)


def _print_table(columns: dict[str, Any]) -> None:
    """Print a table for a terminal: the loss a run would measure and its 90 % band."""
    from bayesmix.design import count

    label = next(iter(columns))
    ids, targets = ([str(value)[:24] for value in columns[name]] for name in (label, "target"))
    numbers = zip(
        *(columns[name] for name in ("params", "tokens", "mean", "q05", "q95")), strict=True
    )
    rows = []
    for one, target, (params, tokens, mean, low, high) in zip(ids, targets, numbers, strict=True):
        band = f"[{low:.3f}, {high:.3f}]"
        rows.append((one, count(params), count(tokens), target, mean, band))
    header = (label, "params", "tokens", "target", "loss", "90 % band")
    print("\n".join(table(header, rows, "< >7 >7 < >6.3f <")))


def _print_csv(columns: dict[str, Any]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
