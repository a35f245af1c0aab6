"""``skn report --sweep`` and ``--rsa``: figures and one self-contained HTML page of a sweep, or of a searchlight alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from skn.errors import InputError
from skn.reports.read_masked import read_masked
from skn.reports.read_run import describe, write
from skn.reports.run_data import FileEntry
from skn.reports.sweep_data import Dropped, Grid, Searchlight, SweepReportData
from skn.reports.sweep_page import pictures_and_page
from skn.rsa.results import read_rsa
from skn.rsa.searchlight import ALPHA
from skn.runs.grid import DONE, FAILED, read_failures, state_of
from skn.runs.run import Run
from skn.runs.sweep import Cell, Sweep
from skn.store import artifacts
from skn.store.folders import check_files, mark_of
from skn.store.foreign_files import stands

DEFAULT_SHARE = 10  # a ranking without a k, such as an imported one, is cut at a tenth of its neurons

# Values of a single cell's provenance. The sweep's provenance leaves them out.
OF_A_CELL = ("task", "seed", "split_digest")


def report_sweep(path: Path) -> Path:
    """Write ``report/*.png``, ``report/*.csv`` and the page. Returns the page. A missing stage gives no section."""
    sweep = Sweep.open(path)
    return write(sweep.path / "report", *pictures_and_page(collect_sweep(sweep)))


def report_rsa(path: Path) -> Path:
    """Do the same for a folder that ``skn rsa`` wrote."""
    if not stands(path / "rsa.safetensors"):
        raise InputError(f"{path}: no searchlight (no rsa.safetensors in it); 'skn rsa --out DIR' makes one")
    searchlight = load_searchlight(path)
    over = f" over {len(searchlight.conditions)} conditions" if searchlight.conditions else ""
    title = f"Searchlight: {len(searchlight.attributes)} attributes{over}"
    files = list(_files(path, sorted(path.glob("*"))))
    return write(path / "report", *pictures_and_page(SweepReportData(title, searchlight=searchlight, files=files)))


def collect_sweep(sweep: Sweep) -> SweepReportData:
    """Read the sweep's files. Raises :class:`InputError` for a damaged file."""
    grid, runs = _grid(sweep)
    folder = sweep.path / "rsa"
    sets = sorted(found for found in (sweep.path / "masked").glob("*") if _was_made(found, "accuracy.csv"))
    provenance = runs[0].identity() if runs else {}
    backbone = provenance.get("backbone") or sweep.settings.get("backbone")
    files = [
        *sweep.path.glob("*.*"),
        *folder.glob("*"),
        *(file for set_folder in sets for file in set_folder.glob("*.*")),
    ]
    return SweepReportData(
        title=f"Emotion neurons: {len(sweep.tasks)} tasks × {len(sweep.seeds)} seeds on {backbone}",
        grid=grid,
        settings=sweep.settings,
        provenance={key: value for key, value in provenance.items() if key not in OF_A_CELL},
        searchlight=_searchlight_of(sweep) if _was_made(folder, "rsa.safetensors") else None,
        masked=[read_masked(set_folder, sweep) for set_folder in sets],
        files=list(_files(sweep.path, files)),
    )


def _was_made(folder: Path, file: str) -> bool:
    """Whether the file exists, or the folder's mark says that it existed."""
    return stands(folder / file) or ((mark := mark_of(folder)) is not None and file in mark.files)


# ---- the grid ------------------------------------------------------------------------------------------


def _grid(sweep: Sweep) -> tuple[Grid, list[Run]]:
    """Return the grid, and the runs of the cells that are done."""
    failed = read_failures(sweep)
    by_cell = {cell: _cell(sweep, cell, failed) for cell in sweep.cells}
    rows = [[by_cell[Cell(task, seed)] for seed in sweep.seeds] for task in sweep.tasks]
    outcomes = [[run.outcome() if state == DONE else None for state, run in row] for row in rows]
    accuracy = np.array([[np.nan if o is None else o.best_accuracy for o in row] for row in outcomes], dtype=float)
    interval = np.array([[(np.nan, np.nan) if o is None else o.interval for o in row] for row in outcomes], dtype=float)
    states = [[state for state, _ in row] for row in rows]
    errors = {str(cell): failed[str(cell)] for cell, (state, _) in by_cell.items() if state == FAILED}
    done = [run for state, run in by_cell.values() if state == DONE]
    return Grid(sweep.tasks, sweep.seeds, accuracy, states, errors, interval=interval), done


def _cell(sweep: Sweep, cell: Cell, failed: dict[str, str]) -> tuple[str, Run | None]:
    """Return a cell's state and its run. A damaged run raises here."""
    run = sweep.begun(cell)
    return state_of(run, str(cell) in failed), run


# ---- the searchlight -----------------------------------------------------------------------------------


def _searchlight_of(sweep: Sweep) -> Searchlight:
    """Load the searchlight over the sweep's own prompts. Raises :class:`InputError` for a searchlight over others."""
    searchlight = load_searchlight(sweep.path / "rsa")
    again = f"run 'skn activate --sweep {sweep.path} --overwrite' and 'skn rsa --sweep {sweep.path} --overwrite'"
    sweep.refuse_foreign(sweep.path / "rsa" / "rsa.safetensors", searchlight.provenance, again)
    return searchlight


def load_searchlight(folder: Path) -> Searchlight:
    """Load the searchlight that ``skn rsa`` or ``skn import`` wrote into a folder. Raises :class:`InputError`."""
    artifact = artifacts.load(folder / "rsa.safetensors", "rsa")
    values = {name: t.numpy() for name, t in artifact.tensors.items() if name != "distance"}
    meta, (count, *shape) = artifact.meta, artifact["rank"].shape
    neurons = int(np.prod(shape))
    check_files(folder, made_by_skn=stands(folder / "rsa.json"))  # import writes the one file alone
    document = read_rsa(folder / "rsa.json") if stands(folder / "rsa.json") else {}
    tops = [k for k in meta.get("top") or [] if 0 < k <= neurons] or [max(1, neurons // DEFAULT_SHARE)]
    return Searchlight(
        attributes=meta["attributes"],
        values=values,
        conditions=meta.get("conditions") or [],
        seeds=meta.get("seeds") or [],
        permutations=meta.get("permutations") or 0,
        permutation_seed=meta.get("seed"),
        top=sorted(tops),
        alpha=document.get("alpha", ALPHA),
        stability=_stability(folder / "rsa.json", document.get("stability"), count),
        provenance=artifact.provenance,
    )


def _stability(file: Path, stability: dict[str, Any] | None, attributes: int) -> dict[str, Dropped]:
    by_kind = {}
    for what in ("seeds", "conditions"):
        entry = (stability or {}).get(what)
        if entry is None:
            continue
        names = [str(name) for name in entry["names"]]
        try:
            jaccard = {int(k): np.array(rows, dtype=float) for k, rows in entry["jaccard"].items()}
        except ValueError as error:
            raise InputError(f"{file}: damaged ({error}); run 'skn rsa --overwrite' again") from error
        if not jaccard or any(rows.shape != (len(names), attributes) for rows in jaccard.values()):
            raise InputError(
                f"{file}: damaged (the Jaccard indices of {what} are not one for each of them and each attribute); "
                f"run 'skn rsa --overwrite' again"
            )
        by_kind[what] = Dropped(names, jaccard)
    return by_kind


# ---- files ---------------------------------------------------------------------------------------------


def _files(folder: Path, files: list[Path]) -> Iterator[FileEntry]:
    """List files by name, without half-written (hidden) files, and without files of times, which differ between equal
    runs.
    """
    for file in sorted(files):
        if file.is_file() and not file.name.startswith(".") and file.name not in ("grid.csv", "timings.json"):
            yield FileEntry("/".join(file.relative_to(folder).parts), file.stat().st_size, *describe(file))
