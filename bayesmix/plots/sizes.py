"""Loss against model size, with bands that go on beyond the fitted sizes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from bayesmix.design import Designs, Mixture, count
from bayesmix.inference.posterior import Posterior

BAND = "#0072B2"  # from the palette of Okabe and Ito, told apart by colour-blind readers
POINT = "#D55E00"
LEVELS = ((0.5, 0.45), (0.9, 0.22))


def plot_loss_by_size(
    posterior: Posterior, mixture: Mixture, tokens: float, *, target: str, ax: Axes, reach: float = 16.0
) -> Axes:
    """Predicted loss of one mixture against N at a fixed number of tokens, with 50 and 90 % bands.

    Runs with the same tokens (within 5 %) and a mixture within 0.05 of total variation are drawn on top; sizes beyond
    the fitted ones are shaded.

    Args:
        posterior: what is believed.
        mixture: the mixture to show.
        tokens: D of every point of the curve.
        target: the target whose loss is shown.
        ax: where to draw.
        reach: how far beyond the largest fitted size to go, as a factor.
    """
    fitted = posterior.designs.params
    params = np.geomspace(fitted.min() / 1.2, fitted.max() * reach, 60)
    weights = np.tile(mixture.on(posterior.domains), (len(params), 1))
    designs = Designs(posterior.domains, weights, params, np.full(len(params), float(tokens)))
    prediction = posterior.predict(designs)
    which = posterior.targets.index(target)
    for level, alpha in LEVELS:
        low, high = prediction.interval(level)[:, which].T
        ax.fill_between(params, low, high, color=BAND, alpha=alpha, linewidth=0, label=f"{100 * level:.0f} % band")
    ax.plot(params, prediction.quantile(0.5)[:, which], color=BAND, linewidth=1.5, label="median")
    near = np.abs(np.log(posterior.designs.tokens / tokens)) < 0.05
    near &= 0.5 * np.abs(posterior.designs.mixture - weights[0]).sum(1) < 0.05
    ax.plot(fitted[near], posterior.runs.loss[near, which], "o", color=POINT, markersize=5, label="measured")
    ax.axvspan(fitted.max(), params[-1], color="0.5", alpha=0.12, linewidth=0, label="no run is this large")
    ax.set_xscale("log")
    ax.set_xlim(params[0], params[-1])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    ax.set_xlabel("model parameters N")
    ax.set_ylabel(f"loss on {target} (nats per token)")
    ax.legend(frameon=False, fontsize="small")
    return ax
