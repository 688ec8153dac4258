"""Bayesian scaling laws for data mixtures: loss bands, risk-aware mixtures, and the next run.

The names below load on first use, so that `import bayesmix` is quick; the stub beside this file
lists them.
"""

from bayesmix.deprecation import attach_stub

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
