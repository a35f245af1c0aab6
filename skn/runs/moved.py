"""Use backbones and data at a new place if they were moved since a training began, and are still the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from skn.data.splits import digest_at
from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.runs.config import RunConfig
from skn.runs.origin import absolute
from skn.runs.run import Run
from skn.runs.sweep import Sweep
from skn.store import artifacts
from skn.store.foreign_files import stands


def is_another(run: Run, place: str) -> bool:
    """Say whether ``place`` holds data other than the run's data.

    If the run's own data is gone, the answer is no without a look, because ``place`` may be where that data is now.
    """
    own = run.config.data.data
    gone = own is not None and Path(own).is_absolute() and not Path(own).exists()
    return not gone and not _same_data(run, place)


def moved_run(run: Run, said: Mapping[str, Any]) -> tuple[Run, dict[str, Any]]:
    """Return the run with the new places of backbone and data, and the rest of ``said``.

    A place stays in the rest if its backbone or data is another one, or if the run does not know enough to compare
    them.
    """
    config, rest = run.config, dict(said)
    if "backbone" in rest and _same_backbone(config, rest["backbone"]):
        config = replace(config, backbone=absolute(rest.pop("backbone")))
    if "data" in rest and _same_data(run, rest["data"]):
        config = replace(config, data=replace(config.data, data=absolute(rest.pop("data"))))
    return Run(run.path, config, run.training), rest


def moved_sweep(sweep: Sweep, said: Mapping[str, Any]) -> tuple[Sweep, dict[str, Any]]:
    """Do the same for a sweep, by the first cell with a run: all cells began with the same backbone and data."""
    begun = next(_begun(sweep), None) if {"backbone", "data"} & said.keys() else None
    if begun is None:
        return sweep, dict(said)
    run, rest = moved_run(begun, said)
    settings = dict(sweep.settings)
    if "backbone" in said and "backbone" not in rest:
        settings["backbone"] = run.config.backbone
    if "data" in said and "data" not in rest:
        settings["data"] = {**settings["data"], "data": run.config.data.data}
    return replace(sweep, settings=settings), rest


def _begun(sweep: Sweep) -> Iterator[Run]:
    for cell in sweep.cells:
        with suppress(InputError):  # a missing or damaged run is an error of its own cell
            run = sweep.begun(cell)
            if run is not None:
                yield run


def _same_backbone(config: RunConfig, place: str) -> bool:
    if absolute(place) == config.backbone:
        return True
    return config.backbone_digest is not None and _digest_at(place, config) == config.backbone_digest


def _digest_at(place: str, config: RunConfig) -> str | None:
    """Return the digest of another place's weights, loaded as the run loads its own, because one device may not hold them."""
    return Backbone.load(place, config.device, config.dtype, config.device_map).loaded_digest


def _same_data(run: Run, place: str) -> bool:
    spec = run.config.data
    if absolute(place) == spec.data:
        return True
    if not stands(run.splits_file):
        return False
    try:
        found = digest_at(replace(spec, data=absolute(place)))
    except InputError:
        return False
    return found == artifacts.load(run.splits_file, "splits").provenance.get("split_digest")
