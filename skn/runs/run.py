"""A run: the directory of one tuned prompt and everything derived from it.

``run.json`` says what was asked for and how training went; the artifacts stand beside it under fixed names. Times
are kept apart in ``timings.json``: everything else is the same, byte for byte, when the same run is made again.
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
from skn.inference.hf import PROMPT
from skn.inference.loaded import LoadedRun
from skn.model.backbone import Backbone
from skn.model.extras import EXTRAS
from skn.model.pretrained import load_tokenizer
from skn.model.tuned import TunedModel
from skn.neurons.probed import Probe, read_probe
from skn.runs.config import RunConfig, RunDocument
from skn.runs.origin import absolute, asked_for, provenance_of
from skn.store import artifacts, atomic, documents, folders
from skn.store.artifacts import Artifact
from skn.store.digests import identity_of
from skn.store.foreign_files import stands
from skn.store.provenance import compare_provenance
from skn.training.outcome import TrainResult


class Run:
    """A run's directory and configuration."""

    def __init__(self, path: Path, config: RunConfig, training: dict[str, Any] | None):
        self.path = path
        self.config = config
        self.training = training

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a finished run; raises :class:`InputError`."""
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
        """The run itself; raises :class:`InputError` where its training has not ended."""
        if not self.is_done:
            resume = f"continue it with 'skn train --resume --out {self.path}'"
            raise InputError(f"{self.path}: training has not finished; {resume}")
        return self

    def save(self) -> None:
        documents.write(self.path / "run.json", "run", {"config": asdict(self.config), "training": self.training})

    @property
    def is_done(self) -> bool:
        """Training has ended, and what it tuned is there, with the splits that it was tuned on."""
        return self.training is not None and stands(self.tuned_file) and stands(self.splits_file)

    def check(self) -> None:
        """Refuse a finished run whose tuned tensors or splits are damaged; raises :class:`InputError`."""
        for kind, file in (("tuned", self.tuned_file), ("splits", self.splits_file)):
            try:
                artifacts.load(file, kind)
            except InputError as error:
                again = f"delete this file, and 'skn train --resume --out {self.path}' trains the run again"
                raise InputError(f"{file}: damaged, though the training is complete; {again}") from error

    def outcome(self) -> TrainResult:
        """How training went, and how sure its accuracy is."""
        stored = {name: value for name, value in self.training.items() if name != "truncated"}
        if stored.get("examples") is None:  # of older versions
            stored["examples"] = len(artifacts.load(self.splits_file, "splits")["validation"])
        return TrainResult(**stored)

    @property
    def times(self) -> dict[str, float]:
        """Seconds of each stage, as it was last run."""
        return read_times(self.path)

    def clear(self) -> None:
        """Delete what stands in the folder; ``run.json`` stays until a new one replaces it, so it remains a run."""
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
        """Where an artifact stands (:func:`skn.store.artifacts.path_in`)."""
        return artifacts.path_in(self.path, kind, *parts)

    # ---- loading ---------------------------------------------------------------------------------------------

    def load(
        self,
        compute: Compute = AS_TRAINED,
        readouts: Sequence[str] = (),
        reuse: LoadedRun | None = None,
        rows: bool = True,
    ) -> LoadedRun:
        """Backbone, tuned tensors, tokenizer and data, as trained or on another device or dtype.

        ``compute.engine`` "hf" or "fast" overrides what the backbone and the read-outs allow (:func:`choose_engine`).
        ``reuse`` is a run of the same backbone: this one's model stands on that backbone, on its device and in its
        dtype, and nothing is loaded but the tuned tensors and the data. Without ``rows`` the run's data is not read, only
        what its classes are: it may be gone.
        """
        tuned = self.tuned()
        if rows:
            data = load_splits(self.data_at(compute.data), self.splits_file)
        else:
            data = without_rows(self.config.data, self.splits_file)
        if reuse is None:
            device, dtype = compute.device or self.config.device, compute.dtype or self.config.dtype
            place = self.backbone_at(compute.backbone)
            backbone, tokenizer = Backbone.load(place, device, dtype), load_tokenizer(place)
            self.refuse_other(backbone, place)
        else:
            device, dtype = reuse.provenance["device"], reuse.provenance["dtype"]
            backbone, tokenizer = reuse.model.backbone, reuse.tokenizer
        provenance = provenance_of(self.config, backbone, data, device, dtype)
        artifacts.check_provenance(tuned, provenance)
        provenance["tuned"] = identity_of(tuned.tensors)
        model = build_tuned(backbone, tuned)
        provenance["engine"] = choose_engine(model.backbone, compute.engine, readouts)
        config = self.config
        return LoadedRun(
            model,
            tokenizer,
            data,
            provenance=provenance,
            label_words=config.label_words,
            class_names=config.names_of(data.classes),
            max_length=config.max_length,
            path=self.path,
            validation_accuracy=self.training and self.training.get("best_accuracy"),
        )

    def backbone_at(self, place: str | None) -> str:
        """The backbone at the place where it stands now; its digest says, once it is loaded, whether it is the run's own."""
        self._refuse_gone("backbone", place, self.config.backbone)
        return self.config.backbone if place is None else absolute(place)

    def data_at(self, place: str | None) -> DataSpec:
        """The data at the place where it stands now; the digest of its rows says whether it is the run's own."""
        self._refuse_gone("data", place, self.config.data.data)
        return self.config.data if place is None else replace(self.config.data, data=absolute(place))

    def _refuse_gone(self, what: str, now: str | None, then: str | None) -> None:
        if now is None and then is not None and Path(then).is_absolute() and not Path(then).exists():
            raise InputError(f"{then}: the {what} of {self.path} is not there; --{what} says where it stands now")

    def load_artifact(self, kind: str, *parts: str, hint: str) -> Artifact:
        """An artifact of this run; ``hint`` is the command that makes a missing one."""
        file = self.file(kind, *parts)
        if not stands(file):
            raise InputError(f"{file}: not there yet; run '{hint} --run {self.path}' first")
        return self.own(file, kind, self.identity())

    def own(self, file: Path, kind: str, identity: Mapping[str, Any]) -> Artifact:
        """An artifact that must be of this run's tuned prompt; ``identity`` is what :meth:`identity` gives."""
        return artifacts.load(file, kind, identity, whose=str(self.tuned_file))

    def probe(self, split: str, readout: str = PROMPT) -> Probe:
        """What ``skn probe`` counted on a split; raises :class:`InputError` where it did not."""
        hint = "skn probe" if readout == PROMPT else f"skn probe --pool {readout}"
        hits = self.load_artifact("hits", readout, split, hint=hint)
        moments = self.file("moments", readout)
        if stands(moments):  # what the thresholds were made of; an interrupted probe may have replaced it
            made = artifacts.load(moments, "moments")
            again = f"'{hint} --overwrite --run {self.path}' makes them alike"
            compare_provenance(
                made.provenance, hits.provenance, str(moments), "pass", other=str(hits.path), way_out=again
            )
            hits.fits(made.neurons, made.path.name)
        return read_probe(hits)

    def tuned(self) -> Artifact:
        """What was tuned; raises :class:`InputError` where it is not of what ``run.json`` and the splits say."""
        tuned = artifacts.load(self.tuned_file, "tuned")
        splits = artifacts.load(self.splits_file, "splits")
        again = "one of the two is another run's: put this run's own back, or train it again into another folder"
        for origin, file in ((asked_for(self.config), self.path / "run.json"), (splits.provenance, self.splits_file)):
            compare_provenance(tuned.provenance, origin, str(tuned.path), other=str(file), way_out=again)
        return tuned

    def identity(self) -> dict[str, Any]:
        """What this run's artifacts must match, without loading the backbone."""
        tuned = self.tuned()
        return {**tuned.provenance, "tuned": identity_of(tuned.tensors)}

    def refuse_other(self, backbone: Backbone, place: str) -> None:
        """Refuse a backbone that is not the one that this run's prompt was tuned over; ``place`` is where it stands."""
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
) -> LoadedRun:
    """Open the folder of a run: load its backbone, prompt, tokenizer and data into memory.

    Args:
        path: the folder that ``skn.tune(out=…)`` or ``skn train`` made.
        device: "cpu" or "cuda"; by default as trained.
        dtype: "float32", "bfloat16", "float16" or "bf16x3"; by default as trained.
        engine: "hf", the Hugging Face forward, or "fast", skn's own encoder; by default fast where the backbone allows it.
        backbone: where the run's backbone is now, if it was moved. Another backbone is refused.
        data: where the run's data is now, if it was moved. Other data is refused.

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
    return Run.open(path).load(Compute(device, dtype, engine, **moved))


def read_times(folder: Path) -> dict[str, float]:
    """``timings.json`` of a run's folder; only times: a missing or damaged file holds none."""
    file = folder / "timings.json"
    try:
        times = documents.parse(file, "it holds times only") if file.is_file() else {}
    except InputError:
        return {}
    return {stage: seconds for stage, seconds in times.items() if isinstance(seconds, float | int)}


def build_tuned(backbone: Backbone, tuned: Artifact) -> TunedModel:
    """The model of a ``tuned`` artifact over its backbone."""
    if tuned.get("prompt") is None:
        raise InputError(f"{tuned.path}: holds no prompt; make it again with 'skn train'")
    method, ids = tuned.meta["method"], tuned["label_ids"]
    if method not in EXTRAS or not len(ids) or ids.min() < 0 or ids.max() >= backbone.config.vocab_size:
        raise InputError(
            f"{tuned.path}: damaged (its method or its label words are none); make it again with 'skn train'"
        )
    try:
        model = TunedModel.from_tensors(backbone, tuned.tensors, method, tuned.meta["position_start"])
    except InputError as error:
        raise InputError(f"{tuned.path}: {error}; make it again with 'skn train'") from error
    return model.requires_grad_(False)


@contextmanager
def timed(run_path: Path, stage: str) -> Iterator[None]:
    """Record how long a stage took in the run's ``timings.json`` (seconds)."""
    start = time.perf_counter()
    yield
    times = read_times(run_path)
    times[stage] = round(time.perf_counter() - start, 2)
    atomic.write_json(run_path / "timings.json", times)
