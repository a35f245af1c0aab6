"""One bit for each held-out example, neuron and position: whether the activation exceeds the neuron's threshold.

The counts of a probe say how often a neuron exceeds its threshold in each class. Bits say in which examples, and a
permutation test needs the examples. A bit is an eighth of the byte that a bool takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from skn.inference.batches import Batch
from skn.model.backbone import Backbone, FfnSite

WORD = 64  # examples in a word of `permuted_hits`
_WORDS_TOGETHER = 16  # words that are made at once, so that unpacked bits never need much memory


@dataclass(frozen=True)
class Bits:
    """The bits of a split at one read-out.

    ``packed`` [N, L, P, bytes] uint8, examples in the order of the split: bit ``f % 8`` of byte ``f // 8`` is neuron f
    (``numpy.unpackbits(..., bitorder="little")``). ``label`` [N] int64, and ``row`` [N] int64 in the data. ``width`` is
    the number of neurons in a layer, ``classes`` the number of the task's classes.
    """

    packed: Tensor
    label: Tensor
    row: Tensor
    width: int
    classes: int

    def words(self, layer: int) -> Tensor:
        """[W, P, F] int64: the layer's bits, 64 examples in a word. Bit j of word w is example 64·w + j."""
        count, _, positions, _ = self.packed.shape
        step = WORD * _WORDS_TOGETHER
        words = [_words(self.packed[first : first + step, layer], self.width) for first in range(0, count, step)]
        return torch.cat(words) if words else torch.zeros(0, positions, self.width, dtype=torch.int64)

    def unpacked(self, layer: int, first: int, end: int) -> Tensor:
        """[N, P, end − first] uint8: the bits of a layer's neurons from ``first``, a multiple of 8, to ``end``."""
        octets = self.packed[:, layer, :, first // 8 : -(-end // 8)].contiguous().numpy()
        return torch.from_numpy(np.unpackbits(octets, axis=-1, count=end - first, bitorder="little"))


def _words(packed: Tensor, width: int) -> Tensor:
    """[W, P, F] int64 from packed rows [N, P, bytes]."""
    on = np.unpackbits(packed.contiguous().numpy(), axis=-1, count=width, bitorder="little")
    on = np.pad(on, ((0, -len(on) % WORD), (0, 0), (0, 0))).reshape(-1, WORD, *on.shape[1:])
    octets = np.packbits(on, axis=1, bitorder="little")  # [W, 8, P, F]
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(octets, 1, -1)).view("<i8")[..., 0])


def masks_of(on: Tensor) -> Tensor:
    """[..., W] int64 from [..., N] bool: the words of 64 examples each, zero beyond the last example."""
    padded = F.pad(on, (0, -on.shape[-1] % WORD)).numpy()
    return torch.from_numpy(np.packbits(padded, axis=-1, bitorder="little").view("<i8"))


class BitStore:
    """Gathers the bits of one read-out from a tapped pass. Each layer's bits lie on the layer's device until the end."""

    def __init__(self, backbone: Backbone, examples: int, threshold: list[Tensor]):
        """``threshold`` has one tensor [P, width] float64 for each FFN site, on the site's device."""
        self.backbone, self.threshold, self.examples = backbone, threshold, examples
        rows = examples + 1  # the last row takes what belongs to no example (`Tap.spare_row`)
        self.packed = [
            torch.zeros(rows, len(t), (t.shape[1] + 7) // 8, dtype=torch.uint8, device=t.device) for t in threshold
        ]

    def add(self, site: FfnSite, act: Tensor, batch: Batch) -> None:
        """Take a batch's activations [B, P, width]. A NaN exceeds nothing."""
        rows = batch.rows.to(act.device, non_blocking=True)
        self.packed[site.layer][rows] = _packed(act.double() > self.threshold[site.layer])

    def whole(self) -> Tensor:
        """[N, L, P, bytes] uint8 by the backbone's own neurons. The bits of neurons that were pruned away are zero."""
        width = self.backbone.ffn_width
        layers = [
            self._whole(site, packed[: self.examples].cpu(), width)
            for site, packed in zip(self.backbone.ffn_sites, self.packed, strict=True)
        ]
        return torch.stack(layers, dim=1)

    @staticmethod
    def _whole(site: FfnSite, packed: Tensor, width: int) -> Tensor:
        if site.width == width:
            return packed
        kept = torch.from_numpy(np.unpackbits(packed.numpy(), axis=-1, count=site.width, bitorder="little")).bool()
        on = torch.zeros(*kept.shape[:-1], width, dtype=torch.bool)
        on[..., site.neurons.cpu()] = kept
        return _packed(on)


def _packed(on: Tensor) -> Tensor:
    """[..., bytes] uint8 from [..., F] bool."""
    octets = F.pad(on, (0, -on.shape[-1] % 8)).unflatten(-1, (-1, 8))
    return (octets * (1 << torch.arange(8, device=on.device)).to(torch.uint8)).sum(dim=-1, dtype=torch.uint8)
