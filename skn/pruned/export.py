"""Export a run as a Hugging Face folder: its backbone, full or pruned, with the prompt and the label words inside."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from transformers import PreTrainedModel

from skn.inference.loaded import LoadedRun
from skn.pruned.card import is_narrow, reached, tuned_on
from skn.pruned.int8 import check as check_int8
from skn.pruned.int8 import check_model, to_int8
from skn.pruned.onnx_export import check_exportable
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
    int8: bool = False,
    no_plain: bool = False,
    overwrite: bool = False,
) -> PreTrainedModel:
    """Make a Hugging Face model of a run, with every neuron of the run's backbone.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``, on the CPU; over a full or a pruned backbone. A run of BitFit works, too, and, over RoBERTa
            or BERT, a run of adapters: the model then has the run's biases or adapters.
        out: a folder that ``from_pretrained`` loads.
        portable: put the model's own Python files into the folder, so that the folder loads with ``trust_remote_code=True`` where skn is
            not installed. Without ``out``, the files go into any folder that the model's ``save_pretrained`` writes.
        onnx: also write ``model.onnx`` into the folder. The file is refused when it does not answer as the model does.
        int8: the model computes the encoder's products in int8, calibrated on 320 texts of the train split (see ``to_int8`` of
            the returned model). A folder then also holds the plain weights, for ``from_pretrained(folder, int8=None)``.
        no_plain: leave the plain weights out of that folder.

    Returns:
        The model, in eval mode on the CPU, with prompt and label words inside.

    Raises:
        InputError: the folder ``out`` exists; the family has no adapters, no portable folder or no ONNX file.

    Example::

        >>> model = skn.export(run, portable=True)
        >>> model.config.ffn_widths
        [48, 48, 48]
    """
    folder = None if out is None else Path(out)
    check(folder, KIND, overwrite, onnx, run.provenance["dtype"])
    check_int8(int8, no_plain, onnx)
    present = run.model.backbone.present
    model = pruned_run(run, present, torch.zeros(present.shape, dtype=torch.float64), portable)
    check_model(model, int8)
    check_exportable(model, onnx)
    stands = None if folder is None else standing(run, model)
    parameters = parameter_count(model)
    converted = to_int8(run, model, keep_plain=not no_plain) if int8 else None
    if folder is None:
        return model
    summary = {
        "parameters": parameters,
        "widths": model.config.ffn_widths,
        "validation": {"majority": stands.majority, **asdict(stands.last)},
        "int8": converted and asdict(converted),
    }
    accuracy = reached(converted.score if converted else stands.last, stands.majority)
    told = {"story": _story(run, model, parameters), "accuracy": accuracy}
    write_folder(folder, KIND, model, run, summary=summary, **told, onnx=onnx)
    return model


def _story(run: LoadedRun, model: PreTrainedModel, parameters: int) -> str:
    widths, full = model.config.ffn_widths, model.backbone.ffn_width
    pruned = (
        f" Its layers keep {', '.join(map(str, widths))} of {full} feed-forward neurons." if is_narrow(model) else ""
    )
    version = run.provenance["skn_version"]
    return f"{tuned_on(run)}, then exported by skn {version}.{pruned} Parameters: {parameters:,}."
