"""The forward over ``encode``: no padding, no unused position in the last layer, activations of only one layer at a
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from skn import ops
from skn.inference.batches import Batch
from skn.inference.digests import digests
from skn.inference.hf import Intervention, PromptedModel, Scores, Tap, scores_of
from skn.inference.known import encoder_weights, eps_of, stranger
from skn.inference.packing import embedded, packing, shown
from skn.inference.readouts import PROMPT
from skn.model.backbone import Backbone
from skn.model.families import PRUNED
from skn.model.fit import activation_of
from skn.model.portable.layers_skn import int8_parts
from skn.model.prompted import PromptedBatch
from skn.ops import backends
from skn.ops.encoder import PER_LAYER

# Encoder → the digest of its weights when they were packed, and the packed tensors.
_packed: WeakKeyDictionary[nn.Module, tuple[tuple, list[Tensor]]] = WeakKeyDictionary()


def refusal(backbone: Backbone, readouts: list[str] | tuple[str, ...] = ()) -> str | None:
    """Say why this backbone cannot run on ``encode``; None if it can."""
    config = backbone.config
    device = backbone.device.type
    if backbone.family.encoder is None:
        return f"a {config.model_type.removeprefix(PRUNED)} backbone is no encoder of the BERT kind"
    if not backends.has_kernel("encode", device):
        return f"no kernel of encode serves {device}"
    if backbone.dtype not in (torch.float32, torch.bfloat16):
        return f"encode computes in float32 or bfloat16, not in {str(backbone.dtype).removeprefix('torch.')}"
    if backbone.bf16x3 and device != "cpu":
        return f"{device} has no such products"
    if activation_of(config) != "gelu":
        return f"encode has the activation gelu, this backbone {activation_of(config)}"
    if getattr(config, "position_embedding_type", "absolute") != "absolute" or getattr(config, "is_decoder", False):
        return "encode has neither relative positions nor a causal mask"
    if set(readouts) - {PROMPT}:
        return "it returns activations of the prompt positions alone"
    if backbone.adapter_bottleneck:
        return "adapters stand behind its FFNs, which encode would pass by"
    strange = stranger(backbone)
    return None if strange is None else f"encode would pass by what stands in the encoder ({strange})"


@contextmanager
def fast_forward(model: PromptedModel, tap: Tap | None, mask: Intervention | None) -> Iterator[Scores]:
    """Like :func:`skn.inference.hf.plain_forward`, but on the operator ``encode``. On CUDA, a batch whose sizes came
    before is one graph, if the pass has no mask.
    """
    backbone = model.backbone
    weights = packed_weights(backbone)

    def hidden(batch: Batch, prompted: PromptedBatch) -> Tensor:
        packed = Packed.of(backbone, batch, prompted)
        return packed.scored(backbone, weights, tap, Changes(_masks(backbone.ffn_sites, mask, batch.rows)))

    eager, graphed = scores_of(model, hidden), None
    if mask is None and _on_cuda(weights[0]):
        from skn.inference.graphed import GraphedPass

        graphed = GraphedPass.of(model, weights, tap)

    def scores(batch: Batch) -> Tensor:
        found = None if graphed is None else graphed.scores(batch)
        return eager(batch) if found is None else found

    yield scores


@dataclass(frozen=True)
class Changes:
    """What a pass changes in each layer, as :func:`skn.ops.encode` takes it: masks, or what chosen neurons take."""

    masks: list[Tensor] | None = None
    neurons: list[Tensor] | None = None
    values: list[Tensor] | None = None
    source: Tensor | None = None

    def __bool__(self) -> bool:
        return bool(self.masks or self.neurons)

    def layer(self, index: int) -> Changes:
        """Return the changes of one layer alone."""

        def own(tensors: list[Tensor] | None, each: int = 1) -> list[Tensor] | None:
            return tensors and tensors[each * index : each * (index + 1)]

        return replace(self, masks=own(self.masks, 2), neurons=own(self.neurons), values=own(self.values))

    def named(self) -> dict:
        return {"masks": self.masks, "neurons": self.neurons, "values": self.values, "source": self.source}


@dataclass(frozen=True)
class Packed:
    """A batch as ``encode`` reads it: the embeddings ``rows`` [T, H] of its real tokens, one sequence after the other.

    ``bounds`` [B + 1] are on the CPU. Column c of example b, prompt included, is row ``bounds[b] + c``.
    """

    batch: Batch
    prompted: PromptedBatch
    rows: Tensor
    bounds: Tensor

    @classmethod
    def of(cls, backbone: Backbone, batch: Batch, prompted: PromptedBatch) -> Packed:
        columns, prompt = torch.arange(prompted.attention_mask.shape[1]), 0
        if prompted.prompt is not None:
            prompt = prompted.prompt.stop
        places, bounds = packing(columns < prompt + batch.lengths[:, None], prompted.inputs_embeds.device)
        return cls(batch, prompted, embedded(backbone, prompted, places), bounds)

    def scored(self, backbone: Backbone, weights: list[Tensor], tap: Tap | None, changes: Changes) -> Tensor:
        """Return the last hidden state [B, H] of the scored position, and show the tap the prompt's activations."""
        prompted, rows, bounds = self.prompted, self.rows, self.bounds
        if not isinstance(prompted.scored, int):  # each text inside a template has its own scored position
            if changes:
                every = _encode(backbone, weights, rows, bounds=bounds, read=0, changes=changes)
            else:
                every = encode_in_graphs(backbone, weights, rows, bounds=bounds, read=0)
            return every[(bounds[:-1] + prompted.scored).to(every.device, non_blocking=True)]
        if tap is None:
            return _encode(backbone, weights, rows, bounds=bounds, read=1, changes=changes)
        layers = _tapped_layers(backbone, weights, rows, bounds=bounds, tap=prompted.prompt.stop, changes=changes)
        return shown(layers, backbone.ffn_sites, tap, self.batch)

    def recorded(self, backbone: Backbone, weights: list[Tensor], neurons: list[Tensor]) -> list[Tensor]:
        """Return the activations [T, K] of chosen neurons in every row, for the first ``len(neurons)`` layers."""
        heads, eps = backbone.config.num_attention_heads, eps_of(backbone)
        first = weights[: len(neurons) * PER_LAYER]
        return ops.encode(self.rows, self.bounds, first, heads=heads, eps=eps, neurons=neurons)[1:]


def _encode(
    backbone: Backbone,
    weights: list[Tensor],
    rows: Tensor,
    bounds: Tensor,
    read: int,
    changes: Changes | None = None,
) -> Tensor:
    heads, eps = backbone.config.num_attention_heads, eps_of(backbone)
    named = changes.named() if changes else {}
    return ops.encode(rows, bounds, weights, heads=heads, eps=eps, read=read, **named)[0]


def encode_in_graphs(backbone: Backbone, weights: list[Tensor], rows: Tensor, bounds: Tensor, read: int) -> Tensor:
    """Like :func:`_encode`, but on CUDA one graph runs all layers, if the shape came before."""
    if _on_cuda(rows):
        from skn.kernels import graphs

        if graphs.fit(rows, bounds):
            heads, eps = backbone.config.num_attention_heads, eps_of(backbone)
            return graphs.encode(rows, bounds, weights, heads=heads, eps=eps, read=read)
    return _encode(backbone, weights, rows, bounds, read)


def _tapped_layers(
    backbone: Backbone, weights: list[Tensor], rows: Tensor, bounds: Tensor, tap: int, changes: Changes
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the hidden states behind each layer and its activations [B, tap, width], which may be freed before the next
    layer. Of the last layer, the hidden states are those of the scored position.
    """
    heads, eps = backbone.config.num_attention_heads, eps_of(backbone)
    if _on_cuda(rows):
        from skn.kernels import encode

        named = {**changes.named(), "masks": changes.masks or []}
        yield from encode.encode_layers(rows, bounds, weights, heads=heads, eps=eps, read=1, tap=tap, **named)
        return
    layers = len(weights) // PER_LAYER
    for layer in range(layers):
        own, named = weights[PER_LAYER * layer :][:PER_LAYER], changes.layer(layer).named()
        read = 1 if layer == layers - 1 else 0
        rows, *acts = ops.encode(rows, bounds, own, heads=heads, eps=eps, read=read, tap=tap, **named)
        yield rows, acts.pop()


def _on_cuda(rows: Tensor) -> bool:
    return rows.is_cuda


def packed_weights(backbone: Backbone) -> list[Tensor]:
    """Return the encoder's weights in the layout of ``encode``.

    They are packed again whenever a bit of a weight has changed.
    """
    tensors = encoder_weights(backbone)
    state = backbone.bf16x3, digests(tensors)
    known = _packed.get(backbone.base)
    if known is None or known[0] != state:
        known = state, _pack(tensors, backbone.bf16x3)
        _packed[backbone.base] = known
    return known[1]


@torch.no_grad()
def _pack(tensors: list[Tensor], bf16x3: bool) -> list[Tensor]:
    packed = [_packed_weight(t, bf16x3) if t.dim() == 2 else t.detach().clone() for t in tensors]
    for layer in range(0, len(packed), PER_LAYER):
        for kind in range(2):  # q, k and v in one tensor, so that a kernel can compute them as one product
            parts = packed[layer + kind : layer + kind + 6 : 2]
            if len({part.dtype for part in parts}) > 1:  # one is of bytes, and there is no such kernel
                continue
            packed[layer + kind : layer + kind + 6 : 2] = torch.cat(parts).split([len(part) for part in parts])
    return packed


def _packed_weight(weight: Tensor, bf16x3: bool) -> Tensor:
    if weight.dtype == torch.int8:
        *parts, rotated = int8_parts(weight)
        return ops.pack_int8(*parts, bool(rotated))
    return ops.pack(weight, "bf16x3" if bf16x3 else None)


def _masks(sites: list, mask: Intervention | None, rows: Tensor) -> list[Tensor]:
    if mask is None:
        return []
    nothing = (torch.empty(0), torch.empty(0))
    return [tensor for site in sites for tensor in (mask.factors(site, rows) or nothing)]
