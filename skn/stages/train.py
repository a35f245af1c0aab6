"""``skn train``: tune a prompt, the biases or adapters over a frozen backbone, into a new run."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from skn.console import console
from skn.data.label_words import choose_label_words, label_token_ids, split_words
from skn.data.splits import DataSpec, LabelledData, load_data, load_splits, save_splits
from skn.data.tasks import get_task
from skn.errors import InputError
from skn.inference.batches import encode
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.tuned import TunedModel
from skn.runs.run import LEFTOVERS, Run, RunConfig, provenance_of, remove_leftovers, timed
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.training.trainer import TrainSettings, check_plan, tune

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainRequest:
    """The options of ``skn train``; None means "choose for me"."""

    backbone: str
    data: DataSpec
    method: str = "prompt"
    prompt_length: int | None = None
    verbalizer: str | None = None
    max_length: int | None = None
    device: str = "cpu"
    dtype: str = "float32"
    epochs: int = 6
    batch_size: int = 32
    lr: float | None = None
    warmup: float = 0.006
    eval_every: int | None = None
    patience: int = 6
    seed: int = 0
    init_from: str | None = None


# Adam's learning rate where the user names none. A prompt of a few vectors wants a larger one than the weights.
DEFAULT_LR = {"prompt": 1e-2, "bitfit": 1e-3, "adapter": 1e-3}


def train(request: TrainRequest, out: Path, overwrite: bool = False) -> Run:
    """Train into ``out``, which must not exist or be a run that ``overwrite`` gives up. Raises :class:`InputError`."""
    _refuse_occupied(out, overwrite)
    ready = prepare(request)
    run = Run(out, ready.config, None)
    # Where nothing can be written this fails, and the old run still stands. The name is that of a leftover.
    save_splits(ready.data, out / f".{run.splits_file.name}.tmp")
    run.clear()
    run.save()  # first: from here on --resume continues
    save_splits(ready.data, run.splits_file)
    for line in ready.notes:
        log.info(*line)
    return _finish(run, ready.backbone, ready.model, ready.data, resume=False)


@dataclass(frozen=True)
class ReadyTraining:
    """A training that nothing stands against; ``notes`` are the lines worth telling, as a logger takes them."""

    config: RunConfig
    backbone: Backbone
    model: TunedModel
    data: LabelledData
    notes: list[tuple]


def prepare(request: TrainRequest, backbone: Backbone | None = None) -> ReadyTraining:
    """All that can be refused before the first file is written: raises :class:`InputError`.

    ``backbone`` is the request's own where it is loaded already.
    """
    request = replace(request, data=request.data.drawn_by(request.seed))
    notes: list[tuple] = []
    data = load_data(request.data, note=lambda *line: notes.append(line))
    backbone = backbone or Backbone.load(request.backbone, request.device, request.dtype)
    config = _resolve(request, backbone, data)
    _check(config, data)
    notes.append(("backbone %s: words are scored by the %s", request.backbone, backbone.word_scores_by))
    return ReadyTraining(config, backbone, _fresh_model(config, backbone), data, notes)


def resume(out: Path, said: Mapping[str, Any] | None = None) -> Run:
    """Continue the training in ``out`` with the configuration that is stored there.

    ``said`` holds what the user says beside that, by the names of :class:`TrainRequest` and :class:`DataSpec`. Raises
    :class:`InputError` where the run was started with something else.
    """
    run = Run.open_unfinished(out)
    config = run.config
    stored = {**asdict(config), **asdict(config.data), "verbalizer": config.label_words}
    refuse_differences(out, stored, said or {}, "train a new run with it")
    remove_leftovers(run.path)
    if run.training is not None and run.tuned_file.is_file() and run.splits_file.is_file():
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        console.print(f"{out}: training is complete (validation accuracy {run.training['best_accuracy']:.4f})")
        return run
    if not run.splits_file.is_file():
        save_splits(load_data(config.data), run.splits_file)
    data = load_splits(config.data, run.splits_file)
    backbone = Backbone.load(config.backbone, config.device, config.dtype)
    return _finish(run, backbone, _fresh_model(config, backbone), data, resume=True)


def refuse_differences(out: Path, stored: Mapping[str, Any], said: Mapping[str, Any], otherwise: str) -> None:
    """Refuse ``--resume`` beside options that are not what ``out`` was started with, each in words.

    Equal paths may be written differently. ``otherwise`` is what the user can do to have them.
    """
    found = []
    for name, value in said.items():
        was, option = stored[name], "--" + name.replace("_", "-")
        same = [split_words(value)] if name == "verbalizer" else [value]
        if name in ("backbone", "data", "init_from"):
            same.append(str(Path(value).resolve()))
        if was not in same:
            there = f"no {option}" if was is None or was is False else f"{option} {_listed(was)}, not {_listed(value)}"
            found.append(there)
    if found:
        raise InputError(
            f"--resume: {out} was started with {' and '.join(found)}; leave out what differs, or {otherwise}"
        )


def _listed(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _finish(run: Run, backbone: Backbone, model: TunedModel, data: LabelledData, resume: bool) -> Run:
    config = run.config
    provenance = provenance_of(config, backbone, data.digest, config.device, config.dtype)
    tokenizer = load_tokenizer(config.backbone)
    with timed(run.path, "train"):
        encoded = {split: encode(data.split(split), tokenizer, config.max_length) for split in ("train", "validation")}
        result = tune(model, encoded["train"], encoded["validation"], _settings(config), run.checkpoints, resume)
    artifacts.save(
        run.tuned_file,
        "tuned",
        model.tuned_tensors(),
        provenance,
        method=config.method,
        position_start=model.position_start,
        classes=data.classes,
    )
    run.training = {
        "best_accuracy": result.best_accuracy,
        "best_step": result.best_step,
        "history": result.history,
        "truncated": {split: e.truncated for split, e in encoded.items()},
    }
    run.save()
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    console.print(
        f"{run.path}: validation accuracy {result.best_accuracy:.4f} at step {result.best_step} "
        f"({config.method}, {config.dtype}, {len(data.rows['validation'])} examples)"
    )
    return run


def is_vacant(out: Path) -> bool:
    """Nothing stands there, or only what a process left that was killed before it began."""
    return not out.exists() or (out.is_dir() and set(out.iterdir()) <= set(out.glob(LEFTOVERS)))


def _refuse_occupied(out: Path, overwrite: bool) -> None:
    if is_vacant(out):
        return
    if not overwrite:
        raise InputError(f"{out}: exists already; --overwrite replaces it, --resume continues it")
    if not (out / "run.json").is_file():
        raise InputError(f"{out}: is no run (no run.json in it) and will not be deleted; choose another --out")


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
    if spec.data:
        spec = replace(spec, data=absolute(spec.data))
    steps_an_epoch = -(-len(data.rows["train"]) // request.batch_size)
    return RunConfig(
        backbone=absolute(request.backbone),
        data=spec,
        method=request.method,
        prompt_length=length,
        label_words=choose_label_words(request.verbalizer, task, data.classes),
        max_length=request.max_length or room,
        device=request.device,
        dtype=request.dtype,
        epochs=request.epochs,
        batch_size=request.batch_size,
        lr=DEFAULT_LR[request.method] if request.lr is None else request.lr,
        warmup=request.warmup,
        eval_every=request.eval_every or max(1, steps_an_epoch // 2),
        patience=request.patience,
        seed=request.seed,
        init_from=None if request.init_from is None else absolute(request.init_from),
    )


def absolute(name: str) -> str:
    """A path that holds in every working folder; an id on the hub stays as it is."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def _prompt_length(request: TrainRequest, backbone: Backbone) -> int:
    """As asked for, or as in the file of ``--init-from``, or the default of the method."""
    length = request.prompt_length
    if request.init_from is not None:
        prompt = _start(request.init_from, request.method).get("prompt")
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
    check_plan(rows, _settings(config))


def _fresh_model(config: RunConfig, backbone: Backbone) -> TunedModel:
    """The model before training: a seeded prompt, or the tensors of ``--init-from``."""
    tokenizer = load_tokenizer(config.backbone)
    label_ids = label_token_ids(tokenizer, config.label_words)
    if not backbone.causal and tokenizer.mask_token_id is None:
        raise InputError(f"{config.backbone}: its tokenizer has no mask token; use a backbone with one")
    start = None if config.init_from is None else _start(config.init_from, config.method)
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


def _start(name: str, method: str) -> Artifact:
    """The ``tuned`` artifact of another run, or an imported file."""
    path = Path(name)
    found = artifacts.load(path / "tuned.safetensors" if path.is_dir() else path, "tuned")
    if found.meta["method"] != method:
        raise InputError(f"--init-from {path}: holds a {found.meta['method']} run, this one is --method {method}")
    return found


def _settings(config: RunConfig) -> TrainSettings:
    fields = TrainSettings.__dataclass_fields__
    return TrainSettings(**{name: getattr(config, name) for name in fields})
