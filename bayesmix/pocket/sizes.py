"""`Size`: size of a decoder; this module needs no library for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bayesmix.errors import InputError

REACH = 12  # width of a convolution: its own token and the eleven before
WIDEN = 3  # hidden units of the MLP per channel


@dataclass(frozen=True)
class Size:
    """A decoder of `depth` blocks of `width` channels."""

    name: str
    width: int
    depth: int

    @property
    def params(self) -> int:
        """Number of parameters N of the blocks and the last norm.

        The embedding and the head do not count, as in N of a scaling law.
        """
        block = (3 + 2 * WIDEN) * self.width**2 + (REACH + 2) * self.width
        return self.depth * block + self.width

    def flops(self, vocabulary: int, tokens: float) -> float:
        """Training FLOPs 6·(N + width·vocabulary)·D.

        Forward and backward passes, with the head and without the embedding.
        """
        return 6.0 * (self.params + self.width * vocabulary) * tokens


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        size.name: size
        for size in (
            Size("S0", 16, 2),
            Size("S1", 24, 2),
            Size("S2", 32, 3),
            Size("S3", 48, 4),
            Size("S4", 72, 5),
        )
    }
)


def find_size(name: str) -> Size:
    """The size of that name.

    Raises:
        InputError: there is none.
    """
    if name not in SIZES:
        raise InputError("unknown size", expected=f"among {list(SIZES)}", got=repr(name))
    return SIZES[name]
