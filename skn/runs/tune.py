"""Tuning a prompt, the biases or adapters over a frozen backbone: what is refused first, then the training."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from skn.data.label_words import choose_label_words, label_token_ids
from skn.data.spec import DataSpec
from skn.data.splits import LabelledData, load_splits, read_data, save_splits
from skn.data.tasks import get_task
from skn.errors import InputError
from skn.inference.batches import tokenize
from skn.inference.engine import choose_engine
from skn.inference.loaded import LoadedRun
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.tuned import TunedModel
from skn.runs.run import Run, RunConfig, provenance_of, timed
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.output import refuse_occupied, remove_leftovers
from skn.training import trainer
from skn.training.settings import DEFAULT_LR, TrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainRequest(TrainSettings):
    """What a training is asked for; None means "choose for me"."""

    backbone: str
    data: DataSpec
    method: str = "prompt"
    prompt_length: int | None = None
    words: list[str] | None = None
    max_length: int | None = None
    device: str = "cpu"
    dtype: str = "float32"
    init_from: str | None = None


def tune(
    backbone: str,
    data: LabelledData,
    words: Sequence[str] | None = None,
    *,
    out: Path | str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> LoadedRun:
    """Tune a soft prompt, the biases or adapters on a frozen backbone; the best checkpoint by validation accuracy is kept.

    Args:
        backbone: folder of a model or a hub id: RoBERTa, XLM-RoBERTa, BERT, GPT-2, or a pruned model.
        data: from ``skn.load_data``.
        words: one label word for each class; by default the task's, or negative and positive.
        out: a folder that keeps the run; ``skn.open_run(out)`` reads it back. Without it nothing is written.
        overwrite: replace a run that stands in ``out``.
        options: the other fields of :class:`TrainRequest`: ``method`` "prompt", "bitfit" or "adapter", ``prompt_length``
            16, ``max_length``, ``device`` "cpu" or "cuda", ``dtype``, ``init_from`` another run or an imported file, and
            the knobs of :class:`TrainSettings` (``epochs``, ``batch_size``, ``lr``, ``seed``, …).

    Returns:
        The run, ready for ``skn.probe``; ``run.model`` is the tuned model.

    Raises:
        InputError: whatever can be refused before the first step, and a folder in the way.

    Source: Lester et al., EMNLP 2021, for prompts; Ben Zaken et al., ACL 2022, for biases; Pfeiffer et al., EACL 2021, for
    adapters.

    Example::

        >>> run = skn.tune(backbone, data, ["negative", "positive"], prompt_length=4, epochs=1, batch_size=16)
        >>> run.model.prompt.shape
        torch.Size([3, 32])
    """
    unknown = sorted(set(options) - set(TrainRequest.__dataclass_fields__))
    if unknown:
        raise TypeError(f"tune() has no option '{unknown[0]}'")
    request = TrainRequest(backbone=backbone, data=data.spec, words=None if words is None else list(words), **options)
    if out is not None:
        return start(request, Path(out), overwrite, data)
    ready = prepare(request, data=data)
    ready.tell()
    with tempfile.TemporaryDirectory() as folder:
        _fit(ready, Path(folder), resume=False)
    return ready.loaded(None)


def start(request: TrainRequest, out: Path, overwrite: bool = False, data: LabelledData | None = None) -> LoadedRun:
    """Train into ``out``, which must not exist or be a run that ``overwrite`` gives up. Raises :class:`InputError`."""
    refuse_occupied(out, "run.json", "run", overwrite, resume_option=True)
    ready = prepare(request, data=data)
    run = Run(out, ready.config, None)
    # Where nothing can be written this fails, and the old run still stands. The name is that of a leftover.
    save_splits(ready.data, out / f".{run.splits_file.name}.tmp")
    run.clear()
    run.save()  # first: from here on --resume continues
    save_splits(ready.data, run.splits_file)
    ready.tell()
    return _finish(run, ready, resume=False)


def resume(out: Path, said: Mapping[str, Any] | None = None) -> LoadedRun | None:
    """Continue the training in ``out`` with the configuration that is stored there; None where it is complete.

    ``said`` holds what the user says beside that, by the names of the command line's options. Raises
    :class:`InputError` where the run was started with something else.
    """
    run = Run.open_unfinished(out)
    config = run.config
    stored = {**asdict(config), **asdict(config.data), "verbalizer": config.label_words}
    refuse_differences(out, stored, said or {}, "train a new run with it")
    remove_leftovers(run.path)
    if run.is_done and run.splits_file.is_file():
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        return None
    if not run.splits_file.is_file():
        save_splits(read_data(config.data), run.splits_file)
    data = load_splits(config.data, run.splits_file)
    backbone = Backbone.load(config.backbone, config.device, config.dtype)
    return _finish(run, ReadyTraining(config, backbone, fresh_model(config, backbone), data, []), resume=True)


# ---- before the first step ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReadyTraining:
    """A training that nothing stands against; ``notes`` are the lines worth telling, as a logger takes them."""

    config: RunConfig
    backbone: Backbone
    model: TunedModel
    data: LabelledData
    notes: list[tuple]

    def tell(self) -> None:
        for line in self.notes:
            log.info(*line)

    def loaded(self, path: Path | None) -> LoadedRun:
        """The trained model, frozen, for what comes after."""
        config = self.config
        provenance = self.provenance() | {"engine": choose_engine(self.model.backbone)}
        tokenizer = load_tokenizer(config.backbone)
        model = self.model.requires_grad_(False)
        return LoadedRun(model, tokenizer, self.data, provenance, config.label_words, config.max_length, path)

    def provenance(self) -> dict[str, Any]:
        return provenance_of(self.config, self.backbone, self.data.digest, self.config.device, self.config.dtype)


def prepare(request: TrainRequest, backbone: Backbone | None = None, data: LabelledData | None = None) -> ReadyTraining:
    """All that can be refused before the first file is written: raises :class:`InputError`.

    ``backbone`` and ``data`` are the request's own where they are loaded already.
    """
    request = replace(request, data=request.data.drawn_by(request.seed))
    notes: list[tuple] = []
    if data is None or data.spec != request.data:
        data = read_data(request.data, note=lambda *line: notes.append(line))
    backbone = backbone or Backbone.load(request.backbone, request.device, request.dtype)
    config = _resolve(request, backbone, data)
    _check(config, data)
    notes.append(("backbone %s: words are scored by the %s", request.backbone, backbone.word_scores_by))
    return ReadyTraining(config, backbone, fresh_model(config, backbone), data, notes)


def _resolve(request: TrainRequest, backbone: Backbone, data: LabelledData) -> RunConfig:
    """Fill in the defaults; every value the run depends on is stored."""
    task = get_task(request.data.task) if request.data.task else None
    length = _prompt_length(request, backbone)
    if request.method != "prompt" and (length != 1 or backbone.causal):
        raise InputError(
            f"--method {request.method} reads the mask alone: it takes --prompt-length 1 and an MLM backbone"
        )
    room = backbone.max_positions - length
    if length < 1 or room < 3:
        raise InputError(
            f"--prompt-length {length}: must be 1 to {backbone.max_positions - 3}; this backbone has {backbone.max_positions} positions"
        )
    if request.max_length is not None and not 3 <= request.max_length <= room:
        raise InputError(f"--max-length {request.max_length}: must be 3 to {room} tokens beside a prompt of {length}")
    spec = request.data
    asked = vars(request) | {
        "backbone": absolute(request.backbone),
        "data": replace(spec, data=absolute(spec.data)) if spec.data else spec,
        "prompt_length": length,
        "label_words": choose_label_words(request.words, task, data.classes),
        "max_length": request.max_length or room,
        "lr": DEFAULT_LR[request.method] if request.lr is None else request.lr,
        "eval_every": request.eval_every or max(1, -(-len(data.rows["train"]) // request.batch_size) // 2),
        "init_from": None if request.init_from is None else absolute(request.init_from),
    }
    return RunConfig(**{name: value for name, value in asked.items() if name != "words"})


def absolute(name: str) -> str:
    """A path that holds in every working folder; an id on the hub stays as it is."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def _prompt_length(request: TrainRequest, backbone: Backbone) -> int:
    """As asked for, or as in the file of ``--init-from``, or the default of the method."""
    length = request.prompt_length
    if request.init_from is not None:
        prompt = _beginning(request.init_from, request.method).get("prompt")
        held = 0 if prompt is None else prompt.shape[0] + (0 if backbone.causal else 1)
        if length is not None and length != held:
            raise InputError(
                f"--prompt-length {length}: {request.init_from} holds a prompt of {held}; leave the option out"
            )
        return held
    return length if length is not None else (16 if request.method == "prompt" else 1)


def _check(config: RunConfig, data: LabelledData) -> None:
    """Everything that can be refused before the first file is written."""
    rows = len(data.rows["train"])
    if rows < config.batch_size:
        raise InputError(f"the train split has {rows} rows, fewer than one batch; use --batch-size {rows} or less")
    if not math.isfinite(config.lr):
        raise InputError(f"--lr {config.lr}: a finite number, such as {DEFAULT_LR[config.method]:g}")
    if not 0 <= config.warmup < 1:
        raise InputError(f"--warmup {config.warmup}: a share of all steps, 0 to below 1")
    trainer.check_plan(rows, config)


def fresh_model(config: RunConfig, backbone: Backbone) -> TunedModel:
    """The model before training: a seeded prompt, or the tensors of ``--init-from``."""
    tokenizer = load_tokenizer(config.backbone)
    label_ids = label_token_ids(tokenizer, config.label_words)
    if not backbone.causal and tokenizer.mask_token_id is None:
        raise InputError(f"{config.backbone}: its tokenizer has no mask token; use a backbone with one")
    start = None if config.init_from is None else _beginning(config.init_from, config.method)
    model = TunedModel.fresh(
        backbone,
        label_ids,
        tokenizer.mask_token_id,
        config.prompt_length,
        config.method,
        seed=config.seed,
        position_start=None if start is None else start.meta.get("position_start"),
    )
    if start is not None:
        own = model.tuned_tensors()
        given = {name: t for name, t in start.tensors.items() if name not in ("label_ids", "mask_embedding")}
        try:
            model.load_tuned(own | given)
        except InputError as error:
            raise InputError(f"--init-from {start.path}: {error}; give one tuned over this backbone") from error
    return model


def _beginning(name: str, method: str) -> Artifact:
    """The ``tuned`` artifact of another run, or an imported file."""
    path = Path(name)
    artifact = artifacts.load(path / "tuned.safetensors" if path.is_dir() else path, "tuned")
    if artifact.meta["method"] != method:
        raise InputError(f"--init-from {path}: holds a {artifact.meta['method']} run, this one is --method {method}")
    return artifact


# ---- the training ------------------------------------------------------------------------------------------------


def _fit(ready: ReadyTraining, checkpoints: Path, resume: bool) -> tuple[trainer.TrainResult, dict[str, int]]:
    """How the training went, and how many texts of each split were too long."""
    config, data = ready.config, ready.data
    tokenizer = load_tokenizer(config.backbone)
    encoded = {split: tokenize(data.split(split), tokenizer, config.max_length) for split in ("train", "validation")}
    result = trainer.tune(ready.model, encoded["train"], encoded["validation"], config, checkpoints, resume)
    return result, {split: e.truncated for split, e in encoded.items()}


def _finish(run: Run, ready: ReadyTraining, resume: bool) -> LoadedRun:
    with timed(run.path, "train"):
        result, truncated = _fit(ready, run.checkpoints, resume)
    model = ready.model
    artifacts.save(
        run.tuned_file,
        "tuned",
        model.tuned_tensors(),
        ready.provenance(),
        method=run.config.method,
        position_start=model.position_start,
        classes=ready.data.classes,
    )
    run.training = {
        "best_accuracy": result.best_accuracy,
        "best_step": result.best_step,
        "history": result.history,
        "truncated": truncated,
    }
    run.save()
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return ready.loaded(run.path)


def refuse_differences(out: Path, stored: Mapping[str, Any], said: Mapping[str, Any], otherwise: str) -> None:
    """Refuse ``--resume`` beside options that are not what ``out`` was started with, each in words.

    Equal paths may be written differently. ``otherwise`` is what the user can do to have them.
    """
    differences = []
    for name, value in said.items():
        was, option = stored[name], "--" + name.replace("_", "-")
        same = [value]
        if name in ("backbone", "data", "init_from"):
            same.append(str(Path(value).resolve()))
        if was not in same:
            there = f"no {option}" if was is None or was is False else f"{option} {_listed(was)}, not {_listed(value)}"
            differences.append(there)
    if differences:
        raise InputError(
            f"--resume: {out} was started with {' and '.join(differences)}; leave out what differs, or {otherwise}"
        )


def _listed(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list) else value
