"""Tune a prompt, the biases or adapters over a frozen backbone: begin or resume a training, in a folder or in memory."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skn.data.spec import DataSpec
from skn.data.splits import LabelledData, load_splits, read_data, save_splits
from skn.errors import InputError
from skn.inference.batches import tokenize
from skn.inference.loaded import LoadedRun
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.parameters import for_reader
from skn.progress import say
from skn.runs.config import RunConfig
from skn.runs.moved import moved_run
from skn.runs.prepare import ReadyTraining, TrainRequest, fresh_model, prepare
from skn.runs.run import Run, timed
from skn.store import artifacts, atomic, folders
from skn.store.foreign_files import stands
from skn.store.locks import held
from skn.store.provenance import refuse_differences
from skn.training import trainer
from skn.training.outcome import TrainResult
from skn.training.settings import TrainSettings

log = logging.getLogger(__name__)

DEFAULTS = TrainSettings()


def tune(
    backbone: str | Path,
    data: LabelledData,
    words: Sequence[str] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    method: str = "prompt",
    template: str | None = None,
    prompt_length: int | None = None,
    max_length: int | None = None,
    epochs: int = DEFAULTS.epochs,
    batch_size: int = DEFAULTS.batch_size,
    lr: float | None = DEFAULTS.lr,
    warmup: float = DEFAULTS.warmup,
    eval_every: int | None = DEFAULTS.eval_every,
    patience: int = DEFAULTS.patience,
    seed: int = DEFAULTS.seed,
    device: str | None = None,
    dtype: str = "float32",
    autocast: bool = DEFAULTS.autocast,
    device_map: str | Mapping[str, int | str] | None = None,
    init_from: str | Path | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> LoadedRun:
    """Tune a soft prompt, the biases or adapters over a frozen backbone, and keep the checkpoint with the best validation accuracy.

    Training shows steps, loss, accuracy and the time left on standard error. The last line gives the accuracy with its 95% interval beside the share
    of the larger class. It also says what to try when the accuracy is no better than that share, or when the accuracy still rose at the end.

    Args:
        backbone: folder of a model or a hub id: an encoder (RoBERTa, BERT, DeBERTa, ModernBERT and others), a decoder (GPT-2, Pythia, Llama,
            Qwen, Gemma and others), or a pruned or exported model.
        data: from ``skn.load_data``.
        words: one label word for each class, in the order of ``data.classes``. By default those of a task file or the
            task, those of the run in ``init_from`` if the classes are the same, or negative and positive.
        class_names: the name of each class in tables, figures and pipelines. By default the names of the task file, else the labels of the
            data, or the label words if the labels are numbers.
        method: "prompt", "bitfit" (the biases), "adapter", or "template": nothing is tuned, and words around the text ask for the label word.
        template: the words of the method "template". An encoder fills the mask: "{text} It was {mask}."; a decoder goes on after the last word:
            "Review: {text}\\nSentiment:". A pair has {text} and {pair}.
        prompt_length: positions of the prompt, by default 16. A length of 1 is the mask token alone; "bitfit" and "adapter" use it.
        max_length: the most tokens of a text, by default as many as fit. Longer texts are truncated, and skn counts them.
        epochs: passes over train; 0 keeps the starting prompt.
        batch_size: examples in a batch.
        lr: Adam's learning rate, by default 0.01 for a prompt, else 0.001.
        warmup: share of the steps over which the rate rises.
        eval_every: steps between evaluations, by default half an epoch.
        patience: training stops after this many evaluations in a row without a better accuracy.
        seed: the seed of the first prompt and of the order of rows.
        device: "cpu" or "cuda"; by default cpu, or with a ``device_map`` cuda where there is one.
        dtype: the dtype of the backbone: "float32", "bfloat16" or "float16".
        autocast: the steps compute the products of a float32 backbone in bfloat16; weights, LayerNorm, loss and the evaluations stay in
            float32.
        device_map: "auto" or a dict, as in ``skn.open_run``: spreads a backbone that one device does not hold. It takes
            ``epochs=0`` and the method "prompt", unless the map puts the whole model on one device.
        init_from: another run's folder or an imported file; training starts from its prompt.
        out: a folder that keeps the run; ``skn.open_run(out)`` opens the folder. Without ``out``, nothing is written.
        overwrite: replace the run in ``out``.
        resume: go on with the run in ``out``, which must have been begun with the same arguments. A complete run is opened. When there is no
            run, a new run begins.

    Returns:
        The run, ready for ``skn.probe``; ``run.model`` is the tuned model.

    Raises:
        InputError: an argument, the data or the backbone cannot be used; the folder ``out`` exists. skn refuses before the first step.

    Source: Lester et al., EMNLP 2021, for prompts; Ben Zaken et al., ACL 2022, for biases; Pfeiffer et al., EACL 2021, for
    adapters.

    Example::

        >>> run = skn.tune(backbone, data, ["negative", "positive"], prompt_length=4, epochs=1, batch_size=16)
        >>> run.model.prompt.shape
        torch.Size([3, 32])
    """
    if not isinstance(data, LabelledData):
        raise InputError(f"data: expected what skn.load_data returns, not {type(data).__name__}")
    words, names = data.words if words is None else words, data.names if class_names is None else class_names
    request = TrainRequest(
        backbone=str(backbone),
        data=data.spec,
        method=method,
        template=template,
        prompt_length=prompt_length,
        words=None if words is None else list(words),
        class_names=None if names is None else list(names),
        max_length=max_length,
        device=device,
        dtype=dtype,
        device_map=device_map,
        init_from=None if init_from is None else str(init_from),
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        warmup=warmup,
        eval_every=eval_every,
        patience=patience,
        seed=seed,
        autocast=autocast,
    )
    if out is not None:
        stands = resume and (Path(out) / "run.json").is_file()
        run = _continued(request, Path(out)) if stands else start(request, Path(out), overwrite, data)
        kept = Run.open(out)
        say(for_reader(summed_up(kept.config, kept.outcome())))
        return run
    if resume:
        raise InputError("--resume: goes on with a run in a folder; give --out")
    ready = prepare(request, data=data)
    ready.tell()
    with tempfile.TemporaryDirectory() as folder:
        result, _ = _fit(ready, Path(folder), resume=False)
    say(for_reader(summed_up(ready.config, result)))
    return ready.loaded(None, result.best_accuracy)


def _continued(request: TrainRequest, out: Path) -> LoadedRun:
    """Train the run in ``out`` to its end. Arguments that differ from the defaults must be equal to the run's own."""
    usual = TrainRequest(backbone="", data=DataSpec())
    asked = {name: value for name, value in vars(request).items() if value != getattr(usual, name) and name != "data"}
    said = {name: value for name, value in vars(request.data).items() if value != getattr(usual.data, name)}
    said |= {{"words": "verbalizer"}.get(name, name): value for name, value in asked.items()}
    said.pop("draw_seed", None)  # the draw seed follows from the seed
    return resume(out, said) or Run.open(out).load()


def summed_up(config: RunConfig, result: TrainResult) -> str:
    """Return the last line of a training: its accuracy, the accuracy of guessing, and what to try next."""
    if config.template is not None:
        return result.zero_shot(config.dtype)
    dtype = f"{config.dtype}, autocast" if config.autocast else config.dtype
    return f"{result.told()} ({config.method}, {dtype}){result.judged(config.epochs)}"


def start(
    request: TrainRequest,
    out: Path,
    overwrite: bool = False,
    data: LabelledData | None = None,
    backbone: Backbone | None = None,
) -> LoadedRun:
    """Train into ``out``, which must not exist, or must be a run that ``overwrite`` replaces.

    ``data`` and ``backbone`` are those of the request if the caller has loaded them already. Raises
    :class:`InputError`.
    """
    folders.refuse_occupied(out, "run", overwrite, resume_option=True)
    with held(out):
        # another process may have written a run there in the meantime
        folders.refuse_occupied(out, "run", overwrite, resume_option=True)
        return _start(prepare(request, backbone, data), out)


def _start(ready: ReadyTraining, out: Path) -> LoadedRun:
    run = Run(out, ready.config, None)
    # If the disk refuses the write, this line fails while the old run still exists. The name is a temporary name, so
    # skn removes the file later.
    save_splits(ready.data, atomic.temporary_of(run.splits_file))
    run.clear()
    run.save()  # run.json first: from here on, --resume continues
    save_splits(ready.data, run.splits_file)
    ready.tell()
    return _finish(run, ready, resume=False)


def resume(out: Path, said: Mapping[str, Any] | None = None, backbone: Backbone | None = None) -> LoadedRun | None:
    """Resume the training in ``out`` with the configuration in its ``run.json``. Returns None if the training is
    complete.

    ``said`` holds the options that the user gives beside ``--resume``, by name. ``backbone`` is the run's own, if the
    caller has loaded it already. Raises :class:`InputError` if the run was begun with other options.
    """
    Run.open_unfinished(out)  # refuses a folder that is no run, before anything is written
    with held(out):
        return _resume(Run.open_unfinished(out), said or {}, backbone)


def _resume(run: Run, said: Mapping[str, Any], backbone: Backbone | None) -> LoadedRun | None:
    run, said = moved_run(run, said)
    out, config = run.path, run.config
    stored = {**asdict(config), **asdict(config.data), "verbalizer": config.label_words}
    refuse_other_options(out, stored, said, "train a new run with it")
    atomic.remove_leftovers(run.path)
    if run.is_done:
        run.check()
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        return None
    if not stands(run.splits_file):
        save_splits(read_data(config.data), run.splits_file)
    data = load_splits(run.data_at(None), run.splits_file)
    backbone = backbone or Backbone.load(run.backbone_at(None), config.device, config.dtype, config.device_map)
    return _finish(run, ReadyTraining(config, backbone, fresh_model(config, backbone), data, []), resume=True)


# ---- the training ------------------------------------------------------------------------------------------------


def _fit(ready: ReadyTraining, checkpoints: Path, resume: bool) -> tuple[TrainResult, dict[str, int]]:
    """Train. Returns how the training went, and how many texts of each split were truncated."""
    config, data = ready.config, ready.data
    tokenizer = load_tokenizer(config.backbone)
    encoded = {
        split: tokenize(data.split(split), tokenizer, config.max_length, config.words_around)
        for split in ("train", "validation")
    }
    result = trainer.tune(
        ready.model, encoded["train"], encoded["validation"], settings=config, folder=checkpoints, resume=resume
    )
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
        position_start=getattr(model, "position_start", None),
        classes=ready.data.classes,
    )
    run.training = {
        "best_accuracy": result.best_accuracy,
        "best_step": result.best_step,
        "history": result.history,
        "examples": result.examples,
        "majority": result.majority,
        "planned_steps": result.planned_steps,
        "engine": result.engine,
        "truncated": truncated,
    }
    run.save()
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return ready.loaded(run.path, result.best_accuracy)


def refuse_other_options(out: Path, stored: Mapping[str, Any], said: Mapping[str, Any], otherwise: str) -> None:
    """Refuse ``--resume`` with options that differ from the options that began ``out``.

    Two spellings of one path count as equal. ``otherwise`` tells the user how to have the other options.
    """
    asked = {name: _as_stored(name, value, stored) for name, value in said.items()}
    stands, asked = ({"--" + n.replace("_", "-"): v for n, v in values.items()} for values in (stored, asked))
    refuse_differences(out, stands, asked, f"leave out what differs, or {otherwise}")


def _as_stored(name: str, value: Any, stored: Mapping[str, Any]) -> Any:
    if name in ("backbone", "data", "init_from") and stored[name] == str(Path(value).resolve()):
        return stored[name]
    return value
