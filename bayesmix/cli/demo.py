"""Command `bayesmix demo`: the whole workflow on real runs, through the commands of a user."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.cli.fit import fit
from bayesmix.cli.optimize import optimize
from bayesmix.cli.predict import predict
from bayesmix.text import table

if TYPE_CHECKING:
    import numpy as np

    from bayesmix.runs.runs import Runs

SET = "pocket-multimodal"
TARGETS = ("headers", "prose")
"""The target that no mixture contains, and the first domain of the set.

This choice does not depend on how well their bands are calibrated.
"""
FLOOR = 0.02  # lowest share of any domain in the runs of the set


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="One target instead of two.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Where the files go; a new temporary folder by default."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="INT", min=0, help="Other draws.")] = 0,
) -> None:
    """Do the whole job on an example, step by step.

    From a table of runs to loss bands and a mixture. The runs are tiny models that were really
    trained; the largest of them are kept aside, so that the bands can be checked.
    """
    from bayesmix.runs.load import load_runs

    folder = Path(out) if out else Path(tempfile.mkdtemp(prefix="bayesmix-demo-"))
    runs = load_runs(SET, where="seed == 0", targets=TARGETS[:1] if quick else TARGETS)
    small, large = _apart(runs)
    print(f"The files of this demonstration go to {folder}")
    codes = [
        _runs(folder, small, large),
        _fit(folder, seed),
        _predict(folder, large),
        _choose(folder, large),
    ]
    print(
        "\nThe same commands work on your own runs, in a table with the columns"
        f" of\n{folder / 'runs.csv'}"
    )
    print(f'All runs of this set, and more targets: bm.load_runs("{SET}")')
    if any(codes):
        raise typer.Exit(max(codes))


def _apart(runs: Runs) -> tuple[Runs, Runs]:
    """Runs below the largest size, and the runs of that size at the largest D.

    The former have mixtures that were trained at the largest size too.
    """
    import numpy as np

    size, longest = runs.params.max(), runs.tokens.max()
    large = runs.params == size
    matched = (runs.mixture[:, None] == runs.mixture[None, large]).all(axis=2).any(axis=1)
    return runs.take(matched & ~large), runs.take(np.flatnonzero(large & (runs.tokens == longest)))


def _runs(folder: Path, small: Runs, large: Runs) -> int:
    from bayesmix.design import count
    from bayesmix.runs.io import runs_columns, write_table

    _step(1, "A table of runs")
    write_table(runs_columns(small), folder / "runs.csv")
    print("These losses were MEASURED: tiny decoders, trained on one CPU on mixtures of")
    print(f"{_listed(small.domains)}, and measured on {_listed(small.targets)}")
    print("(nats per symbol; headers are C headers, which no mixture contains).")
    print(
        f"The runs of the largest size, {count(large.params.max())} parameters, are kept aside.\n"
    )
    _table(small, rows=4)
    print(f"… and {len(small) - 4} more rows")
    return 0


def _fit(folder: Path, seed: int) -> int:
    _step(2, "From runs to a posterior")
    print("Many laws fit a few dozen small runs. NUTS draws thousands of them, each as")
    print("often as it is plausible, and the diagnostics say whether its chains agree.\n")
    print(
        "$ bayesmix fit runs.csv --model additive --warmup 500 --draws 500 --out posterior.nc\n",
        flush=True,
    )
    file = str(folder / "posterior.nc")
    return _code(
        fit,
        [str(folder / "runs.csv")],
        model="additive",
        warmup=500,
        draws=500,
        out=file,
        seed=seed,
    )


def _predict(folder: Path, large: Runs) -> int:
    from bayesmix.design import count
    from bayesmix.runs.io import read_frame, write_table

    _step(3, f"Loss bands at {count(large.params[0])} parameters, next to what those runs measured")
    write_table(_columns(large), folder / "designs.csv")
    print(
        "$ bayesmix predict posterior.nc --designs designs.csv --out predictions.csv\n", flush=True
    )
    files = {name: str(folder / f"{name}.csv") for name in ("designs", "predictions")}
    code = _code(
        predict, str(folder / "posterior.nc"), designs=files["designs"], out=files["predictions"]
    )
    rows = read_frame(files["predictions"]).to_dict(orient="records")
    print(f"{'mixture':<13} {'target':<8} {'mean':>6}  {'90 % band':<16} {'measured':>8}  inside")
    inside = undershoots = 0
    for row, loss in zip(rows, large.loss.reshape(-1), strict=True):
        hit = row["q05"] <= loss <= row["q95"]
        inside, undershoots = inside + hit, undershoots + (loss < row["q05"])
        band = f"[{row['q05']:.3f}, {row['q95']:.3f}]"
        print(
            f"{row['id']:<13} {row['target']:<8} {row['mean']:6.3f}  {band:<16} {loss:8.3f} "
            f" {'yes' if hit else 'no'}"
        )
    print(
        f"\nNone of these runs was fitted. {inside} of {len(rows)} lie inside; nine of ten should."
    )
    print(
        f"Outside: {undershoots} measured below their band, {len(rows) - inside - undershoots}"
        " above it."
    )
    print("Largest N and largest D at once is the hardest of the checks in docs/pocket.md.")
    return code


def _choose(folder: Path, large: Runs) -> int:
    import json

    import numpy as np

    from bayesmix.design import count

    params, tokens = large.params[0], large.tokens[0]
    bounds = [f"{domain}={FLOOR}:1" for domain in large.domains]
    spelt = " ".join(f"--bounds {bound}" for bound in bounds)
    _step(4, "The mixture for that size, with an eye on the bad tenth of what may be true")
    print(
        f"$ bayesmix optimize posterior.nc --params {params:.0f} --tokens {tokens:.0f} --risk"
        " cvar:0.9 \\"
    )
    print(f"    {spelt} --out optimum.json\n", flush=True)
    file = folder / "optimum.json"
    code = _code(
        optimize,
        str(folder / "posterior.nc"),
        str(params),
        str(tokens),
        risk="cvar:0.9",
        bounds=bounds,
        out=str(file),
    )
    expected = json.loads(file.read_text(encoding="utf-8"))["loss"]["mean"]
    measured = large.loss.mean(axis=1)
    best = int(np.argmin(measured))
    name, minimum = _names(large)[best], measured[best]
    print(
        f"\nOf the {len(large)} mixtures really trained at {count(params)} parameters, {name}"
        " measured"
    )
    print(
        f"the lowest mean loss, {minimum:.3f}. The posterior expects {expected:.3f} of the mixture"
        " above."
    )
    return code


def _step(number: int, title: str) -> None:
    print(f"\n{number}. {title}\n{'-' * (len(title) + 3)}", flush=True)


def _code(command: Callable[..., None], *arguments: Any, **options: Any) -> int:
    """Run a command and return its exit code; failed diagnostics do not end the demonstration."""
    try:
        command(*arguments, **options)
    except typer.Exit as done:
        return done.exit_code
    return 0


def _names(runs: Runs) -> list[str]:
    """Names of the mixtures, such as `prose-heavy` for the run multimodal-S4-prose-heavy-0."""
    return ["-".join(run.split("-")[2:-1]) for run in runs.train_run]


def _columns(runs: Runs) -> dict[str, Any]:
    weights = {f"weight.{domain}": runs.mixture[:, i] for i, domain in enumerate(runs.domains)}
    return {"id": _names(runs), "params": runs.params, "tokens": runs.tokens, **weights}


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _table(runs: Runs, rows: int) -> None:
    """Print some evenly spaced rows of the table."""
    import numpy as np

    chosen = runs.take(np.linspace(0, len(runs) - 1, rows).astype(int))
    columns: dict[str, np.ndarray] = {"params": chosen.params, "tokens": chosen.tokens}
    columns |= {domain: chosen.mixture[:, i] for i, domain in enumerate(runs.domains)}
    columns |= {f"loss.{target}": chosen.loss[:, i] for i, target in enumerate(runs.targets)}
    print("\n".join(table([*columns], zip(*columns.values(), strict=True), ">.7g")))
