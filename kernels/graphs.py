"""CUDA graphs of ``encode``: a pass of a known shape is one launch instead of a hundred.

A graph has fixed shapes and reads fixed memory. Shapes are rounded up to a few sizes, and a batch is filled up with
rows and sequences that belong to no text (:class:`skn.kernels.encode.Sequences`). A shape is captured when it comes for
the second time, so a shape that comes only once costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from skn import ops
from skn.ops import reference

from . import capture
from .capture import rounded
from .encode import Sequences, encode_sequences

# With more rows, a row that fills a batch up costs more time, and launches are a smaller part. A guess, not measured.
FEW_ROWS = 16384


@dataclass(frozen=True)
class Shape:
    """The sizes for which a graph is made: rows, sequences, and rows of the longest sequence."""

    rows: int
    sequences: int
    longest: int

    @staticmethod
    def around(bounds: Tensor) -> Shape:
        """Return the shape for a batch with these bounds [B + 1], on the CPU.

        Unused are at most an eighth of its rows or, above ``FEW_ROWS``, a thirty-second.
        """
        rows, sequences, longest = int(bounds[-1]), bounds.shape[0] - 1, int(bounds.diff().max())
        return Shape(rounded(rows, 8 if rows <= FEW_ROWS else 32), rounded(sequences, 2), rounded(longest, 2))

    def kept_bytes(self, like: Tensor, read: int) -> int:
        """Return the bytes of a graph's inputs and output, for rows like ``like`` [T, H]."""
        rows = self.rows + (self.sequences * read or self.rows)
        return rows * like.shape[1] * like.element_size() + (self.sequences + 1) * torch.int32.itemsize


class Inputs:
    """The inputs of a graph, at fixed places on the device of ``like`` [T, H]."""

    def __init__(self, shape: Shape, like: Tensor):
        self.hidden = torch.zeros(shape.rows, like.shape[1], dtype=like.dtype, device=like.device)
        bounds = torch.zeros(shape.sequences + 1, dtype=torch.int32, device=like.device)
        self.sequences = Sequences(bounds, shape.longest)

    def fill(self, hidden: Tensor, bounds: Tensor) -> None:
        """Copy a batch into the inputs: hidden [T, H] on the device, bounds [B + 1] on the CPU.

        Never waits for the device.
        """
        rows, own = hidden.shape[0], self.sequences.bounds
        self.hidden[:rows].copy_(hidden)
        own.copy_(F.pad(bounds.int(), (0, own.shape[0] - bounds.shape[0]), value=rows), non_blocking=True)


# The first weight of a packed list → the graphs that read the list. They are freed with the list.
_of_weights = WeakTensorKeyDictionary()
_lock = threading.Lock()  # one batch at a time uses the graphs


def fit(hidden: Tensor, bounds: Tensor) -> bool:
    """Whether a graph can take this batch: on CUDA, not empty, with bounds on the CPU, outside of another capture."""
    return bounds.is_cpu and hidden.shape[0] > 0 and capture.possible(hidden)


def encode(hidden: Tensor, bounds: Tensor, weights: list[Tensor], heads: int, eps: float, read: int) -> Tensor:
    """The hidden states of :func:`skn.ops.encoder.encode` without masks and taps, for a batch that fits.

    Graphs belong to the list's first weight. A list that is packed anew has no graphs. An edit in place has its effect
    in the next replay.

    Raises:
        RuntimeError: the bounds do not fit.
    """
    reference.check_bounds(bounds, bounds.diff().tolist(), hidden.shape[0], read)
    with _lock, torch.cuda.device_of(hidden):  # streams, captures and replays belong to the current device
        shape, stream = Shape.around(bounds), capture.current_stream()
        key = (shape, heads, eps, read, stream)
        graphs = _of_weights.setdefault(weights[0], capture.Graphs())

        def make(lane: capture.Lane) -> tuple[Inputs, Callable[[], Tensor]]:
            # Ordinary tensors, because callers write to them inside and outside of inference mode.
            with torch.inference_mode(False), torch.no_grad():
                inputs = Inputs(shape, hidden)
                inputs.fill(hidden, bounds)
                rows, sequences = inputs.hidden, inputs.sequences
                return inputs, capture.capture(
                    lambda: encode_sequences(rows, sequences, weights, [], heads, eps, read, 0)[0], lane
                )

        if graph := graphs.of(key, stream, shape.kept_bytes(hidden, read), shape, make):
            inputs, replay = graph
            inputs.fill(hidden, bounds)
            return replay()[: (bounds.shape[0] - 1) * read or hidden.shape[0]].clone()
    return ops.encode(hidden, bounds, weights, heads, eps, read=read)[0]
