"""Posterior files: netCDF that ArviZ opens without bayesmix."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import arviz_base
import numpy as np
import xarray as xr

from bayesmix.cards.read import model_from_card
from bayesmix.cards.write import card_text
from bayesmix.design import Designs, Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.model.data import Reference
from bayesmix.posterior.discrepancy import SITES as DRIFT_SITES
from bayesmix.posterior.log_likelihood import log_likelihood_by_train_run
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.stack import Stack
from bayesmix.runs.runs import Runs
from bayesmix.runtime.files import atomic_write

SCHEMA = 3
LOG_LIKELIHOOD_VALUES = 16_000_000
"""Maximum number of stored log-likelihood values; more are thinned along the draws."""


def to_datatree(posterior: Posterior, log_likelihood: bool = True) -> xr.DataTree:
    """The posterior as an ArviZ DataTree.

    Its groups are posterior, sample_stats, log_likelihood, observed_data and constant_data.
    """
    runs = posterior.runs
    dims = {
        site: ["target", *_event_dims(value.shape[3:], len(runs.domains))]
        for site, value in posterior.draws.items()
    }
    groups: dict[str, Any] = {
        "posterior": {**posterior.draws, **posterior.drift},
        "sample_stats": {name: np.asarray(value) for name, value in posterior.stats.items()},
        "observed_data": {"loss": runs.loss},
        "constant_data": {
            "params": runs.params,
            "tokens": runs.tokens,
            "mixture": runs.mixture,
            "loss_se": runs.loss_se,
            "planned": runs.planned,
            "train_run": np.array(runs.train_run, dtype=object),
            "reference_mixture": posterior.reference.mixture,
            "reference_loss": np.array([posterior.reference.loss[t] for t in runs.targets]),
        },
    }
    if runs.seed:
        groups["constant_data"]["seed"] = np.array(runs.seed, dtype=object)
    dims |= {
        site: ["target", *dim]
        for site, dim in zip(DRIFT_SITES, (["cell"], ["knot"], ["path"], []), strict=True)
    }
    dims |= {name: ["target"] for name in posterior.stats}
    dims |= {"loss": ["run", "target"], "loss_se": ["run", "target"], "mixture": ["run", "domain"]}
    dims |= {"reference_mixture": ["domain"], "reference_loss": ["target"]}
    dims |= {name: ["run"] for name in ("params", "tokens", "planned", "train_run", "seed")}
    coords = {
        "target": list(runs.targets),
        "domain": list(runs.domains),
        "part": ["constant", *runs.domains],
        "run": list(runs.designs.ids),
    }
    tree = arviz_base.from_dict(groups, dims=dims, coords={k: v for k, v in coords.items() if v})
    if log_likelihood:
        tree["log_likelihood"] = xr.DataTree(log_densities(posterior))
    tree.attrs.update(_attributes(posterior))
    return tree


def save_posterior(posterior: Posterior | Stack, path: str | os.PathLike[str]) -> None:
    """Write the posterior to one netCDF file; the file appears whole or not at all.

    The log-likelihood is stored in single precision, and thinned along the draws beyond 16 million
    values. The file of a stack has one group for each member, with the content of that posterior's
    own file.

    Raises:
        InputError: the path cannot be written to.
    """
    tree = _stack_tree(posterior) if isinstance(posterior, Stack) else to_datatree(posterior)
    with atomic_write(path) as draft:
        tree.to_netcdf(draft, engine="netcdf4")


def load_posterior(path: str | os.PathLike[str]) -> Posterior:
    """Read the posterior of one law that `save_posterior` wrote.

    Raises:
        InputError: there is no such file, it is broken, it is not a bayesmix posterior of a known
            schema, or it is a stack of several.
    """
    posterior = load_any(path)
    if isinstance(posterior, Stack):
        advice = "Use load_any, or take one of the members of what it returns."
        raise InputError(
            f"{path} is a stack",
            expected="the posterior of one law",
            got=posterior.name,
            advice=advice,
        )
    return posterior


def load_any(path: str | os.PathLike[str]) -> Posterior | Stack:
    """Read a file that `save_posterior` wrote: one posterior or a stack of them.

    Raises:
        InputError: there is no such file, it is broken, or it is not a bayesmix posterior of a
            known schema.
    """
    advice = "Fit again with `bayesmix fit`, or give the path of a file that it wrote."
    if not Path(path).is_file():
        raise InputError(
            f"cannot read {path}", expected="a netCDF file", got="no such file", advice=advice
        )
    try:
        with xr.open_datatree(path, engine="netcdf4") as opened:
            tree = opened.load()
    except Exception as error:
        got = f"a file that does not open ({type(error).__name__})"
        raise InputError(
            f"cannot read {path}", expected="a whole netCDF file", got=got, advice=advice
        ) from error
    if tree.attrs.get("bayesmix_schema") != SCHEMA:
        got = f"schema {tree.attrs.get('bayesmix_schema', 'none')}"
        raise InputError(
            f"{path} is no posterior of this version",
            expected=f"schema {SCHEMA}",
            got=got,
            advice=advice,
        )
    try:
        return _stack_from(tree) if "stack" in tree.attrs else _from_datatree(tree)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} is damaged",
            expected="all groups of a posterior",
            got=str(error),
            advice=advice,
        ) from error


def _stack_tree(stack: Stack) -> xr.DataTree:
    tree = xr.DataTree.from_dict(
        {name: to_datatree(member) for name, member in stack.members.items()}
    )
    tree.attrs |= {
        "bayesmix_schema": SCHEMA,
        "stack": json.dumps(dict(zip(stack.members, stack.weights.tolist(), strict=True))),
    }
    return tree


def _stack_from(tree: xr.DataTree) -> Stack:
    weights: dict[str, list[float]] = json.loads(tree.attrs["stack"])
    members = {name: _from_datatree(cast(xr.DataTree, tree[name])) for name in weights}
    return Stack(members, np.array([*weights.values()]))


def _event_dims(shape: tuple[int, ...], domains: int) -> list[str]:
    return [{domains: "domain", domains + 1: "part"}.get(size, f"dim_{size}") for size in shape]


def _attributes(posterior: Posterior) -> dict[str, str | int | float]:
    reference = posterior.reference
    natural = (
        {} if posterior.natural is None else {"natural": json.dumps(posterior.natural.as_dict())}
    )
    return natural | {
        "bayesmix_schema": SCHEMA,
        "model": posterior.model.name,
        "card": card_text(posterior.model, len(posterior.domains)),
        "fingerprint": posterior.runs.fingerprint,
        "versions": json.dumps(dict(posterior.versions)),
        "diagnostics": json.dumps(posterior.diagnostics.as_dict()),
        "seed": posterior.seed,
        "reference_params": reference.scale.params,
        "reference_tokens": reference.scale.tokens,
        "reference_shortest": reference.shortest,
        "targets_are": "independent posteriors; pairs of draws of two targets carry no information",
    }


def log_densities(posterior: Posterior) -> xr.Dataset:
    """Log density of the losses of each training run under every draw.

    It is conditional on the parameters and the drift of the draw; NaN where nothing was measured.
    """
    runs = posterior.runs
    labels = np.array(runs.train_runs)
    chains, draws = next(iter(posterior.draws.values())).shape[:2]
    step = max(1, -(-chains * draws * len(labels) * len(runs.targets) // LOG_LIKELIHOOD_VALUES))
    values = log_likelihood_by_train_run(posterior, step)
    values[:, :, ~runs.measured] = np.nan
    coords = {
        "chain": np.arange(chains),
        "draw": np.arange(draws)[::step],
        "train_run": [str(label) for label in labels],
        "target": list(runs.targets),
    }
    return xr.Dataset({"loss": (("chain", "draw", "train_run", "target"), values)}, coords)


def _from_datatree(tree: xr.DataTree) -> Posterior:
    constant = tree["constant_data"].to_dataset()
    observed = tree["observed_data"].to_dataset()["loss"]
    domains = (
        tuple(str(d) for d in constant["domain"].values) if "domain" in constant.coords else ()
    )
    targets = tuple(str(t) for t in observed["target"].values)
    size = observed.sizes["run"]
    mixture = constant["mixture"].values if domains else np.empty((size, 0))
    ids = tuple(str(i) for i in observed["run"].values)
    designs = Designs(domains, mixture, constant["params"].values, constant["tokens"].values, ids)
    runs = Runs(
        designs,
        targets,
        observed.values,
        tuple(str(r) for r in constant["train_run"].values),
        tuple(str(s) for s in constant["seed"].values) if "seed" in constant else (),
        constant["loss_se"].values,
        constant["planned"].values,
    )
    if runs.fingerprint != tree.attrs["fingerprint"]:
        raise ValueError("the stored runs do not match their fingerprint")
    reference = Reference(
        Scale(float(tree.attrs["reference_params"]), float(tree.attrs["reference_tokens"])),
        domains,
        constant["reference_mixture"].values if domains else np.empty(0),
        dict(zip(targets, constant["reference_loss"].values.tolist(), strict=True)),
        float(tree.attrs["reference_shortest"]),
    )
    values = {str(site): value.values for site, value in tree["posterior"].data_vars.items()}
    draws = {site: value for site, value in values.items() if site not in DRIFT_SITES}
    drift = {site: value for site, value in values.items() if site in DRIFT_SITES}
    stats = {str(name): value.values for name, value in tree["sample_stats"].data_vars.items()}
    model = model_from_card(tree.attrs["card"]).at(reference)
    versions = json.loads(tree.attrs["versions"])
    natural = Mixture(json.loads(tree.attrs["natural"])) if "natural" in tree.attrs else None
    return Posterior(model, runs, draws, stats, int(tree.attrs["seed"]), versions, natural, drift)
