"""Posterior inference from training runs: NUTS, and the Laplace approximation."""

from bayesmix.inference.fit import fit as fit
