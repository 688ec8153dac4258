"""Posterior draws of the parameters, and their use: losses, bands, diagnostics, files."""
