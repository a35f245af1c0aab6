"""The order of a training's rows: seeded, and rows of similar length in one batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from skn.inference.batches import Encoded

# Rows are shuffled, and then sorted by length within windows of this many batches. So padding is small, and the order
# still random.
WINDOW = 50


class LengthWindows(Sampler[list[int]]):
    """Batches of row numbers. They depend only on (seed, epoch), so a resumed epoch has the same batches."""

    def __init__(self, encoded: Encoded, batch_size: int, seed: int):
        self.lengths = torch.tensor([len(ids) for ids in encoded.input_ids])
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed((self.seed << 20) + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        windows = order.split(WINDOW * self.batch_size)
        order = torch.cat([w[self.lengths[w].argsort(descending=True, stable=True)] for w in windows])
        batches = list(order.split(self.batch_size))
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[index].tolist()
