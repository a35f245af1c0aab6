"""Folders are replaced only where they carry skn's mark and hold nothing else; one of the old and the new always stands."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from skn.errors import InputError
from skn.store import atomic, documents, folders
from skn.store.output import refuse_existing


@pytest.fixture
def sets(tmp_path) -> Path:
    """A folder of neuron sets with one file."""
    fill(tmp_path / "sets", "first")
    return tmp_path / "sets"


def fill(path: Path, text: str) -> None:
    with folders.replaced(path, "folder of neuron sets") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "a.txt").write_text(text)


def test_a_folder_of_the_same_kind_is_replaced_on_request(sets):
    with pytest.raises(InputError, match="exists already; overwrite=True replaces it"):
        folders.refuse_occupied(sets, "folder of neuron sets", overwrite=False)
    folders.refuse_occupied(sets, "folder of neuron sets", overwrite=True)
    fill(sets, "second")
    assert (sets / "deep" / "a.txt").read_text() == "second"
    assert [path.name for path in sets.parent.iterdir()] == ["sets"]


@pytest.mark.parametrize("kind", [kind for kind in folders.FOLDER_KINDS if kind != "folder of neuron sets"])
def test_a_folder_of_another_kind_is_not(sets, kind):
    with pytest.raises(InputError, match=rf"is no {kind} of skn \(a folder of neuron sets\) and will not be deleted"):
        folders.refuse_occupied(sets, kind, overwrite=True)
    with pytest.raises(InputError), folders.replaced(sets, kind):
        pass
    assert (sets / "deep" / "a.txt").read_text() == "first"


def foreign_text(folder):
    (folder / "deep" / "thesis.txt").write_text("years of work")


def foreign_link(folder):
    (folder / "link").symlink_to(folder.parent)


def foreign_mark(folder):
    (folder / "inner").mkdir()
    (folder / "inner" / folders.MARK).write_text('{"of": "run"}')


@pytest.mark.parametrize("add", [foreign_text, foreign_link, foreign_mark])
def test_what_skn_did_not_write_is_named_and_kept(sets, add):
    add(sets)
    before = sorted(sets.rglob("*"))
    with pytest.raises(InputError, match="which skn did not write, and will not be deleted"):
        folders.refuse_occupied(sets, "folder of neuron sets", overwrite=True)
    with pytest.raises(InputError, match="which skn did not write"), folders.replaced(sets, "folder of neuron sets"):
        pass
    with pytest.raises(InputError, match="which skn did not write"):
        folders.clear(sets, "folder of neuron sets")
    assert sorted(sets.rglob("*")) == before and [path.name for path in sets.parent.iterdir()] == ["sets"]


def test_a_deleted_mark_is_told(sets, caplog):
    """Only of folders that nobody but skn makes: a model may have been saved anew by another program."""
    caplog.set_level("INFO")
    (sets / folders.MARK).unlink()
    folders.check_files(sets)
    assert not caplog.messages
    folders.check_files(sets, made_by_skn=True)
    folders.check_files(sets, made_by_skn=True)
    assert len(caplog.messages) == 1 and "has no skn.json" in caplog.messages[0]


@pytest.mark.parametrize("spoil", [b"", b"{", b'{"of": "folder of neuron sets"}', b"[]"])
def test_a_name_is_not_a_mark(sets, spoil):
    """A file that is called skn.json says nothing unless it is one."""
    (sets / folders.MARK).write_bytes(spoil)
    with pytest.raises(InputError, match="no skn.json in it that says so"):
        folders.refuse_occupied(sets, "folder of neuron sets", overwrite=True)


def test_a_link_to_a_folder_is_not_followed(sets):
    link = sets.parent / "link"
    link.symlink_to(sets)
    with pytest.raises(InputError, match="will not be deleted"):
        folders.refuse_occupied(link, "folder of neuron sets", overwrite=True)


def test_a_folder_inside_is_judged_by_its_own_mark(tmp_path):
    folders.mark(tmp_path, "run")
    fill(tmp_path / "any name", "x")
    folders.refuse_occupied(tmp_path, "run", overwrite=True)
    foreign_text(tmp_path / "any name")
    with pytest.raises(InputError, match="holds any name/deep/thesis.txt"):
        folders.refuse_occupied(tmp_path, "run", overwrite=True)


def test_a_users_picture_in_a_report_is_kept(tmp_path):
    """The report's own mark names what skn wrote there, also what an earlier report wrote."""
    folders.mark(tmp_path, "run")
    for name in ("old.png", "new.png"):
        folders.fill(tmp_path / "report", "report", {name: b"a picture", "index.html": b"a page"})
    folders.refuse_occupied(tmp_path, "run", overwrite=True)
    (tmp_path / "report" / "mine.png").write_bytes(b"a user's")
    with pytest.raises(InputError, match="holds report/mine.png, which skn did not write"):
        folders.refuse_occupied(tmp_path, "run", overwrite=True)


def test_a_file_that_a_folder_was_made_with_is_not_replaced_alone(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    folders.mark_filled(tmp_path, "pruned model")
    with pytest.raises(InputError, match="model.safetensors: is nothing that skn wrote and will not be replaced"):
        refuse_existing([tmp_path / "model.safetensors"], overwrite=True)


def test_two_folders_change_places_in_one_step(sets, monkeypatch):
    """Before every step one of the two stands there whole."""
    steps = []
    for name in ("rename", "unlink", "rmdir", "replace", "fsync"):
        original = getattr(os, name)

        def looked_at(target, *args, original=original, **kwargs):
            steps.append((sets / "deep" / "a.txt").read_text())
            return original(target, *args, **kwargs)

        monkeypatch.setattr(os, name, looked_at)
    fill(sets, "second")
    assert steps[0] == "first" and steps[-1] == "second" and steps == sorted(steps)


@pytest.mark.parametrize("killed_at, text", [(0, "first"), (1, "first"), (None, "second")])
def test_where_they_cannot_the_next_command_puts_the_old_one_back(sets, monkeypatch, killed_at, text):
    """On a file system without that step there are two renames; the kill comes before one of them, or never."""
    rename, renames = os.rename, []

    def killed(source, target):
        renames.append(target)
        if len(renames) - 1 == killed_at:
            raise KeyboardInterrupt
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(folders, "_exchanged", lambda *_: False)
        patch.setattr(folders, "restore", lambda _: None)  # a killed process restores nothing
        patch.setattr(os, "rename", killed)
        with contextlib.suppress(KeyboardInterrupt):
            fill(sets, "second")
    assert sets.exists() == (killed_at != 1)
    folders.refuse_occupied(sets, "folder of neuron sets", overwrite=True)
    assert (sets / "deep" / "a.txt").read_text() == text
    assert [path.name for path in sets.parent.iterdir()] == ["sets"]


def test_every_file_is_synced_before_it_appears(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")) or fsync(fd))
    fill(tmp_path / "sets", "x")
    names = [Path(path).name for path in synced]
    assert {"a.txt", "deep", tmp_path.name} <= set(names) and names[-1] == tmp_path.name


def test_files_are_as_readable_as_their_folder(tmp_path):
    with folders.appearing(tmp_path / "model") as partial:
        save_file({"a": torch.zeros(2)}, partial / "model.safetensors")
        (partial / "config.json").write_text("{}")
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "model").iterdir()}
    assert modes == {(tmp_path / "model").stat().st_mode & 0o666}


def test_leftovers_of_dead_processes_go_and_of_living_ones_stay(tmp_path):
    dead = 2**22 + 1  # above the largest number that Linux gives a process
    mine = atomic.temporary_of(tmp_path / "a")
    left = tmp_path / mine.name.replace(str(os.getpid()), str(dead))
    parent = tmp_path / mine.name.replace(str(os.getpid()), str(os.getppid()))
    elsewhere = tmp_path / ".b.0badc0de-17.tmp"
    for file in (left, parent, elsewhere):
        file.write_text("half")
    users = tmp_path / ".mine.tmp"
    users.write_text("a user's")
    atomic.write_text(tmp_path / "c", "whole")
    assert not left.exists() and parent.exists() and elsewhere.exists() and users.exists()
    os.utime(elsewhere, (0, 0))
    atomic.remove_leftovers(tmp_path)
    assert not elsewhere.exists()


def test_what_a_killed_command_left_is_no_users(tmp_path):
    """A cell that was killed before its mark has a lock alone; a half-written model stands under a temporary name."""
    folders.mark(tmp_path, "sweep")
    cell, half = tmp_path / "a" / "seed-1", tmp_path / ".pruned.0badc0de-17.tmp"
    for folder in (cell, half):
        folder.mkdir(parents=True)
    (cell / folders.LOCK).touch()
    (cell / ".splits.safetensors.0badc0de-17.tmp").touch()
    (half / ".tmpl9dXuv").touch()
    folders.refuse_occupied(tmp_path, "sweep", overwrite=True)
    folders.clear(tmp_path, "sweep")
    assert [path.name for path in tmp_path.iterdir()] == [folders.MARK]


def test_a_users_hidden_file_is_no_leftover(tmp_path):
    (tmp_path / ".draft.tmp").write_text("a user's")
    assert not folders.is_vacant(tmp_path)
    folders.mark(tmp_path, "run")
    with pytest.raises(InputError, match=r"holds \.draft\.tmp, which skn did not write"):
        folders.refuse_occupied(tmp_path, "run", overwrite=True)


@pytest.mark.parametrize("name", ["tuned", "splits", "moments-mean", "hits-test", "accuracy-mean-test", "neurons"])
def test_a_damaged_file_of_a_run_is_not_taken_for_a_users(tmp_path, name):
    folders.mark(tmp_path, "run")
    (tmp_path / f"{name}.safetensors").write_bytes(b"torn")
    folders.refuse_occupied(tmp_path, "run", overwrite=True)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"holds model\.safetensors, which skn did not write"):
        folders.refuse_occupied(tmp_path, "run", overwrite=True)


def test_a_users_model_in_a_run_is_not_replaced(tmp_path):
    folders.mark(tmp_path, "run")
    (tmp_path / "model.safetensors").write_bytes(b"a user's")
    (tmp_path / "neurons.safetensors").write_bytes(b"torn")
    refuse_existing([tmp_path / "neurons.safetensors"], overwrite=True)
    with pytest.raises(InputError, match="is nothing that skn wrote and will not be replaced"):
        refuse_existing([tmp_path / "model.safetensors"], overwrite=True)


@pytest.mark.parametrize("name", ["..", "../joy", "/abs/joy", "a/../../b", "", "a//b", "a\\b", "a\x1b]0;b", "a\0"])
def test_no_name_leads_out_of_a_folder(tmp_path, name):
    with pytest.raises(InputError, match="is no name for what stands in this folder"):
        folders.below(tmp_path, name)


def test_names_inside(tmp_path):
    assert folders.below(tmp_path, "goemotions/joy", "seed-1") == tmp_path / "goemotions" / "joy" / "seed-1"
    assert folders.below(tmp_path, "喜び-1.csv").parent == tmp_path


def test_a_mark_knows_the_digest_of_every_file(sets):
    found = folders.read_mark(sets)
    assert list(found.files) == ["deep/a.txt"] and len(found.files["deep/a.txt"]) == 32
    documents.write(sets / folders.MARK, "another", {})
    with pytest.raises(InputError, match="holds 'another', expected 'folder'"):
        folders.read_mark(sets)


def test_a_folder_with_its_mark_alone_is_vacant(tmp_path):
    """A process was killed before it wrote more; a file of that name that is no mark is a user's."""
    folders.mark(tmp_path, "run")
    assert folders.is_vacant(tmp_path)
    (tmp_path / folders.MARK).write_text("mine")
    assert not folders.is_vacant(tmp_path)


@pytest.mark.parametrize("name", ["mask-mine.json", "evaluate-mine.json", "checkpoints/me.txt"])
def test_a_name_that_is_only_like_one_of_a_runs_is_a_users(tmp_path, name):
    folders.mark(tmp_path, "run")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("a user's")
    with pytest.raises(InputError, match="which skn did not write"):
        folders.refuse_occupied(tmp_path, "run", overwrite=True)
