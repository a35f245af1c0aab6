"""CUDA graphs of ``encode``: a pass of a known shape is one launch instead of a hundred.

A graph has fixed shapes and reads fixed memory. Shapes are rounded up to a few sizes, and a batch is filled up with
rows and sequences that belong to no text (:class:`skn.kernels.encode.Sequences`). A shape is captured when it comes for
the second time, so a shape that comes only once costs nothing.
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

# For the graphs of one model. Each graph keeps its inputs and outputs; the graphs of one stream share the memory in
# between. Both limits are guesses, not measured.
MOST_GRAPHS = 32
MOST_BYTES = 2**30
# With more rows, a row that fills a batch up costs more time, and launches are a smaller part. A guess, not measured.
FEW_ROWS = 16384


def rounded(n: int, steps: int) -> int:
    """Return n, rounded up to one of ``steps`` sizes between one power of two and the next.

    ``steps`` is a power of two.
    """
    step = max(1, 2 ** (n - 1).bit_length() // (2 * steps))
    return -(-n // step) * step


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


@dataclass(frozen=True)
class _Lane:
    """What graphs on one stream share, because they run one after the other.

    They share the memory between inputs and outputs, and the stream on which they are captured, to which the free
    blocks belong.
    """

    pool: tuple[int, int]
    side: torch.cuda.Stream


@dataclass
class _Graphs:
    """The graphs of one model: shapes that came once, captured graphs and the bytes that they keep, and shapes that CUDA
    refused to capture.
    """

    seen: set[tuple] = field(default_factory=set)
    captured: dict[tuple, tuple[Inputs, Callable[[], Tensor]]] = field(default_factory=dict)
    kept: int = 0
    refused: set[tuple] = field(default_factory=set)
    lanes: dict[int, _Lane] = field(default_factory=dict)

    def wants(self, key: tuple, size: int) -> bool:
        """Whether to capture the shape now, as a graph that keeps ``size`` bytes."""
        new = key in self.seen and key not in self.captured and key not in self.refused
        return new and len(self.captured) < MOST_GRAPHS and self.kept + size <= MOST_BYTES


# The first weight of a packed list → the graphs that read the list. They are freed with the list.
_of_weights = WeakTensorKeyDictionary()
_lock = threading.Lock()  # one batch at a time uses the graphs


def fit(hidden: Tensor, bounds: Tensor) -> bool:
    """Whether a graph can take this batch: on CUDA, not empty, with bounds on the CPU, outside of another capture."""
    if not (hidden.is_cuda and bounds.is_cpu and hidden.shape[0] > 0):
        return False
    with torch.cuda.device_of(hidden):
        return not torch.cuda.is_current_stream_capturing()


def encode(hidden: Tensor, bounds: Tensor, weights: list[Tensor], heads: int, eps: float, read: int) -> Tensor:
    """The hidden states of :func:`skn.ops.encoder.encode` without masks and taps, for a batch that fits.

    Graphs belong to the list's first weight. A list that is packed anew has no graphs. An edit in place has its effect
    in the next replay.

    Raises:
        RuntimeError: the bounds do not fit.
    """
    reference.check_bounds(bounds, bounds.diff().tolist(), hidden.shape[0], read)
    with _lock, torch.cuda.device_of(hidden):  # streams, captures and replays belong to the current device
        shape, stream = Shape.around(bounds), _stream()
        key = (shape, heads, eps, read, stream)
        graphs = _of_weights.setdefault(weights[0], _Graphs())
        if graphs.wants(key, shape.kept_bytes(hidden, read)):
            _add(graphs, key, hidden, bounds, weights)
        graphs.seen.add(key)
        if key in graphs.captured:
            inputs, replay = graphs.captured[key]
            inputs.fill(hidden, bounds)
            return replay()[: (bounds.shape[0] - 1) * read or hidden.shape[0]].clone()
    return ops.encode(hidden, bounds, weights, heads, eps, read=read)[0]


def _add(graphs: _Graphs, key: tuple, hidden: Tensor, bounds: Tensor, weights: list[Tensor]) -> None:
    """Capture a shape. If CUDA refuses the capture, say so once, and run the shape without a graph."""
    shape, heads, eps, read, stream = key
    if stream not in graphs.lanes:
        graphs.lanes[stream] = _new_lane()
    # Ordinary tensors, because callers write to them inside and outside of inference mode.
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
            del graphs.lanes[stream]  # torch may still believe that a capture into this pool is running
            return
    graphs.captured[key] = inputs, replay
    graphs.kept += shape.kept_bytes(hidden, read)


def _capture(run: Callable[[], Tensor], lane: _Lane) -> Callable[[], Tensor]:
    """Capture ``run`` as a graph. Returns a function that queues the graph again and returns its one output tensor."""
    graph, side = torch.cuda.CUDAGraph(), lane.side
    side.wait_stream(torch.cuda.current_stream())
    try:
        # This context always leaves the side stream. The graph's own context stays on it when a capture fails.
        with torch.cuda.stream(side):
            # these runs compile kernels and allocate the libraries' workspaces, which a capture must not do
            for _ in range(3):
                run()
            with torch.cuda.graph(graph, pool=lane.pool, stream=side, capture_error_mode="thread_local"):
                output = run()
    finally:
        torch.cuda.current_stream().wait_stream(side)  # before other work takes the memory that the graph reads

    def replay() -> Tensor:  # must not hold the weights, or they would never be freed
        graph.replay()
        return output

    return replay


def _new_lane() -> _Lane:
    return _Lane(torch.cuda.graph_pool_handle(), torch.cuda.Stream())


def _stream() -> int:
    return torch.cuda.current_stream().cuda_stream
