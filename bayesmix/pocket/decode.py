"""Decoders of the files of packages to symbols from 0: text, speech and images."""

from __future__ import annotations

import gzip
import re
import subprocess
import unicodedata
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.cluster.vq import kmeans2, vq

# symbols of text: the end of a line, and the printable characters from the blank to the tilde
ASCII = 96
LEVELS = 64  # levels of speech
CODES = 64  # codes of image patches
PATCH, TILE = 4, 8  # pixels per side of a patch, patches per side of a tile

_SPELT = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "\t": "    "}
)
_SYMBOL = np.full(256, 255, np.uint8)
_SYMBOL[10] = 0
_SYMBOL[32:127] = np.arange(1, ASCII)


def text_symbols(texts: Iterable[str]) -> np.ndarray:
    """Characters as symbols 0 … 95.

    Umlauts are spelt out, accents dropped, and other characters that are not ASCII left out.
    """
    plain_text = unicodedata.normalize("NFKD", "\n".join(texts).translate(_SPELT))
    symbols = _SYMBOL[np.frombuffer(plain_text.encode("ascii", "ignore"), np.uint8)]
    return symbols[symbols < ASCII]


def files(folder: Path, pattern: str) -> list[Path]:
    """Files that match the pattern, in the order of their paths."""
    return sorted(
        path for path in folder.rglob(pattern) if path.is_file() and not path.is_symlink()
    )


def plain_text(paths: Iterable[Path]) -> Iterator[str]:
    """The text of each file."""
    return (path.read_text(encoding="utf-8", errors="ignore") for path in paths)


def bible(program: Path, text: Path) -> str:
    """The King James Bible without the numbers of verses.

    The text is the output of the program that reads its format.
    """
    command = [str(program / "usr/bin/bible"), "-p", str(text / "usr/lib"), "-f", "gen1:1-rev22:21"]
    output = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    ).stdout
    return re.sub(r"^\w+:\d+ ", "", output, flags=re.MULTILINE)


def manual(path: Path) -> str:
    """A manual page without the commands of troff."""
    with gzip.open(path, "rt", encoding="utf-8", errors="ignore") as page:
        lines = [line for line in page if not line.startswith((".", "'"))]
    return re.sub(r"\\f\[?\w+\]?|\\[&|^%/,]|\\m\[\w*\]|\\s[+-]?\d", "", "".join(lines)).replace(
        "\\-", "-"
    )


def proofs(path: Path) -> str:
    """A Metamath database without its comments: statements and compressed proofs."""
    bare = re.sub(r"\$\(.*?\$\)", "", path.read_text(encoding="ascii"), flags=re.DOTALL)
    return re.sub(r"[ \t]*\n\s*", "\n", bare)


def dictionary(path: Path) -> str:
    """Text of a dictionary of dictd."""
    with gzip.open(path, "rt", encoding="utf-8", errors="ignore") as entries:
        return entries.read()


def speech_symbols(paths: Iterable[Path]) -> np.ndarray:
    """Samples of 8 kHz as 64 levels of the mu-law, sign(x) log(1 + 255 |x|) / log 256."""
    samples = []
    for path in paths:
        with wave.open(str(path)) as sound:
            assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (
                8000,
                2,
                1,
            ), path
            samples.append(np.frombuffer(sound.readframes(sound.getnframes()), "<i2"))
    signal = np.concatenate(samples) / 32768.0
    compressed = np.sign(signal) * np.log1p(255 * np.abs(signal)) / np.log(256)
    return np.minimum((compressed + 1) / 2 * LEVELS, LEVELS - 1).astype(np.uint8)


def patches(tiles: np.ndarray) -> np.ndarray:
    """Tiles of 32 × 32 pixels in [0, 1] as their 64 patches (tile, patch, pixel), row by row."""
    cut = tiles.reshape(-1, TILE, PATCH, TILE, PATCH).transpose(0, 1, 3, 2, 4)
    return cut.reshape(len(tiles), TILE * TILE, PATCH * PATCH)


def codebook(kinds: Iterable[np.ndarray], seed: int = 0, sample: int = 20_000) -> np.ndarray:
    """Codebook of 64 patches (code, pixel) by k-means, on equally many patches of every kind."""
    rng = np.random.default_rng(seed)
    pool = [
        patches(tiles[rng.integers(len(tiles), size=sample // 16)]).reshape(-1, PATCH * PATCH)
        for tiles in kinds
    ]
    pixels = np.concatenate([part[rng.permutation(len(part))[:sample]] for part in pool])
    centres, _ = kmeans2(pixels.astype(float), CODES, iter=30, minit="++", rng=rng)
    return centres[np.argsort(centres.mean(axis=1))]


def image_symbols(tiles: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Number of the nearest code of every patch (tile, patch)."""
    blocks = [patches(part) for part in np.array_split(tiles, max(1, len(tiles) // 4096))]
    return np.concatenate(
        [vq(b.reshape(-1, b.shape[-1]), codes)[0].reshape(b.shape[:2]) for b in blocks]
    ).astype(np.uint8)
