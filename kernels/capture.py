"""CUDA graphs by shape: what is captured, when, and how much memory it may keep.

A graph has fixed shapes and reads fixed memory. A shape is captured when it comes for the second time, so a shape that
comes only once costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

log = logging.getLogger(__name__)

# For the graphs of one model or one pass. Each graph keeps its inputs and outputs; the graphs of one stream share the
# memory in between. Both limits are guesses, not measured.
MOST_GRAPHS = 32
MOST_BYTES = 2**30

Inputs = TypeVar("Inputs")


def rounded(n: int, steps: int) -> int:
    """Return n, rounded up to one of ``steps`` sizes between one power of two and the next.

    ``steps`` is a power of two.
    """
    step = max(1, 2 ** (n - 1).bit_length() // (2 * steps))
    return -(-n // step) * step


def possible(inputs: Tensor) -> bool:
    """Whether a graph can be captured or replayed where these inputs are: on CUDA, outside of another capture."""
    if not inputs.is_cuda:
        return False
    with torch.cuda.device_of(inputs):
        return not torch.cuda.is_current_stream_capturing()


@dataclass(frozen=True)
class _Lane:
    """What graphs on one stream share, because they run one after the other.

    They share the memory between inputs and outputs, and the stream on which they are captured, to which the free
    blocks belong.
    """

    pool: tuple[int, int]
    side: torch.cuda.Stream


@dataclass
class Graphs(Generic[Inputs]):
    """Graphs that are freed together, by shape and stream: shapes that came once, captured graphs and the bytes that they
    keep, and shapes that CUDA refused to capture.
    """

    seen: set[Hashable] = field(default_factory=set)
    captured: dict[Hashable, tuple[Inputs, Callable[[], Tensor]]] = field(default_factory=dict)
    kept: int = 0
    refused: set[Hashable] = field(default_factory=set)
    lanes: dict[int, _Lane] = field(default_factory=dict)

    def ready(
        self, shape: Hashable, size: int, made: Callable[[], tuple[Inputs, Callable[[], Tensor], Callable[[], object]]]
    ) -> tuple[Inputs, Callable[[], Tensor]] | None:
        """Return the inputs of this shape's graph and the function that queues the graph and returns its output; None
        if the shape has no graph.

        The caller makes the device of the inputs the current device.

        :param size: the bytes that the graph keeps.
        :param made: returns inputs, the function to capture, and the function that runs once before. The inputs hold a
            batch already.
        """
        key = shape, _stream()
        if self._wants(key, size):
            self._add(key, size, made)
        self.seen.add(key)
        return self.captured.get(key)

    def _wants(self, key: Hashable, size: int) -> bool:
        new = key in self.seen and key not in self.captured and key not in self.refused
        return new and len(self.captured) < MOST_GRAPHS and self.kept + size <= MOST_BYTES

    def _add(self, key: tuple, size: int, made: Callable[[], tuple]) -> None:
        """Capture a shape. If CUDA refuses the capture, say so once, and leave the shape without a graph."""
        shape, stream = key
        if stream not in self.lanes:
            self.lanes[stream] = _new_lane()
        # Ordinary tensors, because callers write to them inside and outside of inference mode.
        with torch.inference_mode(False), torch.no_grad():
            try:
                inputs, run, before = made()
                self.captured[key] = inputs, _capture(run, before, self.lanes[stream])
            except RuntimeError as error:
                log.warning("no CUDA graph of %s: %s", shape, error)
                self.refused.add(key)
                del self.lanes[stream]  # torch may still believe that a capture into this pool is running
                return
        self.kept += size


def _capture(run: Callable[[], Tensor], before: Callable[[], object], lane: _Lane) -> Callable[[], Tensor]:
    """Capture ``run`` as a graph. Returns a function that queues the graph again and returns its one output tensor.

    ``before`` runs once, compiles kernels and allocates the libraries' workspaces, which a capture must not do.
    """
    graph, side = torch.cuda.CUDAGraph(), lane.side
    side.wait_stream(torch.cuda.current_stream())
    try:
        # This context always leaves the side stream. The graph's own context stays on it when a capture fails.
        with torch.cuda.stream(side):
            before()
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
