"""Numerical optimisation over a polytope of mixtures, independent of posteriors."""
