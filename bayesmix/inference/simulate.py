"""`simulate`: runs that the model itself would produce, for demonstrations, checks and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers

from bayesmix.compute import double
from bayesmix.design import Designs
from bayesmix.inference.geometry import draw_prior
from bayesmix.model import Data, Model, Reference, program
from bayesmix.runs.table import Runs


def reference_of(designs: Designs, targets: Sequence[str], unit: float = 1.0) -> Reference:
    """The reference that runs of these designs would have, with the same unit of loss for every target."""
    blank = np.full((len(designs), len(targets)), unit)
    return Reference.of(Runs(designs, tuple(targets), blank))


def draw_parameters(model: Model, targets: Sequence[str], domains: int, seed: int = 0) -> dict[str, np.ndarray]:
    """One draw of all parameters from the prior, site → (target, ...); needs a model with a reference."""
    assert model.reference is not None
    with double():
        unit = jnp.array([model.reference.loss[t] for t in targets])
        theta = draw_prior(model.priors(domains), len(targets), jax.random.key(seed))
        return {
            site: np.asarray(value * unit if site in model.law.amplitudes else value) for site, value in theta.items()
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
    """Losses that the model would measure at the given designs.

    Args:
        model: law, prior and noise; without a reference it takes the middle of the designs.
        designs: the runs to simulate.
        targets: names of the targets.
        parameters: site → value (target, ...), amplitudes in units of loss; by default one draw from the prior.
        unit: size of a loss in nats, where the model has no reference.
        seed: of the parameters and of the noise.

    Returns:
        Runs with a loss for every design and target.
    """
    reference = model.reference or reference_of(designs, targets, unit)
    model = model.at(reference)
    if parameters is None:
        parameters = draw_parameters(model, targets, len(designs.domains), seed)
    with double():
        data = Data.of(designs, reference, tuple(targets), cells=model.cells(designs))
        fixed = handlers.substitute(program, {site: jnp.asarray(v, float) for site, v in parameters.items()})
        seeded = handlers.seed(fixed, jax.random.key(seed + 1))
        trace = handlers.trace(seeded).get_trace(model.form, model.priors(len(designs.domains)), data, observe=False)
        loss = np.asarray(trace["loss"]["value"])
    return Runs(designs, tuple(targets), loss)
