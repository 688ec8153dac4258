"""What tests share: the compilation cache, hypothesis settings, float64 on request, the tables beside the checkout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# A first example compiles, so a deadline would measure XLA; in CI the same commit must meet the same examples.
hypothesis.settings.register_profile("bayesmix", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("bayesmix")


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs between test runs, in the environment so that subprocesses find them too.

    This works because nothing has imported JAX yet. Tracing is not cached, nor are programs that compile in a blink.
    """
    cache = getattr(config, "cache", None)  # absent with -p no:cacheprovider
    if cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache.mkdir("jax")))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they use: `shared` by fixture, `benchmark` by folder."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)
        if ROOT / "tests" / "benchmarks" in item.path.parents:
            item.add_marker(pytest.mark.benchmark)


@pytest.fixture(scope="module", autouse=True)
def _forget_programs() -> Iterator[None]:
    """Drop the compiled programs of a module: each takes memory maps, and a process may have some 65,000 of them."""
    yield
    if "jax" in sys.modules:
        import jax

        jax.clear_caches()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published run tables beside the checkout, one folder a table; tests skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the tables of ../shared/data are not on this machine")
    return SHARED_DATA


@pytest.fixture
def x64() -> Iterator[None]:
    """float64 in JAX for one test, as inside `fit`; the library itself never flips the switch."""
    import jax

    with jax.enable_x64(True):
        yield


def _small(law: str) -> Any:
    from tests.posteriors import small_posterior  # imports JAX, which must find the environment set above

    return small_posterior(law)


@pytest.fixture(scope="session")
def additive() -> Any:
    """A small posterior of the additive law, fitted once a session."""
    return _small("additive")


@pytest.fixture(scope="session")
def joint() -> Any:
    """A small posterior of the joint law."""
    return _small("joint")


@pytest.fixture(scope="session")
def chinchilla() -> Any:
    """A small posterior of the Chinchilla law; its runs have mixtures that the law does not look at."""
    return _small("chinchilla")
