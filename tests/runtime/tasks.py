"""What workers do in tests; in a module of its own, since a worker imports it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import jax


def square(x: int) -> int:
    """Later items end first."""
    time.sleep(0.02 * (4 - x % 4))
    return x * x


def refuse(item: tuple[Path, int]) -> int:
    """Leaves a file behind, and fails for item 0."""
    folder, x = item
    (folder / str(x)).touch()
    if x == 0:
        raise ValueError("item 0")
    time.sleep(0.2)
    return x


def die_at_two(item: tuple[Path, int]) -> int:
    """The process of item 2 ends as when it is out of memory, once the file is there."""
    flag, x = item
    if x == 2:
        for _ in range(600):
            if flag.exists():
                break
            time.sleep(0.1)
        os._exit(1)
    return x


def die_once(item: tuple[Path, int]) -> int:
    """Kills its worker the first time that item 1 is met."""
    flag, x = item
    if x == 1 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def begin_and_wait(item: tuple[Path, int]) -> int:
    """Says by a file that it has begun, and takes long."""
    flag, x = item
    flag.touch()
    time.sleep(60)
    return x


def folder_of_programs(_: int) -> str | None:
    return jax.config.jax_compilation_cache_dir
