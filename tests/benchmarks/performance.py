"""Make docs/performance.md and docs/performance.json: how fast, against whom, and how cost grows.

Run with `uv run --group benchmark python -m tests.benchmarks.performance`; --only makes some of the
parts. Every step runs in a process of its own, with an empty cache of compiled programs, and is
kept as a JSON file in the folder given with --cache, so that an interrupted run goes on where it
stopped. The page is written from what that folder holds, and says what was not measured. Nothing
else should run on the machine meanwhile.

This file imports nothing but the standard library: a process inherits the peak memory of the one
that starts it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CANDIDATES = (100, 1_000, 10_000, 100_000, 1_000_000)
SMALL_CANDIDATES = (100, 300)
LAWS = ("additive", "joint")


class Job(NamedTuple):
    """What a step is told."""

    small: bool  # tiny settings, to see that it runs
    done: frozenset[str]  # keys it has yielded before it was interrupted
    folder: Path  # for what steps share


class Step(NamedTuple):
    """One process: a function of a module that yields (key, figures) one after the other."""

    module: str
    function: str
    arguments: tuple[Any, ...] = ()


def steps(small: bool) -> dict[str, dict[str, Step]]:
    """Part → name → step, in the order in which they run."""
    sampled = {
        f"sampling-{law}-{kind}": (law, kind) for kind in ("parametric", "default") for law in LAWS
    }
    extra = {f"sampling-{table}": (table,) for table in ("regmix", "pocket")}
    sizes = SMALL_CANDIDATES if small else CANDIDATES
    growth = {
        f"growth-{axis}": Step("growth", axis)
        for axis in ("rows", "domains", "targets", "fits", "draws")
    }
    verbs = {
        f"growth-{verb}-{n}": Step("growth", verb, (n,))
        for verb in ("predicted", "proposed")
        for n in sizes
    }
    return {
        "cold": {f"cold-{what}": Step("cold", what) for what in ("program", "first", "demo")},
        "sampling": {name: Step("sampling", "one_by_one", a) for name, a in sampled.items()}
        | {name: Step("sampling", "at_once", a) for name, a in extra.items()},
        "peers": {
            f"peers-{peer}-{law}": Step("peers", peer, (law,))
            for peer in ("least_squares", "nutpie", "numpyro", "settled")
            for law in LAWS
        },
        "refit": {f"refit-{law}": Step("sampling", "refit", (law,)) for law in LAWS},
        "growth": growth | verbs,
        "profile": {"profile": Step("sampling", "profile")},
    }


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--only", nargs="*", metavar="PART", help="parts, or names of steps")
    parser.add_argument(
        "--small", action="store_true", help="tiny settings and a page in the cache: to see it run"
    )
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cache = options.cache or ROOT / ".cache" / (
        "performance-small" if options.small else "performance"
    )
    cache.mkdir(parents=True, exist_ok=True)
    every = steps(options.small)
    if options.step:
        found = {name: step for part in every.values() for name, step in part.items()}
        _measure(found[options.step], cache / f"{options.step}.json", options.small)
        return
    for part, name in () if options.page_only else _chosen(every, options.only):
        print(f"{part}: {name}", *_run(name, cache, options.small), flush=True)
    page = importlib.import_module("tests.benchmarks.performance_page")
    page.write(
        cache,
        {part: list(names) for part, names in every.items()},
        cache if options.small else ROOT / "docs",
    )


def _chosen(every: dict[str, dict[str, Step]], only: list[str] | None) -> Iterator[tuple[str, str]]:
    known = set(every).union(*every.values())
    if only and not set(only) <= known:
        raise SystemExit(f"no such part: {sorted(set(only) - known)}; parts are {list(every)}")
    for part, names in every.items():
        yield from ((part, name) for name in names if not only or part in only or name in only)


def _run(name: str, cache: Path, small: bool) -> Iterator[str]:
    """Run a step in a process of its own, and say how it went."""
    if _read(cache / f"{name}.json")["complete"]:
        yield "is there"
        return
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.performance",
        "--step",
        name,
        "--cache",
        str(cache),
    ]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as empty:
        env = os.environ | {"JAX_COMPILATION_CACHE_DIR": empty, "MPLBACKEND": "agg"}
        done = subprocess.run(
            [*command, *(["--small"] if small else [])], cwd=ROOT, env=env, check=False
        )
    took = f"{time.perf_counter() - begun:.0f} s"
    yield took if done.returncode == 0 else f"FAILED after {took} (code {done.returncode})"


def _measure(step: Step, path: Path, small: bool) -> None:
    """Call the function of a step, and keep every figure as soon as it is there."""
    figures = _read(path)["figures"]
    module = importlib.import_module(f"tests.benchmarks.performance_{step.module}")
    job = Job(small, frozenset(figures), path.parent)
    for key, value in getattr(module, step.function)(job, *step.arguments):
        figures[key] = value
        _write(path, {"complete": False, "figures": figures})
    _write(path, {"complete": True, "figures": figures})


def _read(path: Path) -> dict[str, Any]:
    return (
        json.loads(path.read_text(encoding="utf-8"))
        if path.exists()
        else {"complete": False, "figures": {}}
    )


def _write(path: Path, what: dict[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    main()
