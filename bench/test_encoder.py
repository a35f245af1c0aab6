"""The encoder on one batch, from token ids to class scores: all neurons, and layers 3–11 cut to 61."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from contest import Missing, Work
from rivals.compiled import compiled
from rivals.exported import export, onnx_runtime, openvino
from rivals.original import forward
from shapes import PROMPT_LENGTH, pruned_roberta_base, roberta_base

from skn.inference.batches import Encoded, collate
from skn.inference.fast import scored_hidden

BATCH, LENGTH = 32, 56
MODELS = {"dense": roberta_base, "pruned": pruned_roberta_base}
PRECISION = {"float32": "f32", "bfloat16": "bf16"}
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}
TARGETS = {
    ("pruned", "bfloat16"): {
        "OpenVINO": 1.45,
        "OpenVINO, NNCF int8": 1.2,
        "eager": 1.8,
        "original, dense, float32": 20,
    },
    ("dense", "bfloat16"): {"OpenVINO": 1.2},
    ("pruned", "float32"): {"eager": 1.1},
}


@pytest.fixture(scope="module")
def ids():
    return torch.randint(5, 50000, (BATCH, LENGTH - PROMPT_LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def onnx(ids):
    """Each model as an ONNX file, made once."""
    found = {}
    return lambda name: found[name] if name in found else found.setdefault(name, export(MODELS[name](), ids))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["dense", "pruned"])
def test_encoder(contest, ids, onnx, name, dtype):
    model = MODELS[name](getattr(torch, dtype))
    original = _original(ids)
    ours, eager = _ours(model, ids), _eager(model, ids)
    path = onnx(name)
    quantized = dtype == "bfloat16" and name == "pruned"
    contestants = {
        "skn": ours,
        **({"skn, bf16x3": _in_bf16x3(name, ids)} if dtype == "float32" else {}),
        "eager": eager,
        "torch.compile": compiled(eager),
        "ONNX Runtime": onnx_runtime(path, ids) if dtype == "float32" else Missing("no bfloat16 on its CPU provider"),
        "OpenVINO": openvino(path, ids, PRECISION[dtype]),
        **({"OpenVINO, NNCF int8": openvino(path, ids, "bf16", int8=True)} if quantized else {}),
        "original, dense, float32": original,
    }
    _agree(contestants, eager, TOLERANCE[dtype])
    contest(
        f"encoder {name} {dtype}",
        contestants,
        f"roberta-base's shape, {name}, {dtype}, {BATCH} × {LENGTH} tokens (prompt {PROMPT_LENGTH}), class scores",
        Work(operations=_operations(model), dtype=dtype),
        targets=TARGETS.get((name, dtype)),
        amx=True,
    )


def _ours(model, ids) -> Callable[[], torch.Tensor]:
    def call():
        batch = model.assemble(ids, torch.ones_like(ids), None)
        return model.backbone.word_scores(scored_hidden(model.backbone, batch), model.label_ids)

    return call


def _in_bf16x3(name, ids) -> Callable[[], torch.Tensor]:
    model = MODELS[name]()
    (model.backbone if name == "dense" else model).bf16x3 = True  # a pruned model makes its backbone at each call
    return _ours(model, ids)


def _eager(model, ids) -> Callable[[], torch.Tensor]:
    """Plain modules; the head scores only the label words at the scored position."""
    return lambda: model.backbone.scores(model.assemble(ids, torch.ones_like(ids), None), model.label_ids)


def _original(ids) -> Callable[[], object]:
    model = roberta_base()
    label = torch.zeros(BATCH, dtype=torch.int64)
    batch = collate(Encoded(ids.tolist(), None, label, 0), list(range(BATCH)))
    return lambda: forward(model, batch, [])


def _agree(contestants: dict, exact: Callable, tolerance: float) -> None:
    expected = exact().float().numpy()
    for name, contestant in contestants.items():
        if isinstance(contestant, Missing) or "original" in name or "int8" in name:
            continue
        error = np.abs(np.asarray(_array(contestant())) - expected).max() / np.abs(expected).max()
        assert error < tolerance, f"{name} is off by {error}"


def _array(found: object) -> np.ndarray:
    return found.float().numpy() if isinstance(found, torch.Tensor) else found


def _operations(model) -> float:
    """Count multiplications and additions of the packed encoder.

    After keys and values, the last layer has one row for each text.
    """
    hidden, rows = model.backbone.hidden_size, BATCH * LENGTH
    total = 0.0
    for site in model.backbone.ffn_sites:
        read = BATCH if site is model.backbone.ffn_sites[-1] else rows
        projections = 4 * rows * hidden * hidden + 4 * read * hidden * hidden
        total += projections + 4 * read * LENGTH * hidden + 4 * read * hidden * site.width
    return total
