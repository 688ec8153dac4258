"""Plot of the loss along a line through the simplex: more of one domain, less of the others."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.deprecation import renamed
from bayesmix.design import Design, Designs
from bayesmix.errors import InputError
from bayesmix.plots.style import calm, fill_bands, key, plain, shade, share_axis, titled
from bayesmix.posterior.extrapolation import NEAR
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.stack import Stack

POINTS = 51


@renamed(against="other_domain")
def plot_loss_by_share(
    posterior: Posterior | Stack,
    design: Design,
    domain: str,
    *,
    target: str,
    ax: Axes,
    other_domain: str | None = None,
    noise: bool = False,
) -> Axes:
    """Plot expected loss against the share of one domain, with 50 and 90 % bands.

    The share goes from 0 to its largest possible value. Without `other_domain` all
    others keep their proportions: a ray of the simplex, up to its vertex. With it, only that domain
    gives way: an edge where the design has these two domains alone. Mixtures outside the convex
    hull of those of the runs are shaded.

    Args:
        posterior: a fitted posterior.
        design: the mixture that the line passes through, and the scale; its share is marked.
        domain: the domain whose share varies.
        target: the target whose loss is shown.
        ax: axes to draw on.
        other_domain: the domain that gives way.
        noise: whether the bands are those of the loss a run would measure, instead of its expected
            loss.

    Raises:
        InputError: a domain is unknown, or the two domains are the same.
    """
    shares, mixtures = _line(
        design.mixture.on(posterior.domains), posterior.domains, domain, other_domain
    )
    n, d = (np.full(len(shares), size) for size in (design.scale.params, design.scale.tokens))
    prediction = posterior.predict(Designs(posterior.domains, mixtures, n, d), noise=noise)
    fill_bands(ax, shares, prediction.draws[:, :, posterior.targets.index(target)])
    extrapolation = prediction.extrapolation
    if extrapolation is not None:
        for low, high in _stretches(shares, extrapolation.mixture > NEAR):
            shade(ax, low, high, "outside the mixtures of the runs")
    share = float(design.mixture.as_dict().get(domain, 0.0))
    ax.axvline(share, color="black", linewidth=0.9, linestyle=":", label=f"{100 * share:.1f} %")
    ax.set_xlim(shares[0], shares[-1])
    text = f"{plain(other_domain)} gives way" if other_domain else "the others in proportion"
    share_axis(ax.xaxis, f"share of {plain(domain)}, {text}")
    ax.set_ylabel("loss (nats/token)" if noise else "expected loss (nats/token)")
    titled(ax, target)
    key(ax)
    return calm(ax)


def _line(
    mixture: np.ndarray, domains: tuple[str, ...], domain: str, other_domain: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Shares (point) of the domain, and mixtures (point, domain)."""
    unknown = [d for d in (domain, other_domain) if d is not None and d not in domains]
    if unknown or domain == other_domain:
        raise InputError(
            "there is no such line through the simplex",
            expected=f"two domains among {list(domains)}",
            got=unknown or [domain, other_domain],
        )
    vertex = np.eye(1, len(domains), domains.index(domain))[0]
    if other_domain is not None:
        other = np.eye(1, len(domains), domains.index(other_domain))[0]
        room = float(mixture @ vertex + mixture @ other)
        shares = np.linspace(0.0, room, POINTS)
        rest = mixture * (1 - vertex) * (1 - other)
        return shares, rest + shares[:, None] * vertex + (room - shares)[:, None] * other
    rest = mixture * (1 - vertex)
    rest = rest / rest.sum() if rest.sum() > 0 else (1 - vertex) / max(len(domains) - 1, 1)
    shares = np.linspace(0.0, 1.0, POINTS)
    return shares, shares[:, None] * vertex + (1 - shares)[:, None] * rest


def _stretches(x: np.ndarray, flags: np.ndarray) -> list[tuple[float, float]]:
    """First and last x of every stretch of true flags, halfway to the neighbours outside it."""
    edges = np.concatenate([x[:1], (x[1:] + x[:-1]) / 2, x[-1:]])
    change = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(float(edges[a]), float(edges[b])) for a, b in change.reshape(-1, 2)]
