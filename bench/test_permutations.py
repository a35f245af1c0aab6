"""Every neuron's statistic under permutations of the labels, at all prompt positions."""

from __future__ import annotations

import math

import numpy as np
import torch
from contest import Contestant, Missing, Sample, Work
from roofline import COUNTED
from scipy.stats import permutation_test

from skn import ops

EXAMPLES, POSITIONS, NEURONS, PERMUTATIONS = 872, 16, 36864, 1000
SOME, SCIPY = 2304, 4  # neurons of torch, columns of scipy: all would take minutes
BLOCK = 128  # neurons whose hits torch makes at once


def packed(bits: np.ndarray) -> torch.Tensor:
    """The bits of the last axis as words."""
    padded = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % 64)])
    return torch.from_numpy(np.packbits(padded, axis=-1, bitorder="little").view(np.int64).copy())


def int_product(labels: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    return torch._int_mm(labels, bits).float()


def test_permutations(contest):
    random = np.random.default_rng(0)
    n, half = EXAMPLES, EXAMPLES // 2
    truth = np.arange(n) < half
    labels = np.stack([random.permutation(truth) for _ in range(PERMUTATIONS + 1)])
    width = -(-n // 64)
    words = torch.from_numpy(random.integers(-(2**63), 2**63, (1, width, POSITIONS, NEURONS), dtype=np.int64))
    words[:, -1] &= (1 << n % 64) - 1 if n % 64 else -1
    unit = 1 / (half * (n - half) * math.sqrt(1 / half + 1 / (n - half)))
    terms = torch.tensor([[n, half, 1 / (2 * half * (n - half)), unit]], dtype=torch.float64)
    rest = packed(labels)[:, None], torch.tensor([[0, -1]]), terms, n

    some = words[..., :SOME]
    bits = (some[0, :, None] >> torch.arange(64)[:, None, None] & 1).flatten(0, 1)[:n].bool()  # [N, P, SOME]
    ones = bits.sum(dim=0).double()
    scale = (ones * (n - ones) / (n * (n - 1))).rsqrt().float()

    def greatest_in_torch(product, dtype):
        """Own statistics, how many permutations reach them, and the greatest of each permutation, in float32."""
        rows, columns = torch.from_numpy(labels).to(dtype), bits.to(dtype)
        middle = (half * ones).float()

        def run():
            reached, greatest = [], torch.zeros(len(rows))
            for g in range(0, SOME, BLOCK):
                block = slice(g, g + BLOCK)
                hits = product(rows, columns[..., block].flatten(1)).view(len(rows), POSITIONS, -1)
                found = hits.mul_(n).sub_(middle[:, block]).abs_().mul_(scale[:, block] * unit).amax(dim=1)
                reached.append((found[1:] >= found[0]).sum(dim=0))
                greatest = torch.maximum(greatest, found.amax(dim=1))
            return torch.cat(reached), greatest[1:]

        return run

    def difference(x, y, axis):
        return np.abs(x.mean(axis=axis) - y.mean(axis=axis))

    def scipy():
        return [
            permutation_test((column[truth], column[~truth]), difference, n_resamples=PERMUTATIONS, vectorized=True,
                             alternative="greater").pvalue
            for column in bits[:, 0, :SCIPY].numpy().T.astype(float)
        ]  # fmt: skip

    in_float, in_int8 = greatest_in_torch(torch.mm, torch.float32), greatest_in_torch(int_product, torch.int8)
    int8: Contestant = Sample(in_int8, NEURONS / SOME)
    try:
        in_int8()
    except RuntimeError as error:
        int8 = Missing(f"torch._int_mm refuses the shape: {error}")

    _, reached, greatest = ops.permuted_hits(some, *rest)
    expected = in_float()
    assert torch.allclose(greatest[0].float(), expected[1], rtol=1e-4)
    assert (reached - expected[0]).abs().double().mean() <= 0.01 * PERMUTATIONS  # float32 tells some ties apart
    np.testing.assert_array_less(scipy(), 1.01)
    contest(
        "permuted_hits",
        {
            "skn": lambda: ops.permuted_hits(words, *rest),
            "float32 products in torch": Sample(in_float, NEURONS / SOME),
            "int8 products in torch": int8,
            "scipy.stats.permutation_test": Sample(scipy, NEURONS * POSITIONS / SCIPY),
        },
        f"{NEURONS:,} neurons × {POSITIONS} positions, {EXAMPLES} examples of 2 classes, {PERMUTATIONS:,} permutations; "
        "torch and scipy on samples, scaled up",
        Work(bytes=words.nbytes, operations=NEURONS * POSITIONS * width * (PERMUTATIONS + 1), dtype=COUNTED),
        targets={"float32 products in torch": 8, "int8 products in torch": 4},
    )
