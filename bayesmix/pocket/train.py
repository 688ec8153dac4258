"""`train`: one tiny model trained on a mixture, measured at several numbers of tokens."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bayesmix.errors import InputError
from bayesmix.pocket.corpora import PLACES, Corpus
from bayesmix.pocket.decoder import initial, loss_in_nats
from bayesmix.pocket.draw import sequence_order
from bayesmix.pocket.sizes import Size, find_size

BATCH = 16  # sequences per step
STEP_TOKENS = BATCH * PLACES
WARM_UP = 50  # steps
RATE = 0.2  # learning rate times width
COOLDOWN = 0.2  # share of the steps in which the learning rate falls to 0
OPTIMISER = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.scale_by_adam(b1=0.9, b2=0.98),
    optax.add_decayed_weights(0.05),
)

type State = tuple[Any, Any]


@dataclass(frozen=True)
class Point:
    """Measurements after a number of tokens.

    Attributes:
        tokens: symbols trained on.
        loss: nats per symbol on each target.
        cpu_seconds: CPU time of training a run of that length, without compiling and measuring.
    """

    tokens: int
    loss: Mapping[str, float]
    cpu_seconds: float


def rounded(tokens: float) -> int:
    """The nearest number of tokens at which a run can be measured: steps that cooldown divides.

    Raises:
        InputError: it is not a finite number above 0.
    """
    if not 0 < tokens < float("inf"):
        raise InputError("tokens are not a size", expected="a finite number above 0", got=tokens)
    unit = 5 * STEP_TOKENS
    return unit * max(1, round(tokens / unit))


def train(
    corpus: Corpus, size: str | Size, weights: np.ndarray, tokens: Sequence[float], seed: int = 0
) -> list[Point]:
    """Train a model from scratch and measure it at each of `tokens`.

    The rate is constant after its warm-up. Towards every measured D a branch leaves the run at 0.8
    D, in which the rate falls linearly to 0, so that each measurement is that of a run planned for
    D tokens, for 1.2 times the longest.

    Args:
        corpus: sequences to train on and to measure with.
        size: the decoder, or the name of one.
        weights: mixture h (domain,), summing to 1, in the order of the corpus' domains.
        tokens: numbers of tokens at which to measure; each is rounded to 5,120.
        seed: seed of the initial weights and of the data's order.

    Returns:
        One point for each distinct number of tokens, in increasing order.
    """
    size = find_size(size) if isinstance(size, str) else size
    stops = sorted({rounded(count) // STEP_TOKENS for count in tokens})
    order = sequence_order(
        np.asarray(weights, float),
        [len(sequences) for sequences in corpus.train],
        BATCH * stops[-1],
        seed,
    )
    rows = jnp.asarray(np.concatenate(corpus.train)[order].reshape(-1, BATCH, PLACES + 1))
    run, measure = _compiled(size, corpus.vocabulary, stops[-1])
    start = initial(jax.random.key(seed), size, corpus.vocabulary)
    state: State = (start, OPTIMISER.init(start))
    sentinel, step, spent, points = np.int32(2**30), 0, 0.0, []
    for stop in stops:
        leave = round((1 - COOLDOWN) * stop)
        state, seconds = _timed(run, state, rows, step, leave, sentinel, sentinel)
        step, spent = leave, spent + seconds
        branch, seconds = _timed(run, state, rows, leave, stop, leave, stop)
        loss = {
            name: float(measure(branch[0], jnp.asarray(sequences)))
            for name, sequences in corpus.held_out.items()
        }
        points.append(Point(stop * STEP_TOKENS, loss, spent + seconds))
    return points


def _timed(run: Any, state: State, *arguments: Any) -> tuple[State, float]:
    began = time.process_time()
    state = jax.block_until_ready(run(state, *(jnp.asarray(argument) for argument in arguments)))
    return state, time.process_time() - began


@cache
def _compiled(size: Size, vocabulary: int, steps: int) -> tuple[Any, Any]:
    """The compiled loop over steps, and the mean loss of held-out sequences."""

    def rate(step: jax.Array, leave: jax.Array, stop: jax.Array) -> jax.Array:
        falling = jnp.where(step < leave, 1.0, (stop - step) / jnp.maximum(stop - leave, 1))
        return RATE / size.width * jnp.minimum((step + 1) / WARM_UP, 1.0) * falling

    def run(
        state: State,
        rows: jax.Array,
        first: jax.Array,
        last: jax.Array,
        leave: jax.Array,
        stop: jax.Array,
    ) -> State:
        def one(step: jax.Array, state: State) -> State:
            weights, memory = state
            slope = jax.grad(lambda w: loss_in_nats(w, rows[step]).mean())(weights)
            change, memory = OPTIMISER.update(slope, memory, weights)
            change = jax.tree.map(lambda leaf: -rate(step, leave, stop) * leaf, change)
            return optax.apply_updates(weights, change), memory  # type: ignore[return-value]

        return jax.lax.fori_loop(first, last, one, state)

    def measure(weights: Any, sequences: jax.Array) -> jax.Array:
        whole = sequences.shape[0] // 128 * 128 or sequences.shape[0]
        parts = sequences[:whole].reshape(-1, min(128, whole), sequences.shape[1])
        return jax.lax.map(lambda part: loss_in_nats(weights, part).mean(), parts).mean()

    start = jax.eval_shape(lambda: initial(jax.random.key(0), size, vocabulary))
    state = (start, jax.eval_shape(OPTIMISER.init, start))
    rows = jax.ShapeDtypeStruct((steps, BATCH, PLACES + 1), np.uint8)
    count = jax.ShapeDtypeStruct((), np.int32)
    return jax.jit(run).lower(state, rows, *[count] * 4).compile(), jax.jit(measure)
