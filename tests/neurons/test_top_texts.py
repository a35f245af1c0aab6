"""The state of exemplars: the same as a sort of everything, in whatever batches, with memory that no text enlarges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from skn.neurons.top_texts import Ends

TEXTS, TOKENS, NEURONS, K = 23, 5, 4, 6


def activations(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Few different values, so that many are equal, with zeros of both signs; and own tokens, of which text 3 has none."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-2, 1, (TEXTS, TOKENS, NEURONS), generator=generator) / 2
    values[torch.rand(values.shape, generator=generator) < 0.2] = -0.0
    values[torch.rand(values.shape, generator=generator) < 0.1] = torch.nan
    values[5, 2, 1], values[6, 0, 1] = torch.inf, 1e-42
    own = torch.rand(TEXTS, TOKENS, generator=generator) < 0.6
    own[:, 1], own[3] = True, False
    values[4, :, 0] = torch.nan  # a text all of whose tokens are NaN for one neuron
    return values, own


def sorted_by_hand(values: np.ndarray, own: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
    """Sort (value, row, first token) of every text for each neuron and end."""
    value, row, token = np.full((2, NEURONS, k), np.nan), *(np.full((2, NEURONS, k), -1) for _ in range(2))
    for end, sign in enumerate((1.0, -1.0)):
        for neuron in range(NEURONS):
            found = []
            for text in range(len(values)):
                signed = [(sign * values[text, t, neuron], t) for t in np.flatnonzero(own[text])]
                signed = [pair for pair in signed if not np.isnan(pair[0])]
                if signed:
                    best, first = min(signed, key=lambda pair: (-pair[0], pair[1]))
                    found.append((-best, text, first))
            for place, (negative, text, first) in enumerate(sorted(found)[:k]):
                value[end, neuron, place], row[end, neuron, place] = -sign * negative, text
                token[end, neuron, place] = first
    return value, row, token


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [K, TEXTS + 2])
def test_every_order_and_size_of_batches_gives_the_sorted_texts(dtype, k):
    values, own = activations()
    values = values.to(dtype)
    expected = sorted_by_hand(values.float().numpy(), own.numpy(), k)
    for batch, order in ((1, torch.arange(TEXTS)), (4, torch.arange(TEXTS).flip(0)), (TEXTS, torch.arange(TEXTS))):
        ends = Ends(NEURONS, k)
        for rows in order.split(batch):
            ends.add(values[rows], own[rows], rows)
        for found, wanted in zip(ends.result(), expected, strict=True):
            np.testing.assert_array_equal(found.numpy(), wanted)
    assert (expected[0][0] == 0).sum() > NEURONS and 3 not in expected[1]  # zeros that are equal are among the highest


def test_the_state_does_not_grow_with_the_texts():
    ends = Ends(NEURONS, K)
    for batch in range(50):
        ends.add(torch.randn(8, TOKENS, NEURONS), torch.ones(8, TOKENS, dtype=torch.bool), torch.arange(8) + 8 * batch)
        kept = [tensor for top in vars(ends).values() for tensor in vars(top).values()]
        assert [tensor.shape for tensor in kept] == [(NEURONS, K)] * 4
        assert sum(tensor.untyped_storage().nbytes() for tensor in kept) == 4 * NEURONS * K * 8
