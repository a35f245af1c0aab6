"""What a probe costs: on the Hugging Face forward and on the fast one, each beside the same passes without taps.

The yardstick is the padded bare forward: Hugging Face, batches in the data set's order as the original code forms them.

    python bench/probe.py [--data DATA] [--repeats 5]

Same model, batches and dtype; the contestants take turns. Without --data the built-in corpus is read; the claim of
docs/results.md is measured on SST-2. Writes bench/results/probe-<machine>.json.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import torch
from machine import ratio, take_turns, write

from skn import corpus
from skn.backbone import Backbone, load_tokenizer
from skn.batches import Encoded, collate, encode
from skn.data import DataSpec, Examples, LabelledData, load_data
from skn.engine import predict
from skn.forward import PROMPT
from skn.probing import probe_hits, probe_moments
from skn.stages.demo import demo_backbone
from skn.tuning import TunedModel

SPLITS = ("train", "validation", "test")


def main() -> None:
    options = _options()
    folder = str(demo_backbone())
    tokenizer, backbone = load_tokenizer(folder), Backbone.load(folder)
    model = TunedModel(backbone, [0, 1], tokenizer.mask_token_id, options.prompt_length).requires_grad_(False)
    data = load_data(_spec(options.data))
    encoded = {split: encode(_first(data, split, options.rows), tokenizer, 128) for split in SPLITS}

    size = options.batch_size

    def padded() -> None:
        for split in SPLITS:
            _in_order(model, encoded[split], size)

    def bare(engine: str) -> None:
        for split in SPLITS:
            predict(model, encoded[split], size, engine=engine)

    def probe(engine: str) -> None:
        moments, _ = probe_moments(model, encoded["train"], size, [PROMPT], "probe", engine)
        thresholds = {PROMPT: moments[PROMPT].threshold()}
        for split in SPLITS[1:]:
            probe_hits(model, encoded[split], size, thresholds, "probe", engine)

    contestants = {"padded bare hf": padded}
    for engine in ("hf", "fast"):
        contestants |= {f"bare {engine}": partial(bare, engine), f"probe {engine}": partial(probe, engine)}
    _report(options, take_turns(contestants, options.repeats), {split: len(e) for split, e in encoded.items()})


@torch.inference_mode()
def _in_order(model: TunedModel, encoded: Encoded, batch_size: int) -> None:
    for start in range(0, len(encoded), batch_size):
        batch = collate(encoded, list(range(start, min(start + batch_size, len(encoded)))))
        model(batch.input_ids, batch.attention_mask, batch.token_type_ids)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with train/validation/test.tsv, columns sentence and label")
    parser.add_argument("--rows", type=int, default=2000, help="rows of each split at the most")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--prompt-length", type=int, default=16)
    return parser.parse_args()


def _first(data: LabelledData, split: str, rows: int) -> Examples:
    return data.examples.take(data.rows[split][:rows])


def _spec(data: str | None) -> DataSpec:
    if data is None:
        folder = Path(tempfile.mkdtemp())
        corpus.write(folder)
        data = str(folder)
    return DataSpec(data=data, text_column="sentence")


def _report(options: argparse.Namespace, seconds: dict[str, list[float]], rows: dict[str, int]) -> None:
    claims = [
        ("probe hf", "bare hf"),
        ("probe fast", "bare fast"),
        ("probe fast", "padded bare hf"),
        ("bare fast", "bare hf"),
    ]
    result = {
        "ratios": {f"{a} / {b}": ratio(seconds[a], seconds[b]) for a, b in claims},
        "seconds": {name: [round(s, 3) for s in values] for name, values in seconds.items()},
        "data": Path(options.data).name if options.data else "built-in corpus",
        "rows": rows,
        "batch_size": options.batch_size,
        "prompt_length": options.prompt_length,
        "dtype": "float32",
    }
    path = write("probe", result, "encode")
    for claim, found in result["ratios"].items():
        print(f"{claim:28} {found['ratio_median']} ({found['ratio_low']} – {found['ratio_high']})")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
