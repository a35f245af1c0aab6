"""What every operator means, in plain PyTorch: the oracle of the tests and the baseline of the benchmarks.

Nothing of skn is imported here, so that the oracle cannot lean on what it judges. Shapes and dtypes are
checked by ``skn.ops``; the functions below check values, and do so before they change any state. Statistics
carry no gradient: without ``no_grad``, activations that require one would make the state part of a graph.
"""

import torch
from torch import Tensor


def check_labels(op: str, labels: Tensor, classes: int) -> None:
    """Refuse a label outside of [0, classes); waits for the device of ``labels``."""
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        example = int(wrong.nonzero()[0])
        raise RuntimeError(f"{op}: labels must lie in [0, {classes}), got {int(labels[example])} at example {example}")


def check_spans(lengths: Tensor, offset: Tensor, tokens: int) -> None:
    """Refuse a span that leaves [0, tokens); waits for the device of ``lengths``."""
    # `lengths > tokens - offset`, because `offset + lengths` could overflow.
    wrong = (offset < 0) | (offset > tokens) | (lengths < 0) | (lengths > tokens - offset)
    if wrong.any():
        b = int(wrong.nonzero()[0])
        raise RuntimeError(
            f"pool_tokens: example {b} covers {int(lengths[b])} tokens from {int(offset[b])} on, outside of {tokens}"
        )


@torch.no_grad()
def accumulate_moments(count: Tensor, total: Tensor, total_sq: Tensor, act: Tensor, labels: Tensor) -> None:
    """Per class: the number of examples, the sum of their activations and that of the squares, in float64."""
    check_labels("accumulate_moments", labels, count.shape[0])
    value = act.to(torch.float64)
    count.index_add_(0, labels, torch.ones_like(labels))
    total.index_add_(0, labels, value)
    total_sq.index_add_(0, labels, value * value)


@torch.no_grad()
def accumulate_hits(hits: Tensor, act: Tensor, threshold: Tensor, labels: Tensor) -> None:
    """Per class: how many examples have an activation above the threshold, compared in float64."""
    check_labels("accumulate_hits", labels, hits.shape[0])
    exceeds = act.to(torch.float64) > threshold
    hits.index_add_(0, labels, exceeds.to(torch.int64))


@torch.no_grad()
def pool_tokens(act: Tensor, lengths: Tensor, offset: Tensor, reduce: str) -> Tensor:
    """Mean or maximum over ``act[b, offset[b] : offset[b] + lengths[b]]``; zero where there is no token."""
    tokens = act.shape[1]
    check_spans(lengths, offset, tokens)
    position = torch.arange(tokens, device=act.device)
    own = (position >= offset[:, None]) & (position < (offset + lengths)[:, None])
    empty = (lengths == 0)[:, None]
    dtype = torch.float64 if act.dtype == torch.float64 else torch.float32
    # `where` and not a product with the mask: a NaN or an infinity outside of the span must not leak in.
    if tokens == 0:
        pooled = act.new_zeros((act.shape[0], act.shape[2]), dtype=dtype)
    elif reduce == "mean":
        total = torch.where(own[:, :, None], act.to(torch.float64), 0.0).sum(dim=1)
        pooled = total / lengths.clamp(min=1)[:, None]
    else:
        pooled = torch.where(own[:, :, None], act.to(dtype), -torch.inf).amax(dim=1)
    return pooled.masked_fill(empty, 0.0).to(dtype)
