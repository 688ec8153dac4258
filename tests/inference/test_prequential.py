"""The record of a law on a table, and what it says of designs beyond the runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpyro.distributions as dist
import pytest

from bayesmix.design import Designs
from bayesmix.inference.prequential import Miss, Misses, misses, updated_priors, with_record
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.model.discrepancy import Discrepancy
from bayesmix.model.model import Model
from bayesmix.runs.runs import Runs

SIZES = 1e8 * 2.0 ** np.arange(5)


def bent(by: float, sizes: np.ndarray = SIZES) -> Runs:
    """A Chinchilla law, of which sizes above 4e8 fall by a share less than it says."""
    n, d = (v.reshape(-1) for v in np.meshgrid(sizes, 2e9 * 2.0 ** np.arange(5)))

    def law(n: np.ndarray) -> np.ndarray:
        return 1.5 + 0.6 * (n / 2e8) ** -0.35 + 0.5 * (d / 1e10) ** -0.4

    edge = law(np.minimum(n, 4e8))
    loss = edge * (law(n) / edge) ** (1 - by)
    return Runs(Designs((), np.empty((len(n), 0)), n, d), ("plain",), loss[:, None])


@pytest.mark.parametrize("by", [0.0, 0.4, -0.3])
def test_a_law_that_fell_by_another_share_than_it_said_is_found(by: float) -> None:
    record = misses(Model(Chinchilla()), bent(by))
    last = record.refits[-1]
    assert (last.axis, last.cut) == ("N", 8e8)
    (at_bend,) = [miss for miss in record.refits if miss.cut == 4e8]
    assert at_bend.share[0] == pytest.approx(-by, abs=0.05 + 2 * at_bend.sd[0])
    assert str(record).count("N ≤") == len(record.refits)


def test_without_sizes_to_leave_out_tokens_are() -> None:
    record = misses(Model(Chinchilla()), bent(0.0, sizes=np.array([1e8])))
    assert {miss.axis for miss in record.refits} <= {"D"}
    none = misses(Model(Chinchilla()), bent(0.0, sizes=np.array([1e8])).take(np.arange(3)))
    assert not none.refits
    assert "no record" in str(none)


def test_a_miss_may_be_the_scatter_of_what_was_left_out() -> None:
    runs = bent(0.0)
    sizes, scatter = runs.params, np.exp(np.random.default_rng(0).normal(0, 0.01, runs.loss.shape))
    rough = replace(runs, loss=runs.loss * scatter)
    plain, noisy, one = (
        misses(Model(Chinchilla()), each).refits[-1]
        for each in (runs, rough, replace(rough, train_run=tuple(f"{n:g}" for n in sizes)))
    )
    assert noisy.sd[0] > 3 * plain.sd[0]
    assert one.sd[0] > 1.2 * noisy.sd[0]  # checkpoints of a run may scatter together


def test_sizes_without_a_loss_of_the_target_are_not_left_out_twice() -> None:
    runs = bent(0.0)
    loss = np.concatenate(
        [runs.loss, np.where(runs.params[:, None] > 4e8, np.nan, runs.loss)], axis=1
    )
    record = misses(Model(Chinchilla()), Runs(runs.designs, ("whole", "small"), loss))
    shares = np.array([miss.share for miss in record.refits])
    assert np.isfinite(shares[:, 0]).sum() == len(record.refits)
    assert not np.isfinite(shares[[miss.cut >= 4e8 for miss in record.refits], 1]).any()


def test_what_is_learned_is_wider_after_large_misses_and_shared_by_targets() -> None:
    prior = dist.LogNormal(np.log(0.27), 0.6)
    none, nan = np.array([0.02, 0.02, np.nan]), np.array([0.01, 0.01, np.nan])
    calm = updated_priors(
        prior, Misses(("a", "b", "c"), (Miss("N", 1e8, none, nan), Miss("N", 2e8, none, nan)))
    )
    wild = updated_priors(
        prior,
        Misses(("a", "b", "c"), (Miss("N", 1e8, 50 * none, nan), Miss("N", 2e8, 50 * none, nan))),
    )
    loc = np.array([[float(b.loc) for b in beliefs] for beliefs in (calm, wild)])  # type: ignore[attr-defined]
    assert (loc[0] < prior.loc).all() and (loc[1] > prior.loc).all()
    # a target without a record learns less, from the others
    assert loc[0, 2] > loc[0, 0] and loc[1, 2] < loc[1, 0]
    assert all(float(b.scale) < 0.6 for b in calm)  # type: ignore[attr-defined]
    assert updated_priors(prior, Misses(("a",), ())) == [prior]
    odd = dist.HalfNormal(0.3)
    assert updated_priors(odd, Misses(("a",), (Miss("N", 1e8, none[:1], nan[:1]),))) == [odd]


def test_a_vague_refit_says_little() -> None:
    prior = dist.LogNormal(np.log(0.27), 0.6)
    sure, vague = (
        updated_priors(prior, Misses(("a",), (Miss("N", 1e8, np.array([1.5]), np.array([sd])),)))[0]
        for sd in (0.05, 3.0)
    )
    assert float(sure.loc) > np.log(0.4)  # type: ignore[attr-defined]
    assert float(vague.loc) == pytest.approx(np.log(0.27), abs=0.05)  # type: ignore[attr-defined]


def test_a_model_may_leave_the_record_alone() -> None:
    runs = bent(0.4)
    for model in (
        Model(Chinchilla(), discrepancy=Discrepancy(prequential=False)),
        Model(Chinchilla(), discrepancy=None),
    ):
        (priors,) = with_record(model, runs, model.priors(0))
        assert priors.keys() == model.priors(0).keys()
        assert "extrapolation" not in priors or float(
            priors["extrapolation"].scale
        ) == pytest.approx(0.6)  # type: ignore[attr-defined]
