"""A run: the directory of one tuned prompt and of everything that is computed from it.

``run.json`` holds the settings and how training went. The artifacts have fixed names beside it. ``timings.json`` holds
the times alone, because every other file is the same, byte for byte, when the same run is made again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from skn.data.spec import DataSpec
from skn.data.splits import load_splits, without_rows
from skn.errors import InputError
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.engine import choose_engine
from skn.inference.loaded import LoadedRun
from skn.inference.readouts import options_of
from skn.int8.convert import compute_in_int8
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.neurons.probed import Probe, read_probe
from skn.runs.config import RunConfig, RunDocument
from skn.runs.origin import absolute, asked_for, provenance_of
from skn.runs.tuned import build_tuned
from skn.store import artifacts, atomic, documents, folders
from skn.store.artifacts import Artifact
from skn.store.digests import identity_of
from skn.store.foreign_files import stands
from skn.store.provenance import compare_provenance
from skn.training.outcome import TrainResult


class Run:
    """The directory and configuration of a run."""

    def __init__(self, path: Path, config: RunConfig, training: dict[str, Any] | None):
        self.path = path
        self.config = config
        self.training = training

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a finished run. Raises :class:`InputError`."""
        return cls.open_unfinished(path).finished()

    @classmethod
    def open_unfinished(cls, path: Path | str) -> Run:
        file = Path(path) / "run.json"
        if not stands(file):
            raise InputError(f"{path}: not a run (no run.json in it); 'skn train --out DIR' makes one")
        stored = documents.read(file, "run", RunDocument, "train the run again")
        config = {**stored["config"], "data": DataSpec(**stored["config"]["data"])}
        return cls(Path(path), RunConfig(**config), stored["training"])

    def finished(self) -> Run:
        """Return this run. Raises :class:`InputError` if its training has not ended."""
        if not self.is_done:
            resume = f"continue it with 'skn train --resume --out {self.path}'"
            raise InputError(f"{self.path}: training has not finished; {resume}")
        return self

    def save(self) -> None:
        documents.write(self.path / "run.json", "run", {"config": asdict(self.config), "training": self.training})

    @property
    def is_done(self) -> bool:
        """Whether training has ended, and the tuned tensors and the splits exist."""
        return self.training is not None and stands(self.tuned_file) and stands(self.splits_file)

    def check(self) -> None:
        """Refuse a finished run if its tuned tensors or splits are damaged. Raises :class:`InputError`."""
        for kind, file in (("tuned", self.tuned_file), ("splits", self.splits_file)):
            try:
                artifacts.load(file, kind)
            except InputError as error:
                again = f"delete this file, and 'skn train --resume --out {self.path}' trains the run again"
                raise InputError(f"{file}: damaged, though the training is complete; {again}") from error

    def outcome(self) -> TrainResult:
        """Return the result of the training."""
        stored = {name: value for name, value in self.training.items() if name != "truncated"}
        if stored.get("examples") is None:  # runs of older versions do not store the number
            stored["examples"] = len(artifacts.load(self.splits_file, "splits")["validation"])
        return TrainResult(**stored)

    @property
    def times(self) -> dict[str, float]:
        """The seconds that each stage took when it last ran."""
        return read_times(self.path)

    def clear(self) -> None:
        """Delete the run's files. ``run.json`` stays until a new one replaces it, so the folder remains a run."""
        folders.clear(self.path, "run", keep="run.json")

    # ---- files -----------------------------------------------------------------------------------------------

    @property
    def splits_file(self) -> Path:
        return self.path / "splits.safetensors"

    @property
    def tuned_file(self) -> Path:
        return self.path / "tuned.safetensors"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def file(self, kind: str, *parts: str) -> Path:
        """Return the path of an artifact (:func:`skn.store.artifacts.path_in`)."""
        return artifacts.path_in(self.path, kind, *parts)

    # ---- loading ---------------------------------------------------------------------------------------------

    def load(
        self,
        compute: Compute = AS_TRAINED,
        readouts: Sequence[str] = (),
        reuse: LoadedRun | None = None,
        rows: bool = True,
    ) -> LoadedRun:
        """Load backbone, tuned tensors, tokenizer and data, as trained or on another device or dtype.

        ``compute.engine`` "hf" or "fast" replaces the engine that skn chooses for the backbone and the read-outs
        (:func:`choose_engine`). ``reuse`` is a loaded run of the same backbone. This run's model then shares that
        backbone, its device and its dtype, and skn loads only the tuned tensors and the data. Without ``rows``, skn
        does not read the run's data, which may be gone, and takes only the classes from the run's files.
        """
        tuned = self.tuned()
        if rows or compute.dtype == "int8":
            needed = None if rows else "--dtype int8 is calibrated on it: put it back, or leave the option out"
            data = load_splits(self.data_at(compute.data, needed), self.splits_file)
        else:
            data = without_rows(self.config.data, self.splits_file)
        if reuse is None:
            (device, device_map), dtype = self.config.placed(compute), compute.dtype or self.config.dtype
            place = self.backbone_at(compute.backbone)
            backbone, tokenizer = Backbone.load(place, device, dtype, device_map), load_tokenizer(place)
            self.refuse_other(backbone, place)
        else:
            device, dtype = reuse.provenance["device"], reuse.provenance["dtype"]
            backbone, tokenizer = reuse.model.backbone, reuse.tokenizer
        provenance = provenance_of(self.config, backbone, data, device, dtype)
        artifacts.check_provenance(tuned, provenance)
        provenance["tuned"] = identity_of(tuned.tensors)
        model = build_tuned(backbone, tuned)
        if dtype == "int8" and reuse is not None:
            raise InputError("--dtype int8: it is calibrated for one prompt, and here prompts share a backbone")
        provenance["engine"] = choose_engine(model.backbone, compute.engine, readouts)
        config = self.config
        loaded = LoadedRun(
            model,
            tokenizer,
            data,
            provenance=provenance,
            label_words=config.label_words,
            class_names=config.names_of(data.classes),
            max_length=config.max_length,
            template=config.words_around,
            path=self.path,
            validation_accuracy=self.training and self.training.get("best_accuracy"),
        )
        if dtype == "int8":
            compute_in_int8(model, loaded.encoded("train"), str(self.path))
        return loaded

    def backbone_at(self, place: str | None) -> str:
        """Return the place of the backbone now. After loading, its digest says whether it is the run's own."""
        self._refuse_gone("backbone", place, self.config.backbone)
        return self.config.backbone if place is None else absolute(place)

    def data_at(self, place: str | None, way_out: str | None = None) -> DataSpec:
        """Return the data at its place now. The digest of its rows says whether it is the run's own."""
        self._refuse_gone("data", place, self.config.data.data, way_out)
        return self.config.data if place is None else replace(self.config.data, data=absolute(place))

    def _refuse_gone(self, what: str, now: str | None, then: str | None, way_out: str | None = None) -> None:
        if now is None and then is not None and Path(then).is_absolute() and not Path(then).exists():
            way_out = way_out or f"--{what} says where it stands now"
            raise InputError(f"{then}: the {what} of {self.path} is not there; {way_out}")

    def load_artifact(self, kind: str, *parts: str, hint: str) -> Artifact:
        """Load an artifact of this run. ``hint`` is the command that makes a missing artifact."""
        file = self.file(kind, *parts)
        if not stands(file):
            raise InputError(f"{file}: not there yet; run '{hint} --run {self.path}' first")
        return self.own(file, kind, self.identity())

    def own(self, file: Path, kind: str, identity: Mapping[str, Any]) -> Artifact:
        """Load an artifact that must belong to this run's tuned prompt. ``identity`` comes from :meth:`identity`."""
        return artifacts.load(file, kind, identity, whose=str(self.tuned_file))

    def probe(self, split: str, readout: str | None = None) -> Probe:
        """Return the counts of ``skn probe`` on a split, at a read-out or at the run's own. Raises :class:`InputError` if
        they are not there.
        """
        readout, own = readout or self.config.main_readout, self.config.main_readout
        hint = "skn probe" if readout == own else f"skn probe {options_of(readout)}"
        hits = self.load_artifact("hits", readout, split, hint=hint)
        moments = self.file("moments", readout)
        if stands(moments):  # an interrupted probe may have replaced the moments of these thresholds
            made = artifacts.load(moments, "moments")
            again = f"'{hint} --overwrite --run {self.path}' makes them alike"
            compare_provenance(
                made.provenance, hits.provenance, str(moments), "pass", other=str(hits.path), way_out=again
            )
            hits.fits(made.neurons, made.path.name)
        areas = self.file("auroc", readout, split)
        return read_probe(hits, areas if stands(areas) else None)

    def tuned(self) -> Artifact:
        """Load the tuned tensors. Raises :class:`InputError` if ``run.json`` or the splits belong to another run."""
        tuned = artifacts.load(self.tuned_file, "tuned")
        splits = artifacts.load(self.splits_file, "splits")
        again = "one of the two is another run's: put this run's own back, or train it again into another folder"
        for origin, file in ((asked_for(self.config), self.path / "run.json"), (splits.provenance, self.splits_file)):
            compare_provenance(tuned.provenance, origin, str(tuned.path), other=str(file), way_out=again)
        return tuned

    def identity(self) -> dict[str, Any]:
        """Return the provenance that this run's artifacts must match, without loading the backbone."""
        tuned = self.tuned()
        return {**tuned.provenance, "tuned": identity_of(tuned.tensors)}

    def refuse_other(self, backbone: Backbone, place: str) -> None:
        """Refuse a backbone other than the backbone under this run's prompt.

        ``place`` is the path or id of ``backbone``.
        """
        own, found = self.tuned().provenance.get("backbone_digest"), backbone.loaded_digest
        if own not in (None, found):
            raise InputError(
                f"{place}: another backbone than that of {self.tuned_file} (digest {found}, expected {own}); "
                f"--backbone says where the run's own stands now"
            )


def open_run(
    path: Path | str,
    device: str | None = None,
    dtype: str | None = None,
    engine: str | None = None,
    *,
    backbone: str | Path | None = None,
    data: str | Path | None = None,
    device_map: str | Mapping[str, int | str] | None = None,
) -> LoadedRun:
    """Open the folder of a run: load its backbone, prompt, tokenizer and data into memory.

    Args:
        path: the folder that ``skn.tune(out=…)`` or ``skn train`` made.
        device: "cpu" or "cuda"; by default as trained.
        dtype: "float32", "bfloat16", "float16", "bf16x3" or "int8"; by default as trained. int8 is calibrated on 320 texts of the train
            split, and serves ``skn.probe``, ``skn.evaluate`` and ``skn.predict``.
        engine: "hf", the Hugging Face forward, or "fast", skn's own encoder; by default fast where the backbone allows it.
        backbone: where the run's backbone is now, if it was moved. Another backbone is refused.
        data: where the run's data is now, if it was moved. Other data is refused.
        device_map: "auto" spreads a backbone that one device does not hold over the GPUs, the CPU's memory and the disk; with
            device="cpu", GPUs are left out. A dict gives the place of each part by its name: a GPU's number, "cpu" or
            "disk". By default as trained, if no ``device`` is given.

    Returns:
        The run, for ``skn.probe``, ``skn.mask``, ``skn.prune`` and the others.

    Raises:
        InputError: the folder holds no run; the run's training has not ended; the data has changed; the engine cannot serve the backbone.

    Example::

        >>> kept = skn.tune(backbone, data, ["negative", "positive"], prompt_length=4, epochs=0, out=out)
        >>> skn.open_run(out).model.prompt_length
        4
    """
    moved = {"backbone": None if backbone is None else str(backbone), "data": None if data is None else str(data)}
    return Run.open(path).load(Compute(device, dtype, engine, device_map=device_map, **moved))


def read_times(folder: Path) -> dict[str, float]:
    """Read ``timings.json`` of a run. A missing or damaged file counts as empty, because it holds only times."""
    file = folder / "timings.json"
    try:
        times = documents.parse(file, "it holds times only") if file.is_file() else {}
    except InputError:
        return {}
    return {stage: seconds for stage, seconds in times.items() if isinstance(seconds, float | int)}


@contextmanager
def timed(run_path: Path, stage: str) -> Iterator[None]:
    """Record in the run's ``timings.json`` how many seconds a stage took."""
    start = time.perf_counter()
    yield
    times = read_times(run_path)
    times[stage] = round(time.perf_counter() - start, 2)
    atomic.write_json(run_path / "timings.json", times)
