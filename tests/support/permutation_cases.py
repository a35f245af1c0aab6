"""Inputs of permuted_hits, made of bits and labels, and what it must say of them, by plain loops."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch

REST = None  # as the negative side of a contrast: all other examples


def words_of(bits, axis):
    """Bits along an axis as words of 64, the first bit lowest."""
    bits = np.moveaxis(np.asarray(bits, dtype=bool), axis, -1)
    padded = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % 64)])
    words = np.ascontiguousarray(np.packbits(padded, axis=-1, bitorder="little")).view(np.int64)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(words, -1, axis)))


@dataclass(frozen=True, eq=False)
class Problem:
    bits: np.ndarray  # [R, N, P, G]
    labels: np.ndarray  # [M, N]
    contrasts: tuple  # pairs of sets of classes; the second may be REST
    lowest: bool = False

    def sets(self):
        """The sets of classes that are sides, each once."""
        return list(dict.fromkeys(side for pair in self.contrasts for side in pair if side is not REST))

    def count(self, side):
        return int(np.isin(self.labels[0], list(side)).sum())

    def terms(self):
        """The terms of the docstring; where a side is empty, any that are finite."""
        rows = []
        for positive, negative in self.contrasts:
            n = self.labels.shape[1]
            n_p = self.count(positive)
            n_n = n - n_p if negative is REST else self.count(negative)
            product = max(1, n_p * n_n)
            unit = 1 / (product * math.sqrt(1 / max(1, n_p) + 1 / max(1, n_n)))
            rows.append([n if negative is REST else n_n, n_p, 1 / (2 * product), unit])
        return torch.tensor(rows, dtype=torch.float64)

    def arguments(self):
        sets = self.sets()
        sides = [[sets.index(a), -1 if b is REST else sets.index(b)] for a, b in self.contrasts]
        masks = np.stack([np.isin(self.labels, list(side)) for side in sets], axis=1)
        return (
            words_of(self.bits, 1), words_of(masks, 2), torch.tensor(sides), self.terms(), self.labels.shape[1], self.lowest,
        )  # fmt: skip


@functools.cache
def problem(examples, contrasts, runs=1, positions=2, groups=37, others=5, lowest=False, seed=0):
    """Columns of every density, some of them constant; the classes 0 … as many as the contrasts name, and one more."""
    random = np.random.default_rng(seed)
    classes = 1 + max(max(side) for pair in contrasts for side in pair if side is not REST) + 1
    labels = random.integers(classes, size=examples)
    labels = np.stack([labels, *(random.permutation(labels) for _ in range(others))])
    density = random.random((runs, 1, positions, groups))
    density[..., ::7] = 1
    density[..., 3::11] = 0
    density[:, :, 0, 5::9] = 1  # constant at one position only
    bits = random.random((runs, examples, positions, groups)) < density
    return Problem(bits, labels, contrasts, lowest)


@functools.cache
def by_loops(given):
    """Own, reached and greatest, one number at a time."""
    runs, _, positions, groups = given.bits.shape
    own, reached = np.zeros((2, groups)), np.zeros(groups, dtype=np.int64)
    greatest = np.zeros((2, len(given.labels) - 1))
    for m, labels in enumerate(given.labels):
        members = {side: np.isin(labels, list(side)) for side in given.sets()}
        for g in range(groups):
            of_runs = [
                np.max([_of_column(given, members, given.bits[r, :, p, g]) for p in range(positions)], axis=0)
                for r in range(runs)
            ]
            joined = [min(values) if given.lowest else sum(values[1:], values[0]) / runs
                      for values in zip(*of_runs, strict=True)]  # fmt: skip
            if m == 0:
                own[:, g] = joined
                continue
            reached[g] += joined[0] >= own[0, g] * (1 - 1e-12)
            greatest[:, m - 1] = np.maximum(greatest[:, m - 1], joined)
    return own, reached, greatest


def _of_column(given, members, column):
    n, ones = len(column), int(column.sum())
    scale = 0.0 if ones in (0, n) else 1 / math.sqrt(ones * (n - ones) / (n * (n - 1)))
    statistic = excess = 0.0
    for (positive, negative), (a, b, weight, unit) in zip(given.contrasts, given.terms().tolist(), strict=True):
        hp = int((column & members[positive]).sum())
        hn = ones if negative is REST else int((column & members[negative]).sum())
        difference = abs(a * hp - b * hn)
        statistic = max(statistic, difference * unit * scale)
        excess = max(excess, difference * weight)
    return statistic, excess


def assert_right(found, given):
    for result, right in zip(found, by_loops(given), strict=True):
        np.testing.assert_array_equal(result.numpy(), right, strict=True)
