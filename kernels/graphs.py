"""CUDA graphs of ``encode``: a pass of a known shape is one launch instead of a hundred.

A graph has fixed shapes and reads fixed memory. Shapes are rounded up to a few, and a batch is filled up with rows and
sequences of no one (:class:`skn.kernels.encode.Sequences`). A shape is captured when it comes for the second time, so
that one that never comes again costs nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from skn import ops
from skn.ops import reference

from .encode import Sequences, encode_sequences

log = logging.getLogger(__name__)

MOST_ROWS = 16384  # with more of them launches are a small part of the time; a guess, not measured
MOST_GRAPHS = (
    32  # of one model: each keeps its inputs and outputs, what is between lies in memory that a stream's share
)


def rounded(n: int, steps: int) -> int:
    """n, or the next larger of ``steps`` sizes from each power of two to the next; ``steps`` is a power of two."""
    step = max(1, 2 ** (n - 1).bit_length() // (2 * steps))
    return -(-n // step) * step


@dataclass(frozen=True)
class Shape:
    """Numbers that a graph is made for: rows, sequences, and rows of the longest sequence."""

    rows: int
    sequences: int
    longest: int

    @staticmethod
    def around(bounds: Tensor) -> Shape:
        """The shape that takes a batch with these bounds [B + 1], on the CPU: at most an eighth of its rows are no one's."""
        sequences, longest = bounds.shape[0] - 1, int(bounds.diff().max())
        return Shape(rounded(int(bounds[-1]), 8), rounded(sequences, 2), rounded(longest, 2))


class Inputs:
    """What a graph reads, at fixed places on the device of ``like`` [T, H]."""

    def __init__(self, shape: Shape, like: Tensor):
        self.hidden = torch.zeros(shape.rows, like.shape[1], dtype=like.dtype, device=like.device)
        bounds = torch.zeros(shape.sequences + 1, dtype=torch.int64, device=like.device)
        self.sequences = Sequences(bounds, shape.longest)

    def fill(self, hidden: Tensor, bounds: Tensor) -> None:
        """Put a batch in: hidden [T, H] on the device, bounds [B + 1] on the CPU. Nothing waits for the device."""
        rows, own = hidden.shape[0], self.sequences.bounds
        self.hidden[:rows].copy_(hidden)
        own.copy_(F.pad(bounds, (0, own.shape[0] - bounds.shape[0]), value=rows), non_blocking=True)


@dataclass(frozen=True)
class _Lane:
    """What graphs that are replayed on one stream share, because they come one after the other: the memory of what is
    between inputs and outputs, and the stream that they are captured on, to which its free blocks belong.
    """

    pool: tuple[int, int]
    side: torch.cuda.Stream


@dataclass
class _Graphs:
    """Those of one model: shapes that came once, what was captured, and what CUDA refused to capture."""

    seen: set[tuple] = field(default_factory=set)
    captured: dict[tuple, tuple[Inputs, Callable[[], Tensor]]] = field(default_factory=dict)
    refused: set[tuple] = field(default_factory=set)
    lanes: dict[int, _Lane] = field(default_factory=dict)

    def wants(self, key: tuple) -> bool:
        """Whether the shape should be captured now."""
        new = key in self.seen and key not in self.captured and key not in self.refused
        return new and len(self.captured) < MOST_GRAPHS


# The first weight of a packed list → the graphs that read the list; they go when it does.
_of_weights = WeakTensorKeyDictionary()
_lock = threading.Lock()  # a batch goes in, through and out before the next


def fit(hidden: Tensor, bounds: Tensor) -> bool:
    """Whether a graph can take this batch: on CUDA, of a moderate size, with bounds that the host knows."""
    if not (hidden.is_cuda and bounds.is_cpu and 0 < hidden.shape[0] <= MOST_ROWS):
        return False
    with torch.cuda.device_of(hidden):
        return not torch.cuda.is_current_stream_capturing()


def encode(hidden: Tensor, bounds: Tensor, weights: list[Tensor], heads: int, eps: float, read: int) -> Tensor:
    """The hidden states of :func:`skn.ops.encoder.encode` without masks and taps, for a batch that fits.

    Graphs belong to the list's first weight: a list that is packed anew has none, and an edit in place shows in the next
    replay.

    Raises:
        RuntimeError: the bounds do not fit.
    """
    reference.check_bounds(bounds, bounds.diff().tolist(), hidden.shape[0], read)
    with _lock, torch.cuda.device_of(hidden):  # streams, captures and replays are the current device's
        shape, stream = Shape.around(bounds), _stream()
        key = (shape, heads, eps, read, stream)
        graphs = _of_weights.setdefault(weights[0], _Graphs())
        if graphs.wants(key):
            _add(graphs, key, hidden, bounds, weights)
        graphs.seen.add(key)
        if key in graphs.captured:
            inputs, replay = graphs.captured[key]
            inputs.fill(hidden, bounds)
            return replay()[: (bounds.shape[0] - 1) * read or hidden.shape[0]].clone()
    return ops.encode(hidden, bounds, weights, heads, eps, read=read)[0]


def _add(graphs: _Graphs, key: tuple, hidden: Tensor, bounds: Tensor, weights: list[Tensor]) -> None:
    """Capture a shape; where CUDA refuses that, say so once, and let it run as it did."""
    shape, heads, eps, read, stream = key
    if stream not in graphs.lanes:
        graphs.lanes[stream] = _new_lane()
    # Ordinary tensors, which inference mode may write to and so may whoever calls outside of it.
    with torch.inference_mode(False), torch.no_grad():
        try:
            inputs = Inputs(shape, hidden)
            inputs.fill(hidden, bounds)
            replay = _capture(
                lambda: encode_sequences(inputs.hidden, inputs.sequences, weights, [], heads, eps, read, 0)[0],
                graphs.lanes[stream],
            )
        except RuntimeError as error:
            log.warning("no CUDA graph of %s: %s", shape, error)
            graphs.refused.add(key)
            del graphs.lanes[stream]  # torch may still take its pool for one that is being captured into
            return
    graphs.captured[key] = inputs, replay


def _capture(run: Callable[[], Tensor], lane: _Lane) -> Callable[[], Tensor]:
    """``run`` as a graph: a call queues it again and returns the one tensor that it always writes to."""
    graph, side = torch.cuda.CUDAGraph(), lane.side
    side.wait_stream(torch.cuda.current_stream())
    try:
        # This context leaves the side stream whatever happens; that of the graph stays on it when a capture fails.
        with torch.cuda.stream(side):
            for _ in range(3):  # compiles kernels and makes the libraries' workspaces, which a capture must not
                run()
            with torch.cuda.graph(graph, pool=lane.pool, stream=side, capture_error_mode="thread_local"):
                output = run()
    finally:
        torch.cuda.current_stream().wait_stream(side)  # before anyone takes the memory that it reads

    def replay() -> Tensor:  # holds no weights, or they would never go
        graph.replay()
        return output

    return replay


def _new_lane() -> _Lane:
    return _Lane(torch.cuda.graph_pool_handle(), torch.cuda.Stream())


def _stream() -> int:
    return torch.cuda.current_stream().cuda_stream
