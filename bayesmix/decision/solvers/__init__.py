"""Numerical optimisation over a polytope of mixtures; nothing here knows a posterior."""
