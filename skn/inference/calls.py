"""One call of a pruned model: whether ``encode`` may answer it, and from which weights.

Nothing reports that a module, a hook or a weight was changed, so every call looks at all of them. The user of a prepacked
model has promised not to change them by stealth. A call of such a model looks at no module and no hook, and asks the
weights for their numbers of edits alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.utils import logging

from skn.errors import InputError
from skn.inference.fast import encode_in_graphs, packed_weights, refusal
from skn.inference.known import encoder_weights
from skn.inference.packing import embedded, packing
from skn.inference.prepacked import Prepacked, changed, edits_of, prepacked, release, state_of
from skn.model.backbone import Backbone
from skn.model.portable.layers_skn import EncoderInputs
from skn.ops import native

log = logging.get_logger(__name__)

# Up to so many rows, `encode` on a CPU reads plain weights. With more rows packed weights win, though they are read twice.
# Without AVX-512 they win early: a tile over plain weights is small there, and bfloat16 has to be widened.
_PLAIN_ROWS = {
    "baseline": {torch.float32: 48, torch.bfloat16: 32},
    **dict.fromkeys(("avx2", "avx_vnni"), {torch.float32: 32, torch.bfloat16: 16}),
    **dict.fromkeys(("avx512", "avx512_bf16", "amx"), {torch.float32: 128, torch.bfloat16: 128}),
}


def prepack(backbone: Backbone) -> None:
    """Pack the weights for all calls to come. Raises :class:`InputError` where ``encode`` cannot serve."""
    release(backbone.base)
    reason = "the model is in training mode; call eval() first" if backbone.model.training else refusal(backbone)
    if reason is not None:
        raise InputError(f"prepack: {reason}")
    _pack(backbone)


def serves(backbone: Backbone, *inputs: Tensor) -> bool:
    """Whether a module should answer a call through ``encode`` now: no gradient is needed, nothing is traced, nothing
    forbids it.

    Even with gradients enabled, no gradient is needed if neither ``inputs`` nor a parameter requires one.
    """
    if torch.compiler.is_compiling() or backbone.model.training:
        return False
    wanted = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensors in (inputs, backbone.model.parameters()) for tensor in tensors
    )
    # the autocast check raises on devices that refusal refuses
    if (not _promised(backbone) and refusal(backbone) is not None) or torch.is_autocast_enabled(backbone.device.type):
        return False
    if wanted:
        log.warning_once(
            "A pruned model in eval mode was called with gradients and answers by its plain modules, which take several times "
            "as long; call it under torch.no_grad() or torch.inference_mode(), or after model.requires_grad_(False)."
        )
    return not wanted


def call_weights(backbone: Backbone, rows: Tensor) -> list[Tensor]:
    """Return the weights with which ``encode`` answers one call on ``rows`` [T, H], after :func:`serves`: plain, or packed.

    Packed weights of a model that is not prepacked are read a second time before each call, to find out whether a bit has
    changed. With few rows this would take a third of the call.
    """
    known = prepacked.get(backbone.base)
    if isinstance(known, Prepacked):
        return known.weights
    if known is None and backbone.base in prepacked:
        return _pack(backbone)
    tensors = encoder_weights(backbone)
    plain = rows.is_cpu and not backbone.bf16x3 and len(rows) <= plain_rows(rows.dtype)
    if plain and all(tensor.dtype == rows.dtype and tensor.is_contiguous() for tensor in tensors):
        return tensors
    return packed_weights(backbone)


def plain_rows(dtype: torch.dtype) -> int:
    """How many rows of a call on the CPU at most are computed from plain weights, at the level in use."""
    return _PLAIN_ROWS[native.isa()][dtype]


def scored_hidden(backbone: Backbone, prompted: EncoderInputs) -> Tensor:
    """Return the last hidden state [B, H] of the scored position."""
    places, bounds = packing(prompted.attention_mask.bool().cpu(), prompted.inputs_embeds.device)
    rows = embedded(backbone, prompted, places)
    return encode_in_graphs(backbone, call_weights(backbone, rows), rows, bounds, read=1)


def unpadded_hidden(backbone: Backbone, rows: Tensor, texts: int) -> Tensor:
    """Return the last hidden states [B, H] of the first position of texts with equally many rows [B · S, H]."""
    bounds = torch.arange(texts + 1) * (len(rows) // max(1, texts))
    return encode_in_graphs(backbone, call_weights(backbone, rows), rows, bounds, read=1)


def all_hidden(backbone: Backbone, embedded: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the last hidden states [B, S, H] of embeddings [B, S, H], with zeros at the padding."""
    places, bounds = packing(attention_mask.bool().cpu(), embedded.device)
    rows = embedded.flatten(0, 1)
    if places is None:
        return encode_in_graphs(backbone, call_weights(backbone, rows), rows, bounds, read=0).view_as(embedded)
    hidden, real = torch.zeros_like(rows), rows[places]
    hidden[places] = encode_in_graphs(backbone, call_weights(backbone, real), real, bounds, read=0)
    return hidden.view_as(embedded)


def _promised(backbone: Backbone) -> bool:
    """Whether the packed weights of a prepacked model stand for the model as it is."""
    known = prepacked.get(backbone.base)
    if not isinstance(known, Prepacked):
        return False
    if not known.holds(backbone):
        changed(backbone.base)
        return False
    return True


def _pack(backbone: Backbone) -> list[Tensor]:
    state, plain = state_of(backbone), [tensor for tensor in encoder_weights(backbone) if not tensor.is_inference()]
    edits = edits_of(plain)  # before the packing, so that an edit of another thread during the packing counts
    known = Prepacked(state, plain, edits, packed_weights(backbone))
    prepacked[backbone.base] = known
    return known.weights
