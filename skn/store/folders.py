"""Folders that skn makes. Each has a mark, ``skn.json``; skn replaces or empties a folder only if the mark is right.

A mark says the kind of its folder. A folder may also hold files that skn writes into folders of this kind, and folders
with marks of their own. If it holds anything else, a user has put it there, and skn deletes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from skn.errors import InputError
from skn.names import leads_out
from skn.store import atomic, digests, documents
from skn.store.atomic import cannot_be_written, no_folder_left, remove_leftovers
from skn.store.changes import changed
from skn.store.folder_kinds import FOLDER_KINDS, NAMED_DOCUMENTS
from skn.store.foreign_files import check_file, stands

MARK = "skn.json"
LOCK = ".skn.lock"
MARK_KIND = "folder"


@dataclass
class Mark:
    """The content of ``skn.json``: the kind of a folder, and the digest of each file that the folder was made with."""

    of: str
    files: dict[str, str] = field(default_factory=dict)
    about: dict | None = None


def mark(folder: Path, kind: str, files: dict[str, str] | None = None, about: dict | None = None) -> None:
    """Write the mark of a folder. ``about`` is JSON for later readers of the folder."""
    assert kind in FOLDER_KINDS
    documents.write(folder / MARK, MARK_KIND, {"of": kind, "files": files or {}, "about": about})


def read_mark(folder: Path) -> Mark:
    """Read the mark of a folder. Raises :class:`InputError` if the mark is missing or damaged."""
    return Mark(**documents.read(folder / MARK, MARK_KIND, Mark, "give a folder that skn made", old_too=False))


def refuse_occupied(
    out: Path,
    kind: str,
    overwrite: bool,
    resume_option: bool = False,
    *,
    name_option: bool = False,
    option: str = "--out",
) -> None:
    """Replace a folder only with ``overwrite``, and only if skn made it. Raises :class:`InputError` otherwise."""
    restore(out)
    if is_vacant(out):
        return
    _refuse_foreign(out, kind, option)
    if not overwrite:
        raise InputError(f"{out}: exists already; {ways_out(resume_option, name_option)}")


def ways_out(resume_option: bool, name_option: bool) -> str:
    """Say what to do about an existing result, with the options that the command has."""
    resume = ", --resume continues" if resume_option else ""
    name = ", --name NAME keeps both" if name_option else ""
    return f"--overwrite replaces it{resume}{name}"


def is_vacant(out: Path) -> bool:
    """Whether nothing is there, or only what a process left that was killed before it began."""
    if not out.is_dir() or out.is_symlink():
        return not stands(out)
    entries = {entry.name for entry in out.iterdir() if not atomic.is_temporary(entry.name)} - {LOCK}
    return not entries or (entries == {MARK} and (found := mark_of(out)) is not None and not found.files)


def _refuse_foreign(out: Path, kind: str, option: str) -> None:
    """Raises :class:`InputError` if ``out`` is no such folder, or holds a file that skn did not write."""
    other = f"and will not be deleted; choose another {option}"
    found = mark_of(out)
    if out.is_symlink() or found is None or found.of != kind:
        what = f"a {found.of}" if found else f"no {MARK} in it that says so"
        raise InputError(f"{out}: is no {kind} of skn ({what}) {other}")
    foreign = next(_foreign(out, found), None)
    if foreign is not None:
        raise InputError(f"{out}: holds {foreign.relative_to(out)}, which skn did not write, {other}, or move it away")


def mark_of(folder: Path) -> Mark | None:
    """Return the mark of a folder, or None if it is missing or damaged."""
    with contextlib.suppress(InputError):
        return read_mark(folder)
    return None


def check_files(folder: Path, *, made_by_skn: bool = False) -> None:
    """Refuse a folder of skn's if its files have changed since skn made the folder. Raises :class:`InputError`.

    A folder without a mark is not checked; with ``made_by_skn`` a note says so. A mark of format 1 has no digests: a note.
    """
    if not stands(folder / MARK):
        return documents.note_unmarked(folder, MARK) if made_by_skn else None
    if not documents.says_its_kind(folder / MARK):
        documents.note_old(folder)
        return
    for name, digest in read_mark(folder).files.items():
        file = below(folder, name)
        check_file(file)
        if digests.of_file(file) != digest:
            raise InputError(
                f"{file}: not what skn wrote there (its digest differs): damaged, or saved anew; make the folder again, "
                f"or delete its {MARK} to use it as it is"
            )


def _foreign(folder: Path, found: Mark) -> Iterator[Path]:
    """Yield the files below a folder that neither its mark nor the mark of an inner folder covers."""
    known = {*found.files, MARK}
    for below, folders, files in os.walk(folder):
        place = Path(below)
        inner = {name: mark_of(place / name) for name in folders if (place / name / MARK).is_file()}
        for name, of in inner.items():
            if of is not None:
                yield from _foreign(place / name, of)
                folders.remove(name)
        folders[:] = [name for name in folders if not atomic.is_temporary(name)]
        for name in [*files, *(name for name in folders if (place / name).is_symlink())]:
            relative = (place / name).relative_to(folder).as_posix()
            # left by a command that was killed, perhaps before it made a mark
            if name == LOCK or atomic.is_temporary(name):
                continue
            patterns = FOLDER_KINDS.get(found.of, ())
            if relative not in known and not any(fnmatchcase(relative, p) for p in patterns):
                if not _says_it_is_ours(place / name, NAMED_DOCUMENTS.get(found.of, {})):
                    yield place / name


def _says_it_is_ours(file: Path, documents_by_name: dict[str, str]) -> bool:
    """Whether a file is an artifact, a csv of predictions, or a document of the kind that its name promises."""
    from skn.store.artifacts import read_description
    from skn.store.csv_tables import is_of_predictions

    if file.is_symlink():
        return False
    kinds = [kind for pattern, kind in documents_by_name.items() if fnmatchcase(file.name, pattern)]
    try:
        if kinds:
            return documents.parse(file, "").get("document") in kinds
        if file.suffix == ".csv":
            return is_of_predictions(file)
        return file.suffix == ".safetensors" and read_description(file) is not None
    except InputError:
        return False


def knows(file: Path) -> bool:
    """Whether the mark of the folder says that skn adds such a file to it.

    Files that the folder was made with do not count, because they are replaced together with the folder.
    """
    found = mark_of(file.parent)
    return found is not None and any(fnmatchcase(file.name, pattern) for pattern in FOLDER_KINDS.get(found.of, ()))


def clear(folder: Path, kind: str, keep: str | None = None) -> None:
    """Empty a folder of this kind, or make it. Its mark and the file ``keep`` stay, so the folder keeps its kind at
    every moment.

    Raises :class:`InputError` if the folder holds a file that skn did not write.
    """
    if not is_vacant(folder):
        _refuse_foreign(folder, kind, "--out")
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
            changed(entry)
        elif entry.name not in (MARK, LOCK, keep):
            atomic.remove(entry)
    mark(folder, kind)


def below(root: Path, *names: str) -> Path:
    """Return ``root``/``names``. Raises :class:`InputError` if a name, read from a file, leads out of ``root``."""
    for name in names:
        if leads_out(name):
            raise InputError(
                f"{root}: {name!r} is no name for what stands in this folder; correct the file that says it"
            )
    return root.joinpath(*names)


# ---- replacing -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replaced(path: Path, kind: str, about: dict | None = None) -> Iterator[Path]:
    """Yield a folder of this kind, which the caller fills. It replaces ``path`` when the block ends well.

    The caller may fill ``about`` in the block. Raises the errors of :func:`appearing`, and :class:`InputError` if skn
    did not make the old folder.
    """
    with appearing(path) as partial:
        yield partial
        mark_filled(partial, kind, about)
        if not is_vacant(path):
            _refuse_foreign(path, kind, "--out")


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield a folder, which the caller fills. When the block ends well, the folder is synced and becomes ``path``.

    Until then an old ``path`` is not touched. On failure nothing of the new folder stays. Raises :class:`InputError` if
    something cannot be written.
    """
    from safetensors import SafetensorError

    partial = atomic.temporary_of(path)
    with no_folder_left(path.parent):
        try:
            partial.mkdir(parents=True)
            yield partial
            _sync(partial)
            _change_places(partial, path)
        except (OSError, SafetensorError) as error:
            raise cannot_be_written(path, error) from error
        except InputError as error:  # the error names a file inside by its temporary path
            if isinstance(error.__cause__, OSError):
                raise cannot_be_written(path, error.__cause__) from error
            raise
        finally:
            restore(path)
            shutil.rmtree(partial, ignore_errors=True)  # the old folder, or an unfinished new one
    remove_leftovers(path.parent)


def mark_filled(folder: Path, kind: str, about: dict | None = None) -> None:
    """Mark a folder with all its files and their digests."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / MARK)
    mark(folder, kind, {file.relative_to(folder).as_posix(): digests.of_file(file) for file in files}, about)


def fill(folder: Path, kind: str, files: dict[str, bytes]) -> None:
    """Write files into a folder. Its mark names them first, beside the files that it names already."""
    known = found.files if (found := mark_of(folder)) is not None and found.of == kind else {}
    mark(folder, kind, known | {name: digests.of_bytes(content) for name, content in files.items()})
    for name, content in files.items():
        atomic.write_bytes(below(folder, name), content)


def _sync(folder: Path) -> None:
    mode = folder.stat().st_mode & 0o666  # safetensors makes its files readable for their owner alone
    for below, _, files in os.walk(folder):
        for name in files:
            os.chmod(Path(below) / name, mode)
            atomic.sync(Path(below) / name)
        atomic.sync(Path(below))


def _change_places(new: Path, path: Path) -> None:
    """Exchange ``new`` and ``path``, so that a folder is at ``path`` at every moment."""
    if not path.exists():
        os.rename(new, path)
    elif not _exchanged(new, path):  # this file system cannot exchange: `restore` puts the old folder back after a kill
        old = _old_of(path)
        shutil.rmtree(old, ignore_errors=True)
        os.rename(path, old)
        os.rename(new, path)
        shutil.rmtree(old, ignore_errors=True)
    changed(path)
    atomic.sync(path.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two paths in one step, if the system can do this."""
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _old_of(path: Path) -> Path:
    return path.parent / f".{path.name}.old"


def restore(path: Path) -> None:
    """Put back an old folder after a kill between two renames, or delete it if the new folder exists."""
    old = _old_of(path)
    if mark_of(old) is None:
        return
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(old, path)
