"""Designs of training runs before a loss is known: `Mixture`, `Scale`, `Design`, `Designs`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from bayesmix.errors import InputError

SUM_TOLERANCE = 1e-6
TIED = 0.95
"""Correlation of log N and log D above which runs hardly separate their effects."""


@dataclass(frozen=True, init=False, eq=False)
class Mixture:
    """Shares of the training tokens that come from each domain.

    Args:
        weights: domain → weight; weights are at least 0 and sum to 1.

    Raises:
        InputError: a weight is negative or not finite, or the sum is not 1.
    """

    domains: tuple[str, ...]
    weights: np.ndarray  # (domain)

    def __init__(self, weights: Mapping[str, float]):
        values = np.array([float(w) for w in weights.values()])
        require_simplex(values[None, :], tuple(weights), where=lambda _: "the mixture")
        values.setflags(write=False)
        object.__setattr__(self, "domains", tuple(weights))
        object.__setattr__(self, "weights", values)

    @classmethod
    def uniform(cls, domains: Sequence[str]) -> Mixture:
        """Equal weight on every domain."""
        return cls.of(domains, np.full(len(domains), 1 / len(domains)))

    @classmethod
    def of(cls, domains: Sequence[str], weights: Iterable[float]) -> Mixture:
        """Mixture of the given weights (domain), in the order of `domains`."""
        return cls(dict(zip(domains, weights, strict=True)))

    def __getitem__(self, domain: str) -> float:
        return float(self.weights[self.domains.index(domain)])

    def as_dict(self) -> dict[str, float]:
        """Dictionary domain → weight."""
        return {domain: float(w) for domain, w in zip(self.domains, self.weights, strict=True)}

    def on(self, domains: Sequence[str]) -> np.ndarray:
        """Weights (domain) in the order of `domains`.

        A domain that this mixture does not name has weight 0.

        Raises:
            InputError: this mixture puts weight on a domain that is not among `domains`.
        """
        foreign = [
            d for d, w in zip(self.domains, self.weights, strict=True) if d not in domains and w > 0
        ]
        if foreign:
            raise InputError(
                "the mixture uses unknown domains",
                expected=f"domains among {list(domains)}",
                got=foreign,
                advice="Rename the domains or remove them from the mixture.",
            )
        mine = self.as_dict()
        return np.array([mine.get(d, 0.0) for d in domains])

    def distance(self, other: Mixture) -> float:
        """Total-variation distance ½ Σ|h − h'|, between 0 and 1."""
        domains = tuple(dict.fromkeys(self.domains + other.domains))
        return float(0.5 * np.abs(self.on(domains) - other.on(domains)).sum())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mixture) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(frozenset(self.as_dict().items()))

    def __str__(self) -> str:
        return "  ".join(f"{domain} {100 * w:.1f}%" for domain, w in self.as_dict().items())

    def __repr__(self) -> str:
        return f"Mixture({self})"


@dataclass(frozen=True)
class Scale:
    """Scale of a training run: its model parameters and training tokens.

    Args:
        params: number of model parameters N.
        tokens: number of training tokens D.
    """

    params: float
    tokens: float

    def __post_init__(self) -> None:
        for name, value in (("params", self.params), ("tokens", self.tokens)):
            if not (np.isfinite(value) and value > 0):
                raise InputError(
                    f"{name} is not a size",
                    expected="a finite number above 0",
                    got=value,
                    advice=f"Give {name} > 0.",
                )

    @property
    def flops(self) -> float:
        """Training compute by the usual estimate 6·N·D, in floating-point operations."""
        return 6.0 * self.params * self.tokens

    def __str__(self) -> str:
        return f"{count(self.params)} params, {count(self.tokens)} tokens"


@dataclass(frozen=True)
class Design:
    """One training run before its loss is known: a mixture at a scale."""

    mixture: Mixture
    scale: Scale

    def __str__(self) -> str:
        return f"{self.mixture}  at {self.scale}"


@dataclass(frozen=True, eq=False)
class Designs:
    """A stack of designs over the same domains, as arrays.

    Attributes:
        domains: names of the training domains.
        mixture: weights (run, domain), rows sum to 1; no columns when the runs have no mixture.
        params: N (run).
        tokens: D (run).
        ids: labels of the designs (run).
    """

    domains: tuple[str, ...]
    mixture: np.ndarray
    params: np.ndarray
    tokens: np.ndarray
    ids: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        size = len(self.params)
        if not self.ids:
            object.__setattr__(self, "ids", tuple(str(i) for i in range(size)))
        for name, shape in (
            ("mixture", (size, len(self.domains))),
            ("params", (size,)),
            ("tokens", (size,)),
        ):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != shape:
                raise InputError(
                    f"{name} has the wrong shape",
                    expected=str(shape),
                    got=value.shape,
                    advice="Give one row a design.",
                )
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        for name in ("params", "tokens"):
            value = getattr(self, name)
            bad = np.flatnonzero(~(np.isfinite(value) & (value > 0)))
            if bad.size:
                raise InputError(
                    f"{name} of {self.ids[bad[0]]} is not a size",
                    expected="a finite number above 0",
                    got=float(value[bad[0]]),
                    advice="Correct the row or filter it out.",
                )
        if self.domains:
            require_simplex(self.mixture, self.domains, where=lambda row: f"row {self.ids[row]}")

    @classmethod
    def of(cls, *designs: Design) -> Designs:
        """Stack single designs; domains are matched by name."""
        domains = tuple(dict.fromkeys(d for design in designs for d in design.mixture.domains))
        return cls(
            domains=domains,
            mixture=np.array([d.mixture.on(domains) for d in designs]).reshape(
                len(designs), len(domains)
            ),
            params=np.array([d.scale.params for d in designs]),
            tokens=np.array([d.scale.tokens for d in designs]),
        )

    @classmethod
    def stacked(cls, designs: Designs | Design | Sequence[Design]) -> Designs:
        """Stack of one design or several; a stack is returned as it is."""
        if isinstance(designs, Designs):
            return designs
        return cls.of(designs) if isinstance(designs, Design) else cls.of(*designs)

    @property
    def tie(self) -> float:
        """Correlation of log N and log D over the designs; 0 where one of them does not vary."""
        return correlation(self.params, self.tokens)

    @property
    def flops(self) -> np.ndarray:
        """Training compute 6·N·D of each design (run)."""
        return 6.0 * self.params * self.tokens

    def __len__(self) -> int:
        return len(self.params)

    def __getitem__(self, run: int) -> Design:
        mixture = Mixture.of(self.domains, self.mixture[run])
        return Design(mixture, Scale(float(self.params[run]), float(self.tokens[run])))

    def as_dict(self, run: int) -> dict[str, Any]:
        """One design as a launcher needs it, ready for JSON: mixture, params, tokens, FLOPs."""
        return {
            "mixture": dict(zip(self.domains, self.mixture[run].tolist(), strict=True)),
            "params": float(self.params[run]),
            "tokens": float(self.tokens[run]),
            "flops": float(self.flops[run]),
        }

    def take(self, rows: np.ndarray) -> Designs:
        """The designs at the given positions or where a boolean mask is true."""
        rows = np.arange(len(self))[rows]
        return Designs(
            self.domains,
            self.mixture[rows],
            self.params[rows],
            self.tokens[rows],
            tuple(self.ids[i] for i in rows),
        )

    def on(self, domains: Sequence[str]) -> Designs:
        """The same designs with their weights in the order of `domains`.

        Raises:
            InputError: the domains are not the same set of names.
        """
        if set(domains) != set(self.domains):
            raise InputError(
                "the designs have other domains",
                expected=f"weights for {sorted(domains)}",
                got=sorted(self.domains),
                advice="Name the columns weight.<domain> exactly as in the fitted runs.",
            )
        order = [self.domains.index(d) for d in domains]
        return Designs(tuple(domains), self.mixture[:, order], self.params, self.tokens, self.ids)


def count(value: float) -> str:
    """Short text of a large number: 190e6 → '190M'."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def correlation(params: np.ndarray, tokens: np.ndarray) -> float:
    """Correlation of log N and log D; 0 where one of them does not vary."""
    x, y = np.log(params), np.log(tokens)
    if not len(x) or min(np.ptp(x), np.ptp(y)) < 1e-3:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def require_simplex(
    weights: np.ndarray, domains: Sequence[str], *, where: Callable[[int], str]
) -> None:
    """Refuse rows of `weights` (run, domain) that are not mixtures; `where` names a row.

    Raises:
        InputError: a weight is negative or not finite, or a row does not sum to 1 within 1e-6.
    """
    bad = np.argwhere(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        run, domain = (int(i) for i in bad[0])
        raise InputError(
            f"the weight of {domains[domain]} in {where(run)} is not a share",
            expected="a finite number of at least 0",
            got=float(weights[run, domain]),
            advice="Write 0 for a domain that is not used, or correct or drop the row.",
        )
    total = weights.sum(axis=1)
    wrong = np.flatnonzero(np.abs(total - 1) > SUM_TOLERANCE)
    if wrong.size:
        raise InputError(
            f"the weights of {where(int(wrong[0]))} do not sum to 1 ({wrong.size} row(s) are off)",
            expected="a sum of 1",
            got=f"{total[wrong[0]]:.6g}",
            advice=(
                "Correct the row, or pass normalize=True (--normalize) to divide each row by its"
                " sum."
            ),
        )


Axis = Literal["flops", "params", "tokens"]


def grow(along: Axis) -> Callable[[Scale, float], Scale]:
    """Function that scales N and D by a factor along an axis; ``flops`` keeps D/N."""
    powers = {"flops": (0.5, 0.5), "params": (1.0, 0.0), "tokens": (0.0, 1.0)}
    if along not in powers:
        raise InputError(
            "the axis is unknown",
            expected="flops, params or tokens",
            got=along,
            advice="Name one of the three.",
        )
    n, d = powers[along]
    return lambda scale, factor: Scale(scale.params * factor**n, scale.tokens * factor**d)
