"""Atomic writing of files."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayesmix.errors import InputError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; when the block succeeds, its file replaces `path` in one step.

    The temporary file is empty, lies in the folder of `path` and keeps its suffix, so writers that
    choose the format by suffix work. Whatever ends the block early, Ctrl-C included, leaves `path`
    as it was and removes the temporary file. Missing folders are made and an existing file is
    replaced.

    Args:
        path: path of the finished file; a link is followed, and a pipe or device is written to at
            the end.

    Yields:
        The path to write to.

    Raises:
        InputError: `path` is a folder, or nothing can be written in its folder. Raised before the
            block runs.
    """
    target = Path(path) if _is_stream(Path(path)) else Path(os.path.realpath(path))
    draft = _empty_beside(target)
    try:
        yield draft
        _become(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _empty_beside(target: Path) -> Path:
    if target.is_dir():
        raise InputError(
            f"cannot write {target}",
            expected="the path of a file",
            got="a folder",
            advice="Add a file name.",
        )
    # A stream is not replaced but filled, so its folder (/dev) need not be writable.
    home = Path(tempfile.gettempdir()) if _is_stream(target) else target.parent
    draft = home / f".{target.stem}.{secrets.token_hex(4)}{target.suffix}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        draft.open("xb").close()
    except OSError as error:
        raise InputError(
            f"cannot write {target}",
            expected=f"a folder {home} that can be written to",
            got=error.strerror or type(error).__name__,
            advice="Choose another path or change the permissions.",
        ) from error
    return draft


def _become(draft: Path, target: Path) -> None:
    if _is_stream(target):
        with draft.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        return
    if target.exists():
        shutil.copymode(target, draft)
    # on disk before the rename, or a power cut could leave an empty file
    with draft.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(draft, target)


def _is_stream(target: Path) -> bool:
    return target.exists() and not target.is_file() and not target.is_dir()
