"""Folders that skn makes: each carries a mark, ``skn.json``, and is replaced or emptied only where the mark is right.

A mark says of which kind a folder is. Beside it may stand what skn writes into such a folder, and other folders with a
mark of their own; where anything else stands there, a user has put it there and nothing is deleted.
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
    """What ``skn.json`` says: the kind of a folder, and the digest of each file that it was made with."""

    of: str
    files: dict[str, str] = field(default_factory=dict)
    about: dict | None = None


def mark(folder: Path, kind: str, files: dict[str, str] | None = None, about: dict | None = None) -> None:
    """Write the mark of a folder; ``about`` is what a reader may want to know of it, as JSON."""
    assert kind in FOLDER_KINDS
    documents.write(folder / MARK, MARK_KIND, {"of": kind, "files": files or {}, "about": about})


def read_mark(folder: Path) -> Mark:
    """Raises :class:`InputError` for a folder without a mark, and for one that is damaged."""
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
    """A folder is only replaced where the user says so, and only one that skn made; raises :class:`InputError`."""
    restore(out)
    if is_vacant(out):
        return
    _refuse_foreign(out, kind, option)
    if not overwrite:
        raise InputError(f"{out}: exists already; {ways_out(resume_option, name_option)}")


def ways_out(resume_option: bool, name_option: bool) -> str:
    """What to do about a result that is there, by the options that the command has."""
    resume = ", --resume continues" if resume_option else ""
    name = ", --name NAME keeps both" if name_option else ""
    return f"--overwrite replaces it{resume}{name}"


def is_vacant(out: Path) -> bool:
    """Nothing stands there, or only what a process left that was killed before it began."""
    if not out.is_dir() or out.is_symlink():
        return not stands(out)
    entries = {entry.name for entry in out.iterdir() if not atomic.is_temporary(entry.name)} - {LOCK}
    return not entries or (entries == {MARK} and (found := mark_of(out)) is not None and not found.files)


def _refuse_foreign(out: Path, kind: str, option: str) -> None:
    """Raises :class:`InputError` where ``out`` is not such a folder or holds what skn did not write."""
    other = f"and will not be deleted; choose another {option}"
    found = mark_of(out)
    if out.is_symlink() or found is None or found.of != kind:
        what = f"a {found.of}" if found else f"no {MARK} in it that says so"
        raise InputError(f"{out}: is no {kind} of skn ({what}) {other}")
    foreign = next(_foreign(out, found), None)
    if foreign is not None:
        raise InputError(f"{out}: holds {foreign.relative_to(out)}, which skn did not write, {other}, or move it away")


def mark_of(folder: Path) -> Mark | None:
    """The mark of a folder, if it has a whole one."""
    with contextlib.suppress(InputError):
        return read_mark(folder)
    return None


def check_files(folder: Path, *, made_by_skn: bool = False) -> None:
    """Refuse a folder of skn's whose files are not those that it was made with; raises :class:`InputError`.

    Without a mark it is not looked at (``made_by_skn``: with a note); one of format 1 has no digests, and a note.
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
    """The files below a folder that neither its mark nor one of a folder inside knows."""
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
            if name == LOCK or atomic.is_temporary(name):  # of a command that was killed, perhaps before it made a mark
                continue
            patterns = FOLDER_KINDS.get(found.of, ())
            if relative not in known and not any(fnmatchcase(relative, p) for p in patterns):
                if not _says_it_is_ours(place / name, NAMED_DOCUMENTS.get(found.of, {})):
                    yield place / name


def _says_it_is_ours(file: Path, documents_by_name: dict[str, str]) -> bool:
    """An artifact, a csv file of predictions, or a document of the kind that its name promises."""
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
    """Whether a file is one of those that skn adds to the folder where it stands, by the folder's mark.

    Not those that the folder was made with: they are replaced with the folder, all together.
    """
    found = mark_of(file.parent)
    return found is not None and any(fnmatchcase(file.name, pattern) for pattern in FOLDER_KINDS.get(found.of, ()))


def clear(folder: Path, kind: str, keep: str | None = None) -> None:
    """Empty a folder of a kind; its mark and the file ``keep`` stay, so that it remains what it is at every moment.

    Makes the folder where there is none. Raises :class:`InputError` where it holds what skn did not write.
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
    """``root``/``names``; raises :class:`InputError` where a name, which a file said, would lead out of ``root``."""
    for name in names:
        if leads_out(name):
            raise InputError(
                f"{root}: {name!r} is no name for what stands in this folder; correct the file that says it"
            )
    return root.joinpath(*names)


# ---- replacing -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replaced(path: Path, kind: str, about: dict | None = None) -> Iterator[Path]:
    """A folder of a kind to be filled; it takes the place of ``path`` when the block ends well.

    ``about`` may be filled in the block. Raises :class:`InputError` as :func:`appearing` does, and where the old folder
    is not skn's.
    """
    with appearing(path) as partial:
        yield partial
        mark_filled(partial, kind, about)
        if not is_vacant(path):
            _refuse_foreign(path, kind, "--out")


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A folder to be filled that is ``path``, synced, when the block ends well.

    Until then what stands there is untouched, and on failure nothing is left of the new folder. Raises
    :class:`InputError` where something cannot be written.
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
        except InputError as error:  # of a file inside, which has another name while it is written
            if isinstance(error.__cause__, OSError):
                raise cannot_be_written(path, error.__cause__) from error
            raise
        finally:
            restore(path)
            shutil.rmtree(partial, ignore_errors=True)  # what stood there before, or what was not finished
    remove_leftovers(path.parent)


def mark_filled(folder: Path, kind: str, about: dict | None = None) -> None:
    """Mark a folder with all that stands in it, and the digests of the files."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / MARK)
    mark(folder, kind, {file.relative_to(folder).as_posix(): digests.of_file(file) for file in files}, about)


def fill(folder: Path, kind: str, files: dict[str, bytes]) -> None:
    """Write files into a folder and name them in its mark beforehand, beside those that it names already."""
    known = found.files if (found := mark_of(folder)) is not None and found.of == kind else {}
    mark(folder, kind, known | {name: digests.of_bytes(content) for name, content in files.items()})
    for name, content in files.items():
        atomic.write_bytes(below(folder, name), content)


def _sync(folder: Path) -> None:
    mode = folder.stat().st_mode & 0o666  # safetensors lets none but their owner read the files that it writes
    for below, _, files in os.walk(folder):
        for name in files:
            os.chmod(Path(below) / name, mode)
            atomic.sync(Path(below) / name)
        atomic.sync(Path(below))


def _change_places(new: Path, path: Path) -> None:
    """Afterwards ``new`` is ``path``; what stood there has the other's name, so that one of the two always stands."""
    if not path.exists():
        os.rename(new, path)
    elif not _exchanged(new, path):  # a file system that cannot: `restore` puts the old one back after a kill
        old = _old_of(path)
        shutil.rmtree(old, ignore_errors=True)
        os.rename(path, old)
        os.rename(new, path)
        shutil.rmtree(old, ignore_errors=True)
    changed(path)
    atomic.sync(path.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two paths change places in one step, where the system can."""
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _old_of(path: Path) -> Path:
    return path.parent / f".{path.name}.old"


def restore(path: Path) -> None:
    """Put back a folder whose replacement was killed between two renames; delete the old one where the new one stands."""
    old = _old_of(path)
    if mark_of(old) is None:
        return
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(old, path)
