"""Checks skn's kernels and its engine on the first CUDA device against float64; ``gpu_check.sh`` builds and calls this.

Inputs are generated. A check also fails where it does not reach the kernel that it is about.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import work
from lines import Lines


@dataclass(frozen=True)
class Given:
    """The device of a check. On a CPU, and under a sanitizer (``GPU_FEW=1``), which is slow, a check has few cases."""

    device: str
    lines: Lines

    @property
    def few(self) -> bool:
        return self.device == "cpu" or os.environ.get("GPU_FEW") == "1"


CHECKS = {
    "tau": "checks_statistics.tau",
    "encode": "checks_encoder.encode",
    "norm": "checks_encoder.residual_norm",
    "graphs": "checks_engine.graphs",
    "ffn": "checks_ffn.ffn",
    "resident": "checks_ffn.resident",
    "waits": "checks_engine.waits",
    "permutations": "checks_statistics.permutations",
    "statistics": "checks_statistics.statistics",
    "labels": "checks_statistics.labels",
    "pooling": "checks_statistics.pooling",
    "noise": "checks_statistics.noise",
    "fused": "checks_ffn.fused",
    "engine": "checks_engine.engine",
    "probe": "checks_engine.probe",
    "train": "checks_train.train",
    "decoders": "checks_engine.decoders",
}

PIECES = {name: work.later(where) for name, where in CHECKS.items()}

if __name__ == "__main__":
    sys.exit(work.main(__doc__.partition("\n")[0], PIECES, Given))
