"""Command line: `bayesmix fit`, `predict`, `optimize` etc.; only this package uses typer."""

from bayesmix.cli.app import main as main
