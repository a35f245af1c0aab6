"""Difficult inputs of the statistics, a float64 NumPy reference, and the paths of the operators."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from levels import DTYPES, paths_of, skip_unavailable

NAMES = ("accumulate_moments", "accumulate_hits", "pool_tokens")
PATHS = paths_of(NAMES)
EXAMPLES = settings(max_examples=80, deadline=None)


def path_or_skip(name):
    skip_unavailable(name)
    return PATHS[name]


@pytest.fixture(params=PATHS, scope="session")
def statistics(request):
    """The statistics on one path."""
    return path_or_skip(request.param)


# Inputs ---------------------------------------------------------------------------------------------------

ACT_LAYOUTS = ("contiguous", "slice", "step", "transposed", "same examples", "same positions", "same neurons")


def laid_out(values, layout):
    """Return ``values`` in a memory layout. The "same" layouts repeat the first slice by stride 0."""
    b, s, f = values.shape
    if layout == "slice":
        big = values.new_full((b, s + 3, f + 5), 7.0)
        big[:, 2 : 2 + s, 1 : 1 + f] = values
        return big[:, 2 : 2 + s, 1 : 1 + f]
    if layout == "step":
        big = values.new_full((b, 2 * s, 3 * f), 7.0)
        big[:, ::2, ::3] = values
        return big[:, ::2, ::3]
    if layout == "transposed":
        return values.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    if layout.startswith("same"):
        axis = {"same examples": 0, "same positions": 1, "same neurons": 2}[layout]
        return values.narrow(axis, 0, min(1, values.shape[axis])).expand(values.shape)
    return values


def laid_out_vector(values, layout):
    if layout == "step":
        return torch.stack([values, torch.full_like(values, -99)], 1)[:, 0]
    return values


def laid_out_state(values, layout):
    """Like :func:`laid_out`, for a state that the operator writes."""
    return laid_out(values.clone(), layout)


def draw_values(rng, shape, dtype):
    """Return ordinary numbers mixed with numbers that break comparisons and conversions."""
    info = torch.finfo(dtype)
    largest = min(info.max, 1e100)  # float64 sums must not overflow, because then their order would matter
    special = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        largest,
        -largest,
        info.tiny,
        -info.tiny,
        info.tiny / 4,
        1.0,
    ]
    values = rng.normal(size=shape) * rng.choice([1e-3, 1.0, 30.0], size=shape)
    values = np.where(rng.random(shape) < 0.3, rng.choice(special, size=shape), values)
    return torch.from_numpy(values).to(dtype)


def draw_threshold(rng, act, shape):
    """Draw for each cell an activation of the cell, a float64 neighbour of it, or another number."""
    exact = act.to(torch.float64).numpy()
    base = exact[rng.integers(len(exact))] if len(exact) else rng.normal(size=shape)
    choices = np.stack(
        [
            base,
            np.nextafter(base, np.inf),
            np.nextafter(base, -np.inf),
            rng.normal(size=shape),
            np.broadcast_to(rng.choice([np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-50, -1e-50, 0.0], shape), shape),
        ]
    )
    return torch.from_numpy(np.take_along_axis(choices, rng.integers(5, size=(1, *shape)), 0)[0].copy())


@st.composite
def batches(draw):
    """Draw act, labels, the number of classes and a generator, from sizes that shrink and a seed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch, positions = draw(st.integers(0, 11)), draw(st.integers(1, 3))
    neurons = draw(st.sampled_from([1, 2, 7, 64, 511, 512, 513, 1030]))
    classes = draw(st.sampled_from([1, 2, 5, 150]))
    act = draw_values(rng, (batch, positions, neurons), draw(st.sampled_from(DTYPES)))
    act = laid_out(act, draw(st.sampled_from(ACT_LAYOUTS)))
    labels = laid_out_vector(torch.from_numpy(rng.integers(classes, size=batch)), draw(st.sampled_from(["", "step"])))
    return SimpleNamespace(
        act=act,
        labels=labels,
        classes=classes,
        rng=rng,
        state=draw(st.sampled_from(["contiguous", "slice", "step", "transposed"])),
        threads=draw(st.sampled_from([1, 2])),
    )


def moments_oracle(count, total, total_sq, act, labels):
    count, total, total_sq = count.numpy().copy(), total.numpy().copy(), total_sq.numpy().copy()
    with np.errstate(all="ignore"):
        for value, label in zip(act.to(torch.float64).numpy(), labels.numpy(), strict=True):
            count[label] += 1
            total[label] += value
            total_sq[label] += value * value
    return count, total, total_sq


def hits_oracle(hits, act, threshold, labels):
    hits = hits.numpy().copy()
    for value, label in zip(act.to(torch.float64).numpy(), labels.numpy(), strict=True):
        hits[label] += value > threshold.numpy()
    return hits


def hard_pairings(dtype):
    """Return every pair of a difficult activation and a difficult threshold. float32 cannot represent most of the
    thresholds.

    Returns the activations [1, A, T], the thresholds [A, T], the one label, and which activation exceeds which
    threshold [A, T].
    """
    info = torch.finfo(dtype)
    hard = [0.0, 1.0, 1 / 3, info.max, info.tiny, info.tiny / 4, 65504.0, np.inf]
    act = torch.tensor([*hard, *(-x for x in hard), np.nan], dtype=dtype)
    exact = act.to(torch.float64).numpy()
    edge = np.array([1e-50, 5e-324, 3.5e38, 3.4028235677973366e38, 1e300, np.finfo(np.float64).max, np.nan])
    with np.errstate(over="ignore"):
        above, below = np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf)
    threshold = np.concatenate([exact, above, below, edge, -edge])
    pairs = (len(act), len(threshold))
    label = torch.zeros(1, dtype=torch.int64)
    exceeds = exact[:, None] > threshold[None, :]
    return act[None, :, None].expand(1, *pairs), torch.from_numpy(threshold).expand(pairs), label, exceeds


def state(classes, positions, neurons):
    cells = (classes, positions, neurons)
    return SimpleNamespace(
        count=torch.zeros(classes, dtype=torch.int64),
        total=torch.zeros(cells, dtype=torch.float64),
        total_sq=torch.zeros(cells, dtype=torch.float64),
        hits=torch.zeros(cells, dtype=torch.int64),
    )
