"""Figures of the pocket runs: loss against N, against D, and against a domain's own weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from bayesmix.design import count
from bayesmix.runs.io import read_frame

COLOURS = "viridis"


def draw(name: str, path: Path) -> None:
    """One column a target: N and D on the uniform mixture, and own weight at the largest size all mixtures have."""
    frame = read_frame(name)
    frame = frame[frame["seed"] == 0]
    targets = [
        str(column).removeprefix("loss.") for column in frame if str(column).startswith("loss.")
    ]
    uniform = frame[frame["mixture"] == "uniform"]
    spread = frame.groupby("params")["mixture"].nunique()
    size = int(spread[spread == spread.max()].index.max())
    figure = Figure(figsize=(2.6 * len(targets), 7.2), layout="constrained")
    axes = figure.subplots(3, len(targets), squeeze=False)
    for column, target in enumerate(targets):
        axes[0, column].set_title(target)
        _lines(axes[0, column], uniform, "params", "tokens", target)
        _lines(axes[1, column], uniform, "tokens", "params", target)
        if f"weight.{target}" in frame:
            _weights(axes[2, column], frame[frame["params"] == size], target)
        else:
            axes[2, column].axis("off")
            axes[2, column].text(0.5, 0.5, "in no mixture", ha="center", color="0.4")
    for row, (label, which) in enumerate(
        (("tokens D", "tokens"), ("parameters N", "params"), ("tokens D", "tokens"))
    ):
        scale = ScalarMappable(LogNorm(frame[which].min(), frame[which].max()), COLOURS)
        bar = figure.colorbar(
            scale, ax=axes[row, :], label=label, shrink=0.8, format=FuncFormatter(_counted)
        )
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
        bar.set_ticks(sorted(frame[which].unique()))
        axes[row, 0].set_ylabel("loss (nats per token)")
        for ax in axes[row]:
            ax.set_xlabel(("parameters N", "tokens D", f"own weight, N = {count(size)}")[row])
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def _counted(value: float, _: int) -> str:
    return count(float(f"{value:.2g}"))


def _lines(ax: Axes, frame: Any, along: str, by: str, target: str) -> None:
    scale = ScalarMappable(
        LogNorm(frame[by].min(), max(frame[by].max(), frame[by].min() + 1)), COLOURS
    )
    for value, rows in frame.sort_values(along).groupby(by):
        ax.plot(
            rows[along],
            rows[f"loss.{target}"],
            "o-",
            color=scale.to_rgba(value),
            markersize=3,
            linewidth=1,
        )
    ax.set_xscale("log")
    ax.set_xticks(sorted(frame[along].unique()))
    ax.xaxis.set_major_formatter(FuncFormatter(_counted))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _weights(ax: Axes, frame: Any, target: str) -> None:
    ax.scatter(
        frame[f"weight.{target}"],
        frame[f"loss.{target}"],
        c=frame["tokens"],
        norm=LogNorm(),
        s=9,
        cmap=COLOURS,
    )
