"""The interface between the engine and its forwards: taps that read, masks that change, and the plain forward.

A forward is a context manager over (backbone, tap, mask). It yields a function from a batch to the hidden states [B, H]
of the scored position. The forward here runs the Hugging Face model with hooks. :mod:`skn.inference.fast` has the other
forward.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import Size, Tensor, nn
from torch.utils.hooks import RemovableHandle

from skn import ops
from skn.inference.batches import Batch
from skn.model.backbone import Backbone, FfnSite, PromptedBatch

# "prompt" reads each prompt position. The others pool over the text's own tokens, and give one position.
PROMPT, MEAN, MAX = "prompt", "mean", "max"


@dataclass(frozen=True)
class Tap:
    """A reader of activations: skn calls ``add(site, readout, activation [B, P, width], batch)`` for every layer and
    read-out.

    An activation is freed when ``add`` returns, so memory holds the activations of at most one layer.
    """

    readouts: list[str]
    add: Callable[[FfnSite, str, Tensor, Batch], None]


class Intervention(Protocol):
    """A change to the activations of a layer, at every position: act ∘ scale + shift."""

    def factors(self, site: FfnSite, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """``scale`` [width] and ``shift`` [1, width] or [B, width] float32; None if the layer stays as it is."""


Hidden = Callable[[Batch, PromptedBatch], Tensor]


@contextmanager
def plain_forward(backbone: Backbone, tap: Tap | None, mask: Intervention | None) -> Iterator[Hidden]:
    """The Hugging Face forward. Taps and masks are hooks on the FFN sites inside the context."""
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
                spans = (span.to(activation.device) for span in (prompted.text_length, prompted.text_start))
                act = ops.pool_tokens(activation, *spans, readout)[:, None]
            tap.add(site, readout, act, batch)

    with ExitStack() as stack:
        if mask is not None:
            stack.enter_context(hooks(backbone, change))
        if tap is not None:  # after the mask, so that the tap reads the input of the down-projection
            stack.enter_context(hooks(backbone, read))
        yield hidden


# What a hook on a site is given: the input of the down-projection, the output of the activation function, or its input.
ACTIVATION, GATE, UP = "activation", "gate", "up"


@contextmanager
def hooks(
    backbone: Backbone, call: Callable[[FfnSite, Tensor], Tensor | None], part: str = ACTIVATION
) -> Iterator[None]:
    """Call ``call(site, activation [B, S, width])`` for every layer when it is computed. A returned tensor replaces the
    activation.

    Another model may share the modules. The hooks act only in this thread, so runs in other threads are neither read
    nor changed.

    :param part: "activation" passes what the down-projection reads: act(up), or act(gate)·up in a gated layer. "gate"
        passes act(gate) alone, "up" the input of the activation function.
    """
    thread = threading.get_ident()
    with ExitStack() as stack:
        for site in backbone.ffn_sites:
            hook = _Hook(site, call, thread)
            if backbone.family.flat_rows:
                stack.callback(site.block.register_forward_pre_hook(hook.see, with_kwargs=True).remove)
            stack.callback(hook.hang(part).remove)
        yield


class _Hook:
    """The hook of one layer. It gives the activation of a layer that reads flat rows [B·S, width] its shape."""

    def __init__(self, site: FfnSite, call: Callable[[FfnSite, Tensor], Tensor | None], thread: int):
        self.site = site
        self.call = call
        self.thread = thread
        self.shape: Size | None = None

    def hang(self, part: str) -> RemovableHandle:
        if part == ACTIVATION:
            return self.site.down.register_forward_pre_hook(lambda _m, inputs: self.change(inputs[0]))
        where = self.site.activation if part == GATE else self.site.gate or self.site.up
        return where.register_forward_hook(lambda _m, _i, output: self.look(output))

    def look(self, output: Tensor) -> None:
        """Show the output of another part of the FFN. A projection that computes gate and up has the gate first."""
        self.change(output[..., : self.site.width])

    def see(self, _block: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        """Take the shape of the layer's input [B, S, H]."""
        if threading.get_ident() == self.thread:
            self.shape = (inputs[0] if inputs else named["hidden_states"]).shape

    def change(self, activation: Tensor) -> Tensor | None:
        if threading.get_ident() != self.thread:
            return None
        if self.shape is None:
            return self.call(self.site, activation)
        changed = self.call(self.site, activation.unflatten(0, self.shape[:2]))
        return None if changed is None else changed.flatten(0, 1)
