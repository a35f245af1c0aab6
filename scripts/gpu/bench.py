"""Times skn's kernels and its engine on the first CUDA device; ``gpu_check.sh`` builds and calls this.

Inputs are generated. Rows are named after the sizes they are for; a dry run has small ones, and says so in each row.
"""

from __future__ import annotations

import sys

import bench_encoder
import bench_kernels
import work
from timing import Bench, suite

SUITES = {
    "copy": bench_kernels.copy,
    "tau": bench_kernels.tau,
    "pruned": bench_kernels.pruned,
    "masked": bench_kernels.masked,
    "statistics": bench_kernels.statistics,
    "fused": bench_kernels.fused,
    "larger": bench_kernels.larger,
    "encoder": bench_encoder.encoder,
    "original": bench_encoder.original,
    "probe": bench_encoder.probe,
    "baseline": bench_encoder.baseline,
    "compile": bench_encoder.compiled,
    "compile-large": bench_encoder.compiled_large,
}

if __name__ == "__main__":
    sys.exit(work.main(__doc__.partition("\n")[0], {name: suite(rows) for name, rows in SUITES.items()}, Bench))
