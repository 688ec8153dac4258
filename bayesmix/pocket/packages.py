"""Packages that the corpora are made of.

They are fetched by name and version, checked, and unpacked in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from bayesmix.errors import InputError

CACHE = "BAYESMIX_CACHE"  # environment variable that moves the cache


@dataclass(frozen=True)
class Package:
    """One pinned package: of Debian, or a wheel of the Python package index."""

    name: str
    version: str
    sha256: str
    index: str
    licence: str

    @property
    def asked(self) -> str:
        """Name and version in the notation of the package manager."""
        return f"{self.name}{'=' if self.index == 'debian' else '=='}{self.version}"


def cache_folder() -> Path:
    """Folder of packages and corpora.

    `$BAYESMIX_CACHE`, or `bayesmix` in the user's cache folder.
    """
    if CACHE in os.environ:
        return Path(os.environ[CACHE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bayesmix"


def packages() -> Mapping[str, Package]:
    """Every package of the manifest, by name."""
    manifest = (resources.files("bayesmix.pocket") / "packages.toml").read_text(encoding="utf-8")
    return {name: Package(name, **entry) for name, entry in tomllib.loads(manifest).items()}


def unpacked(name: str) -> Path:
    """The folder with the contents of a package, fetched and checked if it is not there yet.

    Raises:
        InputError: the package cannot be fetched, or is not the one whose hash the manifest gives.
    """
    package = packages()[name]
    folder = cache_folder() / "packages" / f"{name}-{package.sha256[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as workplace:
        archive = _fetched(package, Path(workplace))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != package.sha256:
            raise InputError(
                f"the package {package.asked} is not the one the corpora were made of",
                expected=f"sha256 {package.sha256}",
                got=digest,
                advice=(
                    "Fetch that version from an archive of the distribution; other contents give"
                    " other losses."
                ),
            )
        contents = Path(workplace) / "contents"
        contents.mkdir()
        if package.index == "debian":
            _run(["dpkg-deb", "-x", str(archive), str(contents)], package)
        else:
            zipfile.ZipFile(archive).extractall(contents)
        shutil.move(contents, folder)
    return folder


def _fetched(package: Package, folder: Path) -> Path:
    if package.index == "debian":
        _run(["apt-get", "download", package.asked], package, folder)
    else:
        pip = [sys.executable, "-m", "pip"] if _has_pip() else ["uv", "tool", "run", "pip"]
        _run(
            [*pip, "download", "--no-deps", "--only-binary", ":all:", package.asked],
            package,
            folder,
        )
    (archive,) = [path for path in folder.iterdir() if path.suffix in (".deb", ".whl")]
    return archive


def _has_pip() -> bool:
    result = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, check=False
    )
    return result.returncode == 0


def _run(command: list[str], package: Package, folder: Path | None = None) -> None:
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        message, failed = result.stderr.strip().splitlines()[-1:], result.returncode != 0
    except FileNotFoundError as error:
        message, failed = [str(error)], True
    if failed:
        raise InputError(
            f"cannot get {package.asked}",
            expected=(
                f"`{' '.join(command[:2])}` to work (the corpora are Debian 12 and Python packages)"
            ),
            got=" ".join(message) or "an exit code that is not 0",
            advice="Run it on a Debian 12 machine with network, after `apt-get update`.",
        )
