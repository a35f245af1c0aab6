"""Accuracy of the full and the pruned models on a split and, on request, their speed side by side."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import nn
from transformers import PreTrainedModel

from skn.data.spec import SPLITS
from skn.errors import InputError
from skn.inference.batches import Encoded
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.engine import PromptedModel, choose_engine, predict
from skn.inference.loaded import LoadedRun
from skn.inference.measures import Score, majority
from skn.model.backbone import DTYPES
from skn.model.pretrained import load_tokenizer, resolve_device
from skn.names import one_of
from skn.pruned.folder import load_pruned
from skn.pruned.pruning import parameter_count
from skn.store import documents
from skn.store.output import refuse_existing
from skn.store.schemas import Share
from skn.tables import Table, span

WARM_UP_ROWS = 96


@dataclass(frozen=True)
class _Contestant:
    name: str
    model: PromptedModel
    parameters: int
    engine: str


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Examples per second of ``repeats`` passes."""

    median: NonNegativeFloat
    low: NonNegativeFloat
    high: NonNegativeFloat
    repeats: PositiveInt


@dataclass(frozen=True, kw_only=True)
class ModelLine:
    """What was measured of one model."""

    name: str
    parameters: NonNegativeInt
    engine: str
    accuracy: Share
    examples_per_second: Rate | None
    interval: tuple[Share, Share] | None = None
    auc: Share | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationDocument:
    """What ``evaluate-<split>.json`` holds; what has a default was not said by older versions."""

    split: str
    examples: PositiveInt
    truncated: NonNegativeInt
    dtype: str
    device: str
    batch_tokens: int
    threads: int
    tokenization_seconds: float
    models: list[ModelLine]
    majority: Share | None = None


def read_evaluation(file: Path) -> dict[str, Any]:
    """``evaluate-<split>.json`` of a run; raises :class:`InputError` for a damaged one."""
    return documents.read(file, "evaluate", EvaluationDocument, "run 'skn evaluate --overwrite' again")


def check(repeats: int | None) -> None:
    """Raises :class:`InputError` for a number of timed passes that means nothing."""
    if repeats is not None and repeats < 1:
        raise InputError(f"--repeats {repeats}: at least 1")


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Accuracy and speed of each model, as ``evaluate-<split>.json`` holds them."""

    document: dict[str, Any]

    @property
    def models(self) -> list[dict[str, Any]]:
        return self.document["models"]

    def table(self) -> Table:
        """A line for each model."""
        document = self.document
        settings = f"{document['examples']} examples, {document['dtype']}, {document['device']}"
        guess = f"; the larger class alone: {document['majority']:.4f}"
        title = f"Evaluation on {document['split']} ({settings}{guess})"
        columns = ["model", "parameters", "engine", "accuracy", "95% interval", "AUC", "examples/s: median (min – max)"]
        rows = [
            [*(m[name] for name in ("name", "parameters", "engine", "accuracy", "interval", "auc")), _rates_of(m)]
            for m in self.models
        ]
        formats = {"parameters": ",", "accuracy": ".4f", "95% interval": span, "AUC": ".4f", columns[6]: _spread}
        return Table(title, columns, rows, formats)

    def to_pandas(self) -> Any:
        """The table as a ``pandas.DataFrame``."""
        return self.table().to_pandas()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return str(self.table())


def evaluate(
    run: LoadedRun,
    models: Path | str | nn.Module | Sequence[Path | str | nn.Module] = (),
    split: str = "test",
    *,
    repeats: int | None = None,
    compute: Compute = AS_TRAINED,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Accuracy, and on request speed, of a run's model and of pruned ones side by side.

    Beside each accuracy stand its 95% interval (Wilson) and the AUC; beside all of them the share of the larger class, which a
    model reaches that always says it.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``.
        models: pruned models, or the folders that ``skn.prune`` wrote; on the device and in the dtype of the run.
        split: "train", "validation" or "test".
        repeats: timed passes over the split, in turns; None does not time. Tokenization is apart.
        compute: ``engine`` and ``batch_tokens`` of the pruned models; the run has its own engine already.
        out: a JSON file that keeps the result.

    Raises:
        InputError: a folder that holds no pruned model, or one of another task or backbone; a file that exists.

    Example::

        >>> [model["name"] for model in skn.evaluate(run, [small]).models]
        ['full', 'pruned']
    """
    check(repeats)
    if out is not None:
        refuse_existing([Path(out)], overwrite)
    one_of(split, SPLITS, "--split")
    several = [models] if isinstance(models, nn.Module | str | Path) else models
    contestants = [_full(run), *(_pruned(model, run, compute.engine) for model in several)]
    start = time.perf_counter()
    encoded = run.encoded(split)
    tokenization = time.perf_counter() - start
    tokens = compute.batch_tokens
    scores = [Score.of(predict(c.model, encoded, tokens, c.name, c.engine), encoded.label) for c in contestants]
    speeds = _speeds(contestants, encoded, tokens, repeats) if repeats else [None] * len(contestants)
    document = {
        "split": split,
        "examples": len(encoded),
        "majority": majority(encoded.label),
        "truncated": encoded.truncated,
        "dtype": run.provenance["dtype"],
        "device": run.provenance["device"],
        "batch_tokens": tokens,
        "threads": torch.get_num_threads(),
        "tokenization_seconds": round(tokenization, 3),
        "models": [
            {
                "name": c.name,
                "parameters": c.parameters,
                "engine": c.engine,
                **asdict(score),
                "examples_per_second": rate,
            }
            for c, score, rate in zip(contestants, scores, speeds, strict=True)
        ],
    }
    if out is not None:
        documents.write(Path(out), "evaluate", document)
    return Evaluation(document)


def _full(loaded: LoadedRun) -> _Contestant:
    backbone = loaded.model.backbone
    module = backbone.base if backbone.headless else backbone.model
    return _Contestant("full", loaded.model, parameter_count(module) + loaded.model.prompt.numel(), loaded.engine)


def _pruned(model: Path | str | nn.Module, loaded: LoadedRun, engine: str | None) -> _Contestant:
    """A pruned model, or the folder of one, on the device and in the dtype of the run."""
    if isinstance(model, nn.Module):
        if not isinstance(model, PreTrainedModel) or not isinstance(model, PromptedModel):
            raise InputError(f"models: expected what skn.prune returns, or its folder, not a {type(model).__name__}")
        if model.label_ids.numel() != len(loaded.data.classes):
            raise InputError(
                f"models: one of {model.label_ids.numel()} classes, this run has {len(loaded.data.classes)}"
            )
        return _contestant("pruned", copy.deepcopy(model), loaded, engine)  # the user's own stays as it is
    folder = Path(model)
    model = load_pruned(folder)
    if model.label_ids.numel() != len(loaded.data.classes):
        raise InputError(
            f"{folder}: {model.label_ids.numel()} classes, this run has {len(loaded.data.classes)}; give one pruned for this task"
        )
    room, longest = model.backbone.max_positions - model.prompt_length, loaded.max_length
    if load_tokenizer(str(folder)).get_vocab() != loaded.tokenizer.get_vocab() or room < longest:
        raise InputError(
            f"{folder}: made from another backbone or for shorter texts than this run's; give one pruned from it"
        )
    return _contestant(folder.name, model, loaded, engine)


def _contestant(name: str, model: nn.Module, loaded: LoadedRun, engine: str | None) -> _Contestant:
    target, dtype = resolve_device(loaded.provenance["device"]), loaded.provenance["dtype"]
    model = model.eval().to(device=target, dtype=DTYPES[dtype])
    model.bf16x3 = dtype == "bf16x3"
    return _Contestant(name, model, parameter_count(model), choose_engine(model.backbone, engine))


def _speeds(contestants: list[_Contestant], encoded: Encoded, batch_tokens: int, repeats: int) -> list[dict]:
    """Examples per second over the whole split, tokenization apart; the contestants take turns."""
    types = encoded.token_type_ids
    few = Encoded(encoded.input_ids[:WARM_UP_ROWS], types and types[:WARM_UP_ROWS], encoded.label[:WARM_UP_ROWS], 0)
    seconds = np.empty((len(contestants), repeats))
    for c in contestants:
        predict(c.model, few, batch_tokens, f"warm up {c.name}", c.engine)
    for repeat in range(repeats):
        for i, c in enumerate(contestants):
            start = time.perf_counter()
            description = f"time {c.name} {repeat + 1}/{repeats}"
            predict(c.model, encoded, batch_tokens, description, c.engine)  # ends on the host: synced
            seconds[i, repeat] = time.perf_counter() - start
    return [_rates(len(encoded) / row) for row in seconds]


def _rates(rates: np.ndarray) -> dict:
    return {
        "median": round(float(np.median(rates)), 2),
        "low": round(float(rates.min()), 2),
        "high": round(float(rates.max()), 2),
        "repeats": len(rates),
    }


def _rates_of(model: dict[str, Any]) -> list[float] | None:
    rate = model["examples_per_second"]
    return None if rate is None else [rate[name] for name in ("median", "low", "high")]


def _spread(rates: list[float]) -> str:
    median, low, high = rates
    return f"{median:.1f} ({low:.1f} – {high:.1f})"
