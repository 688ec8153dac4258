"""From runs to a posterior: NUTS, and the Laplace approximation."""

from bayesmix.inference.fit import fit as fit
