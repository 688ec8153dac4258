"""`bayesmix predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.cli import options
from bayesmix.cli.output import advise, result

if TYPE_CHECKING:
    import numpy as np

    from bayesmix.design import Designs
    from bayesmix.inference.posterior import Posterior
    from bayesmix.inference.stack import Stack

LEVELS = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
CHUNK = 2**23
"""How many losses (draw × design × target) are held at once: 64 MB."""


def predict(
    posterior: options.PosteriorFile,
    designs: Annotated[str, typer.Option(metavar="FILE", help="Table of params, tokens, weight.<domain>….")],
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="CSV, TSV, Parquet or JSON by suffix; stdout when not given.")
    ] = None,
    normalize: options.Normalize = False,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Predict the loss of designs, with bands.

    One row a design and target: mean, sd and quantiles of the loss a run would measure (what is unknown about the law,
    and the scatter of runs), and law_q05, law_q95 without that scatter. Designs stay in the order given. A terminal
    gets a table to read, a pipe gets CSV.
    """
    from bayesmix.compute import keep_compiled_programs
    from bayesmix.inference.storage import load_any
    from bayesmix.runs.load import load_designs
    from bayesmix.runs.tables import read_frame, write_table

    frame = read_frame(designs)
    stack = load_designs(frame, normalize=normalize)
    label = next((name for name in ("id", "run_id") if name in frame), "id")
    known = load_any(posterior)
    keep_compiled_programs()
    columns = _columns(known, stack, label, seed)
    if out:
        write_table(columns, out)
        advise(f"wrote {out}: {len(stack)} designs × {len(known.targets)} targets")
    if json:
        rows = zip(*columns.values(), strict=True)
        result(None, {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})
    elif not out:
        _print_table(columns) if sys.stdout.isatty() else _print_csv(columns)
    if not known.diagnostics.passed:
        advise(f"warning: the diagnostics of {posterior} fail, so these bands are not to be trusted")
        raise typer.Exit(3)


def _columns(posterior: Posterior | Stack, designs: Designs, label: str, seed: int) -> dict[str, Any]:
    """The rows of all designs as columns, a part of the designs at a time."""
    import numpy as np

    designs = designs.on(posterior.domains)
    tables = [_summarise(posterior, part, s) for part, s in _parts(posterior, designs, seed)]
    targets = len(posterior.targets)
    each: dict[str, Any] = {
        label: np.repeat(np.array(designs.ids, dtype=object), targets),
        "params": np.repeat(designs.params, targets),
        "tokens": np.repeat(designs.tokens, targets),
        "target": np.tile(np.array(posterior.targets, dtype=object), len(designs)),
    }
    each |= {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    return each | {"diagnostics": np.full(len(designs) * targets, posterior.diagnostics.verdict, dtype=object)}


def _parts(posterior: Posterior | Stack, designs: Designs, seed: int) -> Iterator[tuple[Designs, int]]:
    """Designs in parts of bounded memory, each with a seed of its own, and a bar if it takes long."""
    import numpy as np
    from tqdm import tqdm

    rows = max(1, CHUNK // (posterior.n_draws * len(posterior.targets)))
    begins = range(0, len(designs), rows)
    seeds = np.random.SeedSequence(seed).generate_state(len(begins))
    for begin, own in zip(tqdm(begins, desc="predicting", delay=2, ncols=80, leave=False), seeds, strict=True):
        yield designs.take(np.arange(begin, min(begin + rows, len(designs)))), int(own)


def _summarise(posterior: Posterior | Stack, designs: Designs, seed: int) -> dict[str, np.ndarray]:
    """Column → values (design × target), targets running fastest."""
    import numpy as np

    measured = posterior.predict(designs, seed=seed)
    quantiles = measured.quantile(list(LEVELS.values()))
    low, high = posterior.predict(designs, seed=seed, noise=False).quantile([0.05, 0.95])
    table = {"mean": measured.mean, "sd": measured.sd, **dict(zip(LEVELS, quantiles, strict=True))}
    each = {name: value.reshape(-1) for name, value in (table | {"law_q05": low, "law_q95": high}).items()}
    beyond = measured.extrapolation
    assert beyond is not None
    by_run = {"params_beyond": beyond.params, "tokens_beyond": beyond.tokens, "mixture_outside": beyond.mixture}
    return each | {name: np.repeat(value, len(posterior.targets)) for name, value in by_run.items()}


def _print_table(columns: dict[str, Any]) -> None:
    """What fits a terminal: the loss a run would measure and its 90 % band."""
    from bayesmix.design import count

    label = next(iter(columns))
    ids, targets = ([str(each)[:24] for each in columns[name]] for name in (label, "target"))
    wide, narrow = max(map(len, [*ids, label])), max(map(len, [*targets, "target"]))
    print(f"{label:<{wide}}  {'params':>7}  {'tokens':>7}  {'target':<{narrow}}  {'loss':>6}  90 % band")
    numbers = zip(*(columns[name] for name in ("params", "tokens", "mean", "q05", "q95")), strict=True)
    for one, target, (params, tokens, mean, low, high) in zip(ids, targets, numbers, strict=True):
        size = f"{count(params):>7}  {count(tokens):>7}"
        print(f"{one:<{wide}}  {size}  {target:<{narrow}}  {mean:6.3f}  [{low:.3f}, {high:.3f}]")


def _print_csv(columns: dict[str, Any]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
