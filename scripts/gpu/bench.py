"""Times skn's kernels and its engine on the first CUDA device; ``gpu_check.sh`` builds and calls this.

Inputs are generated. Rows are named after the sizes they are for; a dry run has small ones, and says so in each row.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import work

if TYPE_CHECKING:
    from timing import Bench


def suite(rows: Callable[[Bench], None]) -> Callable[[Bench], None]:
    """A piece of work with several rows. It fails if one of its rows fails, after all rows were timed."""

    def piece(bench: Bench) -> None:
        bench.failed = []
        rows(bench)
        if bench.failed:
            raise RuntimeError(f"no times of {', '.join(bench.failed)}")

    return piece


SUITES = {
    "copy": "bench_kernels.copy",
    "tau": "bench_kernels.tau",
    "pruned": "bench_kernels.pruned",
    "masked": "bench_kernels.masked",
    "norm": "bench_kernels.norm",
    "gelu": "bench_kernels.gelu",
    "statistics": "bench_kernels.statistics",
    "fused": "bench_kernels.fused",
    "larger": "bench_kernels.larger",
    "encoder": "bench_encoder.encoder",
    "sst2": "bench_encoder.sst2",
    "original": "bench_encoder.original",
    "probe": "bench_encoder.probe",
    "baseline": "bench_encoder.baseline",
    "train": "bench_train.train",
    "compile": "bench_encoder.compiled",
    "compile-large": "bench_encoder.compiled_large",
}

PIECES = {name: suite(work.later(rows)) for name, rows in SUITES.items()}

if __name__ == "__main__":
    sys.exit(work.main(__doc__.partition("\n")[0], PIECES, work.later("timing.Bench")))
