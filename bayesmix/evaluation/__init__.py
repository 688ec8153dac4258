"""Evaluation of posteriors: held-out runs, comparisons of laws, identifiability."""
