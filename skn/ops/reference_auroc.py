"""The meaning of ``auroc``, as :mod:`skn.ops.reference` has that of the other operators. It imports nothing of skn."""

import torch
from torch import Tensor

_VALUES = 2**22  # held in memory at once


@torch.no_grad()
def auroc(values: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The area of every class against the rest, float64 [classes, K], and the number of NaNs, int64 [K]."""
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        example = int(wrong.nonzero()[0])
        raise RuntimeError(f"auroc: labels must lie in [0, {classes}), got {int(labels[example])} at example {example}")
    n, columns = values.shape
    labels = labels.to(values.device)
    area = values.new_empty((classes, columns), dtype=torch.float64)
    width = max(1, _VALUES // max(1, n))
    for first in range(0, columns, width):
        area[:, first : first + width] = _of_columns(values[:, first : first + width], labels, classes)
    return area, values.isnan().sum(dim=0)


def _of_columns(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Sum the ranks of each class. Twice the mean rank of an example is an integer: the places 0, 1, … of the values equal
    to it begin at ``begin`` and end before ``end``, and it is ``begin + end + 1``. Here the 1 is left out, so that the
    pairs inside of a class, each example with itself included, sum to the square of the class's size.
    """
    # Sorting puts NaN last. A NaN differs from every value, so it changes the ranks of no other value.
    ordered, index = values.to(torch.float64).sort(dim=0)
    n = len(ordered)
    place = torch.arange(n, device=values.device)[:, None].expand_as(index)
    differs, edge = ordered[1:] != ordered[:-1], torch.ones_like(ordered[:1], dtype=torch.bool)
    begin = torch.where(torch.cat([edge, differs]), place, 0).cummax(dim=0).values
    end = torch.where(torch.cat([differs, edge]), place + 1, n).flip(0).cummin(dim=0).values.flip(0)
    valid = ~ordered.isnan()
    label = labels[index]
    zero = index.new_zeros((classes, index.shape[1]))
    places = zero.scatter_add(0, label, torch.where(valid, begin + end, 0))
    own = zero.scatter_add(0, label, valid.to(torch.int64))
    rest = valid.sum(dim=0) - own
    return (places - own * own).to(torch.float64) / (2 * own * rest).to(torch.float64)
