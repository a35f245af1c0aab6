"""A batch grouped by class, which the statistics kernels read instead of labels.

Each activation is then read once, whatever the number of classes. A program owns its part of the state, so no kernel
needs an atomic operation, and equal inputs give equal bits.
"""

from __future__ import annotations

import threading
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
_thread = threading.local()  # .groups: inside of `once`, groups by address of the labels and number of classes


def group_by_class(op: str, labels: Tensor, classes: int, device: torch.device) -> Groups:
    """Group ``labels`` [B] int64, each in [0, classes), for a device.

    Labels on the CPU are checked and sorted there, without waiting for the device. The latest groups are kept, for the
    stream on which their copy was queued. Labels on the device are checked there, which waits for the device. While a
    CUDA graph is captured, they are not checked, and a label of ``classes`` or more is in no group.

    Raises:
        RuntimeError: a label is out of range; ``op`` names the operator in the message.
    """
    if not labels.is_cpu:
        return _on_device(op, labels, classes)
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    key = classes, device, stream
    for known, own, groups in tuple(_latest):  # other threads may add to it
        if known == key and torch.equal(own, labels):
            return groups
    check_labels(op, labels, classes)
    order, label, begin = _sorted(labels, classes)
    groups = Groups(*(tensor.to(device, non_blocking=True) for tensor in (order, label, begin)))
    _latest.append((key, labels.clone(), groups))
    del _latest[:-_MOST_KEPT]
    return groups


@contextmanager
def once() -> Iterator[None]:
    """Group the same labels on the device only once inside this context, where nothing may change them."""
    _thread.groups = {}
    try:
        yield
    finally:
        del _thread.groups


def _on_device(op: str, labels: Tensor, classes: int) -> Groups:
    known, key = getattr(_thread, "groups", None), (labels.data_ptr(), classes)
    if known is not None and key in known:
        return known[key]
    if not _captured(labels):
        check_labels(op, labels, classes)
    groups = Groups(*_sorted(labels, classes))
    if known is not None:
        known[key] = groups
    return groups


def _sorted(labels: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    label, order = torch.sort(labels, stable=True)
    return order, label, torch.searchsorted(label, torch.arange(classes + 1, device=labels.device))


def _captured(labels: Tensor) -> bool:
    """Whether a CUDA graph is being captured, so that nothing may wait for the device."""
    return labels.is_cuda and torch.cuda.is_current_stream_capturing()
