"""The tiny decoder of gated short convolutions.

At this size they learn more per CPU-second than attention.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bayesmix.pocket.sizes import REACH, WIDEN, Size

type Weights = dict[str, Any]


def initial(key: jax.Array, size: Size, vocabulary: int) -> Weights:
    """Initial weights.

    Every block starts as the identity, and every symbol is equally likely.
    """
    width = size.width

    def normal(key: jax.Array, *shape: int) -> jax.Array:
        return jax.random.normal(key, shape) / jnp.sqrt(shape[0])

    def block(key: jax.Array) -> Weights:
        conv, gate, up = jax.random.split(key, 3)
        return {
            "norm": jnp.ones(width),
            "in": normal(gate, width, 2 * width),
            "conv": normal(conv, REACH, width),
            "out": jnp.zeros((width, width)),
            "norm_mlp": jnp.ones(width),
            "up": normal(up, width, WIDEN * width),
            "down": jnp.zeros((WIDEN * width, width)),
        }

    embed, *blocks = jax.random.split(key, size.depth + 1)
    return {
        "embed": jax.random.normal(embed, (vocabulary, width)),
        "blocks": [block(block_key) for block_key in blocks],
        "norm": jnp.ones(width),
        "head": jnp.zeros((width, vocabulary)),
    }


def logits(weights: Weights, symbols: jax.Array) -> jax.Array:
    """Logits (sequence, place, symbol) of the next symbol, given `symbols` (sequence, place)."""
    x = weights["embed"][symbols]
    for block in weights["blocks"]:
        value, gate = jnp.split(_normed(x, block["norm"]) @ block["in"], 2, axis=-1)
        x = x + (_short_convolution(value, block["conv"]) * jax.nn.silu(gate)) @ block["out"]
        hidden = jax.nn.relu(_normed(x, block["norm_mlp"]) @ block["up"])
        x = x + (hidden * hidden) @ block["down"]
    return _normed(x, weights["norm"]) @ weights["head"]


def loss_in_nats(weights: Weights, sequences: jax.Array) -> jax.Array:
    """Mean negative log-likelihood (sequence,) of the symbols given those before them.

    The first symbol of a sequence is not predicted.
    """
    symbols = sequences.astype(jnp.int32)
    scores = logits(weights, symbols[:, :-1])
    chosen = jnp.take_along_axis(scores, symbols[:, 1:, None], axis=-1)[..., 0]
    return (jax.nn.logsumexp(scores, axis=-1) - chosen).mean(axis=-1)


def _normed(x: jax.Array, gain: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6) * gain


def _short_convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Causal convolution of each channel by itself.

    It is a sum of shifted copies, which a CPU computes in one pass.
    """
    places = x.shape[1]
    padded = jnp.pad(x, ((0, 0), (REACH - 1, 0), (0, 0)))
    return sum(padded[:, lag : lag + places] * kernel[lag] for lag in range(REACH))  # type: ignore[return-value]
