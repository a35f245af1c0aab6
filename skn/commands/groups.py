"""Options that several commands share. Each group is declared once, and a command takes a group as one parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from typing import Any, get_type_hints

from skn.commands import options as opt
from skn.commands import parse
from skn.commands.choices import value
from skn.data.spec import column_names
from skn.data.task_file import AskedData, spec_of
from skn.data.tasks import get_task
from skn.inference.compute import BATCH_TOKENS, Compute
from skn.training.settings import TrainSettings

DEFAULTS = TrainSettings()

CLASS_OPTIONS = ("verbalizer", "class_names")  # a task file may give these options, too


def with_groups(command: Callable[..., Any]) -> Callable[..., Any]:
    """Replace each parameter that is a group by the options of its fields. The command is called with the group."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += _options(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def called(**named: Any) -> Any:
        for name, group in groups.items():
            named[name] = group(**{field.name: named.pop(field.name) for field in fields(group)})
        return command(**named)

    called.__signature__ = inspect.Signature(parameters)
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _options(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(f.name, kind, default=f.default, annotation=hints[f.name]) for f in fields(group)]


@dataclass(frozen=True)
class Meaning:
    """The meaning of a file's columns."""

    text_column: opt.TextColumn = None
    pair_column: opt.PairColumn = None
    label_column: opt.LabelColumn = None
    quoting: opt.DataQuoting = None
    encoding: opt.DataEncoding = None
    columns: opt.DataColumns = None

    def written(self) -> dict[str, Any]:
        """Return how the file is written."""
        return {"quoting": value(self.quoting), "encoding": self.encoding, "columns": column_names(self.columns)}

    def said(self) -> dict[str, Any]:
        """Return the options that the user gave, by the names of the Python face."""
        named = {"text": self.text_column, "pair": self.pair_column, "label": self.label_column, **self.written()}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Columns(Meaning):
    """The place of the data, and the meaning of its columns."""

    data: opt.Data = None
    drop_unlabelled: opt.DropUnlabelled = False

    def spec(self, task: str | None = None) -> AskedData:
        """Return the user's data, with the classes' words and names of a task file. The command line overrides the
        file.

        Raises :class:`InputError` for a task that the registry does not have, and for a bad task file.
        """
        if task is not None:
            get_task(task)
        columns = {name: value for name, value in vars(self).items() if name != "data"}
        return spec_of(self.data, columns | self.written(), task)


@dataclass(frozen=True)
class Training:
    """How to tune over a backbone."""

    method: opt.TrainMethod = opt.Method.prompt
    template: opt.Template = None
    prompt_length: opt.PromptLength = None
    verbalizer: opt.Verbalizer = None
    class_names: opt.ClassNames = None
    max_length: opt.MaxLength = None
    epochs: opt.Epochs = DEFAULTS.epochs
    batch_size: opt.BatchSize = DEFAULTS.batch_size
    lr: opt.Lr = DEFAULTS.lr
    warmup: opt.Warmup = DEFAULTS.warmup
    eval_every: opt.EvalEvery = DEFAULTS.eval_every
    patience: opt.Patience = DEFAULTS.patience
    device: opt.TrainDevice = "cpu"
    dtype: opt.TrainDtype = opt.DType.float32
    autocast: opt.Autocast = DEFAULTS.autocast

    def values(self) -> dict[str, Any]:
        """Return all options except the words and names of the classes, by the names of
        :class:`skn.runs.tune.TrainRequest`.
        """
        named = {name: value for name, value in vars(self).items() if name not in CLASS_OPTIONS}
        template = None if self.template is None else self.template.replace("\\n", "\n")
        return named | {"method": self.method.value, "dtype": self.dtype.value, "template": template}

    def of_classes(self, in_file: AskedData) -> dict[str, list[str] | None]:
        """Return label words and names of the classes from the command line, or else from a task file."""
        said = {"verbalizer": parse.words(self.verbalizer), "class_names": parse.names(self.class_names)}
        return {name: said[name] or value for name, value in zip(CLASS_OPTIONS, in_file[1:], strict=True)}


@dataclass(frozen=True)
class Moved:
    """The places of a run's backbone and data now."""

    backbone: opt.MovedBackbone = None
    data: opt.MovedData = None


@dataclass(frozen=True)
class Machine:
    """Where and how to compute."""

    device: opt.StageDevice = None
    dtype: opt.StageDtype = None
    engine: opt.StageEngine = None
    device_map: opt.DeviceMap = None
    batch_tokens: opt.BatchTokens = BATCH_TOKENS

    def with_backbone(self, backbone: str | None) -> Compute:
        how = self.device, value(self.dtype), value(self.engine), self.batch_tokens
        return Compute(*how, backbone=backbone, device_map=self.device_map)


@dataclass(frozen=True)
class Computing(Machine, Moved):
    """Where and how a stage computes, and the places of the run's backbone and data now."""

    def compute(self) -> Compute:
        return replace(self.with_backbone(self.backbone), data=self.data)


@dataclass(frozen=True)
class Reading(Moved):
    """Where to read activations, with the Hugging Face forward in the given dtype."""

    device: opt.StageDevice = None
    dtype: opt.StageDtype = None
    device_map: opt.DeviceMap = None

    def compute(self, batch_tokens: int = BATCH_TOKENS) -> Compute:
        moved = {"backbone": self.backbone, "data": self.data}
        return Compute(self.device, value(self.dtype), batch_tokens=batch_tokens, device_map=self.device_map, **moved)
