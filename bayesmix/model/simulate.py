"""`simulate`: runs drawn from the model, for demonstrations, checks and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers

from bayesmix.design import Designs
from bayesmix.model.data import Data, Reference
from bayesmix.model.model import BoundModel, Model, program
from bayesmix.model.priors import draw_prior
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64


def reference_of(designs: Designs, targets: Sequence[str], unit: float = 1.0) -> Reference:
    """Reference of runs with these designs, with the same unit of loss for every target."""
    return Reference.of(_blank(designs, targets, unit))


def draw_parameters(
    model: BoundModel, targets: Sequence[str], domains: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """One draw of all parameters from the prior, site → (target, ...)."""
    with enable_x64():
        unit = jnp.array([model.reference.loss[t] for t in targets])
        theta = draw_prior(model.priors(domains), len(targets), jax.random.key(seed))
        return {
            site: np.asarray(value * unit if site in model.law.amplitudes else value)
            for site, value in theta.items()
        }


def simulate(
    model: Model,
    designs: Designs,
    *,
    targets: Sequence[str] = ("loss",),
    parameters: Mapping[str, np.ndarray] | None = None,
    unit: float = 3.0,
    seed: int = 0,
) -> Runs:
    """Runs at the given designs, with losses drawn from the model.

    Args:
        model: law, prior and noise; one that is not bound to runs is bound to the designs.
        designs: the runs to simulate.
        targets: names of the targets.
        parameters: site → value (target, ...), amplitudes in units of loss; by default one draw
            from the prior.
        unit: size of a loss in nats, where the model is not bound.
        seed: random seed of the parameters and of the noise.

    Returns:
        Runs with a loss for every design and target.
    """
    bound = model.bind(_blank(designs, targets, unit))
    if parameters is None:
        parameters = draw_parameters(bound, targets, len(designs.domains), seed)
    with enable_x64():
        data = Data.of(designs, bound.reference, tuple(targets), cells=bound.cells(designs))
        fixed = handlers.substitute(
            program, {site: jnp.asarray(v, float) for site, v in parameters.items()}
        )
        seeded = handlers.seed(fixed, jax.random.key(seed + 1))
        trace = handlers.trace(seeded).get_trace(
            bound.form, bound.priors(len(designs.domains)), data, observe=False
        )
        loss = np.asarray(trace["loss"]["value"])
    return Runs(designs, tuple(targets), loss)


def _blank(designs: Designs, targets: Sequence[str], unit: float) -> Runs:
    """Runs whose losses are all one unit."""
    return Runs(designs, tuple(targets), np.full((len(designs), len(targets)), unit))
