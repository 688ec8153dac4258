"""Use of the machine: double precision, cores, devices, and the cache of compiled programs.

Nothing happens at import.
"""

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
    """Compute in float64 inside the `with` block, in this thread.

    JAX's global setting is left alone.
    """
    import jax

    return jax.enable_x64(True)


def one_blas_thread[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that BLAS and LAPACK use one thread while it runs.

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
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device(number: int) -> AbstractContextManager[object]:
    """Compute on one of JAX's devices inside the `with` block, in this thread.

    Chains take turns on the devices.
    """
    import jax

    devices = jax.local_devices()
    if len(devices) == 1:
        # a default device is part of JAX's key of a program: all would be traced twice
        return nullcontext()
    return jax.default_device(devices[number % len(devices)])


def over_devices(array: jax.Array) -> jax.Array:
    """Split the first axis of the array over JAX's devices.

    The array is returned as it is where there is one device or the axis cannot be split evenly.
    """
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    devices = jax.local_devices()
    if len(devices) == 1 or len(array) % len(devices):
        return array
    mesh = jax.make_mesh((len(devices),), ("device",), devices=devices)
    return jax.device_put(array, NamedSharding(mesh, PartitionSpec("device")))


def keep_compiled_programs(folder: str | None = None) -> None:
    """Keep compiled programs in a folder, so that no later process compiles them again.

    The folder is the user's cache if none is given. Does nothing where JAX_COMPILATION_CACHE_DIR is
    set already: then the user has chosen a place. It works where JAX has compiled nothing in this
    process yet; the command line calls it first, and `fit` in any case.
    """
    import jax

    if jax.config.jax_compilation_cache_dir:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    jax.config.update("jax_compilation_cache_dir", folder or str(home / "bayesmix" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on: package → version."""
    return {package: importlib.metadata.version(package) for package in PACKAGES}


def padded(size: int, minimum: int = 32) -> int:
    """Size rounded up to one of a few, so that tables of similar size share a program.

    They are powers of two and the middles between them; above 256 they are at most an eighth apart.
    """
    if size <= minimum:
        return minimum
    step = _step(size)
    return -(-size // step) * step


def padded_down(size: int) -> int:
    """Largest size of `padded` that is at most the given one, or 32."""
    step = _step(size + 1)
    return max(size // step * step, 32)


def _step(size: int) -> int:
    """Distance between the sizes of `padded` just below the given one."""
    bits = (size - 1).bit_length()
    return 2 ** max(bits - (2 if size <= 256 else 4), 0)
