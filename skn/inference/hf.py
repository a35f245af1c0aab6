"""The interface between the engine and its forwards: taps that read, masks that change, and the plain forward.

A forward is a context manager over (model, tap, mask). It yields a function from a batch to its class scores [B, C]. The
forward here runs the Hugging Face model with hooks. :mod:`skn.inference.fast` has the other forward.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from torch import Size, Tensor, nn
from torch.utils.hooks import RemovableHandle

from skn.errors import InputError
from skn.inference.batches import Batch
from skn.inference.prepacked import suspended
from skn.inference.readouts import Places, is_of_gate, places
from skn.model.backbone import Backbone, FfnSite
from skn.model.prompted import PromptedBatch
from skn.names import one_of


@dataclass(frozen=True)
class Tap:
    """A reader of activations: skn calls ``add(site, readout, activation [B, P, width], batch)`` for every layer and
    read-out.

    An activation is freed when ``add`` returns, so memory holds the activations of at most one layer.

    With a ``spare_row``, ``add`` only queues work for the device of the activation, and asks of the batch its ``rows``,
    ``label`` and ``one_class`` alone. So a CUDA graph can do this work. A graph also computes what belongs to no example,
    and shows it with the number ``spare_row``: no row of the split has this number.
    """

    readouts: list[str]
    add: Callable[[FfnSite, str, Tensor, Batch], None]
    spare_row: int | None = None


class Intervention(Protocol):
    """A change to the activations of a layer, at every position: act ∘ scale + shift."""

    def factors(self, site: FfnSite, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """``scale`` [width] and ``shift`` [1, width] or [B, width] float32; None if the layer stays as it is."""


@runtime_checkable
class PromptedModel(Protocol):
    """A backbone with prompt and label words: a tuned model or a pruned model."""

    label_ids: Tensor

    @property
    def backbone(self) -> Backbone: ...

    @property
    def prompt_length(self) -> int: ...

    def assemble(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, scored: Tensor | None
    ) -> PromptedBatch:
        """Put the prompt into a batch of texts. ``scored`` [B] are the scored positions of texts inside a template."""


Scores = Callable[[Batch], Tensor]
# From a batch, and the same batch with its prompt, to the hidden states [B, H] of the scored position.
Hidden = Callable[[Batch, PromptedBatch], Tensor]


def scores_of(model: PromptedModel, hidden: Hidden) -> Scores:
    """Return the function from a batch to its class scores [B, C], given the one to its hidden states."""

    def scores(batch: Batch) -> Tensor:
        return model.backbone.word_scores(hidden(batch, model.assemble(*batch.inputs)), model.label_ids)

    return scores


@contextmanager
def plain_forward(model: PromptedModel, tap: Tap | None, mask: Intervention | None) -> Iterator[Scores]:
    """The Hugging Face forward. Taps and masks are hooks on the FFN sites inside the context."""
    with plain_hidden(model.backbone, tap, mask) as hidden:
        yield scores_of(model, hidden)


@contextmanager
def plain_hidden(backbone: Backbone, tap: Tap | None, mask: Intervention | None) -> Iterator[Hidden]:
    """:func:`plain_forward` without the scores of words."""
    current: Batch | None = None
    where: dict[str, slice | Places] = {}

    def hidden(batch: Batch, prompted: PromptedBatch) -> Tensor:
        nonlocal current
        current = batch
        for readout in tap.readouts if tap else ():
            where[readout] = places(readout, batch, prompted)
        return prompted.at_scored(backbone.last_hidden(prompted))

    def change(site: FfnSite, activation: Tensor) -> Tensor | None:
        factors = mask.factors(site, current.rows)
        if factors is None:
            return None
        scale, shift = (factor.to(activation) for factor in factors)
        return activation * scale + shift[:, None]

    def read(site: FfnSite, activation: Tensor, readouts: list[str]) -> None:
        for readout in readouts:
            at = where[readout]
            tap.add(site, readout, activation[:, at] if isinstance(at, slice) else at.read(activation), current)

    with ExitStack() as stack:
        if mask is not None:
            stack.enter_context(hooks(backbone, change))
        for part in (ACTIVATION, GATE):  # after the mask, so that the tap reads the input of the down-projection
            readouts = [name for name in tap.readouts if is_of_gate(name) == (part == GATE)] if tap else []
            if readouts:
                stack.enter_context(hooks(backbone, partial(read, readouts=readouts), part))
        yield hidden


# What a hook on a site is given: the input of the down-projection, the output of the activation function, or its input.
ACTIVATION, GATE, UP = "activation", "gate", "up"


def check_part(part: str, backbone: Backbone, option: str = "--neuron") -> None:
    """Raises :class:`InputError` for an unknown value, and for the gate of a model without gated layers."""
    one_of(part, (ACTIVATION, GATE), option)
    if part == GATE and not backbone.gated:
        raise InputError(
            f"{option} gate: the layers of a {backbone.config.model_type} model have no gate; leave the option out"
        )


@contextmanager
def hooks(
    backbone: Backbone, call: Callable[[FfnSite, Tensor], Tensor | None], part: str = ACTIVATION
) -> Iterator[None]:
    """Call ``call(site, activation [B, S, width])`` for every layer when it is computed. A returned tensor replaces the
    activation.

    Another model may share the modules. The hooks act only in this thread, so runs in other threads are neither read
    nor changed. A prepacked model looks for hooks meanwhile.

    :param part: "activation" passes what the down-projection reads: act(up), or act(gate)·up in a gated layer. "gate"
        passes act(gate) alone, "up" the input of the activation function.
    """
    thread = threading.get_ident()
    with ExitStack() as stack:
        stack.enter_context(suspended(backbone.base))
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
