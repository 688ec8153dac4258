"""Bayesian scaling laws for data mixtures: loss bands, risk-aware mixtures, and which run to do next.

The names below load on first use, so that `import bayesmix` is quick; the stub beside this file lists them.
"""

from typing import Any

import lazy_loader

from bayesmix.deprecation import new_name

__version__ = "0.1.0"
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    return _load(new_name(name) or name)
