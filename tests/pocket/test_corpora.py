"""Symbols, sequences and the hold-out; no package is fetched."""

from __future__ import annotations

import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from bayesmix.errors import InputError
from bayesmix.pocket import decode, packages
from bayesmix.pocket.corpora import HELD, PLACES, load_corpus
from tests.pocket.synthetic import MULTIMODAL, SYMBOLS, put_in_cache, synthetic

ROOT = Path(__file__).resolve().parents[2]
LARGEST_FILE = 1_000_000  # bytes; a corpus is tens of megabytes


def test_text_is_spelt_in_ascii() -> None:
    symbols = decode.text_symbols(["Größe é ~", "\tx日"])
    letters = "\n" + "".join(map(chr, range(32, 127)))
    assert "".join(letters[each] for each in symbols) == "Groesse e ~\n    x"
    assert len(letters) == decode.ASCII


def test_speech_has_64_levels_in_the_order_of_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "sweep.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.linspace(-32768, 32767, 5000).astype("<i2").tobytes())
    symbols = decode.speech_symbols([path])
    assert (np.diff(symbols.astype(int)) >= 0).all()
    assert set(symbols) == set(range(decode.LEVELS))


def test_images_are_coded_by_their_nearest_patch() -> None:
    rng = np.random.default_rng(0)
    tiles = rng.random((400, 32, 32)).astype(np.float32)
    flat = np.repeat(np.repeat(rng.random((400, 8, 8)), 4, axis=1), 4, axis=2).astype(np.float32)
    book = decode.codebook([tiles, flat], sample=2000)
    symbols = decode.image_symbols(flat, book)
    assert symbols.shape == (400, 64)
    pixels = flat[0, 4:8, 8:12].reshape(-1)  # row 1, column 2
    assert symbols[0, 10] == np.argmin(((book - pixels) ** 2).sum(axis=1))
    assert (
        np.corrcoef(book[symbols].mean(axis=2).ravel(), decode.patches(flat).mean(axis=2).ravel())[
            0, 1
        ]
        > 0.95
    )


def test_held_out_sequences_are_not_trained_on() -> None:
    corpus = synthetic()
    for domain, train in zip(corpus.domains, corpus.train, strict=True):
        seen = {each.tobytes() for each in train}
        assert not any(each.tobytes() in seen for each in corpus.held_out[domain])
        assert (train[:, 0] == SYMBOLS).all() and train.shape[1] == PLACES + 1
        assert len(corpus.held_out[domain]) <= min(HELD, len(train) / 8)
    assert corpus.natural.sum() == pytest.approx(1)


def test_a_corpus_comes_back_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = synthetic()
    put_in_cache(corpus, tmp_path, monkeypatch)
    again = load_corpus("multimodal")
    assert again.fingerprint == corpus.fingerprint
    assert again.vocabulary == corpus.vocabulary
    assert tuple(again.held_out) == MULTIMODAL.targets


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match="unknown setting"):
        load_corpus("audio")


def test_packages_are_pinned_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(re.fullmatch(r"[0-9a-f]{64}", each.sha256) for each in packages.packages().values())
    monkeypatch.setenv(packages.CACHE, str(tmp_path))

    def wrong(package: packages.Package, folder: Path) -> Path:
        (folder / "other.deb").write_bytes(b"not that package")
        return folder / "other.deb"

    monkeypatch.setattr(packages, "_fetched", wrong)
    with pytest.raises(InputError, match="not the one the corpora were made of"):
        packages.unpacked("bible-kjv-text")
    assert not list((tmp_path / "packages").iterdir())


def test_no_corpus_is_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.splitlines()]
    corpora = {".npz", ".deb", ".whl", ".wav", ".jpg", ".jpeg", ".ttf", ".dz", ".mm"}
    assert not [file for file in files if file.suffix in corpora]
    assert not [file for file in files if file.is_file() and file.stat().st_size > LARGEST_FILE]


def test_settings_can_be_asked_for_without_the_extra() -> None:
    script = (
        "import sys, bayesmix.cli.pocket; assert not {'jax', 'optax', 'PIL'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
