"""Make the figures of README and docs. Run with `uv run python -m tests.benchmarks.figures`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bayesmix.compute import keep_compiled_programs
from bayesmix.design import Design, Mixture, Scale
from bayesmix.inference.fit import fit
from bayesmix.laws.joint import Joint
from bayesmix.model import Model
from bayesmix.plots.sizes import plot_loss_by_size
from tests.posteriors import simulated

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"


def main() -> None:
    """Bands of the joint law beyond the largest size, from simulated runs."""
    keep_compiled_programs()
    model = Model(Joint())
    posterior = fit(model, simulated(model).only(["chat"]), seed=0, progress=True)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    mixture = Mixture.of(posterior.domains, posterior.designs.mixture[0])
    scale = Scale(4e9, float(np.median(posterior.designs.tokens)))
    plot_loss_by_size(posterior, Design(mixture, scale), target="chat", ax=figure.subplots())
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / "bands.png", dpi=130)


if __name__ == "__main__":
    main()
