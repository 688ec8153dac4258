"""Names of the parameters of a law."""

from __future__ import annotations

from bayesmix.posterior.posterior import Posterior


def entries(posterior: Posterior) -> dict[str, tuple[str, int | None]]:
    """Label → site and position, for the sites of the law."""
    domains = posterior.domains
    places: dict[str, tuple[str, int | None]] = {}
    for site in posterior.model.law.priors(len(domains)):
        size = posterior.draws[site].shape[3:]
        if not size:
            places[site] = (site, None)
            continue
        names = domains if size[0] == len(domains) else ("constant", *domains)
        places |= {f"{site}[{name}]": (site, i) for i, name in enumerate(names)}
    return places
