"""A batch grouped by class, which the statistics kernels read instead of labels.

Each activation is then read once, whatever the number of classes. A program owns its part of the state, so no kernel
needs an atomic operation, and equal inputs give equal bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from skn.ops.reference import check_labels


@dataclass(frozen=True)
class Groups:
    """The examples of a batch sorted by class, in the order of the batch within a class.

    ``order`` [B] int64 are example indices, ``label`` [B] int64 their classes, and class c has the examples
    ``order[begin[c] : begin[c + 1]]``, where ``begin`` is int64 [C + 1].
    """

    order: Tensor
    label: Tensor
    begin: Tensor


# What labels on the CPU were grouped for, and their groups, the latest last. A probe asks for those of its labels and, in
# float32, for those of one class, in each layer.
_latest: list[tuple[tuple[int, torch.device, int], Tensor, Groups]] = []
_MOST_KEPT = 4
# The address and the device of labels on a device → their groups, which someone else keeps up to date.
_known: dict[tuple[int, torch.device], Groups] = {}


def group_by_class(op: str, labels: Tensor, classes: int, device: torch.device) -> Groups:
    """Group ``labels`` [B] int64, each in [0, classes), for a device.

    Labels on the CPU are checked and sorted there, without waiting for the device. The latest groups are kept, for the
    stream on which their copy was queued. Labels on the device are checked there, which waits for the device, except
    inside :func:`grouped`.

    Raises:
        RuntimeError: a label is out of range; ``op`` names the operator in the message.
    """
    if _known and (groups := _known.get((labels.data_ptr(), labels.device))) is not None:
        return groups
    if not labels.is_cpu:
        return _sorted(op, labels, classes, device)
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    key = classes, device, stream
    for known, own, groups in tuple(_latest):  # other threads may add to it
        if known == key and torch.equal(own, labels):
            return groups
    groups = _sorted(op, labels, classes, device)
    _latest.append((key, labels.clone(), groups))
    del _latest[:-_MOST_KEPT]
    return groups


@contextmanager
def grouped(labels: Tensor, groups: Groups) -> Iterator[None]:
    """Take these groups for these labels, without a look at the labels. So a CUDA graph reads groups at a fixed place."""
    key = labels.data_ptr(), labels.device
    _known[key] = groups
    try:
        yield
    finally:
        _known.pop(key, None)  # tensors without memory share an address


def _sorted(op: str, labels: Tensor, classes: int, device: torch.device) -> Groups:
    check_labels(op, labels, classes)
    label, order = torch.sort(labels, stable=True)
    begin = torch.searchsorted(label, torch.arange(classes + 1, device=labels.device))
    return Groups(*(tensor.to(device, non_blocking=True) for tensor in (order, label, begin)))
