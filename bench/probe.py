"""What a probe costs over the forward passes it needs: skn's probe against the same passes without taps.

    python bench/probe.py [--data DATA] [--repeats 5]

Same model, batches and dtype; the contestants take turns. Without --data the built-in corpus is read; the claim of
docs/results.md is measured on SST-2. Writes bench/results/probe-<machine>.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from machine import ratio, write

from skn import corpus
from skn.backbone import Backbone, load_tokenizer
from skn.batches import encode
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

    def bare() -> None:
        for split in SPLITS:
            predict(model, encoded[split], options.batch_size)

    def probe() -> None:
        moments, _ = probe_moments(model, encoded["train"], options.batch_size, [PROMPT], "probe")
        thresholds = {PROMPT: moments[PROMPT].threshold()}
        for split in SPLITS[1:]:
            probe_hits(model, encoded[split], options.batch_size, thresholds, "probe")

    predict(model, encoded["validation"], options.batch_size)  # warm up
    seconds: dict[str, list[float]] = {"bare": [], "probe": []}
    for _ in range(options.repeats):
        for name, contestant in (("bare", bare), ("probe", probe)):
            start = time.perf_counter()
            contestant()
            seconds[name].append(time.perf_counter() - start)
    _report(options, seconds, {split: len(e) for split, e in encoded.items()})


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
    result = {
        "claim": "probe / bare forward",
        **ratio(seconds["probe"], seconds["bare"]),
        "seconds": {name: [round(s, 3) for s in values] for name, values in seconds.items()},
        "data": Path(options.data).name if options.data else "built-in corpus",
        "rows": rows,
        "batch_size": options.batch_size,
        "prompt_length": options.prompt_length,
        "dtype": "float32",
    }
    path = write("probe", result, "accumulate_moments")
    print(
        f"probe / bare forward: {result['ratio_median']} ({result['ratio_low']} – {result['ratio_high']}), wrote {path}"
    )


if __name__ == "__main__":
    main()
