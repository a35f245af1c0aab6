"""How far int8 answers as float32 does, on runs of real models: skn's int8 beside NNCF's for OpenVINO.

    python bench/int8_quality.py RUN [RUN ...] [--test] [--parts] [--write]

Both are calibrated on the same 320 texts of train. Answers are those on the validation split, with ``--test`` also those
on the test split. The error is that of the logits, each text's less their mean, over the root mean square of the exact
ones. ``--parts`` also puts each product of the encoder, and each layer, into int8 alone, for validation. ``--write`` keeps
the table in bench/results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import torch
from rivals.quantized import nncf_quantized
from torch import Tensor, nn

import skn
from skn.inference.batches import Encoded, batches_by_length, collate
from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import PromptedModel, predict
from skn.inference.loaded import LoadedRun
from skn.int8.convert import TEXTS, calibration_rows, compute_in_int8
from skn.pruned.onnx_export import write_onnx

FILE = Path(__file__).parent / "results" / "int8-quality.json"
COLUMNS = ("run", "split", "model", "texts", "labels as float32", "accuracy", "error of the logits")
PRODUCTS = ("q", "k", "v", "out", "attention norm", "up", "down", "output norm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--test", action="store_true", help="also the answers on the test split")
    parser.add_argument("--parts", action="store_true", help="also each product and each layer alone")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {FILE.name}")
    options = parser.parse_args()
    rows = []
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for run in options.runs:
        for row in measured(run, ["validation", "test"] if options.test else ["validation"], options.parts):
            *names, same, right, wrong = row
            print(f"| {' | '.join(map(str, names))} | {same:.2%} | {right:.4f} | {wrong:.4f} |", flush=True)
            rows.append(row)
    if options.write:
        FILE.write_text(json.dumps({"columns": COLUMNS, "calibration": TEXTS, "rows": rows}, indent=1) + "\n")


def measured(path: Path, splits: list[str], parts: bool) -> Iterator[tuple]:
    run = skn.open_run(path)
    texts = {split: run.encoded(split) for split in splits}
    exact = {split: predict(run.model, encoded) for split, encoded in texts.items()}

    def row(name: str, split: str, found: Tensor) -> tuple:
        same = (found.argmax(1) == exact[split].argmax(1)).double().mean().item()
        right = (found.argmax(1) == texts[split].label).double().mean().item()
        return path.name, split, name, len(found), same, right, error(found, exact[split])

    def rows(name: str, model: PromptedModel) -> Iterator[tuple]:
        yield from (row(name, split, predict(model, encoded)) for split, encoded in texts.items())

    yield from (row("float32", split, logits) for split, logits in exact.items())
    if run.provenance["method"] != "bitfit":  # its biases are float32
        yield from rows("bfloat16", skn.open_run(path, dtype="bfloat16").model)
    yield from (row("OpenVINO, NNCF int8", split, logits) for split, logits in nncf(run, texts).items())
    plain = products(run.model.backbone)
    compute_in_int8(run.model, run.encoded("train"), path.name)
    yield from rows("skn, int8", run.model)
    converted = products(run.model.backbone)
    for name, chosen in groups(plain) if parts else ():
        put(run.model.backbone, {place: (converted if place in chosen else plain)[place] for place in plain})
        yield row(f"skn, {name} alone in int8", "validation", predict(run.model, texts["validation"]))
    put(run.model.backbone, converted)
    run.model.backbone.model.to(torch.bfloat16)
    yield from rows("skn, int8, bfloat16 around", run.model)


def error(found: Tensor, exact: Tensor) -> float:
    found, exact = (logits - logits.mean(dim=1, keepdim=True) for logits in (found.double(), exact.double()))
    return ((found - exact).square().mean() / exact.square().mean()).sqrt().item()


def products(backbone) -> dict[tuple[int, int], nn.Module]:
    """The linear layers, by layer and by place in the family's parts."""
    layers = attrgetter(backbone.family.layers)(backbone.base)
    parts = [(index, part) for index in range(len(layers)) for part in (0, 1, 2, 3, 5, 6)]
    return {(index, part): attrgetter(backbone.family.encoder.parts[part])(layers[index]) for index, part in parts}


def put(backbone, modules: dict[tuple[int, int], nn.Module]) -> None:
    layers = attrgetter(backbone.family.layers)(backbone.base)
    for (index, part), module in modules.items():
        layers[index].set_submodule(backbone.family.encoder.parts[part], module)


def groups(places: dict[tuple[int, int], nn.Module]) -> Iterator[tuple[str, set]]:
    for part in sorted({part for _, part in places}):
        yield PRODUCTS[part], {place for place in places if place[1] == part}
    for index in sorted({index for index, _ in places}):
        yield f"layer {index}", {place for place in places if place[0] == index}


def nncf(run: LoadedRun, texts: dict[str, Encoded]) -> dict[str, Tensor]:
    """Logits by split of the run's model, exported, quantized by NNCF and run by OpenVINO with float32 around int8."""
    import openvino

    model, path = skn.export(run), Path(tempfile.mkdtemp()) / "model.onnx"
    write_onnx(model, texts["validation"], path)
    plain = openvino.Core().read_model(path)
    names = [name for port in plain.inputs for name in port.get_names()]
    train = run.encoded("train")
    samples = [feed(train, [row], names) for row in calibration_rows(train)]
    quantized = nncf_quantized(plain, samples)
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(quantized, "CPU", config).create_infer_request()
    logits = {split: torch.empty(len(encoded), model.config.num_labels) for split, encoded in texts.items()}
    for split, encoded in texts.items():
        for rows in batches_by_length(encoded, BATCH_TOKENS, model.prompt_length):
            logits[split][rows] = torch.from_numpy(request.infer(feed(encoded, rows, names))[0]).float()
    return logits


def feed(encoded: Encoded, rows: list[int], names: list[str]) -> dict:
    batch = collate(encoded, rows)
    return {name: getattr(batch, name).numpy() for name in names}


if __name__ == "__main__":
    main()
