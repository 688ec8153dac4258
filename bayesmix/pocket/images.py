"""Images as tiles of 32 × 32 grey pixels in [0, 1].

They are photographs, glyphs, icons and generated textures.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bayesmix.pocket.decode import PATCH, TILE

PIXELS = PATCH * TILE
SHORT = 1024  # short side of a resized photograph, in pixels
TEXTURES = 60_000


def photographs(paths: Iterable[Path]) -> np.ndarray:
    """Tiles of photographs, resized to a short side of 1,024 pixels."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    parts = []
    for path in paths:
        with Image.open(path) as image:
            factor = SHORT / min(image.size)
            size = (round(image.width * factor), round(image.height * factor))
            parts.append(
                _cut(
                    np.asarray(
                        image.convert("RGB").convert("L").resize(size, Image.Resampling.LANCZOS)
                    )
                )
            )
    return np.concatenate(parts)


def icons(paths: Iterable[Path]) -> np.ndarray:
    """Tiles of icons on white, without repeated ones and those of one colour."""
    from PIL import Image

    parts = []
    for path in paths:
        with Image.open(path) as image:
            icon = image.convert("RGBA")
            white = Image.new("RGBA", icon.size, "white")
            parts.append(_cut(np.asarray(Image.alpha_composite(white, icon).convert("L"))))
    tiles = np.concatenate(parts)
    tiles = tiles[np.ptp(tiles, axis=(1, 2)) > 0]
    _, first = np.unique(tiles.reshape(len(tiles), -1), axis=0, return_index=True)
    return tiles[np.sort(first)]


def glyphs(paths: Iterable[Path]) -> np.ndarray:
    """Tiles of glyphs, one for each character of every font, black on white."""
    from fontTools.ttLib import TTFont
    from PIL import Image, ImageDraw, ImageFont

    parts = []
    for path in paths:
        font = ImageFont.truetype(str(path), 26, layout_engine=ImageFont.Layout.BASIC)
        with TTFont(path) as table:
            characters = sorted(table.getBestCmap() or ())
        for character in characters:
            image = Image.new("L", (PIXELS, PIXELS), 255)
            ImageDraw.Draw(image).text(
                (PIXELS // 2, PIXELS // 2), chr(character), 0, font, anchor="mm"
            )
            parts.append(np.asarray(image))
    tiles = np.stack(parts).astype(np.float32) / 255
    return tiles[np.ptp(tiles, axis=(1, 2)) > 0.3]


def textures(seed: int = 0) -> np.ndarray:
    """Tiles of gratings, chequers and clouds with random direction, scale, contrast and grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:PIXELS, :PIXELS] / PIXELS
    tiles = np.empty((TEXTURES, PIXELS, PIXELS), np.float32)
    for number in range(TEXTURES):
        kind = number % 3
        angle, turns, phase = rng.uniform(0, np.pi), rng.uniform(1, 8), rng.uniform(0, 2 * np.pi, 2)
        along = np.cos(angle) * x + np.sin(angle) * y
        across = np.cos(angle) * y - np.sin(angle) * x
        wave = np.sin(2 * np.pi * turns * along + phase[0])
        if kind == 1:
            wave = np.sign(wave * np.sin(2 * np.pi * turns * across + phase[1]))
        elif kind == 2:
            wave = _cloud(rng)
        grain = rng.uniform(0, 0.1) * rng.standard_normal((PIXELS, PIXELS))
        tiles[number] = np.clip(0.5 + rng.uniform(0.1, 0.5) * wave + grain, 0, 1)
    return tiles


def _cloud(rng: np.random.Generator) -> np.ndarray:
    """Noise with a random slope of its spectrum, scaled to [−1, 1]."""
    frequency = (
        np.hypot(np.fft.fftfreq(PIXELS)[:, None], np.fft.rfftfreq(PIXELS)[None]) + 1 / PIXELS
    )
    spectrum = np.fft.rfft2(rng.standard_normal((PIXELS, PIXELS))) * frequency ** -rng.uniform(
        1, 2.5
    )
    field = np.fft.irfft2(spectrum, (PIXELS, PIXELS))
    return field / np.abs(field).max()


def _cut(image: np.ndarray) -> np.ndarray:
    """Whole tiles of an image, row by row; none for an image smaller than a tile."""
    rows, columns = image.shape[0] // PIXELS, image.shape[1] // PIXELS
    whole = image[: rows * PIXELS, : columns * PIXELS].reshape(rows, PIXELS, columns, PIXELS)
    return whole.transpose(0, 2, 1, 3).reshape(-1, PIXELS, PIXELS).astype(np.float32) / 255
