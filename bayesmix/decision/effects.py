"""`effects`: the change of each target's loss when a domain gets a little more weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bayesmix.design import Design, Designs
from bayesmix.errors import InputError
from bayesmix.text import table


class Predictor(Protocol):
    """Interface of a posterior, or of a stack of posteriors."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the training domains."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        ...

    def predict(self, designs: Designs, seed: int = 0, noise: bool = True) -> Any:
        """Draws of the loss of the given designs."""
        ...


@dataclass(frozen=True, eq=False)
class Effects:
    """Relative change of each target's loss when a domain gets more weight.

    The other domains get less in proportion.

    Attributes:
        design: the mixture and the scale before the change.
        step: the share that moves to the domain.
        domains: names of the training domains.
        targets: names of the targets.
        mean: relative change of the loss (target, domain), in percent; below 0 is better.
        q05: its 5 % quantile (target, domain).
        q95: its 95 % quantile (target, domain).
    """

    design: Design
    step: float
    domains: tuple[str, ...]
    targets: tuple[str, ...]
    mean: np.ndarray
    q05: np.ndarray
    q95: np.ndarray

    @property
    def sure(self) -> np.ndarray:
        """Whether the central 90 % of the draws agree on the sign (target, domain)."""
        return (self.q05 > 0) | (self.q95 < 0)

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON: target → domain → change in percent."""
        changes = {
            target: {
                domain: {k: float(getattr(self, k)[t, d]) for k in ("mean", "q05", "q95")}
                for d, domain in enumerate(self.domains)
            }
            for t, target in enumerate(self.targets)
        }
        return {"step": self.step, "unit": "percent of the loss", "changes": changes}

    def __str__(self) -> str:
        head = f"change of the loss (%) when {100 * self.step:g} % of the tokens move to a domain"
        rows = []
        for t, target in enumerate(self.targets):
            order = np.argsort(-np.abs(self.mean[t]))[:3]
            words = ", ".join(
                f"{self.domains[d]} {self.mean[t, d]:+.2f}"
                f" [{self.q05[t, d]:+.2f}, {self.q95[t, d]:+.2f}]"
                for d in order
            )
            rows.append((target, words))
        return "\n".join([head, "", *table(("target", "strongest"), rows, "<")])

    __repr__ = __str__


def effects(posterior: Predictor, design: Design, *, step: float = 0.01) -> Effects:
    """Effect on each target of moving a share of the tokens to one domain.

    The share is taken from all other domains in proportion.

    Args:
        posterior: the fitted losses.
        design: the mixture and the scale before the change.
        step: the share that moves, 0.01 for one percent of the tokens.

    Raises:
        InputError: the step is no share, or the design uses unknown domains.
    """
    if not 0 < step < 1:
        raise InputError(
            "step is no share", expected="above 0 and below 1", got=step, advice="Try 0.01."
        )
    weights = design.mixture.on(posterior.domains)
    mixtures = np.vstack([weights, (1 - step) * weights + step * np.eye(len(weights))])
    n, d = (np.full(len(mixtures), size) for size in (design.scale.params, design.scale.tokens))
    draws = posterior.predict(Designs(posterior.domains, mixtures, n, d), noise=False).draws
    change = 100 * (draws[:, 1:] / draws[:, :1] - 1)
    low, high = np.quantile(change, [0.05, 0.95], axis=0)
    return Effects(
        design, step, posterior.domains, posterior.targets, change.mean(axis=0).T, low.T, high.T
    )
