"""Turn activations into streaming statistics.

A tap adds the activations of a batch to the layer's statistics at once and keeps no activation. So a probe holds at
most the activations of one batch and one layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from skn import ops
from skn.inference import processes
from skn.inference.batches import Batch, Encoded
from skn.inference.engine import PromptedModel, predict
from skn.inference.hf import Tap
from skn.inference.readouts import OF_GATE, PROMPT
from skn.model.backbone import Backbone, FfnSite
from skn.neurons.auroc import Areas, HeldOutAreas
from skn.neurons.bits import BitStore

# How far the activations of two float32 forward passes may differ, relative to 1 + |threshold|.
FLOAT_ERROR = 1e-5


@dataclass
class Moments:
    """Class-conditional moments of one read-out: ``count`` [C], ``total`` and ``total_sq`` [C, L, P, F]."""

    count: Tensor
    total: Tensor
    total_sq: Tensor

    def threshold(self) -> Tensor:
        """[L, P, F] float64: the mean activation over all examples (Wang et al., 2022, section 3.2)."""
        return self.total.sum(dim=0) / self.count.sum()


@dataclass
class Hits:
    """Hits of one read-out: how many examples of each class exceed the ``threshold`` [L, P, F], as ``hits`` [C, L, P,
    F] int64.

    ``near`` [L, P, F] int64 counts the activations within float error of the threshold. Another engine or batch may
    count these activations differently. A file keeps only the sum of ``near`` []. ``near`` is None unless the compute
    dtype is float32. ``areas`` are there if they were asked for.
    """

    count: Tensor
    hits: Tensor
    threshold: Tensor
    near: Tensor | None
    areas: Areas | None = None


@processes.together
def probe_moments(
    model: PromptedModel,
    encoded: Encoded,
    tokens: int,
    readouts: list[str],
    description: str,
    engine: str | None = None,
) -> tuple[dict[str, Moments], Tensor]:
    """Pass once over a split. Returns the moments of every read-out, and the logits [N, C]."""
    backbone, classes = model.backbone, model.label_ids.numel()
    counts = {r: _per_site(backbone, (classes,), torch.int64) for r in readouts}
    totals, squares = (
        {r: _per_site(backbone, (classes, _positions(model, r)), torch.float64, wide=True) for r in readouts}
        for _ in range(2)
    )

    def add(site: FfnSite, readout: str, act: Tensor, batch: Batch) -> None:
        layer = site.layer
        ops.accumulate_moments(
            counts[readout][layer], totals[readout][layer], squares[readout][layer], act, batch.label
        )

    tap = Tap(readouts, add, spare_row=len(encoded))
    logits = predict(model, encoded, tokens, description=description, engine=engine, tap=tap)
    processes.add([state for r in readouts for states in (counts, totals, squares) for state in states[r]])
    by_readout = {
        r: Moments(
            _same_count(counts[r], encoded),
            _to_original_neurons(backbone, totals[r]),
            _to_original_neurons(backbone, squares[r]),
        )
        for r in readouts
    }
    return by_readout, logits


@processes.together
def probe_hits(
    model: PromptedModel,
    encoded: Encoded,
    tokens: int,
    thresholds: dict[str, Tensor],
    description: str,
    engine: str | None = None,
    with_bits: bool = False,
    auroc: bool = False,
    folder: Path | None = None,
) -> tuple[dict[str, Hits], dict[str, Tensor], Tensor]:
    """Pass once over a split.

    Returns the hits over the thresholds [L, P, F] of every read-out, with ``with_bits`` the packed bits [N, L, P, bytes]
    of which the hits are sums (:class:`skn.neurons.bits.Bits`), and the logits [N, C]. With ``auroc``, the hits have their
    ``areas``; ``folder`` takes what memory does not hold.
    """
    backbone, classes = model.backbone, model.label_ids.numel()
    hits = {r: _per_site(backbone, (classes, t.shape[1]), torch.int64, wide=True) for r, t in thresholds.items()}
    own = {r: [t[s.layer][:, s.neurons.cpu()].to(s.device) for s in backbone.ffn_sites] for r, t in thresholds.items()}

    exact = backbone.dtype == torch.float32 and not (backbone.bf16x3 or backbone.int8)
    near = {r: _NearThreshold(backbone, t) for r, t in own.items()} if exact else {}
    stores = {r: BitStore(backbone, len(encoded), t) for r, t in own.items()} if with_bits else {}
    positions = {r: t.shape[1] for r, t in thresholds.items()}
    gathered = HeldOutAreas(backbone, encoded.label, classes, positions, folder) if auroc else None

    def add(site: FfnSite, readout: str, act: Tensor, batch: Batch) -> None:
        ops.accumulate_hits(hits[readout][site.layer], act, own[readout][site.layer], batch.label)
        if near:
            near[readout].add(site, act, batch)
        if stores:
            stores[readout].add(site, act, batch)
        if gathered is not None:
            gathered.add(site, readout, act, batch)

    # The activations for AUROC go to the host, so no graph can take them.
    tap = Tap(list(thresholds), add, spare_row=None if auroc else len(encoded))
    logits = predict(model, encoded, tokens, description=description, engine=engine, tap=tap)
    processes.add([state for r in thresholds for state in (*hits[r], *(near[r].over if near else ()))])
    processes.add([packed for store in stores.values() for packed in store.packed])  # each process has other rows
    count = torch.bincount(encoded.label, minlength=classes)
    by_readout = {
        r: Hits(
            count,
            _to_original_neurons(backbone, hits[r]),
            t,
            near[r].count() if near else None,
            gathered and gathered.areas(r),
        )
        for r, t in thresholds.items()
    }
    return by_readout, {r: store.whole() for r, store in stores.items()}, logits


class _NearThreshold:
    """Counts activations within float error of their threshold: the count above the lower edge minus the count above
    the upper.
    """

    def __init__(self, backbone: Backbone, threshold: list[Tensor]):
        self.backbone = backbone
        margin = [FLOAT_ERROR * (1 + t.abs()) for t in threshold]
        self.edges = [(t - m, t + m) for t, m in zip(threshold, margin, strict=True)]
        self.over = [t.new_zeros(2, *t.shape, dtype=torch.int64) for t in threshold]

    def add(self, site: FfnSite, act: Tensor, batch: Batch) -> None:
        one_class = batch.one_class
        for edge, over in zip(self.edges[site.layer], self.over[site.layer], strict=True):
            ops.accumulate_hits(over[None], act, edge, one_class)

    def count(self) -> Tensor:
        lower, upper = _to_original_neurons(self.backbone, self.over)
        return lower - upper


def nan_neurons(backbone: Backbone, total: Tensor) -> list[tuple[int, int]]:
    """Return the (layer, neuron) pairs whose total [C, L, P, F] is NaN at any position."""
    return [tuple(index) for index in torch.isnan(total).any(dim=2).any(dim=0).nonzero().tolist()]


def _positions(model: PromptedModel, readout: str) -> int:
    """P, the number of positions of a read-out."""
    return model.prompt_length if readout.removesuffix(OF_GATE) == PROMPT else 1


def _per_site(backbone: Backbone, shape: tuple[int, ...], dtype: torch.dtype, wide: bool = False) -> list[Tensor]:
    """Return a state of zeros for every FFN site, on its device. With ``wide``, the last axis has the site's own width."""
    return [
        torch.zeros(*shape, *((site.width,) if wide else ()), dtype=dtype, device=site.device)
        for site in backbone.ffn_sites
    ]


def _same_count(counts: list[Tensor], encoded: Encoded) -> Tensor:
    """Return the class counts. Raises AssertionError if a layer did not see every example."""
    expected = torch.bincount(encoded.label, minlength=counts[0].numel())
    for layer, count in enumerate(counts):
        if not torch.equal(count.cpu(), expected):
            raise AssertionError(f"layer {layer} saw {count.tolist()} examples, the split has {expected.tolist()}")
    return expected


def _to_original_neurons(backbone: Backbone, states: list[Tensor]) -> Tensor:
    """Return [C, L, P, F] from one [C, P, width] for each layer. Neurons that were pruned away hold zero."""
    first = states[0]
    full = torch.zeros(first.shape[0], len(states), first.shape[1], backbone.ffn_width, dtype=first.dtype)
    for site, state in zip(backbone.ffn_sites, states, strict=True):
        full[:, site.layer, :, site.neurons.cpu()] = state.cpu()
    return full
