"""The encoder on one batch, from token ids to class scores: all neurons, and layers 3–11 cut to 61."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contest import Missing, Work
from encoders import agree, eager, operations
from rivals.compiled import compiled
from rivals.exported import export, onnx_runtime, openvino
from rivals.original import forward
from rivals.quantized import nncf_int8
from shapes import PROMPT_LENGTH, pruned_roberta_base, roberta_base

from skn.inference.batches import Encoded, collate
from skn.inference.calls import scored_hidden

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
    ours, plain = _ours(model, ids), eager(model, ids)
    path = onnx(name)
    quantized = dtype == "bfloat16" and name == "pruned"
    contestants = {
        "skn": ours,
        **({"skn, bf16x3": _in_bf16x3(name, ids)} if dtype == "float32" else {}),
        "eager": plain,
        "torch.compile": compiled(plain),
        "ONNX Runtime": onnx_runtime(path, ids) if dtype == "float32" else Missing("no bfloat16 on its CPU provider"),
        "OpenVINO": openvino(path, ids, PRECISION[dtype]),
        **({"OpenVINO, NNCF int8": openvino(nncf_int8(path, [ids]), ids, "bf16")} if quantized else {}),
        "original, dense, float32": original,
    }
    exact = {rival: call for rival, call in contestants.items() if "original" not in rival and "int8" not in rival}
    agree(exact, plain, lambda _: TOLERANCE[dtype])
    contest(
        f"encoder {name} {dtype}",
        contestants,
        f"roberta-base's shape, {name}, {dtype}, {BATCH} × {LENGTH} tokens (prompt {PROMPT_LENGTH}), class scores",
        Work(operations=operations(model, BATCH, LENGTH), dtype=dtype),
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


def _original(ids) -> Callable[[], object]:
    model = roberta_base()
    label = torch.zeros(BATCH, dtype=torch.int64)
    batch = collate(Encoded(ids.tolist(), None, label, 0), list(range(BATCH)))
    return lambda: forward(model, batch, [])
