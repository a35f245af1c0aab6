"""``skn evaluate``: accuracy of the full and the pruned model on a split and, on request, their speed side by side."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import SafetensorError

from skn.console import print_table
from skn.errors import InputError
from skn.inference.batches import BATCH_TOKENS, Encoded
from skn.inference.engine import PromptedModel, choose_engine, predict
from skn.inference.measures import accuracy
from skn.model.backbone import DTYPES
from skn.model.pretrained import first_line, load_tokenizer, resolve_device
from skn.pruned.pruning import parameter_count
from skn.runs.run import LoadedRun, Run, timed
from skn.store import atomic
from skn.store.atomic import refuse_existing

WARM_UP_ROWS = 96


@dataclass(frozen=True)
class _Contestant:
    name: str
    model: PromptedModel
    parameters: int
    engine: str


def evaluate(
    run_path: Path,
    models: list[Path],
    split: str = "test",
    speed: bool = False,
    repeats: int = 5,
    batch_tokens: int = BATCH_TOKENS,
    device: str | None = None,
    dtype: str | None = None,
    engine: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write ``evaluate-<split>.json`` and print it. ``models`` are pruned folders; default: the run's own, if any."""
    run = Run.open(run_path)
    if repeats < 1:
        raise InputError(f"--repeats {repeats}: at least 1")
    out = run.path / f"evaluate-{split}.json"
    refuse_existing([out], overwrite)
    loaded = run.load(device, dtype, engine)
    own = run.path / "pruned"
    folders = models or ([own] if own.is_dir() else [])
    contestants = [_full(loaded), *(_pruned(folder, loaded, engine) for folder in folders)]
    start = time.perf_counter()
    encoded = loaded.encoded(split)
    tokenization = time.perf_counter() - start
    with timed(run_path, f"evaluate-{split}"):
        scores = [
            accuracy(predict(c.model, encoded, batch_tokens, c.name, c.engine), encoded.label) for c in contestants
        ]
        speeds = _speeds(contestants, encoded, batch_tokens, repeats) if speed else [None] * len(contestants)
    table = {
        "split": split,
        "examples": len(encoded),
        "truncated": encoded.truncated,
        "dtype": loaded.provenance["dtype"],
        "device": loaded.provenance["device"],
        "batch_tokens": batch_tokens,
        "threads": torch.get_num_threads(),
        "tokenization_seconds": round(tokenization, 3),
        "models": [
            {
                "name": c.name,
                "parameters": c.parameters,
                "engine": c.engine,
                "accuracy": score,
                "examples_per_second": rate,
            }
            for c, score, rate in zip(contestants, scores, speeds, strict=True)
        ],
    }
    atomic.write_json(out, table)
    _show(table)
    return out


def _full(loaded: LoadedRun) -> _Contestant:
    backbone = loaded.model.backbone
    module = backbone.base if backbone.headless else backbone.model
    return _Contestant("full", loaded.model, parameter_count(module) + loaded.model.prompt.numel(), loaded.engine)


def _pruned(folder: Path, loaded: LoadedRun, engine: str | None) -> _Contestant:
    """A pruned folder on the device and in the dtype of the run."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not the folder of a model (no config.json in it); 'skn prune' makes one")
    try:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: no model that can be loaded ({first_line(error)}); prune it again") from error
    if not isinstance(model, PromptedModel):
        raise InputError(f"{folder}: not a model pruned by skn (no prompt inside); 'skn prune' makes one")
    if model.label_ids.numel() != len(loaded.data.classes):
        raise InputError(
            f"{folder}: {model.label_ids.numel()} classes, this run has {len(loaded.data.classes)}; give one pruned for this task"
        )
    room, longest = model.backbone.max_positions - model.prompt_length, loaded.run.config.max_length
    if load_tokenizer(str(folder)).get_vocab() != loaded.tokenizer.get_vocab() or room < longest:
        raise InputError(
            f"{folder}: made from another backbone or for shorter texts than this run's; give one pruned from it"
        )
    target, dtype = resolve_device(loaded.provenance["device"]), loaded.provenance["dtype"]
    model = model.eval().to(device=target, dtype=DTYPES[dtype])
    model.bf16x3 = dtype == "bf16x3"
    return _Contestant(folder.name, model, parameter_count(model), choose_engine(model.backbone, engine))


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


def _show(table: dict) -> None:
    rows = []
    for model in table["models"]:
        rate = model["examples_per_second"]
        shown = None if rate is None else f"{rate['median']:.1f} ({rate['low']:.1f} – {rate['high']:.1f})"
        rows.append([model["name"], f"{model['parameters']:,}", model["engine"], f"{model['accuracy']:.4f}", shown])
    title = f"Evaluation on {table['split']} ({table['examples']} examples, {table['dtype']}, {table['device']})"
    print_table(title, ["model", "parameters", "engine", "accuracy", "examples/s: median (min – max)"], rows)
