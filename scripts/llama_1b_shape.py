"""Tune nothing over and probe a Llama of a billion random bfloat16 weights: the peak memory of each command.

    python scripts/llama_1b_shape.py [OUT.json]

The shape is that of Llama 3.2 1B. The texts are 200 short sentences of the built-in corpus: 100 train, 50 validation, 50
test. Every command is a process of its own, and its peak resident memory is the system's count for that process. The
model, 2.5 GB, is in a temporary folder that is deleted at the end. The accuracies mean nothing here.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from skn.data import corpus

ROWS = {"train": 100, "validation": 50, "test": 50}
BF16 = "--dtype bfloat16"
COMMANDS = {
    "train, no epochs, bfloat16": f"train --backbone {{model}} --data {{data}} --epochs 0 {BF16} --out {{run}}",
    "probe, bfloat16": "probe --run {run}",
    "probe, float32": "probe --run {run} --dtype float32 --overwrite",
    "probe, bfloat16, from float32 weights": "probe --run {run} --backbone {model32} --overwrite",
}
SHAPE = {
    "vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072, "rope_theta": 500000.0,
    "tie_word_embeddings": True,
}  # fmt: skip


def build(folder: Path) -> None:
    """Write the model in bfloat16, and a copy of the same values in float32. All ids of MiniLM's tokenizer fit."""
    import torch
    import transformers

    from skn.stages.demo import demo_backbone

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE))
    tokenizer = transformers.AutoTokenizer.from_pretrained(demo_backbone(), trust_remote_code=False)
    for name, dtype in (("model", torch.bfloat16), ("model32", torch.float32)):
        model.to(dtype).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def write_data(folder: Path) -> None:
    rows = iter(corpus.generate(seed=0, size=sum(ROWS.values())))
    folder.mkdir()
    for split, count in ROWS.items():
        lines = [f"{text}\t{label}" for text, label in (next(rows) for _ in range(count))]
        (folder / f"{split}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")


def peak_mib(command: str) -> int:
    """Run ``skn command`` in a child. Return its peak resident memory in MiB."""
    child = subprocess.Popen([sys.executable, "-m", "skn", *command.split()])
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"failed: skn {command}")
    return round(usage.ru_maxrss / 1024)


def main(out: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # a process of its own, because the system counts the peak of a parent for its children
        builder = multiprocessing.get_context("spawn").Process(target=build, args=(folder,))
        builder.start()
        builder.join()
        if builder.exitcode:
            sys.exit("the model could not be made")
        write_data(folder / "data")
        places = {name: folder / name for name in ("model", "model32", "data", "run")}
        table = {name: peak_mib(command.format(**places)) for name, command in COMMANDS.items()}
    for name, peak in table.items():
        print(f"{name:40} {peak:8d} MiB")
    if out is not None:
        out.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
