"""Execute notebooks in place.

`uv run --group notebooks python -m tests.notebooks.execute [01_first_mixture …]`
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.notebooks.changes import KEY, digest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIMIT = 3600
"""Seconds a cell may take on a machine that does other things too."""


def execute(path: Path, folder: Path) -> Any:
    """The notebook, executed in a folder; what one keeps there, the next may read.

    Raises:
        CellExecutionError: a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "jax"))
    client = NotebookClient(
        notebook,
        timeout=LIMIT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    return client.execute()


def main(names: list[str]) -> None:
    """Execute the named notebooks, all when none is named, and keep them with their output."""
    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        for path in NOTEBOOKS:
            if not names or path.stem in names:
                began = time.monotonic()
                notebook = execute(path, Path(folder))
                notebook["metadata"][KEY] = {"digest": digest(notebook)}
                nbformat.write(notebook, path)
                print(
                    f"{path.stem}: {time.monotonic() - began:.0f} s,"
                    f" {path.stat().st_size / 1000:.0f} kB",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
