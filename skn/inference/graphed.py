"""A batch as one CUDA graph: from token ids to class scores, with the statistics of a probe, in one launch.

A graph computes a few sizes. A batch is filled up with rows that belong to no text, and with texts of no token, which
count in no class. What a batch needs beside its token ids lies in one tensor, so one copy brings it to the device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skn.inference.batches import Batch
from skn.inference.hf import PromptedModel, Tap
from skn.inference.known import eps_of
from skn.inference.packing import embedded, shown
from skn.kernels import capture, encode, groups
from skn.model.plain import is_hooked
from skn.ops.reference import check_labels

# Model → what its graphs read, and the graphs of its passes without a tap.
_of_models: WeakKeyDictionary[nn.Module, tuple[tuple, capture.Graphs]] = WeakKeyDictionary()
_lock = threading.Lock()  # one batch at a time uses the graphs


@dataclass(frozen=True)
class Sizes:
    """The sizes for which a graph is made: texts, their columns, and rows in all, each with the prompt."""

    texts: int
    columns: int
    rows: int
    typed: bool

    @staticmethod
    def around(batch: Batch, prompt_length: int) -> Sizes:
        texts, tokens = batch.input_ids.shape
        rows = int(batch.lengths.sum()) + prompt_length * texts
        columns = prompt_length + capture.rounded(tokens, 4)
        return Sizes(capture.rounded(texts, 4), columns, capture.rounded(rows, 8), batch.token_type_ids is not None)

    def kept_bytes(self, classes: int) -> int:
        """Return about the bytes of a graph's inputs and output."""
        return 8 * self.texts * ((2 if self.typed else 1) * self.columns + 3 + classes)


class Inputs:
    """The inputs of a graph, at fixed places on a device.

    ``ids`` and ``types`` [B, T] int64 are tokens; types may be None. ``bounds`` [B + 1] are the first rows of the texts,
    ``numbers`` [B] their rows in the split, and ``label`` [B] their classes, beyond the last class where there is no text.
    """

    def __init__(self, sizes: Sizes, prompt_length: int, classes: int, device: torch.device):
        self.sizes, self.prompt_length, self.classes = sizes, prompt_length, classes
        shape = sizes.texts, sizes.columns - prompt_length
        self.ids = torch.zeros(shape, dtype=torch.int64, device=device)
        self.types = torch.zeros_like(self.ids) if sizes.typed else None
        parts = [sizes.texts + 1, sizes.texts, sizes.texts]
        self._flat = torch.zeros(sum(parts), dtype=torch.int64, device=device)
        self.bounds, self.numbers, self.label = self._flat.split(parts)

    def fill(self, batch: Batch, spare_row: int) -> None:
        """Copy a batch into the inputs, without waiting for the device. What is no text gets the ``spare_row``."""
        texts, tokens = batch.input_ids.shape
        self.ids[:texts, :tokens].copy_(batch.input_ids, non_blocking=True)
        if self.types is not None:
            self.types[:texts, :tokens].copy_(batch.token_type_ids, non_blocking=True)
        bounds = F.pad((batch.lengths + self.prompt_length).cumsum(0), (1, 0))
        padding = 0, self.sizes.texts - texts
        ends = (bounds, int(bounds[-1])), (batch.rows, spare_row), (batch.label, self.classes)
        flat = torch.cat([F.pad(values, padding, value=value) for values, value in ends])
        # Pinned memory is copied while the host goes on, and torch reuses it only after the copy.
        self._flat.copy_(flat.pin_memory() if self._flat.is_cuda else flat, non_blocking=True)

    def sequences(self) -> encode.Sequences:
        return encode.Sequences(self.bounds.int(), self.sizes.columns)

    def lengths(self) -> Tensor:
        """Return the number of tokens [B] of each text, without the prompt."""
        return (self.bounds.diff() - self.prompt_length).clamp(min=0)

    def places(self, sequences: encode.Sequences) -> Tensor:
        """Return the place [T] of each row in the texts [B · columns]. A row of no text has the place 0."""
        row = torch.arange(self.sizes.rows, device=self.bounds.device)
        owner = sequences.owner(self.sizes.rows)
        place = owner * self.sizes.columns + row - self.bounds[owner]
        return torch.where(row < self.bounds[-1], place, 0)


@dataclass(frozen=True)
class Captured:
    """What a tap sees of a batch while a graph is captured: ``rows``, ``label`` and ``one_class`` [B] int64. Where there is
    no text, the labels are beyond the last class.
    """

    rows: Tensor
    label: Tensor
    one_class: Tensor


class GraphedPass:
    """The passes of a model over batches, each in one graph."""

    def __init__(self, model: PromptedModel, weights: list[Tensor], tap: Tap | None):
        """:param weights: the packed weights of the model's encoder."""
        self.model, self.weights, self.tap = model, weights, tap
        self.graphs = capture.Graphs() if tap else _graphs_of(model, weights)
        self.spare_row = tap.spare_row if tap else 0

    @classmethod
    def of(cls, model: PromptedModel, weights: list[Tensor], tap: Tap | None) -> GraphedPass | None:
        """Return the passes, or None if a graph cannot do what a pass without one does."""
        backbone = model.backbone
        if not model.prompt_length or (tap is not None and tap.spare_row is None):
            return None
        if any(is_hooked(part._forward_hooks) or part._forward_pre_hooks for part in backbone.model.modules()):
            return None  # a replay would pass by hooks
        return cls(model, weights, tap)

    def scores(self, batch: Batch) -> Tensor | None:
        """Return the class scores [B, C] of a batch, and show the tap the batch; None if there is no graph for it.

        Raises:
            RuntimeError: there is a tap, and a label is out of range. Without a tap, nobody reads the labels.
        """
        ids = batch.input_ids
        if not len(batch.rows) or not capture.possible(ids):
            return None
        sizes, classes = Sizes.around(batch, self.model.prompt_length), len(self.model.label_ids)
        if self.tap is not None:
            check_labels("probe", batch.label, classes)

        def make(lane: capture.Lane) -> tuple[Inputs, Callable[[], Tensor]]:
            # Ordinary tensors, because callers write to them inside and outside of inference mode.
            with torch.inference_mode(False), torch.no_grad():
                inputs = Inputs(sizes, self.model.prompt_length, classes, ids.device)
                inputs.fill(batch, self.spare_row)
                # The run before the capture must not add to a statistic. The kernels of the statistics ran in the pass
                # of this shape that had no graph.
                silent = self.tap and replace(self.tap, add=lambda *_: None)
                run = partial(self._run, inputs, self.tap)
                return inputs, capture.capture(run, lane, before=partial(self._run, inputs, silent))

        with _lock, torch.cuda.device_of(ids):
            stream = capture.current_stream()
            graph = self.graphs.of((sizes, stream), stream, sizes.kept_bytes(classes), sizes, make)
            if graph is None:
                return None
            inputs, replay = graph
            inputs.fill(batch, self.spare_row)
            return replay()[: len(batch.rows)].clone()

    def _run(self, inputs: Inputs, tap: Tap | None) -> Tensor:
        """Compute the class scores [B, C] of what the inputs hold now, and show the activations to the tap."""
        backbone, sequences = self.model.backbone, inputs.sequences()
        tokens = torch.arange(inputs.ids.shape[1], device=inputs.ids.device)
        real = (tokens < inputs.lengths()[:, None]).long()
        prompted = self.model.assemble(inputs.ids, real, inputs.types, None)
        rows = embedded(backbone, prompted, inputs.places(sequences))
        heads, eps = backbone.config.num_attention_heads, eps_of(backbone)
        how = {"weights": self.weights, "masks": [], "heads": heads, "eps": eps, "read": 1}
        if tap is None:
            rows = encode.encode_sequences(rows, sequences, **how, tap=0)[0]
        else:
            layers = encode.encode_layers(rows, sequences, **how, tap=inputs.prompt_length)
            batch = Captured(inputs.numbers, inputs.label, one_class=(inputs.label >= inputs.classes).long())
            with groups.once():
                rows = shown(layers, backbone.ffn_sites, tap, batch)
        return backbone.word_scores(rows, self.model.label_ids)


def _graphs_of(model: PromptedModel, weights: list[Tensor]) -> capture.Graphs:
    """Return the graphs of a model's passes without a tap. They are new if the model computes with other tensors than
    before; what is written into the same tensors has its effect in the next replay.
    """
    backbone = model.backbone.model
    read = [*model.parameters(), *model.buffers(), *backbone.parameters(), *backbone.buffers(), *weights]
    state = tuple((tensor.data_ptr(), tensor.dtype) for tensor in read)
    known = _of_models.get(model)
    if known is None or known[0] != state:
        known = state, capture.Graphs()
        _of_models[model] = known
    return known[1]
