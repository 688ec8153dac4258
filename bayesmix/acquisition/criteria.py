"""Old name of `bayesmix.acquisition.functions`."""

from bayesmix.deprecation import moved

__getattr__ = moved("bayesmix.acquisition.criteria", "bayesmix.acquisition.functions")
