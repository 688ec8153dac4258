"""`atomic_write`: the whole file or the old one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bayesmix.errors import InputError
from bayesmix.runtime.files import atomic_write


def test_writes_beside_the_target_and_renames(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "posterior.nc"
    with atomic_write(target) as draft:
        assert draft.parent == target.parent and draft.suffix == ".nc" and not target.exists()
        draft.write_text("whole")
    assert target.read_text() == "whole" and list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_failure_leaves_what_was_there(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(failure), atomic_write(target) as draft:
        draft.write_text("half of the n")
        raise failure
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "a.csv", tmp_path / "link.csv"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with atomic_write(link) as draft:
        draft.write_text("new")
    assert (
        link.is_symlink()
        and target.read_text() == "new"
        and stat.S_IMODE(target.stat().st_mode) == 0o640
    )


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "a.csv") as draft:
        draft.write_text("new")
    assert (tmp_path / "a.csv").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_writer_may_replace_the_draft(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.nc") as draft:
        draft.unlink()
        draft.write_text("made anew")
    assert (tmp_path / "a.nc").read_text() == "made anew"


def test_a_device_is_written_to_and_not_replaced() -> None:
    with atomic_write(os.devnull) as draft:
        draft.write_text("gone")
    assert not Path(os.devnull).is_file()


def test_impossible_places_are_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, message in [(tmp_path, "a folder"), (tmp_path / "file" / "a.csv", "cannot write")]:
        with pytest.raises(InputError, match=message), atomic_write(path):
            pytest.fail("the block must not run")
