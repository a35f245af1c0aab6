"""Permutations of the labels: ``permuted_hits``. The block has the order of :mod:`skn.ops`."""

import torch
from torch import Tensor

from skn.ops import native, reference_permutations
from skn.ops.checks import behind_memory, define, describe, library

_MOST_EXAMPLES = 2**24  # up to which float32 counts exactly


def _check_form(name: str, tensor: Tensor, dtype: torch.dtype, axes: str, rank: int) -> None:
    torch._check(
        tensor.dtype == dtype and tensor.dim() == rank,
        lambda: f"permuted_hits: {name} must be {str(dtype).removeprefix('torch.')} {axes}, got {describe(tensor)}",
    )


@behind_memory("permuted_hits")
def _check_permuted(words: Tensor, masks: Tensor, sides: Tensor, terms: Tensor, examples: int, lowest: bool) -> None:
    op = "permuted_hits"
    native.tell(words)
    torch._check(
        examples >= 1 and examples <= _MOST_EXAMPLES,
        lambda: f"{op}: examples must lie in [1, {_MOST_EXAMPLES}], got {examples}",
    )
    width = (examples + 63) // 64
    for name, tensor, dtype, axes, rank in (
        ("words", words, torch.int64, "[R, W, P, G]", 4),
        ("masks", masks, torch.int64, "[M, S, W]", 3),
        ("sides", sides, torch.int64, "[K, 2]", 2),
        ("terms", terms, torch.float64, "[K, 4]", 2),
    ):
        _check_form(name, tensor, dtype, axes, rank)
    torch._check(
        words.shape[1] == width and masks.shape[2] == width,
        lambda: (
            f"{op}: words and masks must have W = {width} words for {examples} examples, "
            f"got {describe(words)} and {describe(masks)}"
        ),
    )
    torch._check(
        words.shape[0] >= 1 and words.shape[2] >= 1,
        lambda: f"{op}: words must have at least one run and one position, got {describe(words)}",
    )
    torch._check(masks.shape[0] >= 1, lambda: f"{op}: masks must have at least one labelling, got {describe(masks)}")
    torch._check(
        sides.shape[0] >= 1 and sides.shape[1] == 2,
        lambda: f"{op}: sides must be int64 [K, 2] with at least one contrast, got {describe(sides)}",
    )
    torch._check(
        terms.shape[0] == sides.shape[0] and terms.shape[1] == 4,
        lambda: f"{op}: terms must be float64 [K, 4] = {[sides.shape[0], 4]}, got {describe(terms)}",
    )
    torch._check(masks.device == words.device, lambda: f"{op}: masks must be on the device of words")
    torch._check(sides.is_cpu and terms.is_cpu, lambda: f"{op}: sides and terms must be on the CPU")


define(
    "permuted_hits(Tensor words, Tensor masks, Tensor sides, Tensor terms, int examples, bool lowest) "
    "-> (Tensor own, Tensor reached, Tensor greatest)"
)


@torch.library.register_fake("skn::permuted_hits", lib=library)
def _(words, masks, sides, terms, examples, lowest):
    _check_permuted(words, masks, sides, terms, examples, lowest)
    groups, others = words.shape[3], masks.shape[0] - 1
    own, greatest = (words.new_empty((2, size), dtype=torch.float64) for size in (groups, others))
    return own, words.new_empty(groups), greatest


@torch.library.impl(library, "permuted_hits", "CompositeExplicitAutograd")
def _default_permuted_hits(words, masks, sides, terms, examples, lowest):
    _check_permuted(words, masks, sides, terms, examples, lowest)
    return reference_permutations.permuted_hits(words, masks, sides, terms, examples, lowest)


def permuted_hits(
    words: Tensor, masks: Tensor, sides: Tensor, terms: Tensor, examples: int, lowest: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """How strongly groups of binary columns predict the labels, and how strongly after the labels were permuted.

    A group is what is judged, a neuron; its columns are its positions: whether the activation of each example exceeds
    the threshold. A contrast is a pair of label sets, the sides. A column is on in ``hp`` examples of the positive side
    and in ``hn`` of the negative side, and in ``H`` of all N examples::

        difference = |a · hp - b · hn|
        excess     = difference · weight
        statistic  = difference · unit / sqrt(H (N - H) / (N (N - 1))), 0 for a constant column

    Of a group, the greatest over its positions and contrasts counts, and over the runs the mean or the least. With
    ``n_p`` and ``n_n`` examples in the sides, the terms ``a = n_n``, ``b = n_p``, ``weight = 1 / (2 n_p n_n)`` and
    ``unit = 1 / (n_p n_n sqrt(1 / n_p + 1 / n_n))`` make the excess predictivity - 1/2 and the statistic a difference of
    rates over its standard deviation under permutation of the labels (hypergeometric). For a negative side of -1, "all
    other examples", ``a = N`` and ``b = n_p`` give the same difference: ``hn`` is then H.

    The results are the same bits for every number of threads, on every instruction set.

    Args:
        words: int64 ``[R, W, P, G]``: bit j of ``words[r, w, p, g]`` says whether column p of group g is on in example
            ``64 w + j`` of run r. ``W = ceil(examples / 64)``. The bits behind the last example must be 0.
        masks: int64 ``[M, S, W]``: the examples of each side, as bits, in the true labelling and in M - 1 others.
        sides: int64 ``[K, 2]`` on the CPU: positive and negative side of each contrast; a negative side may be -1.
        terms: float64 ``[K, 4]`` on the CPU: a, b, weight and unit of each contrast, finite, the last two not negative.
        examples: N, up to 16,777,216.
        lowest: join the runs by the least, and not by the mean.

    Returns:
        float64 ``[2, G]``, statistic and excess of each group in the true labelling; int64 ``[G]``, how many of the other
        labellings give the group a statistic at least as great, where a share of 1e-12 counts as rounding; float64
        ``[2, M - 1]``, the greatest statistic and the greatest excess of all groups in each other labelling, 0 without a
        group.

    Raises:
        RuntimeError: a shape, dtype, device, side or term does not fit.
    """
    return torch.ops.skn.permuted_hits(words, masks, sides, terms, examples, lowest)


# A device's kernels first run these checks.
CHECKS = {"permuted_hits": _check_permuted}
