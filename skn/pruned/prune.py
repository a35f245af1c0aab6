"""Make the smaller model of a run: choose the neurons that stay, and write the Hugging Face folder."""

from __future__ import annotations

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
from skn.names import one_of
from skn.neurons.mask_plan import neurons_of
from skn.neurons.neuron_sets import NeuronSets, SetIdentity, check_layers
from skn.neurons.thresholds import mean_of
from skn.parameters import for_reader
from skn.pruned.answering import answering, check_templated, smaller
from skn.pruned.card import reached, tuned_on
from skn.pruned.cutting import FREEZES, frozen_at
from skn.pruned.int8 import Int8Standing, check_model, to_int8
from skn.pruned.int8 import check as check_int8
from skn.pruned.onnx_export import check_exportable
from skn.pruned.pruning import full_count, parameter_count, pruned_run
from skn.pruned.retune import Standing, check_retune, standing
from skn.pruned.written import check, write_folder
from skn.store import documents

log = logging.getLogger(__name__)

KIND = "pruned model"
USUAL_RETUNE = 3  # the number of epochs that a note proposes


@dataclass(frozen=True, kw_only=True)
class PruneDocument:
    """The content of ``prune.json``: parameters, kept neurons of each layer, pruned layers, where the others are frozen,
    and the run. Files of older versions lack ``freeze``.
    """

    parameters_before: int
    parameters_after: int
    widths: list[int]
    layers: tuple[int, int]
    kept_fraction: float | None
    freeze: str = "mean"
    stock: bool = False
    onnx: dict[str, Any] | None = None
    neurons: SetIdentity | None = None
    validation: Standing | None = None
    int8: Int8Standing | None = None
    provenance: dict[str, Any] | None = None


def read_prune(file: Path) -> dict[str, Any]:
    """Read ``prune.json`` of a run. Raises :class:`InputError` for a damaged file."""
    return documents.read(file, "prune", PruneDocument, "run 'skn prune --overwrite' again")


def prune(
    run: LoadedRun,
    neurons: NeuronSets | Path | str | None = None,
    *,
    fraction: float | None = None,
    count: int | Sequence[int] | None = None,
    layers: range | None = None,
    thresholds: Path | str | Tensor | None = None,
    freeze: str = "mean",
    retune: int | None = None,
    out: Path | str | None = None,
    portable: bool = False,
    onnx: bool = False,
    int8: bool = False,
    no_plain: bool = False,
    stock: bool = False,
    overwrite: bool = False,
) -> PreTrainedModel:
    """Keep the best neurons of each layer, and freeze the other neurons at their mean or at zero.

    The bias of the layer takes in the mean effect of the removed neurons.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``, on the CPU.
        neurons: a ranking or a fixed set; a file; by default the run's own ranking.
        fraction: the share of each layer's neurons to keep. Give ``fraction`` or ``count``.
        count: how many neurons of each layer to keep: one number for all layers, or one number for each of ``layers``.
        layers: the layers to prune, by default all. The other layers keep all their neurons.
        thresholds: the mean activations: a file, or [L, F] or [L, P, F]; by default the probe's.
        freeze: where the removed neurons are frozen: "mean", as ``skn.mask`` with kind "mean" does, or "zero", which adds nothing to the bias
            and needs no probe.
        retune: for how many epochs to tune the prompt again, for the neurons that are left. skn keeps the better of the two prompts by
            validation accuracy. With few neurons, a model often gives every text the same class until its prompt is tuned again.
        out: a folder that ``from_pretrained`` loads. skn then writes ``prune.json`` beside the run's files, with the validation
            accuracy before and after.
        portable: put the model's own Python files into the folder, so that the folder loads with ``trust_remote_code=True`` where skn is
            not installed. Without ``out``, the files go into any folder that the model's ``save_pretrained`` writes.
        onnx: also write ``model.onnx`` into the folder. The file is refused when it does not answer as the model does.
        int8: the model computes the encoder's products in int8, calibrated on 320 texts of the train split (see ``to_int8`` of
            the returned model). A folder then also holds the plain weights, for ``from_pretrained(folder, int8=None)``.
        no_plain: leave the plain weights out of that folder.
        stock: of a run by template, make a model of the architecture's own class, with a smaller feed-forward width. It needs one width for
            all layers, and loads without skn in everything that knows the architecture.

    Returns:
        The smaller model, in eval mode on the CPU, with prompt and label words inside. Of a run by template, a language model.

    Raises:
        InputError: neither or both of ``fraction`` and ``count`` are given; the folder ``out`` exists; the neurons belong to another
            backbone; a mean is NaN; ``thresholds`` are given beside freeze "zero"; ``retune`` is given for a run without a prompt.

    Example::

        >>> small = skn.prune(run, ranking, count=12, layers=range(1, 3))
        >>> small.config.ffn_widths
        [48, 12, 12]
    """
    folder = None if out is None else Path(out)
    check(folder, KIND, overwrite, onnx, run.provenance["dtype"])
    check_int8(int8, no_plain, onnx)
    check_retune(run, retune)
    check_freeze(freeze, thresholds)
    check_templated(run, stock, portable=portable, onnx=onnx, int8=int8, retune=retune)
    present = run.model.backbone.present
    span = check_layers(layers, len(present))
    sets = neurons_of(run, neurons)
    keep = _keep(sets, present, span, fraction, count)
    frozen = frozen_at(freeze, mean_of(run, thresholds, sets) if freeze == "mean" else None, keep)
    before = full_count(run.model)
    if run.template is None:
        model = pruned_run(run, keep, frozen, portable)
        check_model(model, int8)
        check_exportable(model, onnx)
    else:
        model = smaller(run, keep, frozen, freeze, stock)
    if folder is None and retune is None:
        if int8:
            to_int8(run, model, keep_plain=not no_plain)
        return model
    stands = standing(run, answering(model, run), retune)
    after = parameter_count(model)
    converted = to_int8(run, model, keep_plain=not no_plain) if int8 else None
    if folder is None:
        _advise(run, stands, retune)
        return model
    summary = {
        "parameters_before": before,
        "parameters_after": after,
        "widths": keep.sum(dim=1).tolist(),
        "layers": [span.start, span.stop],
        "kept_fraction": fraction,
        "freeze": freeze,
        "stock": stock,
        "neurons": sets.identity,
        "validation": asdict(stands),
        "int8": converted and asdict(converted),
        "provenance": run.provenance,
    }
    accuracy = reached(converted.score if converted else stands.last, stands.majority, again=stands.retuned is not None)
    write_folder(folder, KIND, model, run, summary=summary, story=_story(run, summary), accuracy=accuracy, onnx=onnx)
    if run.path is not None:
        documents.write(run.path / "prune.json", "prune", summary)
    _advise(run, stands, retune)
    return model


def check_freeze(freeze: str, thresholds: Path | str | Tensor | None) -> None:
    """Raises :class:`InputError` for a value that does not exist, and for thresholds that nothing would read."""
    one_of(freeze, list(FREEZES), "--freeze")
    if freeze == "zero" and thresholds is not None:
        raise InputError("--thresholds: hold the means for --freeze mean; leave them out with --freeze zero")


def _advise(run: LoadedRun, stands: Standing, retune: int | None) -> None:
    epochs = None if run.model.prompt_length < 2 else 2 * retune if retune else USUAL_RETUNE
    advice = stands.advice(epochs)
    if advice:
        log.info("%s", for_reader(advice))


def _keep(
    sets: NeuronSets, present: Tensor, layers: range, fraction: float | None, count: int | Sequence[int] | None
) -> Tensor:
    """[L, F] bool: the neurons that stay. Layers outside the range keep all their neurons."""
    if (fraction is None) == (count is None) and sets.selected is None:
        raise InputError("say how many neurons to keep: either --fraction or --count")
    if count is not None:
        kept = sets.count(count, layers)
    elif fraction is not None:
        kept = sets.cut(fraction, layers)
    else:
        kept = sets.fixed(layers)
    for layer in layers:
        if not kept[layer].any():
            raise InputError(f"{sets.name}: layer {layer} would keep no neuron; keep at least one")
    outside = torch.ones(present.shape[0], dtype=torch.bool)
    outside[layers.start : layers.stop] = False
    return torch.where(outside[:, None], present, kept)


def _story(run: LoadedRun, summary: dict[str, Any]) -> str:
    low, high = summary["layers"]
    widths = summary["widths"][low:high]
    kept = str(widths[0]) if len(set(widths)) == 1 else f"{min(widths)} to {max(widths)}"
    before, after = summary["parameters_before"], summary["parameters_after"]
    return (
        f"{tuned_on(run)}, then pruned by skn {run.provenance['skn_version']}: layers\n"
        f"{low} to {high - 1} keep {kept} feed-forward neurons, the others are frozen at {_frozen(summary['freeze'])}. Parameters: {before:,} before, {after:,} after ({after / before:.1%})."
    )


def _frozen(freeze: str) -> str:
    return "zero" if freeze == "zero" else "their mean over the training split and\nfolded into the output bias"
