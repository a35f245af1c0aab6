"""The smaller model of a run: which neurons stay, and the Hugging Face folder that holds it."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from skn.errors import InputError
from skn.inference.loaded import LoadedRun
from skn.neurons.mask import neurons_of
from skn.neurons.neuron_sets import NeuronSets, SetIdentity, check_layers
from skn.neurons.thresholds import mean_of
from skn.pruned.onnx_export import compare_onnx, require_packages, write_onnx
from skn.pruned.pruning import parameter_count
from skn.pruned.pruning import prune as prune_model
from skn.pruned.retune import Standing, check_retune, standing
from skn.store import atomic, documents, folders

log = logging.getLogger(__name__)

ONNX = "model.onnx"
USUAL_RETUNE = 3  # epochs that a note proposes


@dataclass(frozen=True, kw_only=True)
class PruneDocument:
    """What ``prune.json`` holds: parameters, the neurons that each layer keeps, the layers that were pruned."""

    parameters_before: int
    parameters_after: int
    widths: list[int]
    layers: tuple[int, int]
    kept_fraction: float | None
    onnx: dict[str, Any] | None = None
    neurons: SetIdentity | None = None
    validation: Standing | None = None


def read_prune(file: Path) -> dict[str, Any]:
    """``prune.json`` of a run; raises :class:`InputError` for a damaged one."""
    return documents.read(file, "prune", PruneDocument, "run 'skn prune --overwrite' again")


CARD = """---
library_name: transformers
pipeline_tag: text-classification
tags: [skn, pruned]
---

# {name}

`{backbone}` tuned on `{task}` ({method}, prompt length {prompt_length}), then pruned by skn {skn_version}: layers
{low} to {high_last} keep {widths} feed-forward neurons, the others are frozen at their mean over the training split and
folded into the output bias. Parameters: {before:,} before, {after:,} after ({share:.1%}).

Accuracy on validation: {accuracy}.

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


def check(out: Path | None, overwrite: bool, onnx: bool, dtype: str) -> None:
    """What :func:`prune` refuses before it needs a model: a folder in the way, what ONNX has not."""
    if onnx:
        require_packages()
        if dtype != "float32":
            raise InputError(f"--onnx: writes float32, this run was trained in {dtype}; train with --dtype float32")
        if out is None:
            raise InputError("--onnx: the file needs a folder; give --out")
    if out is not None:
        folders.refuse_occupied(out, "pruned model", overwrite)


def prune(
    run: LoadedRun,
    neurons: NeuronSets | Path | str | None = None,
    *,
    fraction: float | None = None,
    count: int | Sequence[int] | None = None,
    layers: range | None = None,
    thresholds: Path | str | Tensor | None = None,
    retune: int | None = None,
    out: Path | str | None = None,
    onnx: bool = False,
    overwrite: bool = False,
) -> PreTrainedModel:
    """Keep the best neurons of each layer; the others are frozen at their mean, which the output bias takes in.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``, on the CPU.
        neurons: a ranking or a fixed set; a file; by default the run's own ranking.
        fraction: the share of each layer that is kept; or
        count: how many of each layer are kept, one number for all or one for each of ``layers``.
        layers: the layers that are pruned, all by default; the others keep all they have.
        thresholds: the mean activations: a file, or [L, F] or [L, P, F]; by default the probe's.
        retune: epochs for which the prompt is tuned again for the neurons that are left; the better of the two prompts by
            validation accuracy is kept. Few neurons often leave a model that says one class until this is done.
        out: a folder that ``from_pretrained`` loads; ``prune.json`` is then written beside the run's files, with the accuracy
            on validation before and after.
        onnx: also ``model.onnx`` in that folder, refused where it does not answer as the model does.

    Returns:
        The smaller model, in eval mode on the CPU, with prompt and label words inside.

    Raises:
        InputError: no or two sizes, a folder in the way, neurons of another backbone, a NaN mean, a run without a prompt to
            tune again.

    Example::

        >>> small = skn.prune(run, ranking, count=12, layers=range(1, 3))
        >>> small.config.ffn_widths
        [48, 12, 12]
    """
    folder = None if out is None else Path(out)
    check(folder, overwrite, onnx, run.provenance["dtype"])
    check_retune(run, retune)
    present = run.model.backbone.present
    span = check_layers(layers, len(present))
    sets = neurons_of(run, neurons)
    keep = _keep(sets, present, span, fraction, count)
    mean = mean_of(run, thresholds, sets)
    before = parameter_count(_reference(run)) + run.model.prompt.numel()  # the pruned model holds it too
    model = prune_model(run.model, keep, mean, run.class_names)
    model.reader = run.reader  # for skn.predict; an attribute of this model, not of its folder
    if folder is None and retune is None:
        return model
    stands = standing(run, model, retune)
    if folder is None:
        _advise(stands, retune)
        return model
    summary = {
        "parameters_before": before,
        "parameters_after": parameter_count(model),
        "widths": model.config.ffn_widths,
        "layers": [span.start, span.stop],
        "kept_fraction": fraction,
        "neurons": sets.identity,
        "validation": asdict(stands),
    }
    about = {"provenance": run.provenance, **summary}
    with folders.replaced(folder, "pruned model", about) as partial:
        if onnx:
            about["onnx"] = summary["onnx"] = _add_onnx(partial, model, run)
        _fill_folder(partial, model, run, folder.name, summary)
    if run.path is not None:
        documents.write(run.path / "prune.json", "prune", summary)
    _advise(stands, retune)
    return model


def _advise(stands: Standing, retune: int | None) -> None:
    advice = stands.advice(USUAL_RETUNE if retune is None else 2 * retune)
    if advice:
        log.info("%s", advice)


def _add_onnx(folder: Path, model: torch.nn.Module, loaded: LoadedRun) -> dict:
    encoded = loaded.encoded("validation")
    write_onnx(model, encoded, folder / ONNX)
    return compare_onnx(folder / ONNX, model, encoded)


def _keep(
    sets: NeuronSets, present: Tensor, layers: range, fraction: float | None, count: int | Sequence[int] | None
) -> Tensor:
    """[L, F] bool: what stays; layers outside the range keep everything they have."""
    if (fraction is None) == (count is None) and sets.selected is None:
        raise InputError("say how many neurons to keep: either --fraction or --count")
    if count is not None:
        kept = sets.count(count, layers)
    elif fraction is not None:
        kept = sets.cut(fraction, layers)
    else:
        kept = sets.fixed(layers)
    outside = torch.ones(present.shape[0], dtype=torch.bool)
    outside[layers.start : layers.stop] = False
    return torch.where(outside[:, None], present, kept)


def _reference(loaded: LoadedRun) -> torch.nn.Module:
    """What the pruned model is compared with: the backbone, without a head that does not exist."""
    backbone = loaded.model.backbone
    return backbone.base if backbone.headless else backbone.model


def _reached(validation: dict[str, Any]) -> str:
    """In words; "interval" is of 95%."""
    last = validation["retuned"] or validation["pruned"]
    low, high = last["interval"]
    again = ", its prompt tuned again" if validation["retuned"] else ""
    return f"{last['accuracy']:.4f} (95%: {low:.4f} to {high:.4f}{again}); the larger class alone: {validation['majority']:.4f}"


def _fill_folder(folder: Path, model: torch.nn.Module, loaded: LoadedRun, name: str, summary: dict) -> None:
    """Model, tokenizer, card and provenance."""
    model.save_pretrained(folder)
    tokenizer = copy.deepcopy(loaded.tokenizer)  # the run's own stays as it is
    tokenizer.model_max_length = loaded.max_length
    tokenizer.save_pretrained(folder)
    low, high = summary["layers"]
    widths = summary["widths"][low:high]
    kept = str(widths[0]) if len(set(widths)) == 1 else f"{min(widths)} to {max(widths)}"
    card = CARD.format(
        **{**loaded.provenance, "label_words": ", ".join(loaded.label_words)},
        name=name,
        low=low,
        high_last=high - 1,
        widths=kept,
        before=summary["parameters_before"],
        after=summary["parameters_after"],
        share=summary["parameters_after"] / summary["parameters_before"],
        classes=", ".join(loaded.class_names),
        accuracy=_reached(summary["validation"]),
        max_length=loaded.max_length,
    )
    atomic.write_text(folder / "README.md", card)
