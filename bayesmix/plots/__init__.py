"""Figures: every function takes and returns an `Axes`, and sets no global style."""

from bayesmix.plots.backtest import plot_coverage as plot_coverage
from bayesmix.plots.backtest import plot_coverage_by_size as plot_coverage_by_size
from bayesmix.plots.backtest import plot_misses as plot_misses
from bayesmix.plots.candidates import plot_candidates as plot_candidates
from bayesmix.plots.comparison import plot_comparison as plot_comparison
from bayesmix.plots.convergence import plot_convergence as plot_convergence
from bayesmix.plots.decisions import plot_regret as plot_regret
from bayesmix.plots.decisions import plot_shares as plot_shares
from bayesmix.plots.files import save_plots as save_plots
from bayesmix.plots.interactions import plot_effects as plot_effects
from bayesmix.plots.learned import plot_learned as plot_learned
from bayesmix.plots.learned import plot_prior_posterior as plot_prior_posterior
from bayesmix.plots.loo_pit import plot_loo_pit as plot_loo_pit
from bayesmix.plots.replays import plot_regret_by_flops as plot_regret_by_flops
from bayesmix.plots.shares import plot_loss_by_share as plot_loss_by_share
from bayesmix.plots.sizes import plot_loss_by_size as plot_loss_by_size
from bayesmix.plots.sizes import plot_scales as plot_scales
from bayesmix.plots.ternary import plot_ternary_loss as plot_ternary_loss
from bayesmix.plots.ternary import plot_ternary_regret as plot_ternary_regret
from bayesmix.plots.ternary import ternary_axes as ternary_axes
