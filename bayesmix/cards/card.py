"""`Card`: a model in words and numbers that a reviewer can check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bayesmix.cards.distributions import Belief
from bayesmix.model.model import Model
from bayesmix.text import wrapped

NONE = "none"


@dataclass(frozen=True)
class Entry:
    """Prior of one site in a card, with the 90 % interval it encodes, its unit, and a sentence."""

    belief: Belief
    interval: tuple[float, float] | None = None
    unit: str = ""
    says: str = ""


@dataclass(frozen=True, eq=False)
class Card:
    """A model with its description.

    Attributes:
        name: name of the model on the command line.
        title: title of one line.
        description: purpose of the model.
        model: law, prior, noise and discrepancy.
        domains: training domains that the model is meant for; empty when any will do.
        targets: targets that the model is meant for; empty when any will do.
        sampler: settings for `fit` that suit the model, by argument name.
        prior: site → entry of the card.
    """

    name: str
    title: str
    description: str
    model: Model
    domains: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    sampler: Mapping[str, int | float] = field(default_factory=dict)
    prior: Mapping[str, Entry] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "law": self.model.law.name,
            "noise": self.model.noise.name,
            "discrepancy": self.model.discrepancy.name if self.model.discrepancy else NONE,
            "pooling": self.model.pooling,
            "domains": list(self.domains),
            "targets": list(self.targets),
            "sampler": dict(self.sampler),
            "prior": {
                site: {
                    "distribution": str(e.belief),
                    "interval": e.interval,
                    "unit": e.unit,
                    "says": e.says,
                }
                for site, e in self.prior.items()
            },
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.title}", ""]
        if self.description:
            lines += [*wrapped(" ".join(self.description.split()), continuation=0), ""]
        lines.append(f"{'site':<13} {'prior':<32} {'90 % interval':<14} unit")
        for site, entry in self.prior.items():
            span = "[{:.2g}, {:.2g}]".format(*entry.interval) if entry.interval else ""
            lines.append(f"{site:<13} {entry.belief!s:<32} {span:<14} {entry.unit}".rstrip())
            lines += wrapped(entry.says, 10, 10)
        return "\n".join(lines)
