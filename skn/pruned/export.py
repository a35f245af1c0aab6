"""A run as a Hugging Face folder: its backbone as it is, full or pruned, with the prompt and the label words inside."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from transformers import PreTrainedModel

from skn.inference.loaded import LoadedRun
from skn.pruned.card import is_narrow, reached, tuned_on
from skn.pruned.pruning import parameter_count, pruned_run
from skn.pruned.retune import standing
from skn.pruned.written import check, write_folder

KIND = "exported model"


def export(
    run: LoadedRun,
    out: Path | str | None = None,
    *,
    portable: bool = False,
    onnx: bool = False,
    overwrite: bool = False,
) -> PreTrainedModel:
    """The model of a run as a Hugging Face model, every neuron of its backbone kept.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``, on the CPU; over a RoBERTa, XLM-RoBERTa or BERT, full or pruned. A run of
            BitFit or of adapters goes too: the model has its biases or adapters.
        out: a folder that ``from_pretrained`` loads.
        portable: the folder holds the model's own Python files, so that it loads with ``trust_remote_code=True`` where skn is
            not installed; without ``out``, any folder that ``save_pretrained`` of the model writes.
        onnx: also ``model.onnx`` in that folder, refused where it does not answer as the model does.

    Returns:
        The model, in eval mode on the CPU, with prompt and label words inside.

    Raises:
        InputError: a folder in the way, a backbone of another family.

    Example::

        >>> model = skn.export(run, portable=True)
        >>> model.config.ffn_widths
        [48, 48, 48]
    """
    folder = None if out is None else Path(out)
    check(folder, KIND, overwrite, onnx, run.provenance["dtype"])
    present = run.model.backbone.present
    model = pruned_run(run, present, torch.zeros(present.shape, dtype=torch.float64), portable)
    if folder is None:
        return model
    stands = standing(run, model)
    summary = {
        "parameters": parameter_count(model),
        "widths": model.config.ffn_widths,
        "validation": {"majority": stands.majority, **asdict(stands.last)},
    }
    told = {"story": _story(run, model, summary["parameters"]), "accuracy": reached(stands.last, stands.majority)}
    write_folder(folder, KIND, model, run, summary=summary, **told, onnx=onnx)
    return model


def _story(run: LoadedRun, model: PreTrainedModel, parameters: int) -> str:
    widths, full = model.config.ffn_widths, model.config.intermediate_size
    pruned = (
        f" Its layers keep {', '.join(map(str, widths))} of {full} feed-forward neurons." if is_narrow(model) else ""
    )
    version = run.provenance["skn_version"]
    return f"{tuned_on(run)}, then exported by skn {version}.{pruned} Parameters: {parameters:,}."
