"""The trainer on a synthetic corpus, with the smallest model."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from bayesmix.errors import InputError
from bayesmix.pocket.corpora import PLACES, Corpus
from bayesmix.pocket.decoder import initial, logits, loss_in_nats
from bayesmix.pocket.sizes import SIZES, Size
from bayesmix.pocket.train import rounded, train
from tests.pocket.synthetic import MULTIMODAL, synthetic

TINY = Size("tiny", 8, 1)
HEAVY = np.array([0.94, 0.02, 0.02, 0.02])
EVEN = np.full(4, 0.25)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return synthetic()


def test_params_are_what_the_blocks_hold() -> None:
    for size in SIZES.values():
        weights = initial(jax.random.key(0), size, 232)
        counted = sum(each.size for each in jax.tree.leaves([weights["blocks"], weights["norm"]]))
        assert counted == size.params


def test_no_symbol_is_predicted_from_itself_or_later_ones() -> None:
    weights = initial(jax.random.key(0), TINY, 16)
    weights["blocks"][0]["out"] += 1.0  # blocks begin as the identity
    weights["head"] += np.linspace(-1, 1, 8 * 16).reshape(8, 16)
    symbols = np.random.default_rng(0).integers(0, 16, (1, PLACES))
    other = symbols.copy()
    other[0, 40:] = (other[0, 40:] + 1) % 16
    same = np.isclose(logits(weights, symbols), logits(weights, other)).all(axis=-1)[0]
    assert same[:40].all() and not same[40]


def test_an_untrained_model_knows_nothing(corpus: Corpus) -> None:
    weights = initial(jax.random.key(0), TINY, corpus.vocabulary)
    np.testing.assert_allclose(
        loss_in_nats(weights, corpus.held_out["code"]), np.log(corpus.vocabulary), rtol=1e-6
    )


def test_the_same_seed_gives_the_same_losses_and_another_does_not(corpus: Corpus) -> None:
    first, again, other = (train(corpus, TINY, EVEN, [60_000], seed)[0].loss for seed in (0, 0, 1))
    assert first == again
    gaps = [abs(first[target] - other[target]) for target in MULTIMODAL.targets]
    assert 0 < max(gaps) < 0.1 * max(first.values())


def test_more_tokens_and_more_weight_lower_the_loss(corpus: Corpus) -> None:
    short, long = train(corpus, TINY, EVEN, [60_000, 180_000])
    assert (short.tokens, long.tokens) == (rounded(60_000), rounded(180_000))
    assert all(long.loss[domain] < short.loss[domain] for domain in corpus.domains)
    assert 0 < short.cpu_seconds < long.cpu_seconds
    heavy = train(corpus, TINY, HEAVY, [180_000])[0]
    assert heavy.loss["prose"] < long.loss["prose"]
    assert heavy.loss["code"] > long.loss["code"]


def test_a_measurement_on_the_way_is_that_of_a_run_planned_for_it(corpus: Corpus) -> None:
    on_the_way, _ = train(corpus, TINY, EVEN, [60_000, 180_000])
    alone = train(corpus, TINY, EVEN, [60_000])[0]
    for target, loss in alone.loss.items():
        # Sobol points are scrambled alike
        assert on_the_way.loss[target] == pytest.approx(loss, rel=0.02)


def test_impossible_tokens_are_refused() -> None:
    with pytest.raises(InputError, match="tokens are not a size"):
        rounded(float("nan"))
