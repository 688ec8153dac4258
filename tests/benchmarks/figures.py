"""Make the figure of the README. Run with `uv run python -m tests.benchmarks.figures`."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from bayesmix.cards.read import load_model
from bayesmix.design import Design, Mixture, Scale
from bayesmix.inference.fit import fit
from bayesmix.plots.sizes import plot_loss_by_size
from bayesmix.runs.load import load_runs
from bayesmix.runtime.compute import keep_compiled_programs

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
RUNS = ["seed == 0", "tokens > 1e6"]


def main() -> None:
    """Bands of the even mixture, fitted to the smaller pocket runs, and what the larger ones measured."""
    keep_compiled_programs()
    runs, kept = (
        load_runs("pocket-multimodal", targets="headers", where=[*RUNS, size])
        for size in ("params < 1e5", "params > 1e5")
    )
    posterior = fit(load_model("additive"), runs, seed=0, target_accept=0.95, progress=True)
    even, tokens = Mixture.uniform(runs.domains), runs.tokens.max()
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    ax = figure.subplots()
    plot_loss_by_size(
        posterior,
        Design(even, Scale(kept.params.max(), tokens)),
        target="headers",
        ax=ax,
        carried=False,
    )
    same = (kept.tokens == tokens) & (kept.mixture == even.on(kept.domains)).all(axis=1)
    ax.plot(
        kept.params[same],
        kept.loss[same, 0],
        "*",
        color="black",
        markersize=11,
        label="measured, not fitted",
    )
    ax.legend(frameon=False, fontsize="small", loc="lower left")
    figure.savefig(FIGURES / "bands.png", dpi=130)


if __name__ == "__main__":
    main()
