"""Import files of the original code bases as artifacts of skn."""

from __future__ import annotations

from pathlib import Path

import skn
from skn.errors import InputError
from skn.neurons import foreign, torch_files
from skn.neurons.foreign import Foreign
from skn.rsa.foreign_ranks import read_ranks
from skn.store import artifacts
from skn.store.output import refuse_existing


def import_foreign(
    files: list[Path],
    out: Path,
    as_: str | None = None,
    aggregate: str = "mean",
    *,
    overwrite: bool = False,
    columns: list[str] | None = None,
    shape: tuple[int, int] | None = None,
) -> Path:
    """Convert one file, or the accuracies of several seeds, into ``out``. Raises :class:`InputError`.

    skn recognises a file by its content; ``as_`` ("thresholds" or "accuracies") says what an array holds. Scores of
    several seeds become their ``aggregate``, "mean" or "min". A csv file is a table of ranks: ``columns`` chooses its
    columns, by default all, and ``shape`` (L, F) is the shape of its neurons.
    """
    if not files:
        raise InputError("skn import: name at least one file")
    if aggregate not in ("mean", "min"):
        raise InputError(f"--aggregate {aggregate}: expected mean or min")
    files, out = [Path(file) for file in files], Path(out)
    refuse_existing([out], overwrite)
    converted = [_ranks(file, as_, columns, shape) if _is_csv(file) else _convert(file, as_) for file in files]
    if (columns or shape) and not any(map(_is_csv, files)):
        raise InputError(f"--column and --shape are for a csv of ranks; {files[0]} is none")
    merged = _merge(files, converted, aggregate)
    provenance = {
        "imported_from": ", ".join(file.name for file in files),
        "format": merged.format,
        "source_code": merged.source_code,
        "prompt_length": merged.prompt_length,
        "skn_version": skn.__version__,
    }
    refuse_existing([out], overwrite, kind=merged.kind)
    return artifacts.save(out, merged.kind, merged.tensors, provenance, **merged.meta)


def _is_csv(file: Path) -> bool:
    return file.suffix.lower() == ".csv"


def _ranks(file: Path, as_: str | None, columns: list[str] | None, shape: tuple[int, int] | None) -> Foreign:
    if as_ is not None:
        raise InputError(f"--as {as_}: {file} is a csv, whose columns are ranks")
    return read_ranks(file, columns, shape)


def _convert(file: Path, as_: str | None) -> Foreign:
    content = torch_files.read(file)
    try:
        return foreign.convert(content, as_)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _merge(files: list[Path], converted: list[Foreign], aggregate: str) -> Foreign:
    """Return the one artifact of all files. Only accuracies may come from several files."""
    first = converted[0]
    if all("score" in other.tensors for other in converted):
        try:
            return foreign.aggregate_scores(converted, aggregate)
        except InputError as error:
            raise InputError(f"{files[0]} and others: {error}") from error
    if len(converted) > 1:
        what = ", ".join(f"{file} ({other.format})" for file, other in zip(files, converted, strict=True))
        raise InputError(f"only accuracies of several seeds become one file, these do not: {what}")
    return first
