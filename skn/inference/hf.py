"""The seam between the engine and its forwards: what is read on the way, what is changed, and the plain forward.

A forward is a context manager over (backbone, tap, mask) that yields a function from a batch to the hidden states
[B, H] of the scored position. This one runs the Hugging Face model with hooks; :mod:`skn.inference.fast` is the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from skn import ops
from skn.inference.batches import Batch
from skn.model.backbone import Backbone, FfnSite, PromptedBatch

# "prompt" reads each prompt position; the others pool over the text's own tokens (one position).
PROMPT, MEAN, MAX = "prompt", "mean", "max"


@dataclass(frozen=True)
class Tap:
    """Who reads activations: ``add(site, readout, activation [B, P, width], batch)`` for every layer and read-out.

    An activation is gone when ``add`` returns, so that at most one layer's stand in memory.
    """

    readouts: list[str]
    add: Callable[[FfnSite, str, Tensor, Batch], None]


class Intervention(Protocol):
    """What happens to the activations of a layer, at every position: act ∘ scale + shift."""

    def factors(self, site: FfnSite, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """``scale`` [width] and ``shift`` [1, width] or [B, width] float32; None where the layer stays as it is."""


Hidden = Callable[[Batch, PromptedBatch], Tensor]


@contextmanager
def plain_forward(backbone: Backbone, tap: Tap | None, mask: Intervention | None) -> Iterator[Hidden]:
    """The Hugging Face forward; taps and masks are hooks on the FFN sites while the context lasts."""
    current: tuple[Batch, PromptedBatch] | None = None

    def hidden(batch: Batch, prompted: PromptedBatch) -> Tensor:
        nonlocal current
        current = batch, prompted
        return backbone.last_hidden(prompted)[:, prompted.readout]

    def change(site: FfnSite, activation: Tensor) -> Tensor | None:
        factors = mask.factors(site, current[0].rows)
        if factors is None:
            return None
        scale, shift = (factor.to(activation) for factor in factors)
        return activation * scale + shift[:, None]

    def read(site: FfnSite, activation: Tensor) -> None:
        batch, prompted = current
        for readout in tap.readouts:
            if readout == PROMPT:
                act = activation[:, prompted.prompt]
            else:
                act = ops.pool_tokens(activation, prompted.text_length, prompted.text_start, readout)[:, None]
            tap.add(site, readout, act, batch)

    with ExitStack() as stack:
        if mask is not None:
            stack.enter_context(hooks(backbone, change))
        if tap is not None:  # behind the mask: it reads what the down-projection reads
            stack.enter_context(hooks(backbone, read))
        yield hidden


@contextmanager
def hooks(
    backbone: Backbone, call: Callable[[FfnSite, Tensor], Tensor | None], part: str = "activation"
) -> Iterator[None]:
    """``call(site, activation [B, S, width])`` for every layer as it is computed; a tensor it returns takes its place.

    The modules may be another model's too. What runs through them in another thread is not seen and not changed.

    :param part: "up" gives what goes into the activation function instead.
    """
    thread = threading.get_ident()

    def hook(site: FfnSite) -> Callable:
        return lambda _m, _i, output: call(site, output) if threading.get_ident() == thread else None

    handles = [getattr(site, part).register_forward_hook(hook(site)) for site in backbone.ffn_sites]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
