"""One call of the model on its way into the statistics: the hook, the rows that the hook reads, and the refusals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor, nn

from skn.errors import InputError
from skn.inference.readouts import Places
from skn.model.backbone import Backbone, FfnSite
from skn.neurons.readout import Readout


class Recording:
    """One batch: the labels and tokens that ``record`` was given, and by layer the rows [B, P, width] that were read.

    :param tokens: [B, S], 1 at the tokens that may be read; None for all.
    :param name: of the argument of ``record`` that said the tokens, for messages.
    """

    def __init__(
        self,
        readout: Readout,
        classes: int,
        labels: Tensor | Sequence[int] | None,
        tokens: Tensor | None,
        name: str = "attention_mask",
    ):
        self.readout = readout
        self.labels = _checked_labels(labels, classes)
        self.name = name
        self.places: Places | None = None
        self.shape: Size | None = None
        if tokens is not None:
            self.places = readout.places(tokens, name)
            self.shape = tokens.shape
        self.rows: dict[int, Tensor] = {}

    def read(self, site: FfnSite, activation: Tensor) -> None:
        """The hook of a layer. The hook keeps a detached copy, so nothing that it keeps enters the model's graph."""
        if site.layer in self.rows:
            raise InputError(
                f"layer {site.layer} ran twice inside one record(): call the model once in it; each step of a generation "
                "needs its own, and with gradient checkpointing backward() comes after it"
            )
        self._fit(activation)
        self.rows[site.layer] = self.places.read(activation.detach())

    def _fit(self, activation: Tensor) -> None:
        """Fill in missing labels and a missing mask from the first layer's shape.

        Refuse labels or a mask that do not fit.
        """
        if activation.dim() != 3:
            raise InputError(f"the FFN activations have shape {list(activation.shape)}; skn reads [B, S, F]")
        examples, tokens, _ = activation.shape
        if self.labels is None:
            self.labels = torch.zeros(examples, dtype=torch.int64)
        if self.places is None:
            self.places, self.shape = self.readout.places(torch.ones(examples, tokens)), (examples, tokens)
        if len(self.labels) != examples:
            raise InputError(f"record() was given {len(self.labels)} labels, the model reads {examples} examples")
        if self.shape != (examples, tokens):
            raise InputError(
                f"{self.name} is {list(self.shape)}, the model's layers read {[examples, tokens]}; "
                "give the mask of all positions, a prompt's included"
            )


def seen_by_skn(model: nn.Module) -> Backbone:
    """Return the model as a :class:`Backbone`. Raises :class:`InputError` if skn cannot record this model."""
    kind = type(model).__name__
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise InputError(f"the model is wrapped in {kind}: give model.module (DataParallel itself cannot be recorded)")
    if hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None:
        raise InputError("the model is compiled, which passes hooks by: give the model itself and run it uncompiled")
    if not isinstance(model, nn.Module) or not hasattr(getattr(model, "config", None), "model_type"):
        raise InputError(f"NeuronStatistics needs a Hugging Face model, got {kind}")
    if getattr(model.config, "chunk_size_feed_forward", 0):
        raise InputError("the model computes its FFNs in chunks: set model.config.chunk_size_feed_forward = 0 before")
    backbone = Backbone(model)
    try:
        _ = backbone.ffn_sites
    except AttributeError as error:
        raise InputError(f"{kind}: a {model.config.model_type} model without the family's layers ({error})") from error
    return backbone


def _checked_labels(labels: Tensor | Sequence[int] | None, classes: int) -> Tensor | None:
    """Return the labels as int64 [B] on the CPU, where the operators check them without waiting for a device."""
    if labels is None:
        if classes > 1:
            raise InputError(f"record() needs labels [B] for {classes} classes")
        return None
    labels = torch.as_tensor(labels).detach().cpu()
    if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"labels must be whole numbers [B], got {describe(labels)}")
    labels = labels.to(torch.int64, copy=True)
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        example = int(wrong.nonzero()[0])
        raise InputError(f"label {int(labels[example])} of example {example} lies outside 0 to {classes - 1}")
    return labels


def describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
