"""Runs of one backbone that are measured side by side: what they must share, and how each is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.inference.loaded import LoadedRun
from skn.neurons.mask_options import refuse_int8
from skn.store.provenance import compare_provenance

# What tells two runs apart.
ONE_RUN = ("tuned", "task", "split_digest", "seed", "method", "template")


def other_runs(run: LoadedRun, on: Sequence[LoadedRun]) -> list[LoadedRun]:
    """Return the other runs. Raises :class:`InputError` if they cannot be measured beside ``run``."""
    others = [on] if isinstance(on, LoadedRun) else list(on)
    if not others or not all(isinstance(one, LoadedRun) for one in (run, *others)):
        raise InputError("off_target: give runs, of skn.tune or skn.open_run; 'on' is a list of one or more")
    refuse_unfit([(where(one), one.provenance) for one in (run, *others)])
    for one in (run, *others):
        refuse_int8(one.provenance["dtype"])
        if one.provenance["dtype"] != run.provenance["dtype"]:
            both = f"{one.provenance['dtype']}, {where(run)} in {run.provenance['dtype']}"
            raise InputError(f"{where(one)}: in {both}; open both in one dtype")
    return others


def refuse_unfit(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Refuse runs of another backbone than the first, and a run that is given twice.

    ``runs``: the place of each run, for the message, and its provenance. Raises :class:`InputError`.
    """
    first, own = runs[0]
    for i, (place, provenance) in enumerate(runs):
        compare_provenance(provenance, own, place, "neurons", other=first, way_out="give runs of one backbone")
        for before, other in runs[:i]:
            if other.get("tuned") is not None and all(other.get(name) == provenance.get(name) for name in ONE_RUN):
                raise InputError(f"{place}: is the same run as {before}; give each run once")


def run_names(runs: Sequence[LoadedRun]) -> list[str]:
    """Return a name for each run (:func:`names_of`)."""
    return names_of([(str(run.provenance["task"]), [run.path]) for run in runs])


def names_of(tasks: Sequence[tuple[str, Sequence[Path | None]]]) -> list[str]:
    """Name tasks, each with the folders of its runs, which are None in memory.

    Where several entries have one task, the folders stand behind it or, if folders have one name, their paths.
    """
    plain = [task for task, _ in tasks]
    short, whole = (
        [f"{task} ({','.join(_called(path, i, full) for path in paths)})" for i, (task, paths) in enumerate(tasks, 1)]
        for full in (False, True)
    )
    return [
        task if plain.count(task) == 1 else name if short.count(name) == 1 else path
        for task, name, path in zip(plain, short, whole, strict=True)
    ]


def _called(path: Path | None, place: int, full: bool) -> str:
    return f"in memory {place}" if path is None else str(path) if full else path.resolve().name


def where(run: LoadedRun) -> str:
    """Return the run's folder, for messages."""
    return f"the run on {run.provenance['task']}" if run.path is None else str(run.path)
