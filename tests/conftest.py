"""Shared by tests: compilation cache, hypothesis settings, float64 on request, run tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
MOST_MAPS = 25_000

# A first example compiles, so a deadline would measure XLA; in CI the same commit must meet the
# same examples.
hypothesis.settings.register_profile("bayesmix", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("bayesmix")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Execute notebooks also where nothing they import has changed."""
    parser.addoption("--all-notebooks", action="store_true", help="execute unchanged ones too")


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs between test runs.

    The setting is in the environment, so that subprocesses find it too. This works because nothing
    has imported JAX yet. Tracing is not cached, nor are programs that compile in a blink.
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
    """Drop traced and compiled programs near the limit of memory maps.

    Each takes some, and a process may have 65,530.
    """
    yield
    maps = Path("/proc/self/maps")
    if "jax" in sys.modules and maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        import jax

        jax.clear_caches()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published run tables beside the checkout, one folder a table.

    Tests skip where it is absent.
    """
    if not SHARED_DATA.is_dir():
        pytest.skip("the tables of ../shared/data are not on this machine")
    return SHARED_DATA


@pytest.fixture
def x64() -> Iterator[None]:
    """float64 in JAX for one test, as inside `fit`; the library itself never flips the switch."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def fit_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Any]:
    """Law → a small posterior of it, fitted once a session.

    The first worker that asks fits it, where there are several.
    """
    from bayesmix.posterior.storage import (  # JAX must find the environment set above
        load_posterior,
        save_posterior,
    )
    from tests.posteriors import small_posterior

    def one(law: str) -> Any:
        if worker_id == "master":
            return small_posterior(law)
        path = tmp_path_factory.getbasetemp().parent / f"{law}.nc"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                save_posterior(small_posterior(law), path)
        return load_posterior(path)

    return one


@pytest.fixture(scope="session")
def additive(fit_once: Callable[[str], Any]) -> Any:
    """A small posterior of the additive law."""
    return fit_once("additive")


@pytest.fixture(scope="session")
def joint(fit_once: Callable[[str], Any]) -> Any:
    """A small posterior of the joint law."""
    return fit_once("joint")


@pytest.fixture(scope="session")
def chinchilla(fit_once: Callable[[str], Any]) -> Any:
    """A small posterior of the Chinchilla law; its runs have mixtures that the law ignores."""
    return fit_once("chinchilla")
