"""Before the first step of a training: the settings, the refusals, and the model with which the training begins."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skn.data.class_names import choose_class_names
from skn.data.label_words import choose_label_words, ids_in_template, label_token_ids
from skn.data.spec import DataSpec
from skn.data.splits import Examples, LabelledData, read_data
from skn.data.tasks import get_task
from skn.data.template import Template
from skn.errors import InputError
from skn.inference.engine import choose_engine
from skn.inference.filling import filled
from skn.inference.loaded import LoadedRun
from skn.model.backbone import Backbone
from skn.model.placement import DeviceMap, main_device
from skn.model.portable.layers_skn import EMBEDDING_SCORE_SCALE
from skn.model.pretrained import load_tokenizer
from skn.model.templated import METHOD, TemplatedModel
from skn.model.tuned import TunedModel
from skn.names import one_of
from skn.runs.config import RunConfig
from skn.runs.origin import absolute, provenance_of
from skn.runs.run import Run
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.digests import identity_of
from skn.training import trainer
from skn.training.settings import DEFAULT_LR, HIGHEST_LR, TrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainRequest(TrainSettings):
    """The settings that a user gives for a training. None means that skn chooses."""

    backbone: str
    data: DataSpec
    method: str = "prompt"
    template: str | None = None
    prompt_length: int | None = None
    words: list[str] | None = None
    class_names: list[str] | None = None
    max_length: int | None = None
    device: str | None = None
    dtype: str = "float32"
    device_map: DeviceMap | None = None
    init_from: str | None = None


# What only a training has, and its default. A template has a seed, too, which draws splits.
OF_TUNING = {"prompt_length": None, "init_from": None, **vars(TrainSettings())}
del OF_TUNING["seed"]


@dataclass(frozen=True)
class ReadyTraining:
    """A training that may begin. ``notes`` are lines for the log, each as the arguments of a logger's call."""

    config: RunConfig
    backbone: Backbone
    model: TunedModel | TemplatedModel
    data: LabelledData
    notes: list[tuple]

    def tell(self) -> None:
        for line in self.notes:
            log.info(*line)

    def loaded(self, path: Path | None, validation_accuracy: float) -> LoadedRun:
        """Return the trained model, frozen, as a run for the later stages."""
        config = self.config
        provenance = self.provenance() | {"tuned": identity_of(self.model.tuned_tensors())}
        provenance["engine"] = choose_engine(self.model.backbone)
        tokenizer = load_tokenizer(config.backbone)
        model = self.model.requires_grad_(False)
        return LoadedRun(
            model,
            tokenizer,
            self.data,
            provenance=provenance,
            label_words=config.label_words,
            class_names=config.names_of(self.data.classes),
            max_length=config.max_length,
            template=config.words_around,
            path=path,
            validation_accuracy=validation_accuracy,
        )

    def provenance(self) -> dict[str, Any]:
        return provenance_of(self.config, self.backbone, self.data, self.config.device, self.config.dtype)


def prepare(request: TrainRequest, backbone: Backbone | None = None, data: LabelledData | None = None) -> ReadyTraining:
    """Check everything before the first file is written. Raises :class:`InputError`.

    ``backbone`` and ``data`` are the request's backbone and data if the caller has loaded them already.
    """
    _check_request(request)
    device = main_device(request.device, request.device_map)
    request = replace(request, data=request.data.drawn_by(request.seed), device=device)
    notes: list[tuple] = []
    if data is None or data.spec != request.data:
        data = read_data(request.data, note=lambda *line: notes.append(line))
    backbone = backbone or Backbone.load(request.backbone, device, request.dtype, request.device_map)
    if backbone.spread and request.epochs and request.method != METHOD:
        raise InputError(
            "--device-map: gradients need the whole model on one device; --epochs 0 keeps the starting prompt"
        )
    if backbone.int8:
        raise InputError(f"{request.backbone}: a model in int8 cannot be trained; prune or export it without int8")
    if request.words is None and request.data.task is None:
        request = _named_words(request, data.classes, notes)
    config = _resolve(request, backbone, data)
    _check(config, data)
    if config.words_around is not None:
        _check_filling(config, data)
    notes.append((f"backbone %s: {_SCORED_BY[backbone.headless]}", request.backbone))
    return ReadyTraining(config, backbone, fresh_model(config, backbone), data, notes)


# These lines are for readers who know neither way. Backbone.word_scores_by gives the same fact for artifacts.
_SCORED_BY = {
    False: "its language-model head scores the label words",
    True: "it has no language-model head; the score of a label word is the dot product of the hidden state with the word's "
    f"input embedding, scaled to length 1, times {EMBEDDING_SCORE_SCALE:g}",
}


def _check_request(request: TrainRequest) -> None:
    """Refuse values that have no meaning, from the command line or from Python. Raises :class:`InputError`."""
    one_of(request.method, list(DEFAULT_LR), "--method")
    one_of(request.dtype, ("float32", "bfloat16", "float16"), "--dtype")
    for name, least in (("epochs", 0), ("batch_size", 1), ("patience", 1), ("eval_every", 1), ("seed", 0)):
        value = getattr(request, name)
        if not (value is None and name == "eval_every") and not (isinstance(value, int) and value >= least):
            raise InputError(f"--{name.replace('_', '-')} {value}: a whole number, {least} or more")
    if request.autocast and request.dtype != "float32":
        raise InputError(f"--autocast: goes with --dtype float32; in {request.dtype} the steps compute in it already")
    if request.lr is not None and request.lr < 0:
        raise InputError(f"--lr {request.lr}: a number, 0 or more")
    _check_template(request)


def _check_template(request: TrainRequest) -> None:
    """Refuse a template beside another method, and what a template does not have. Raises :class:`InputError`."""
    if request.method != METHOD:
        if request.template is not None:
            raise InputError(f"--template: goes with --method {METHOD}, in which nothing is tuned")
        return
    if request.template is None:
        raise InputError(f"--method {METHOD}: give --template, such as --template '{{text}} It was {{mask}}.'")
    refuse_tuning(name for name, usual in OF_TUNING.items() if getattr(request, name) != usual)


def refuse_tuning(given: Iterable[str]) -> None:
    """Refuse the first of the given names of :data:`OF_TUNING` beside a template. Raises :class:`InputError`."""
    for name in given:
        raise InputError(f"--{name.replace('_', '-')}: a template tunes nothing; leave it out")


def _named_words(request: TrainRequest, classes: list[str], notes: list[tuple]) -> TrainRequest:
    """Choose label words when the user gave none, and note the choice.

    If training starts from a run with the same classes, its words and class names are taken, because the run's prompt
    was tuned for its words. Otherwise the default words are taken.
    """
    words, names, source = choose_label_words(None, None, classes), request.class_names, "by default"
    start = None if request.init_from is None else Path(request.init_from)
    if start is not None and (start / "run.json").is_file():
        first = Run.open(start)
        if artifacts.load(first.tuned_file, "tuned").meta.get("classes") == classes:
            words, names, source = first.config.label_words, names or first.config.class_names, f"as in {start}"
    shown = [f"'{word.strip()}' for {label}" for word, label in zip(words, classes, strict=True)]
    notes.append(
        ("label words %s: %s (--verbalizer gives others)", source, ", ".join(shown[:6]) + (", …" if shown[6:] else ""))
    )
    return replace(request, words=words, class_names=names)


def _resolve(request: TrainRequest, backbone: Backbone, data: LabelledData) -> RunConfig:
    """Fill in the defaults, and return every value that the run depends on."""
    task = get_task(request.data.task) if request.data.task else None
    templated = request.method == METHOD
    if templated:
        Template.read(request.template).check(backbone.causal, data.has_pairs)
    length = 0 if templated else _prompt_length(request, backbone)
    if request.method not in ("prompt", METHOD) and (length != 1 or backbone.causal):
        raise InputError(
            f"--method {request.method} reads the mask alone: it takes --prompt-length 1 and an MLM backbone"
        )
    room = backbone.max_positions - length
    if length < (not templated) or room < 3:
        raise InputError(
            f"--prompt-length {length}: must be 1 to {backbone.max_positions - 3}; this backbone has {backbone.max_positions} positions"
        )
    if request.max_length is not None and not 3 <= request.max_length <= room:
        raise InputError(f"--max-length {request.max_length}: must be 3 to {room} tokens beside a prompt of {length}")
    spec, words = request.data, choose_label_words(request.words, task, data.classes)
    asked = vars(request) | {
        "backbone": absolute(request.backbone),
        "backbone_digest": backbone.loaded_digest,
        "data": replace(spec, data=absolute(spec.data)) if spec.data else spec,
        "prompt_length": length,
        "label_words": words,
        "class_names": choose_class_names(request.class_names, data.classes, words),
        "max_length": request.max_length or room,
        "lr": DEFAULT_LR[request.method] if request.lr is None else request.lr,
        "epochs": 0 if templated else request.epochs,
        "eval_every": request.eval_every or max(1, -(-len(data.rows["train"]) // request.batch_size) // 2),
        "device_map": dict(request.device_map) if isinstance(request.device_map, Mapping) else request.device_map,
        "init_from": None if request.init_from is None else absolute(request.init_from),
    }
    return RunConfig(**{name: value for name, value in asked.items() if name != "words"})


def _prompt_length(request: TrainRequest, backbone: Backbone) -> int:
    """Return the prompt length: of the file of ``--init-from``, as the user gave it, or the default of the method."""
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
    """Refuse every setting that cannot work, before the first file is written."""
    rows = len(data.rows["train"])
    if config.template is None and rows < config.batch_size:
        raise InputError(f"the train split has {rows} rows, fewer than one batch; use --batch-size {rows} or less")
    if not config.lr <= HIGHEST_LR:
        raise InputError(f"--lr {config.lr}: a number of at most {HIGHEST_LR:g}, such as {DEFAULT_LR[config.method]:g}")
    if not 0 <= config.warmup < 1:
        raise InputError(f"--warmup {config.warmup}: a share of all steps, 0 to below 1")
    trainer.check_plan(rows, config)


def _check_filling(config: RunConfig, data: LabelledData) -> None:
    """Refuse a tokenizer that cannot tell a text's own tokens, and a template that leaves no room for a text."""
    tokenizer = load_tokenizer(config.backbone)
    if not tokenizer.is_fast:
        raise InputError(
            f"{config.backbone}: its tokenizer is written in Python and does not tell which tokens are the text's own, which a "
            "template needs; tune a prompt instead (--method prompt), or give a backbone with a tokenizer.json"
        )
    if tokenizer.mask_token is not None or config.words_around.causal:
        short = Examples(["a"], ["a"] if data.has_pairs else None, [0])
        filled(config.words_around, short, tokenizer, config.max_length)


def fresh_model(config: RunConfig, backbone: Backbone) -> TunedModel | TemplatedModel:
    """Return the model before training, with a seeded prompt or with the tensors of ``--init-from``."""
    tokenizer = load_tokenizer(config.backbone)
    if not backbone.causal and tokenizer.mask_token_id is None:
        raise InputError(f"{config.backbone}: its tokenizer has no mask token; use a backbone with one")
    if config.words_around is not None:
        return TemplatedModel(backbone, ids_in_template(tokenizer, config.label_words, config.words_around))
    label_ids = label_token_ids(tokenizer, config.label_words)
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
    """Load the ``tuned`` artifact of another run, or an imported file."""
    path = Path(name)
    tuned = artifacts.load(path / "tuned.safetensors" if path.is_dir() else path, "tuned")
    if tuned.meta["method"] != method:
        raise InputError(f"--init-from {path}: holds a {tuned.meta['method']} run, this one is --method {method}")
    return tuned
