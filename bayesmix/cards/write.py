"""Writing of model cards."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import numpyro.distributions as dist
import tomli_w

from bayesmix.cards.card import NONE
from bayesmix.cards.distributions import belief_of
from bayesmix.laws.base import Law
from bayesmix.laws.repeated import Repeated
from bayesmix.model.model import Model

UNIT = "smallest loss"  # among the measured losses of each target


def card_text(model: Model, domains: int) -> str:
    """A model with all its priors as the TOML text of a card.

    Args:
        model: law, prior, noise and discrepancy; its reference belongs to runs and is not part of a
            card.
        domains: number of training domains.

    Raises:
        InputError: a prior is a distribution that cards do not support.
    """
    prior = {
        site: _entry_table(model.law, site, belief)
        for site, belief in model.priors(domains).items()
    }
    law = model.law.law if isinstance(model.law, Repeated) else model.law
    discrepancy = model.discrepancy.name if model.discrepancy else NONE
    table: dict[str, Any] = {"name": model.name, "law": law.name, "noise": model.noise.name}
    table |= {"discrepancy": discrepancy, "pooling": model.pooling, "domains": domains}
    if options := {f.name: getattr(law, f.name) for f in fields(law)}:  # type: ignore[arg-type]
        table["law_options"] = options
    if model.discrepancy and model.discrepancy != type(model.discrepancy)():
        table["discrepancy_options"] = asdict(model.discrepancy)
    if isinstance(model.law, Repeated):
        table["stock"] = dict(model.law.stock)
    return tomli_w.dumps(table | {"prior": prior})


def _entry_table(law: Law, site: str, distribution: dist.Distribution) -> dict[str, Any]:
    belief = belief_of(distribution, f"the prior of {site}")
    table: dict[str, Any] = {"distribution": belief.family, **belief.arguments}
    if belief.shift:
        table["shift"] = belief.shift
    if belief.scalar:
        entries = distribution.event_shape[0] if distribution.event_shape else 1
        table["interval"] = [float(f"{end:.3g}") for end in belief.interval(entries)]
    return table | ({"unit": UNIT} if site in law.amplitudes else {})
