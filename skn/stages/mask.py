"""``skn mask``: accuracy and AUC while the skill neurons are masked, beside matched random controls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skn.console import show
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.processes import everywhere
from skn.names import named
from skn.neurons import mask as library
from skn.neurons.mask_options import MaskOptions, refuse_int8
from skn.runs.run import Run, timed
from skn.store.output import refuse_existing


@dataclass(frozen=True, kw_only=True)
class MaskRequest:
    """The options of ``skn mask --run``."""

    options: MaskOptions = MaskOptions()
    compute: Compute = AS_TRAINED
    neurons: Path | None = None
    fractions: list[float] | None = None
    layers: range | None = None
    thresholds: Path | None = None
    name: str | None = None


def mask(run_path: Path, request: MaskRequest, overwrite: bool = False, resume: bool = False) -> Path:
    """Write ``mask-<kind>[-<name>].json`` and print it.

    Each fraction has its accuracy and AUC, each with the mean and 95% interval of the controls of each match. Controls
    of equal activity have a second table, which says how alike they are.
    """
    run = Run.open(run_path)
    request.options.check()
    refuse_int8(request.compute.dtype)  # before a run is loaded, because a run in int8 is calibrated then
    stem = named(f"mask-{request.options.kind}", request.name)
    out = run.path / f"{stem}.json"
    refuse_existing([out], overwrite or resume, resume_option=True, name_option=True)
    loaded = everywhere(run.load, request.compute)
    with timed(run_path, stem):
        masked = library.mask(
            loaded,
            request.neurons,
            request.fractions,
            request.layers,
            options=request.options,
            thresholds=request.thresholds,
            batch_tokens=request.compute.batch_tokens,
            name=request.name,
            out=out,
            overwrite=overwrite,
            resume=resume,
        )
    show(masked.table())
    if (alike := masked.balance()) is not None:
        show(alike)
    return out
