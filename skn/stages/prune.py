"""``skn prune``: keep the best neurons of each layer and write the smaller model as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from skn.commands.parse import parse_fractions, parse_layers
from skn.console import print_table
from skn.errors import InputError
from skn.neurons.neuron_sets import NeuronSets, load_mean
from skn.pruned.onnx_export import compare_onnx, require_packages, write_onnx
from skn.pruned.pruning import parameter_count
from skn.pruned.pruning import prune as prune_model
from skn.runs.run import LoadedRun, Run, timed
from skn.store import atomic
from skn.store.output import refuse_occupied

ONNX = "model.onnx"

CARD = """---
library_name: transformers
pipeline_tag: text-classification
tags: [skn, pruned]
---

# {name}

`{backbone}` tuned on `{task}` ({method}, prompt length {prompt_length}), then pruned by skn {skn_version}: layers
{low} to {high_last} keep {widths} feed-forward neurons, the others are frozen at their mean over the training split and
folded into the output bias. Parameters: {before:,} before, {after:,} after ({share:.1%}).

Classes: {classes}. Label words: {label_words}. Word scores: {word_scores}. Weights: {dtype}.

```python
import skn  # registers the model
from transformers import pipeline

classify = pipeline("text-classification", "{name}")
classify("a text")
```

The prompt and the label words are inside; texts are truncated to {max_length} tokens. Use it for the task it was
pruned for: what the removed neurons did elsewhere is gone.
"""


def prune(
    run_path: Path,
    neurons: Path | None = None,
    fraction: float | None = None,
    count: str | None = None,
    layers: str | None = None,
    thresholds: Path | None = None,
    out: Path | None = None,
    onnx: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write the pruned model to ``out`` (default ``RUN/pruned``) and ``prune.json`` beside the run's files.

    ``onnx`` adds ``model.onnx``, refused where it does not answer as the model does.
    """
    run = Run.open(run_path)
    if onnx:
        require_packages()
        _refuse_reduced_precision(run)
    out = out or run.path / "pruned"
    refuse_occupied(out, "skn.json", "pruned model", overwrite)
    if fraction is not None:
        parse_fractions(str(fraction))
    loaded = run.load(device="cpu")
    present = loaded.model.backbone.present
    span = parse_layers(layers, present.shape[0])
    sets = NeuronSets.load(neurons or run.path / "neurons.safetensors", loaded.provenance, present)
    keep = _keep(sets, present, span, fraction, count)
    mean = _mean(loaded, thresholds)
    before = parameter_count(_reference(loaded)) + loaded.model.prompt.numel()  # the pruned model holds it too
    with timed(run_path, "prune"):
        model = prune_model(loaded.model, keep, mean, loaded.data.classes)
        summary = {
            "parameters_before": before,
            "parameters_after": parameter_count(model),
            "widths": model.config.ffn_widths,
            "layers": [span.start, span.stop],
            "kept_fraction": fraction,
        }
        with atomic.replaced_folder(out) as folder:
            if onnx:
                summary["onnx"] = _add_onnx(folder, model, loaded)
            _fill_folder(folder, model, loaded, out.name, summary)
            atomic.write_json(run.path / "prune.json", summary)
    _show(out, present, summary)
    return out


def _show(out: Path, present: Tensor, summary: dict) -> None:
    rows = [[layer, int(present[layer].sum()), width] for layer, width in enumerate(summary["widths"])]
    print_table(f"Pruned model {out}", ["layer", "neurons before", "after"], rows)
    before, after = summary["parameters_before"], summary["parameters_after"]
    formats = {"before": ",", "after": ",", "left": ".1%"}
    print_table("Parameters", list(formats), [[before, after, after / before]], formats)
    if "onnx" in summary:
        columns = ["file", "batches compared", "largest difference of a logit"]
        row = [ONNX, summary["onnx"]["batches"], summary["onnx"]["largest_difference"]]
        print_table("ONNX against PyTorch", columns, [row], {columns[1]: _shapes, columns[2]: ".1e"})


def _shapes(batches: list[list[int]]) -> str:
    return ", ".join(f"{texts} × {tokens}" for texts, tokens in batches)


def _refuse_reduced_precision(run: Run) -> None:
    if run.config.dtype != "float32":
        raise InputError(
            f"--onnx: writes float32, {run.path} was trained in {run.config.dtype}; train with --dtype float32"
        )


def _add_onnx(folder: Path, model: torch.nn.Module, loaded: LoadedRun) -> dict:
    encoded = loaded.encoded("validation")
    write_onnx(model, encoded, folder / ONNX)
    return compare_onnx(folder / ONNX, model, encoded)


def _keep(sets: NeuronSets, present: Tensor, layers: range, fraction: float | None, count: str | None) -> Tensor:
    """[L, F] bool: what stays; layers outside the range keep everything they have."""
    if (fraction is None) == (count is None) and sets.selected is None:
        raise InputError("say how many neurons to keep: either --fraction or --count")
    if count is not None:
        kept = sets.count(_counts(count, layers))
    elif fraction is not None:
        kept = sets.fraction(fraction, layers)
    else:
        kept = sets.fixed(layers)
    outside = torch.ones(present.shape[0], dtype=torch.bool)
    outside[layers.start : layers.stop] = False
    return torch.where(outside[:, None], present, kept)


def _counts(text: str, layers: range) -> dict[int, int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--count {text}: expected a number, or one for each layer separated by commas") from None
    if len(counts) == 1:
        counts *= len(layers)
    if len(counts) != len(layers):
        raise InputError(f"--count {text}: {len(counts)} numbers for {len(layers)} layers")
    return dict(zip(layers, counts, strict=True))


def _mean(loaded: LoadedRun, thresholds: Path | None) -> Tensor:
    file = thresholds or loaded.run.file("moments")
    if not file.is_file():
        raise InputError(f"{file}: not there; run 'skn probe --run {loaded.run.path}' or give --thresholds FILE")
    return load_mean(file, loaded.provenance, loaded.model.backbone.present)


def _reference(loaded: LoadedRun) -> torch.nn.Module:
    """What the pruned model is compared with: the backbone, without a head that does not exist."""
    backbone = loaded.model.backbone
    return backbone.base if backbone.headless else backbone.model


def _fill_folder(folder: Path, model: torch.nn.Module, loaded: LoadedRun, name: str, summary: dict) -> None:
    """Model, tokenizer, card and provenance."""
    config = loaded.run.config
    model.save_pretrained(folder)
    loaded.tokenizer.model_max_length = config.max_length
    loaded.tokenizer.save_pretrained(folder)
    low, high = summary["layers"]
    widths = summary["widths"][low:high]
    kept = str(widths[0]) if len(set(widths)) == 1 else f"{min(widths)} to {max(widths)}"
    card = CARD.format(
        **{**loaded.provenance, "label_words": ", ".join(config.label_words)},
        name=name,
        low=low,
        high_last=high - 1,
        widths=kept,
        before=summary["parameters_before"],
        after=summary["parameters_after"],
        share=summary["parameters_after"] / summary["parameters_before"],
        classes=", ".join(loaded.data.classes),
        max_length=config.max_length,
    )
    atomic.write_text(folder / "README.md", card)
    atomic.write_json(folder / "skn.json", {"provenance": loaded.provenance, **summary})
