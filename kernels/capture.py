"""CUDA graphs by shape: when a shape is captured, in which memory, and what happens when CUDA refuses.

:mod:`skn.kernels.graphs`, :mod:`skn.inference.graphed` and :mod:`skn.training.steps` say what their graphs compute. A
shape is captured when it comes for the second time, so a shape that comes only once costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

log = logging.getLogger(__name__)

G = TypeVar("G")
T = TypeVar("T")

# For the graphs of one owner: a model, a pass or a training. Each graph keeps its inputs and outputs; the graphs of one stream
# share the memory in between. Both limits are guesses, not measured.
MOST_GRAPHS = 32
MOST_BYTES = 2**30


def rounded(n: int, steps: int) -> int:
    """Return n, rounded up to one of ``steps`` sizes between one power of two and the next.

    ``steps`` is a power of two.
    """
    step = max(1, 2 ** (n - 1).bit_length() // (2 * steps))
    return -(-n // step) * step


def possible(inputs: torch.Tensor) -> bool:
    """Whether a graph can be captured or replayed where these inputs are: on CUDA, outside of another capture."""
    if not inputs.is_cuda:
        return False
    with torch.cuda.device_of(inputs):
        return not torch.cuda.is_current_stream_capturing()


@dataclass(frozen=True)
class Lane:
    """What graphs on one stream share, because they run one after the other.

    They share the memory between inputs and outputs, and the stream on which they are captured, to which the free
    blocks belong.
    """

    pool: tuple[int, int]
    side: torch.cuda.Stream


def new_lane() -> Lane:
    return Lane(torch.cuda.graph_pool_handle(), torch.cuda.Stream())


def current_stream() -> int:
    """Return a number for the current stream, for the keys of graphs."""
    return torch.cuda.current_stream().cuda_stream


@dataclass
class Graphs(Generic[G]):
    """The graphs of one owner: shapes that came once, captured graphs and the bytes that they keep, and shapes that CUDA
    refused to capture.
    """

    seen: set[Hashable] = field(default_factory=set)
    captured: dict[Hashable, G] = field(default_factory=dict)
    kept: int = 0
    refused: set[Hashable] = field(default_factory=set)
    lanes: dict[int, Lane] = field(default_factory=dict)

    def of(self, key: Hashable, stream: int, size: int, name: object, make: Callable[[Lane], G]) -> G | None:
        """Return the graph of a shape; None for a shape that has none.

        ``make`` captures the graph when the shape comes for the second time, if it may keep ``size`` bytes more. If
        CUDA refuses, the log says so once, with the shape's ``name``, and the shape is not tried again.
        """
        if self._wants(key, size):
            self._add(key, stream, size, name, make)
        self.seen.add(key)
        return self.captured.get(key)

    def _wants(self, key: Hashable, size: int) -> bool:
        new = key in self.seen and key not in self.captured and key not in self.refused
        return new and len(self.captured) < MOST_GRAPHS and self.kept + size <= MOST_BYTES

    def _add(self, key: Hashable, stream: int, size: int, name: object, make: Callable[[Lane], G]) -> None:
        if stream not in self.lanes:
            self.lanes[stream] = new_lane()
        try:
            self.captured[key] = make(self.lanes[stream])
        except RuntimeError as error:
            log.warning("no CUDA graph of %s: %s", name, error)
            self.refused.add(key)
            del self.lanes[stream]  # torch may still believe that a capture into this pool is running
        else:
            self.kept += size


def capture(run: Callable[[], T], lane: Lane, before: Callable[[], object] | None = None) -> Callable[[], T]:
    """Capture ``run`` as a graph. Returns a function that queues the graph again and returns the output of ``run``, whose
    tensors the next replay overwrites.

    ``before`` runs once, by default ``run`` itself: it compiles kernels and allocates the libraries' workspaces, which a
    capture must not do.
    """
    graph, side = torch.cuda.CUDAGraph(), lane.side
    side.wait_stream(torch.cuda.current_stream())
    try:
        # This context always leaves the side stream. The graph's own context stays on it when a capture fails.
        with torch.cuda.stream(side):
            (before or run)()
            with torch.cuda.graph(graph, pool=lane.pool, stream=side, capture_error_mode="thread_local"):
                output = run()
    finally:
        torch.cuda.current_stream().wait_stream(side)  # before other work takes the memory that the graph reads

    def replay() -> T:  # must not hold the owner's tensors, or they would never be freed
        graph.replay()
        return output

    return replay
