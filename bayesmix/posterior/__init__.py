"""Draws of the parameters, and what follows from them: losses, bands, diagnostics, files."""
