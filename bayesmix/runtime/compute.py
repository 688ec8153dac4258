"""How the machine is used: double precision, cores, and the cache of compiled programs. Nothing happens at import."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax


PACKAGES = ("bayesmix", "numpyro", "jax", "arviz", "numpy")


def enable_x64() -> AbstractContextManager[None]:
    """Compute in float64 inside the `with` block, in this thread, and leave JAX's global setting alone."""
    import jax

    return jax.enable_x64(True)


def one_blas_thread[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """The function with BLAS and LAPACK kept to one thread while it runs.

    Matrices of a few dozen rows are factored thousands of times a second; several threads wait for
    each other much longer than they compute, the more so as chains run beside each other.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device(number: int) -> AbstractContextManager[object]:
    """Compute on one of JAX's devices inside the `with` block, in this thread: chains take turns on them."""
    import jax

    devices = jax.local_devices()
    if len(devices) == 1:
        return (
            nullcontext()
        )  # a default device belongs to what JAX knows a program by: all would be traced twice
    return jax.default_device(devices[number % len(devices)])


def over_devices(array: jax.Array) -> jax.Array:
    """The array with its first axis split over JAX's devices, where there are several and it can be split evenly."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    devices = jax.local_devices()
    if len(devices) == 1 or len(array) % len(devices):
        return array
    mesh = jax.make_mesh((len(devices),), ("device",), devices=devices)
    return jax.device_put(array, NamedSharding(mesh, PartitionSpec("device")))


def keep_compiled_programs(folder: str | None = None) -> None:
    """Keep compiled programs in a folder, the user's cache if none is given, so that no process compiles them again.

    Does nothing where JAX_COMPILATION_CACHE_DIR is set already: then the user has chosen a place.
    It works where JAX has compiled nothing in this process yet; the command line calls it first,
    and `fit` in any case.
    """
    import jax

    if jax.config.jax_compilation_cache_dir:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    jax.config.update("jax_compilation_cache_dir", folder or str(home / "bayesmix" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def package_versions() -> dict[str, str]:
    """Package → version, of those that results depend on."""
    return {package: importlib.metadata.version(package) for package in PACKAGES}


def padded(size: int, minimum: int = 32) -> int:
    """The next of a few sizes, so that tables of similar size share a program.

    They are powers of two and the middles between them; above 256 they are at most an eighth apart.
    """
    if size <= minimum:
        return minimum
    step = _step(size)
    return -(-size // step) * step


def padded_down(size: int) -> int:
    """The largest of these sizes that is at most the given one, or 32."""
    step = _step(size + 1)
    return max(size // step * step, 32)


def _step(size: int) -> int:
    """How far apart sizes are just below the given one."""
    bits = (size - 1).bit_length()
    return 2 ** max(bits - (2 if size <= 256 else 4), 0)
