"""Hits and moments of a batch's activations at the prompt positions."""

from __future__ import annotations

import numpy as np
import torch
from contest import Work

from skn import ops

BATCH, TOKENS, NEURONS, PROMPT = 32, 56, 3072, 16


def test_hits_and_moments(contest):
    generator = torch.Generator().manual_seed(0)
    act = torch.randn(BATCH, TOKENS, NEURONS, generator=generator)
    labels = torch.randint(0, 2, (BATCH,), generator=generator)
    threshold = torch.randn(PROMPT, NEURONS, generator=generator, dtype=torch.float64)

    def states():
        zero = torch.zeros(2, PROMPT, NEURONS, dtype=torch.float64)
        return torch.zeros(2, dtype=torch.int64), zero, zero.clone(), zero.long()

    count, total, square, hits = states()
    bound = threshold.numpy().astype(np.float32)
    expected = [state.numpy().copy() for state in states()]

    def ours():
        ops.accumulate_moments(count, total, square, act[:, :PROMPT], labels)
        ops.accumulate_hits(hits, act[:, :PROMPT], threshold, labels)

    def numpy():
        own = act.numpy().copy()[:, :PROMPT]
        for label in (0, 1):
            mine = own[labels.numpy() == label]
            expected[0][label] += len(mine)
            expected[1][label] += mine.sum(axis=0, dtype=np.float64)
            expected[2][label] += np.square(mine, dtype=np.float64).sum(axis=0)
            expected[3][label] += (mine > bound).sum(axis=0)

    def in_torch():
        own = act[:, :PROMPT].double()
        plain = states()
        for label in (0, 1):
            mine = own[labels == label]
            plain[1][label] += mine.sum(dim=0)
            plain[2][label] += mine.square().sum(dim=0)
            plain[3][label] += (mine > threshold).sum(dim=0)

    ours()
    numpy()
    np.testing.assert_allclose(total.numpy(), expected[1], rtol=1e-9, atol=1e-9)
    assert (hits.numpy() != expected[3]).mean() < 1e-3  # numpy compares in float32
    read = 2 * BATCH * PROMPT * NEURONS * act.element_size()  # moments and hits each read the activations once
    moved = read + 2 * sum(state.nbytes for state in (total, square, hits)) + threshold.nbytes
    contest(
        "hits and moments",
        {"skn": ours, "numpy, as the original": numpy, "torch": in_torch},
        f"activations [{BATCH}, {TOKENS}, {NEURONS}] float32, {PROMPT} positions, 2 classes",
        Work(bytes=moved),
        targets={"numpy, as the original": 10},
        turns=50,
    )
