"""Areas under ROC curves: ``auroc``. The block has the order of :mod:`skn.ops`."""

import torch
from torch import Tensor

from skn.ops import reference_auroc
from skn.ops.checks import behind_memory, check_floating, check_tensor, define, library

# kAurocMaxClasses and kAurocMaxExamples of csrc/cpu/auroc.h
_MOST_CLASSES = 2**16
_MOST_EXAMPLES = 2**31 - 1  # twice the count of pairs, below 2 N², fits int64


@behind_memory("auroc")
def _check_auroc(values: Tensor, labels: Tensor, classes: int) -> None:
    op = "auroc"
    check_floating(op, "values", values, "[N, K]", 2)
    n = values.shape[0]
    check_tensor(op, "labels", labels, labels, torch.int64, "[N]", (n,))
    torch._check(labels.device == values.device, lambda: f"{op}: labels must be on the device of values")
    torch._check(
        1 <= classes <= _MOST_CLASSES, lambda: f"{op}: classes must lie in [1, {_MOST_CLASSES}], got {classes}"
    )
    torch._check(n <= _MOST_EXAMPLES, lambda: f"{op}: N must be at most {_MOST_EXAMPLES}, got {n}")


define("auroc(Tensor values, Tensor labels, int classes) -> (Tensor area, Tensor nan)")


@torch.library.register_fake("skn::auroc", lib=library)
def _(values, labels, classes):
    _check_auroc(values, labels, classes)
    columns = values.shape[1]
    return values.new_empty((classes, columns), dtype=torch.float64), values.new_empty(columns, dtype=torch.int64)


@torch.library.impl(library, "auroc", "CompositeExplicitAutograd")
def _default_auroc(values, labels, classes):
    _check_auroc(values, labels, classes)
    return reference_auroc.auroc(values, labels, classes)


def auroc(values: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The area under the ROC curve of every column, for every class against all others.

    For class ``c`` and column ``k``, over the pairs of an example ``i`` of the class and an example ``j`` of another::

        area[c, k] = (#(values[i, k] > values[j, k]) + #(values[i, k] = values[j, k]) / 2) / #pairs

    Twice the numerator is counted in whole numbers, and one division makes the area, so no number of threads and no
    instruction set changes a bit. -0 equals 0, and infinities are ordinary values. A NaN is left out of its column. The
    area is NaN where no example of the class is left, or none of the others.

    Args:
        values: float32, bfloat16, float16 or float64 ``[N, K]``, any strides, expanded included; N < 2³¹.
        labels: int64 ``[N]``, each in ``[0, classes)``, on the device of ``values``.
        classes: the number of classes, at most 65,536.

    Returns:
        area, float64 ``[classes, K]``; and the number of NaNs in each column, int64 ``[K]``.

    Raises:
        RuntimeError: a shape, dtype or device does not fit, or a label is out of range.
    """
    return torch.ops.skn.auroc(values, labels, classes)


# A device's kernels first run these checks.
CHECKS = {"auroc": _check_auroc}
