"""What is assumed before the runs are seen: priors, noise, discrepancy, and the NumPyro program."""
