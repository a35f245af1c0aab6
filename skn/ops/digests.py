"""Digests of tensors: ``digest``. The block has the order of :mod:`skn.ops`."""

import torch
from torch import Tensor

from skn.ops import native, reference_digest
from skn.ops.checks import behind_memory, define, library


@behind_memory("digest")
def _check_digest(tensors: list[Tensor]) -> None:
    torch._check(len(tensors) > 0, lambda: "digest: expected at least one tensor")
    native.tell(tensors[0])
    torch._check(
        all(tensor.device == tensors[0].device for tensor in tensors), lambda: "digest: tensors must be on one device"
    )


define("digest(Tensor[] tensors) -> Tensor")


@torch.library.register_fake("skn::digest", lib=library)
def _(tensors):
    _check_digest(tensors)
    return tensors[0].new_empty(len(tensors), dtype=torch.int64)


@torch.library.impl(library, "digest", "CompositeExplicitAutograd")
def _default_digest(tensors):
    _check_digest(tensors)
    return reference_digest.digest(tensors)


def digest(tensors: list[Tensor]) -> Tensor:
    """Return one number for each tensor, which changes with its bits and with their places.

    Tensors that differ in one word of 64 bits always have different digests. Tensors that differ in more have equal ones
    about once in 2⁶⁴, unless somebody has looked for them. The same bytes give the same digest in every shape and dtype,
    with any number of threads and on every instruction set.

    Args:
        tensors: one or more, of any dtype, shape and strides, on one device.

    Returns:
        int64 ``[number of tensors]``.

    Raises:
        RuntimeError: a tensor is not dense, is on another device than the first, or has lost its memory.
    """
    return torch.ops.skn.digest(tensors)


# A device's kernels first run these checks.
CHECKS = {"digest": _check_digest}
