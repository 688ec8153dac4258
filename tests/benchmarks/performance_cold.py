"""Cold starts for the performance page: fresh processes, on a machine that has run nothing yet, and again there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.performance import Job

PROGRAM = Path(sys.executable).parent / "bayesmix"
REPEATS = 5
TWICE = 3
FIRST = (
    "import warnings, bayesmix as bm; warnings.simplefilter('ignore'); "
    "runs = bm.load_runs('pocket-multimodal', where='seed == 0', targets='prose'); "
    "bm.fit(bm.load_model('additive'), runs, seed=0{})"
)
TINY = ", warmup=50, draws=50, extensions=0"


def _seconds(*command: str, cache: str) -> float:
    """Wall time of a fresh process that keeps its compiled programs, of JAX and of Python, in the given folder.

    Python keeps its own unless it is told not to, as it is in many containers.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in {"JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE"}
    }
    begun = time.perf_counter()
    own = {"XDG_CACHE_HOME": cache, "PYTHONPYCACHEPREFIX": cache}
    done = subprocess.run(command, env=env | own, capture_output=True)
    seconds = time.perf_counter() - begun
    if done.returncode not in (0, 3):  # 3: the diagnostics of a short fit fail
        raise RuntimeError(done.stderr.decode()[-2000:])
    return seconds


def program(job: Job) -> Iterator[tuple[str, Any]]:
    """`bayesmix --help` and `import bayesmix`, by themselves and with what a fit imports."""
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "import bayesmix": (sys.executable, "-c", "import bayesmix"),
        "import bayesmix; bayesmix.fit": (sys.executable, "-c", "import bayesmix; bayesmix.fit"),
        "bayesmix --help": (str(PROGRAM), "--help"),
    }
    with tempfile.TemporaryDirectory() as cache:
        for name, command in commands.items():
            _seconds(*command, cache=cache)  # files into memory, modules compiled
            yield (
                name,
                sorted(_seconds(*command, cache=cache) for _ in range(2 if job.small else REPEATS)),
            )


def first(job: Job) -> Iterator[tuple[str, Any]]:
    """The first fit of a process, imports and all: one target of the shipped runs, the default model."""
    yield from _twice(job, sys.executable, "-c", FIRST.format(TINY if job.small else ""))


def demo(job: Job) -> Iterator[tuple[str, Any]]:
    """`bayesmix demo`."""
    with tempfile.TemporaryDirectory() as out:
        yield from _twice(
            job, str(PROGRAM), "demo", "--out", out, *(["--quick"] if job.small else [])
        )


def _twice(job: Job, *command: str) -> Iterator[tuple[str, Any]]:
    """Cold and then warm, several times over: the median, and all of them."""
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(1 if job.small else TWICE):
        with tempfile.TemporaryDirectory() as cache:
            for times in seconds.values():
                times.append(_seconds(*command, cache=cache))
    for what, times in seconds.items():
        yield what, median(times)
        yield f"{what}, each", times
