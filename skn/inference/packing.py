"""Batches without padding: the embeddings of the real tokens, one sequence after the other, and their activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from skn.inference.batches import Batch
from skn.inference.hf import Tap
from skn.inference.readouts import PROMPT
from skn.model.backbone import Backbone, FfnSite
from skn.model.portable.layers_skn import EncoderInputs

if TYPE_CHECKING:
    from skn.inference.graphed import Captured


def packing(real: Tensor, device: torch.device) -> tuple[Tensor | None, Tensor]:
    """From ``real`` [B, S] on the CPU: the places [T] of the tokens in the flat batch, and the bounds [B + 1] of the
    examples. Without padding, every place has a token, and the places are None.

    The places are on the device. The bounds are on the CPU, where ``encode`` reads them without waiting for the device.
    """
    if real.all():
        return None, torch.arange(len(real) + 1) * real.shape[1]
    bounds = F.pad(real.sum(dim=1).cumsum(dim=0), (1, 0))
    return real.flatten().nonzero()[:, 0].to(device, non_blocking=True), bounds


def embedded(backbone: Backbone, prompted: EncoderInputs, places: Tensor | None) -> Tensor:
    """Return the embeddings [T, H] of the tokens at these places, of all tokens without places."""

    def packed(tensor: Tensor) -> Tensor:
        flat = tensor.flatten(0, 1)
        return (flat if places is None else flat[places])[None]

    positions, types = packed(prompted.position_ids), prompted.token_type_ids
    inputs = {"input_ids": None, "inputs_embeds": packed(prompted.inputs_embeds), "position_ids": positions}
    if backbone.family.encoder.typed:
        inputs["token_type_ids"] = torch.zeros_like(positions) if types is None else packed(types)
    return at_hidden_size(backbone, backbone.base.embeddings(**inputs))[0]


def embedded_texts(backbone: Backbone, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
    """Return the embeddings [B, S, H] of texts without a prompt, with the positions that the model itself counts."""
    types = {"token_type_ids": token_type_ids} if backbone.family.encoder.typed else {}
    return at_hidden_size(backbone, backbone.base.embeddings(input_ids, **types))


def at_hidden_size(backbone: Backbone, rows: Tensor) -> Tensor:
    """Return embeddings [.., E] as the first layer reads them, [.., H]."""
    project = getattr(backbone.base, "embeddings_project", None)  # of ELECTRA
    return rows if project is None else project(rows)


def shown(
    layers: Iterator[tuple[Tensor, Tensor]], sites: Sequence[FfnSite], tap: Tap, batch: Batch | Captured
) -> Tensor:
    """Show each layer's activations to the tap, and return the hidden states behind the last layer."""
    for site in sites:  # not `zip`, which would keep a layer's activations while it asks for the next layer
        rows, act = next(layers)
        tap.add(site, PROMPT, act, batch)
        del act
    return rows
