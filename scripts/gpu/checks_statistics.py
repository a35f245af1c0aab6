"""Check statistics, pooling, noise, permutations and Kendall's tau: counts, ranks and noise bit for bit the CPU's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from reached import served
from torch import Tensor

if TYPE_CHECKING:
    from check import Given

# Batch, positions, neurons, classes.
STATISTICS = [(1, 1, 1, 1), (37, 3, 131, 5), (700, 2, 257, 150), (0, 2, 3, 2)]
# n, columns of x and of y.
TAU = [(2, 2, 1), (33, 5, 15), (100, 3, 40), (351, 37, 16), (351, 37, 14), (20, 0, 2)]
# Runs, positions, groups, labellings, and whether the least of the runs counts.
PERMUTATIONS = [(1, 2, 131, 20, False), (3, 1, 7, 9, True), (2, 4, 3000, 1001, False)]
# More rows than the bit kernel takes, which takes half as many in float64; few columns, because the reference is
# quadratic.
BEYOND = {torch.float32: (6200, 2, 1), torch.float64: (3100, 2, 1), torch.bfloat16: None}


def activations(batch: int, tokens: int, neurons: int, dtype: torch.dtype) -> Tensor:
    """Return numbers with infinities and NaN among them, with room on every side for a slice."""
    whole = torch.randn(batch, tokens + 1, 2 * neurons).to(dtype)
    whole[whole > 2.5] = torch.inf
    whole[whole < -2.5] = torch.nan
    return whole


def statistics(given: Given) -> str:
    """Check the kernels that serve the operators, and the Triton kernels, which no operator reaches if CUDA C++ serves."""
    from skn import ops
    from skn.ops import backends

    kinds = backends.CUDA, backends.TRITON
    serves = {served(op, given.device, *kinds) for op in ("accumulate_moments", "accumulate_hits")}
    ways = [ops]
    if given.device == "cuda":
        from skn.kernels import statistics as kernels

        ways.append(kernels)
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        for size in STATISTICS[:2] if given.few else STATISTICS:
            for way in ways:
                compare_statistics(way, given.device, dtype, size)
    return f"served by {', '.join(sorted(serves))}"


def compare_statistics(way: object, device: str, dtype: torch.dtype, size: tuple[int, int, int, int]) -> None:
    from skn.ops import reference

    batch, positions, neurons, classes = size
    whole = activations(batch, positions, neurons, dtype)
    # Sliced on both devices, because a copy to the device would make a slice contiguous.
    act, act_there = whole[:, 1:, ::2], whole.to(device)[:, 1:, ::2]
    labels = torch.randint(classes, (batch,))
    threshold = act[0].double() if batch else torch.zeros(positions, neurons).double()
    cells = (classes, positions, neurons)
    state = torch.zeros(classes).long(), *torch.zeros(2, *cells).double(), torch.zeros(cells).long()
    here = [t.clone() for t in state]
    reference.accumulate_moments(*here[:3], act, labels)
    reference.accumulate_hits(here[3], act, threshold, labels)
    for given in (labels, labels.to(device)):  # the labels are checked on the CPU or on the device
        there = [t.clone().to(device) for t in state]
        way.accumulate_moments(*there[:3], act_there, given)
        way.accumulate_hits(there[3], act_there, threshold.to(device), given)
        assert torch.equal(there[0].cpu(), here[0]) and torch.equal(there[3].cpu(), here[3]), (way, dtype, cells)
        for a, b in zip(there[1:3], here[1:3], strict=True):
            torch.testing.assert_close(a.cpu(), b, rtol=1e-12, atol=1e-11, equal_nan=True)


def labels(given: Given) -> None:
    from skn import ops

    device = given.device
    act, threshold = torch.ones(3, 1, 2, device=device), torch.zeros(1, 2, dtype=torch.float64, device=device)
    for where in ("cpu", device):
        hits = torch.zeros(3, 1, 2, dtype=torch.int64, device=device)
        try:
            ops.accumulate_hits(hits, act, threshold, torch.tensor([0, 3, -1], device=where))
        except RuntimeError as error:
            assert "got 3 at example 1" in str(error), error
        else:
            raise AssertionError(f"a label out of range on {where} was taken")
        assert not hits.any()


def tau(given: Given) -> str:
    from skn.ops import backends

    serves = served("kendall_tau", given.device, backends.CUDA)
    for dtype, beyond in BEYOND.items():
        for size in TAU[:3] if given.few else [*TAU, *([beyond] if beyond else [])]:
            compare_tau(given.device, dtype, *size)
    return f"served by {serves}"


def compare_tau(device: str, dtype: torch.dtype, n: int, p: int, q: int) -> None:
    from skn import ops
    from skn.ops import reference_kendall

    of_y = torch.float16 if dtype == torch.bfloat16 else dtype
    x, y = (torch.randint(-9, 9, (n, k)).to(own) / 3 for k, own in ((p, dtype), (q, of_y)))
    x[n // 3 :: 7] *= -0.0
    if n > 40:
        y[5, 0] = torch.nan
    found = ops.kendall_tau(x.to(device).t().contiguous().t(), y.to(device))
    for a, b in zip(found, reference_kendall.kendall_tau(x, y), strict=True):
        assert torch.equal(a.cpu().nan_to_num(9), b.nan_to_num(9)), (dtype, n, p, q)


def permutations(given: Given) -> str:
    from skn import ops
    from skn.ops import backends, reference_permutations

    serves = served("permuted_hits", given.device, backends.CUDA)
    contrasts = (
        (torch.tensor([[0, -1]]), torch.tensor([[200.0, 90.0, 1e-4, 2e-4]]).double()),
        (torch.tensor([[1, 0], [2, -1]]), torch.tensor([[60.0, 50.0, 1e-4, 3e-4], [200.0, 7.0, 2e-4, 1e-4]]).double()),
    )
    for runs, positions, groups, labellings, lowest in PERMUTATIONS[: 2 if given.few else None]:
        for sides, terms in contrasts:
            bits = torch.iinfo(torch.int64)
            words = torch.randint(bits.min, bits.max, (runs, 4, positions, groups))
            masks = torch.randint(bits.min, bits.max, (labellings, 3, 4))
            words[:, -1] &= 255  # of 200 examples
            words[..., ::5] = 0
            here = words, masks, sides, terms, 200, lowest
            found = ops.permuted_hits(words.to(given.device), masks.to(given.device), *here[2:])
            for a, b in zip(found, reference_permutations.permuted_hits(*here), strict=True):
                assert torch.equal(a.cpu(), b), (runs, positions, groups, labellings)
    return f"served by {serves}"


def pooling(given: Given) -> str:
    from skn import ops
    from skn.ops import backends, reference

    serves = served("pool_tokens", given.device, backends.TRITON)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        whole = activations(5, 40, 131, dtype)
        act, act_there = whole[:, 1:, ::2], whole.to(given.device)[:, 1:, ::2]
        lengths, offset = torch.tensor([40, 17, 1, 0, 33]), torch.tensor([0, 5, 39, 3, 7])
        for how in ("mean", "max"):
            found = ops.pool_tokens(act_there, lengths.to(given.device), offset.to(given.device), how).cpu()
            exact = reference.pool_tokens(act, lengths, offset, how)
            torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-6, equal_nan=True)
    return f"served by {serves}"


def noise(given: Given) -> None:
    from skn.ops.noise import keyed_normal

    examples, neurons = torch.tensor([0, 7, 2**31, 2**40 + 3]), torch.arange(300)[::3]
    for seed in (0, 5, 2**63 - 1):
        found = keyed_normal(seed, examples.to(given.device), 3, neurons.to(given.device))
        assert torch.equal(found.cpu(), keyed_normal(seed, examples, 3, neurons)), seed
