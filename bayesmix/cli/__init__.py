"""The command line: `bayesmix fit`, `predict`, `optimize` and the rest. The only home of typer."""

from bayesmix.cli.app import main as main
