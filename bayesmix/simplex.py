"""Old name of `bayesmix.laws.simplex`."""

from bayesmix.deprecation import moved

__getattr__ = moved("bayesmix.simplex", "bayesmix.laws.simplex")
