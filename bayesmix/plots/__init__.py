"""Figures: every function takes and returns an `Axes`, and sets no global style."""

from bayesmix.plots.sizes import plot_loss_by_size as plot_loss_by_size
