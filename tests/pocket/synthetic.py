"""A corpus without packages: each domain is a random chain of symbols, half shared by all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bayesmix.pocket.corpora import SETTINGS, Corpus, _write, corpus_path, held_out_split
from bayesmix.pocket.packages import CACHE

SYMBOLS = 15
MULTIMODAL = SETTINGS["multimodal"]


def synthetic(length: int = 40_000) -> Corpus:
    """Streams in which a symbol is followed by the next one, or by the one its domain prefers."""
    streams = {}
    for number, target in enumerate(MULTIMODAL.targets):
        rng = np.random.default_rng(number)
        liked = rng.permutation(SYMBOLS)
        stream, at = np.empty(length, np.uint8), 0
        for place, turn in enumerate(rng.random(length) < 0.8):
            at = liked[at] if turn else (at + 1) % SYMBOLS
            stream[place] = at
        streams[target] = stream
    return held_out_split(
        MULTIMODAL, streams, dict.fromkeys(MULTIMODAL.targets, SYMBOLS), SYMBOLS + 1
    )


def put_in_cache(corpus: Corpus, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the corpus the one that `load_corpus("multimodal")` finds, here and in subprocesses."""
    monkeypatch.setenv(CACHE, str(folder))
    _write(corpus, corpus_path("multimodal"))
