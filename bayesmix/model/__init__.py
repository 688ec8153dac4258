"""The Bayesian model: priors, noise, discrepancy, likelihood and the NumPyro program."""
