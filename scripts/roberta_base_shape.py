"""Probe, mask and prune a model of roberta-base's shape with random weights: seconds and peak memory of each stage.

    python scripts/roberta_base_shape.py TSV OUT      TSV: columns sentence, label

Every stage is a process of its own. Its peak resident memory is the system's count for that process. The accuracies
mean nothing here, because the weights are random. The times and sizes are real.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
import transformers

from skn.stages.demo import demo_backbone

STAGES = {
    "train (no epochs)": "train --backbone {model} --data {data} --text-column sentence --epochs 0 --out {run}",
    "probe": "probe --run {run}",
    "select": "select --run {run}",
    "mask zero 2%, one control": "mask --run {run} --fraction 0.02 --controls 1",
    "prune 3:12 to 61": "prune --run {run} --count 61 --layers 3:12",
    "evaluate full and pruned": "evaluate --run {run} --speed --repeats 1",
}


def build(folder: Path) -> None:
    """Write roberta-base's configuration with random weights. The tokenizer is MiniLM's, whose ids all fit."""
    torch.manual_seed(0)
    config = transformers.RobertaConfig(max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    transformers.RobertaForMaskedLM(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(demo_backbone(), trust_remote_code=False).save_pretrained(folder)


def measure(command: str) -> dict[str, float]:
    """Run ``skn command`` in a child; wall seconds and peak resident memory in MiB."""
    start = time.perf_counter()
    child = os.posix_spawnp("skn", ["skn", *command.split()], os.environ)
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"failed: skn {command}")
    return {"seconds": round(time.perf_counter() - start, 1), "peak_mib": round(usage.ru_maxrss / 1024)}


def main(data: str, out: Path) -> None:
    model, run = out / "model", out / "run"
    build(model)
    table = {name: measure(line.format(model=model, data=data, run=run)) for name, line in STAGES.items()}
    (out / "stages.json").write_text(json.dumps(table, indent=2) + "\n")
    for name, row in table.items():
        print(f"{name:28} {row['seconds']:8.1f} s {row['peak_mib']:8d} MiB")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
