"""Figures: every function takes and returns an `Axes`, and sets no global style."""

from bayesmix.plots.backtest import plot_coverage as plot_coverage
from bayesmix.plots.backtest import plot_misses as plot_misses
from bayesmix.plots.comparison import plot_comparison as plot_comparison
from bayesmix.plots.decisions import plot_regret as plot_regret
from bayesmix.plots.decisions import plot_shares as plot_shares
from bayesmix.plots.files import save_plots as save_plots
from bayesmix.plots.sizes import plot_loss_by_size as plot_loss_by_size
