"""Mask every run of a sweep with the sets of every attribute, beside matched random masks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from skn.errors import InputError, SknError
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.loaded import LoadedRun
from skn.names import named_of, pick
from skn.neurons.attribute_sets import AttributeSets
from skn.neurons.mask_options import refuse_int8
from skn.progress import measured
from skn.runs.mask_cell import MaskSettings, description, load_cell, mask_cell
from skn.runs.run import Run, timed
from skn.runs.sweep import Cell, Sweep
from skn.runs.workers import Placement, cell_workers
from skn.store import artifacts
from skn.store.atomic import remove_leftovers
from skn.store.folders import clear, is_vacant, refuse_occupied
from skn.store.locks import held
from skn.store.provenance import ANEW, refuse_differences, resumed

log = logging.getLogger(__name__)

SWEEP_KINDS = ("zero", "scale")
SWEEP_MATCHES = ("layer", "overall")
MIN_DRAWS, MAX_DRAWS = 2, 2**15 - 1  # an interval needs two draws, and a count of draws is stored in 16 bits


@dataclass(frozen=True, kw_only=True)
class MaskSweepRequest:
    """The masks that the user asks for.

    None means all, or that skn chooses. skn draws ``controls`` random masks for each set.
    """

    sweep: Path
    sets: Path
    kind: str | None = None
    emotions: list[str] | None = None
    attributes: list[str] | None = None
    top: list[int] | None = None
    controls: int = 20
    match: str = "layer"
    split: str = "test"
    seed: int = 0
    name: str | None = None
    compute: Compute = AS_TRAINED


@dataclass(frozen=True)
class MaskedSweep:
    """The result of masking: the cells, the neuron sets, and the settings, which give the path of every file."""

    cells: list[Cell]
    sets: AttributeSets
    settings: MaskSettings


def mask_sweep(
    request: MaskSweepRequest, placement: Placement, overwrite: bool = False, resume: bool = False
) -> MaskedSweep:
    """Write a ``masked`` file for each cell and attribute into ``SWEEP/masked/SETS[@NAME]/``.

    Raises :class:`InputError` before anything is written.
    """
    refuse_int8(request.compute.dtype)
    sweep, sets = Sweep.open(request.sweep), AttributeSets.open(request.sets)
    settings = _settings(request, sweep, sets)
    chosen = pick(request.emotions, sweep.conditions, "--emotions", f"{sweep.path}: emotions")
    refuse_occupied(settings.out, "masked sweep", overwrite or resume, resume_option=True, name_option=True)
    runs = sweep.only(chosen).finished_runs()
    cells = list(runs)
    placement = placement.filled(runs[cells[0]].config.placed(request.compute)[0])
    _check_alike(runs)
    loaded = load_cell(runs[cells[0]], settings)
    _check_sets(sets, settings, loaded)
    with held(settings.out):
        if resume:
            _check_done(runs, sets, settings, loaded)
            remove_leftovers(settings.out, below=True)
        if not resume or is_vacant(settings.out):
            clear(settings.out, "masked sweep")
        try:
            with timed(sweep.path, f"mask {settings.out.name}"):
                _mask(runs, settings, placement)
        # remove the files that worker processes were writing when they ended with this process
        except KeyboardInterrupt:
            remove_leftovers(settings.out, below=True)
            raise
    return MaskedSweep(cells, sets, settings)


def _mask(runs: dict[Cell, Run], settings: MaskSettings, placement: Placement) -> None:
    """Mask every cell. The time left is estimated from the number of examples that are still to be read."""
    cells, evaluations = list(runs), {cell: settings.pending_evaluations(cell) for cell in runs}
    attributes, total = len(settings.attributes), sum(evaluations.values())
    log.info(
        "%d cells x (1 unmasked + %s): %d evaluations, %d to do",
        len(cells), _masks(settings), len(cells) * settings.evaluations(attributes), total,
    )  # fmt: skip
    examples = {cell: len(artifacts.load(runs[cell].splits_file, "splits")[settings.split]) for cell in cells}
    work = sum(evaluations[cell] * examples[cell] for cell in cells)
    hint = "; --emotions, --attributes and --top cut it, --resume goes on after an interruption"
    threads = max(1, torch.get_num_threads() // (placement.workers or 1))
    steps = total if placement.plain else len(cells)  # worker processes report whole cells only
    with measured(steps, work, "mask", hint) as advance, cell_workers(placement, threads) as run:
        if placement.plain:
            for cell in cells:
                mask_cell(cell, settings, lambda cell=cell: advance(examples[cell]))
            return
        for outcome in run(partial(mask_cell, settings=settings), cells):
            if outcome.error is not None:
                raise SknError(f"{outcome.cell}: {outcome.error}; --resume tries it again")
            advance(evaluations[outcome.cell] * examples[outcome.cell])


def _masks(settings: MaskSettings) -> str:
    """Write the number of masks of a cell as a product."""
    attributes, sizes, draws = len(settings.attributes), len(settings.top), settings.draws
    if settings.drawn_for == "size":
        return f"{sizes} sizes x ({attributes} attributes + {draws} draws for all of them)"
    return f"{attributes} attributes x {sizes} sizes x (1 + {draws} draws)"


# ---- the settings -------------------------------------------------------------------------------------------------


def _settings(request: MaskSweepRequest, sweep: Sweep, sets: AttributeSets) -> MaskSettings:
    kind = request.kind or ("scale" if sets.kind == "scale" else "zero")
    if kind not in SWEEP_KINDS:
        raise InputError(
            f"--kind {kind}: a sweep is masked by {' or '.join(SWEEP_KINDS)}; 'skn mask --run' has all kinds"
        )
    if kind == "scale" and sets.kind != "scale":
        raise InputError(f"--kind scale: {sets.path} has no factors; 'skn select --rsa FILE --kind scale' makes them")
    if request.match not in SWEEP_MATCHES:
        raise InputError(
            f"--match {request.match}: a sweep takes {' or '.join(SWEEP_MATCHES)}, one of them; 'skn mask --run' has all, "
            "several at once"
        )
    if not MIN_DRAWS <= request.controls <= MAX_DRAWS:
        raise InputError(
            f"--controls {request.controls}: a sweep takes {MIN_DRAWS} to {MAX_DRAWS}; an interval over the draws needs two of them"
        )
    return MaskSettings(
        sweep=sweep.path.resolve(),  # a worker has another working folder
        sets=sets.path.resolve(),
        out=sweep.path.resolve() / "masked" / named_of("", sets.name, "--sets", request.name),
        attributes=tuple(pick(request.attributes, sets.attributes, "--attributes", f"{sets.path}: attributes")),
        top=tuple(_top(request.top, sets)),
        kind=kind,
        match=request.match,
        draws=request.controls,
        seed=request.seed,
        split=request.split,
        compute=request.compute,
    )


def _top(wanted: list[int] | None, sets: AttributeSets) -> list[int]:
    counts = sets.top if wanted is None else wanted
    unknown = [count for count in counts if count not in sets.top]
    if unknown:
        there = ", ".join(map(str, sets.top))
        raise InputError(f"--top {unknown[0]}: {sets.path} was cut at {there}; 'skn select --rsa' cuts it elsewhere")
    return counts


# ---- checks of existing files -------------------------------------------------------------------------------------


def _check_alike(runs: dict[Cell, Run]) -> None:
    """Check that all cells have the same backbone and the same way of tuning, so that one model can serve them all."""
    first, *others = runs
    first_shape = _shape(runs[first])
    for cell in others:
        shape = _shape(runs[cell])
        for name, value in shape.items():
            if value != first_shape[name]:
                raise InputError(
                    f"{runs[cell].path}: {name} {value}, but {first_shape[name]} in {runs[first].path}; the cells of a "
                    f"sweep share a backbone and a method: delete the one of the two that is of another sweep, and "
                    f"'skn sweep --resume' trains it"
                )


def _shape(run: Run) -> dict[str, object]:
    tuned = run.tuned()
    return {
        "backbone": run.config.backbone,
        "backbone digest": tuned.provenance["backbone_digest"],
        "method": tuned.meta["method"],
        "first position": tuned.meta["position_start"],
        "tuned tensors": {name: list(tensor.shape) for name, tensor in sorted(tuned.tensors.items())},
    }


def _check_sets(sets: AttributeSets, settings: MaskSettings, loaded: LoadedRun) -> None:
    """Check that every set fits this backbone's shape and, if the set names its backbone, that it is this backbone."""
    for attribute in settings.attributes:
        for count in settings.top:
            sets.load(attribute, count, loaded.provenance, loaded.model.backbone.present)


def _check_done(runs: dict[Cell, Run], sets: AttributeSets, settings: MaskSettings, loaded: LoadedRun) -> None:
    """Check that the files of an interrupted command have the same settings as this command."""
    digests = {attribute: sets.digest(attribute, settings.top) for attribute in settings.attributes}
    computed = {name: loaded.provenance[name] for name in ("dtype", "device", "engine")}
    for cell, run in runs.items():
        source = resumed(run.identity() | computed)
        pending = settings.pending(cell)
        for attribute in (name for name in settings.attributes if name not in pending):
            masked = artifacts.load(settings.file(cell, attribute), "masked")
            asked = source | description(cell, attribute, digests[attribute], settings)
            before = {"drawn_for": "attribute"}  # files of older versions, which do not say so
            refuse_differences(masked.path, {**before, **masked.provenance, **masked.meta}, asked, ANEW)
