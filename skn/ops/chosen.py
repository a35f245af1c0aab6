"""The checks of chosen neurons, which ``ffn_masked`` and ``encode`` take: neurons whose activations come from elsewhere,
row by row, or are recorded.

``neurons`` [K] are neurons of a layer, rising. ``values`` [V, K] are activations of theirs. ``source`` [T] says for each
row of a call which row of ``values`` it takes, or −1 where it keeps its own. The values of these indices are checked by
:func:`skn.ops.reference.check_chosen`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skn.ops.checks import describe


def check_taken(op: str, x: Tensor, neurons: Tensor | None, values: Tensor | None, source: Tensor | None) -> None:
    """Check the chosen neurons of one layer with rows x [..., H], whose activations are taken; None for none."""
    given = neurons is not None
    torch._check(
        (values is not None) == (source is not None) == given, lambda: f"{op}: neurons, values and source go together"
    )
    if given:
        _check_neurons(op, x, neurons, values)
        _check_source(op, x, x.shape[:-1].numel(), source)


def check_layers(
    op: str,
    x: Tensor,
    layers: int,
    read: int,
    neurons: list[Tensor] | None,
    values: list[Tensor] | None,
    source: Tensor | None,
) -> None:
    """Check the chosen neurons of several layers with rows x [T, H]. Without values, they are recorded."""
    torch._check(
        (values is None) == (source is None) and not (neurons is None and values is not None),
        lambda: f"{op}: values and source go together, and with neurons",
    )
    if neurons is None:
        return
    for name, tensors in (("neurons", neurons), ("values", values)):
        torch._check(
            tensors is None or len(tensors) == layers,
            lambda name=name, tensors=tensors: (
                f"{op}: {name} must hold {layers} tensors, one a layer, got {len(tensors)}"
            ),
        )
    for own, given in zip(neurons, values or [None] * layers, strict=True):
        _check_neurons(op, x, own, given)
    if source is None:
        torch._check(read == 0, lambda: f"{op}: every row is recorded, so read must be 0, got {read}")
    else:
        _check_source(op, x, x.shape[0], source)


def _check_neurons(op: str, x: Tensor, neurons: Tensor, values: Tensor | None) -> None:
    torch._check(
        neurons.dtype == torch.int64 and neurons.dim() == 1,
        lambda: f"{op}: neurons must be int64 [K], got {describe(neurons)}",
    )
    _check_place(op, "neurons", x, neurons)
    if values is None:
        return
    torch._check(
        values.dtype == x.dtype and values.dim() == 2 and values.shape[1] == neurons.shape[0],
        lambda: (
            f"{op}: values must be {str(x.dtype).removeprefix('torch.')} [V, {neurons.shape[0]}], got {describe(values)}"
        ),
    )
    torch._check(values.device == x.device, lambda: f"{op}: values must be on the device of the activations")


def _check_source(op: str, x: Tensor, rows: int, source: Tensor) -> None:
    torch._check(
        source.dtype == torch.int64 and source.dim() == 1 and source.shape[0] == rows,
        lambda: f"{op}: source must be int64 [{rows}], got {describe(source)}",
    )
    _check_place(op, "source", x, source)


def _check_place(op: str, name: str, x: Tensor, tensor: Tensor) -> None:
    torch._check(
        tensor.device in (x.device, torch.device("cpu")),
        lambda: f"{op}: {name} must be on the CPU or on the device of the activations",
    )
