"""``skn mask --on``: what masking one run's neurons costs other runs of the same backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skn.console import show, tell
from skn.inference.processes import everywhere
from skn.names import named
from skn.neurons import off_target as library
from skn.neurons.mask_options import refuse_int8
from skn.neurons.side_by_side import refuse_unfit
from skn.runs.run import Run, timed
from skn.stages.mask import MaskRequest
from skn.store.output import refuse_existing


def off_target(
    run_path: Path, on: Sequence[Path], request: MaskRequest, overwrite: bool = False, resume: bool = False
) -> Path:
    """Write ``off-target-<kind>[-<name>].json`` into the folder of ``run_path`` and print its tables."""
    run, others = Run.open(run_path), [Run.open(path) for path in on]
    library.check(request.options)
    refuse_int8(request.compute.dtype)
    refuse_unfit([(str(one.path), one.identity()) for one in (run, *others)])  # before the backbone is loaded
    stem = named(f"off-target-{request.options.kind}", request.name)
    out = run.path / f"{stem}.json"
    refuse_existing([out], overwrite or resume, resume_option=True, name_option=True)
    loaded = everywhere(run.load, request.compute)
    own_data = replace(request.compute, data=None)  # the place of --data is that of the ranking's own run
    rest = [everywhere(other.load, own_data, (), loaded) for other in others]
    with timed(run_path, stem):
        harm = library.off_target(
            loaded,
            rest,
            request.neurons,
            request.fractions,
            request.layers,
            options=request.options,
            batch_tokens=request.compute.batch_tokens,
            name=request.name,
            out=out,
            overwrite=overwrite,
            resume=resume,
        )
    show(harm.matrix())
    show(harm.table())
    for note in harm.notes:
        tell(note)
    return out
