"""Where a command cannot write any further, its line says what it has written and deleted before that."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
from refusals import command
from spoiled import on

from skn.errors import InputError
from skn.store import atomic, folders
from skn.store.changes import changed, remembered, what_stands

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changed(tmp_path / "before")
    assert what_stands() == ""
    paths = [tmp_path / name for name in ("a.json", "b.json", "c.json", "d.json", "e.json")]
    with remembered():
        assert what_stands() == "; nothing was changed"
        with folders.replaced(tmp_path / "folder", "searchlight") as folder:
            atomic.write_text(folder / "rank.csv", "1")
            assert what_stands() == "; nothing was changed"  # it is not there under its name yet
        assert what_stands() == f"; written before that: {tmp_path / 'folder'}"
        shutil.rmtree(tmp_path / "folder")
        for path in paths:
            atomic.write_text(path, "1")
        atomic.remove(paths[0])
        three = ", ".join(map(str, paths[1:4]))
        expected = f"; written before that: {three} and 1 more; deleted before that: {tmp_path / 'folder'}, {paths[0]}"
        assert what_stands() == expected
    with remembered():
        assert what_stands() == "; nothing was changed"


def test_a_temporary_name_is_not_shown(tmp_path):
    inside = atomic.temporary_of(tmp_path / "pruned") / "config.json"
    for path, meant in (
        (atomic.temporary_of(tmp_path / "a"), tmp_path / "a"),
        (inside, tmp_path / "pruned/config.json"),
    ):
        assert str(atomic.cannot_be_written(path, FULL)) == f"{meant}: cannot be written (No space left on device)"


@pytest.mark.parametrize("written", [0, 1, 3])
def test_a_disk_that_is_full_after_some_files(run, tmp_path, monkeypatch, capsys, quiet_exit, written):
    """As many files of ``probe --overwrite`` as there is space for; the hits of the old moments are gone with those."""
    monkeypatch.chdir(tmp_path)
    replaced, names = os.replace, []

    def until_full(source, target):
        if len(names) == written:
            raise FULL
        names.append(target)
        replaced(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", until_full)
        assert command(on("probe")) == InputError.exit_code
    line = capsys.readouterr().err.splitlines()[-1]
    if not written:
        assert line.endswith("(No space left on device); nothing was changed")
    else:
        assert f"; written before that: {', '.join(map(str, names))}" in line
        assert line.count("deleted before that") == 1


def test_a_block_in_a_block_begins_with_none_and_hands_over_its_own(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with remembered():
        first.write_text("")
        changed(first)
        with remembered():
            second.write_text("")
            changed(second)
            assert what_stands() == f"; written before that: {second}"
        assert what_stands() == f"; written before that: {first}, {second}"


def test_an_unfinished_checkpoint_is_no_change(tmp_path):
    with remembered():
        changed(tmp_path / ".partial-00000004" / "tensors.safetensors")
        assert what_stands() == "; nothing was changed"
