"""The meaning of ``permuted_hits``, as :mod:`skn.ops.reference` has that of the other operators. It imports nothing of skn."""

import math

import torch
from torch import Tensor

# Equal statistics of two columns may differ in their last bits, because each is divided by the spread of its own column. A
# statistic that falls short by less than this share reaches the other one.
REACHES = 1.0 - 1e-12
_VALUES = 2**22  # held in memory at once


def check_contrasts(sides: Tensor, terms: Tensor, count: int) -> None:
    """Refuse a side that is none of ``count``, and terms for which a maximum of absolute values has no meaning."""
    for k, (positive, negative) in enumerate(sides.tolist()):
        if not (0 <= positive < count and -1 <= negative < count):
            raise RuntimeError(
                f"permuted_hits: contrast {k} must have sides in [0, {count}), or -1 for the negative one, "
                f"got {positive} and {negative}"
            )
    for k, values in enumerate(terms.tolist()):
        if not all(map(math.isfinite, values)) or values[2] < 0 or values[3] < 0:
            raise RuntimeError(
                f"permuted_hits: the terms of contrast {k} must be finite, the weight and the unit not negative"
            )


def scales(examples: int) -> list[float]:
    """One over the spread of a column, by its number of ones; 0 for a constant column.

    The products are exact, so a column and its complement have the same scale to the bit.
    """
    inner = range(1, examples)
    found = [1.0 / math.sqrt(ones * (examples - ones) / (examples * (examples - 1))) for ones in inner]
    return [0.0, *found, 0.0]


@torch.no_grad()
def permuted_hits(
    words: Tensor, masks: Tensor, sides: Tensor, terms: Tensor, examples: int, lowest: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """A group's statistic and excess in the true labelling, how many others reach it, and the greatest of each other.

    Hits are products of zeros and ones. Sums of fewer than 2²⁴ of them are exact in float32.
    """
    check_contrasts(sides, terms, masks.shape[1])
    positions, groups = words.shape[2:]
    labels = _bits(masks, 2, examples).float()  # [M, S, N]
    scale = torch.tensor(scales(examples), dtype=torch.float64, device=words.device)
    own = torch.zeros(2, groups, dtype=torch.float64, device=words.device)
    reached = torch.zeros(groups, dtype=torch.int64, device=words.device)
    greatest = own.new_zeros(2, len(labels) - 1)
    width = max(1, _VALUES // (positions * examples))
    rows = max(1, _VALUES // (labels.shape[1] * positions * max(1, min(width, groups))))
    for g in range(0, groups, width):
        some = slice(g, g + width)
        columns = [_bits(run[..., some], 0, examples).float() for run in words]  # of each run: [N, P, g]

        def joined(labels: Tensor, columns: list[Tensor] = columns) -> Tensor:
            return _join([_statistics(labels, run, sides, terms, scale) for run in columns], lowest)

        own[:, some] = joined(labels[:1])[:, 0]
        for i in range(1, len(labels), rows):
            found = joined(labels[i : i + rows])
            reached[some] += (found[0] >= own[0, some] * REACHES).sum(dim=0)
            others = greatest[:, i - 1 : i - 1 + rows]
            others.copy_(torch.maximum(others, found.amax(dim=2)))
    return own, reached, greatest


def _bits(words: Tensor, dim: int, count: int) -> Tensor:
    """Each bit of the words along an axis, as 0 or 1: the lowest bit first, ``count`` of them."""
    shifts = torch.arange(64, device=words.device).view(-1, *[1] * (words.dim() - dim - 1))
    return (words.unsqueeze(dim + 1) >> shifts & 1).flatten(dim, dim + 1).narrow(dim, 0, count)


def _statistics(labels: Tensor, columns: Tensor, sides: Tensor, terms: Tensor, scale: Tensor) -> Tensor:
    """Statistic and excess of one run's groups [2, labellings, groups]: the greatest over positions and contrasts."""
    count, _, groups = columns.shape
    ones = columns.sum(dim=0, dtype=torch.float64)
    hits = (labels.flatten(0, 1) @ columns.reshape(count, -1)).view(*labels.shape[:2], -1, groups).double()
    best = scale.new_zeros(2, len(labels), groups)
    for (positive, negative), (a, b, weight, unit) in zip(sides.tolist(), terms.tolist(), strict=True):
        other = ones if negative < 0 else hits[:, negative]
        difference = (a * hits[:, positive] - b * other).abs()
        statistic = difference * unit * scale[ones.long()]
        found = torch.stack([statistic.amax(dim=1), (difference * weight).amax(dim=1)])
        best = torch.maximum(best, found)
    return best


def _join(runs: list[Tensor], lowest: bool) -> Tensor:
    """The mean of the runs, summed in their order, or the least of them."""
    total = runs[0]
    for run in runs[1:]:
        total = torch.minimum(total, run) if lowest else total + run
    # A tensor divides it: by a number, CUDA would multiply with its rounded inverse.
    return total if lowest else total / total.new_tensor(len(runs))
