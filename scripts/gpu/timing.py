"""How a row of the benchmark is timed and written.

A kernel is timed as a CUDA graph of a loop over several sets of inputs, which together are larger than the L2 cache. A
call from Python would add 60 to 100 µs of its own, and a single set would come from the cache. A pass of a whole model
is timed with its launches, as in use: events around one pass, and around ten passes in a row.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch
from lines import Lines
from work import alive

REPLAY = 2.0  # the least ms of a replay, because the launch of a graph takes a few µs
REPEATS = 20
SECONDS = 1.5  # the time for one row's repeats


class Bench:
    """Rows, each written as soon as it is known. If a row fails, its error is written, and the next row follows."""

    def __init__(self, device: str, lines: Lines):
        self.device, self.lines, self.small = device, lines, device == "cpu"
        self.copied: float | None = None  # GB/s of a large copy
        self.failed: list[str] = []
        self.cache = 0 if self.small else torch.cuda.get_device_properties(0).L2_cache_size

    def size(self, full: int, small: int) -> int:
        return small if self.small else full

    def sets(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
        """Return random inputs: two sets, or as many as are together twice the cache, at most 64."""
        one = torch.randn(shape, device=self.device, dtype=dtype)
        count = 2 if self.small else min(64, max(2, math.ceil(2 * self.cache / one.nbytes)))
        return [one, *(torch.randn_like(one) for _ in range(count - 1))]

    def kernel(self, name: str, call: Callable[[int], object], sets: list, moved: int = 0, **more: object) -> dict:
        """Time a row of ``call(i)`` on each of the sets in turn.

        ``moved`` bytes give a bandwidth and its share of a copy's.
        """

        def timed() -> dict:
            entry = by_clock(call, len(sets)) if self.small else by_graph(call, len(sets))
            if moved:
                rate = moved / entry["median"] / 1000
                entry |= {"GB/s": round(rate, 1)} | ({"of copy": round(rate / self.copied, 3)} if self.copied else {})
            return entry | more

        return self._row(name, timed)

    def passes(
        self,
        name: str,
        call: Callable[[], object],
        in_a_row: int = 10,
        rates: Callable[[float], dict] | None = None,
        **more: object,
    ) -> None:
        """Time a pass of a model, alone and ``in_a_row``, where launches hide behind the pass before; 0 times it only
        alone. ``rates`` makes further values of the row from the µs of a pass, in a row if it was timed so.
        """

        def timed() -> dict:
            if self.small:
                entry = by_clock(lambda _: call(), 1)
                return entry | (rates(entry["median"]) if rates else {}) | more
            for _ in range(3):  # compiles kernels, and captures skn's own graphs
                call()
            entry = summary(repeated(lambda: 1000 * elapsed(call), SECONDS))
            if in_a_row:
                times = repeated(lambda: 1000 * elapsed(lambda: [call() for _ in range(in_a_row)]), SECONDS)
                entry["in a row"] = statistics.median(times) / in_a_row
            found = rates(entry.get("in a row", entry["median"])) if rates else {}
            return entry | {"by": "events around a pass"} | found | more

        self._row(name, timed)

    def _row(self, name: str, timed: Callable[[], dict]) -> dict:
        """Write a row and return it; empty for a row that failed."""
        try:
            entry = timed()
        except Exception as error:
            self.failed.append(name)
            self.lines.add(row=name, error=f"{type(error).__name__}: {error}"[:1000])
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
            if not alive(self.device):
                raise
            return {}
        if self.small:  # a test's sizes, whose figures must not pass for real ones
            entry["dry run"] = True
        self.lines.add(row=name, **entry)
        more = "  ".join(f"{key} {value}" for key, value in entry.items() if key not in ("median", "quartiles"))
        low, high = entry["quartiles"]
        print(f"{name:64} {entry['median']:11.1f} µs  [{low:.1f}, {high:.1f}]  {more}", flush=True)
        return entry


def by_graph(call: Callable[[int], object], sets: int) -> dict:
    """Return µs of a call, from replays of a graph of many calls.

    If CUDA refuses the capture, events time it, and the row says so.
    """
    before = torch.cuda.current_stream()
    side = torch.cuda.Stream()
    side.wait_stream(before)
    with torch.cuda.stream(side):  # compiles kernels and makes workspaces, which a capture must not do
        for i in range(sets):
            call(i)
    before.wait_stream(side)
    torch.cuda.synchronize()
    try:
        calls, graph = sets, captured(call, sets, 1)
        elapsed(graph.replay)
        rounds = min(200, math.ceil(REPLAY / elapsed(graph.replay)))
        if rounds > 1:
            del graph
            calls, graph = sets * rounds, captured(call, sets, rounds)
            elapsed(graph.replay)
    except RuntimeError as error:
        torch.cuda.set_stream(before)  # a failed capture can leave the thread on the capture's stream
        torch.cuda.synchronize()
        return by_events(call, sets) | {"why": str(error).partition("\n")[0][:300]}
    times = repeated(lambda: 1000 * elapsed(graph.replay) / calls, SECONDS)
    return summary(times) | {"by": f"graph of {calls} calls", "sets": sets}


def captured(call: Callable[[int], object], sets: int, rounds: int) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(rounds):
            for i in range(sets):
                call(i)
    return graph


def by_events(call: Callable[[int], object], sets: int) -> dict:
    """Return µs of a call with its launch from Python, which dominates for short kernels."""
    times = repeated(lambda: 1000 * elapsed(lambda: [call(i) for i in range(sets)]) / sets, SECONDS)
    return summary(times) | {"by": f"events around {sets} calls", "sets": sets}


def by_clock(call: Callable[[int], object], sets: int) -> dict:
    """Time on a CPU, for the dry run."""
    times = []
    for i in range(2 * sets):
        begin = time.perf_counter()
        call(i % sets)
        times.append(1e6 * (time.perf_counter() - begin))
    return summary(times) | {"by": "clock", "sets": sets}


def elapsed(call: Callable[[], object]) -> float:
    """Return ms on the device from before the call to the end of its queued work."""
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def repeated(measure: Callable[[], float], seconds: float) -> list[float]:
    """Measure three times, and up to ``REPEATS`` times while the time lasts."""
    times, begin = [], time.monotonic()
    while len(times) < 3 or (len(times) < REPEATS and time.monotonic() - begin < seconds):
        times.append(measure())
    return times


def summary(times: list[float]) -> dict:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": round(median, 3), "quartiles": [round(low, 3), round(high, 3)], "repeats": len(times)}
