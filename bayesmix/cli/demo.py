"""`bayesmix demo`: the whole job on an example, through the commands a user would give."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.cli.fit import fit
from bayesmix.cli.optimize import optimize
from bayesmix.cli.predict import predict

if TYPE_CHECKING:
    import numpy as np

    from bayesmix.design import Designs
    from bayesmix.runs.table import Runs

DOMAINS = ("web", "code", "books")
TARGETS = ("prose", "python")
SIZES = ((60e6, 120e6, 250e6, 500e6), (1e9, 3e9, 9e9))
FLAGSHIP = (2e9, 40e9)


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="One target instead of two.")] = False,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where the files go; a new temporary folder by default.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="INT", min=0, help="Other runs, other draws.")] = 0,
) -> None:
    """Do the whole job on an example, step by step.

    From a table of runs to loss bands and a mixture. The runs are simulated, so the answers can be checked.
    """
    folder = Path(out) if out else Path(tempfile.mkdtemp(prefix="bayesmix-demo-"))
    targets = TARGETS[:1] if quick else TARGETS
    print(f"The files of this demonstration go to {folder}")
    codes = [
        _runs(folder, targets, seed),
        _fit(folder, seed),
        _predict(folder, targets, seed),
        _choose(folder, targets),
    ]
    print(f"\nThe same commands work on your own runs, in a table with the columns of\n{folder / 'runs.csv'}")
    if any(codes):
        raise typer.Exit(max(codes))


def _runs(folder: Path, targets: tuple[str, ...], seed: int) -> int:
    from bayesmix.runs.tables import runs_columns, write_table

    _step(1, "A table of runs")
    runs = _simulated(_pilots(seed), targets, seed)
    write_table(runs_columns(runs), folder / "runs.csv")
    print("These runs are SIMULATED from the additive law with known parameters; no model")
    print("was trained. One row a run: its size, its tokens, its mixture, its losses.\n")
    _table(runs_columns(runs), rows=4)
    print(f"… and {len(runs) - 4} more rows")
    return 0


def _fit(folder: Path, seed: int) -> int:
    _step(2, "From runs to a posterior")
    print("Many laws fit a few dozen small runs. NUTS draws thousands of them, each as")
    print("often as it is plausible, and the diagnostics say whether its chains agree.\n")
    print("$ bayesmix fit runs.csv --model additive --draws 2000 --out posterior.nc\n", flush=True)
    return _code(
        fit, [str(folder / "runs.csv")], model="additive", out=str(folder / "posterior.nc"), draws=2000, seed=seed
    )


def _predict(folder: Path, targets: tuple[str, ...], seed: int) -> int:
    from bayesmix.design import count
    from bayesmix.runs.tables import read_frame, write_table

    params = FLAGSHIP[0]
    _step(3, f"Loss bands at {count(params)} parameters, {params / SIZES[0][-1]:.0f} times the largest run")
    designs = _candidates()
    write_table(_columns(designs), folder / "designs.csv")
    print("$ bayesmix predict posterior.nc --designs designs.csv --out predictions.csv\n", flush=True)
    files = {name: str(folder / f"{name}.csv") for name in ("designs", "predictions")}
    code = _code(predict, str(folder / "posterior.nc"), designs=files["designs"], out=files["predictions"])
    rows = read_frame(files["predictions"]).to_dict(orient="records")
    measured = _simulated(designs, targets, seed + 1).loss.reshape(-1)
    print(f"{'mixture':<12} {'target':<8} {'mean':>6}  {'90 % band':<16} {'simulated run':>13}  inside")
    for row, loss in zip(rows, measured, strict=True):
        inside = "yes" if row["q05"] <= loss <= row["q95"] else "no"
        band = f"[{row['q05']:.3f}, {row['q95']:.3f}]"
        print(f"{row['id']:<12} {row['target']:<8} {row['mean']:6.3f}  {band:<16} {loss:13.3f}  {inside}")
    print("\nThe simulated runs were not fitted. Nine of ten should lie inside.")
    return code


def _choose(folder: Path, targets: tuple[str, ...]) -> int:
    import json

    from bayesmix.design import Design, Designs, Mixture, Scale, count

    params, tokens = FLAGSHIP
    _step(4, "The mixture for that size, with an eye on the bad tenth of what may be true")
    print(f"$ bayesmix optimize posterior.nc --params {count(params)} --tokens {count(tokens)} --risk cvar:0.9 \\")
    print("    --out optimum.json\n", flush=True)
    file = folder / "optimum.json"
    code = _code(optimize, str(folder / "posterior.nc"), str(params), str(tokens), risk="cvar:0.9", out=str(file))
    chosen = Mixture(json.loads(file.read_text(encoding="utf-8"))["mixture"])
    scale = Scale(params, tokens)
    both = Designs.of(Design(chosen, scale), Design(Mixture.uniform(DOMAINS), scale))
    mine, uniform = _true_loss(both, targets).mean(axis=1)
    print(f"\nIn the simulated truth this mixture has a loss of {mine:.4f} and uniform {uniform:.4f}:")
    print(f"{abs(uniform - mine):.4f} nats {'saved' if mine < uniform else 'lost'}.")
    return code


def _step(number: int, title: str) -> None:
    print(f"\n{number}. {title}\n{'-' * (len(title) + 3)}", flush=True)


def _code(command: Callable[..., None], *arguments: Any, **options: Any) -> int:
    """Run a command and return its exit code: a failed diagnostic does not end the demonstration."""
    try:
        command(*arguments, **options)
    except typer.Exit as done:
        return done.exit_code
    return 0


def _pilots(seed: int) -> Designs:
    """Five random mixtures at every combination of sizes and tokens."""
    import numpy as np

    from bayesmix.design import Designs

    scales = [(n, d) for n in SIZES[0] for d in SIZES[1]]
    rng = np.random.default_rng(seed)
    mixture = rng.dirichlet(np.ones(len(DOMAINS)), 5 * len(scales)).round(3)
    mixture[:, 0] = 1 - mixture[:, 1:].sum(axis=1)
    params, tokens = np.repeat(np.array(scales), 5, axis=0).T
    ids = tuple(f"run-{i + 1:02d}" for i in range(len(mixture)))
    return Designs(DOMAINS, np.abs(mixture.round(3)), params, tokens, ids)


def _candidates() -> Designs:
    """A few mixtures at the size that is wanted."""
    import numpy as np

    from bayesmix.design import Designs

    mixtures = {"mostly web": (0.8, 0.1, 0.1), "even": (0.34, 0.33, 0.33), "code-heavy": (0.3, 0.6, 0.1)}
    size = len(mixtures)
    weights = np.array([*mixtures.values()])
    return Designs(DOMAINS, weights, np.full(size, FLAGSHIP[0]), np.full(size, FLAGSHIP[1]), tuple(mixtures))


def _columns(designs: Designs) -> dict[str, Any]:
    weights = {f"weight.{domain}": designs.mixture[:, i] for i, domain in enumerate(designs.domains)}
    return {"id": designs.ids, "params": designs.params, "tokens": designs.tokens, **weights}


def _simulated(designs: Designs, targets: tuple[str, ...], seed: int) -> Runs:
    """Runs under the known law, with 0.5 % of scatter."""
    from bayesmix.inference.simulate import simulate

    return simulate(_model(), designs, targets=targets, parameters=_truth(0.005, len(targets)), seed=seed)


def _true_loss(designs: Designs, targets: tuple[str, ...]) -> np.ndarray:
    """Loss (run, target) of the known law itself."""
    from bayesmix.inference.simulate import simulate

    return simulate(_model(), designs, targets=targets, parameters=_truth(1e-9, len(targets))).loss


def _model() -> Any:
    """The additive law, its amplitudes defined at a scale and a mixture in the middle of the runs."""
    import numpy as np

    from bayesmix.design import Scale
    from bayesmix.laws.additive import Additive
    from bayesmix.model import Model, Reference
    from bayesmix.noise import StudentT

    reference = Reference(Scale(170e6, 3e9), DOMAINS, np.full(3, 1 / 3), dict.fromkeys(TARGETS, 3.0))
    return Model(Additive(), noise=StudentT(), discrepancy=None, reference=reference)


def _truth(sigma: float, targets: int) -> dict[str, np.ndarray]:
    """Parameters of the simulated truth, site → (target, ...), amplitudes in nats."""
    import numpy as np

    truth = {
        "E": [1.6, 0.8],
        "A": [0.5, 0.45],
        "alpha": [0.32, 0.36],
        "B": [0.4, 0.35],
        "beta": [0.35, 0.38],
        "M": [0.7, 0.9],
        "share": [[0.35, 0.3, 0.05, 0.3], [0.3, 0.15, 0.5, 0.05]],
        "gamma": [[0.6, 0.4, 0.5], [0.5, 0.5, 0.4]],
        "sigma": [sigma, sigma],
        "nu": [8.0, 8.0],
    }
    return {site: np.array(values)[:targets] for site, values in truth.items()}


def _table(columns: dict[str, Any], rows: int) -> None:
    """The first rows of a table, in columns."""
    cells = [[name, *(_cell(v) for v in values[:rows])] for name, values in columns.items()]
    widths = [max(map(len, cell)) for cell in cells]
    for line in zip(*cells, strict=True):
        print(" ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
