"""int8 beside other libraries' int8 and beside bfloat16: the encoder on one batch, all neurons and layers 3–11 cut to 61."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from contest import Work
from encoders import agree, eager, operations
from rivals.exported import export, onnx_runtime, openvino
from rivals.quantized import nncf_int8, onnx_int8, torch_int8
from shapes import LAYERS, PROMPT_LENGTH, in_int8, pruned_roberta_base

from skn.inference.calls import scored_hidden

BATCH, LENGTH = 32, 56
TARGETS = {"OpenVINO, NNCF int8": 1.1, "skn, bfloat16": 1.5, "ONNX Runtime, dynamic int8": 3.0}


@pytest.mark.parametrize("name", LAYERS)
def test_encoder_in_int8(contest, name):
    ids = torch.randint(5, 50000, (BATCH, LENGTH - PROMPT_LENGTH), generator=torch.Generator().manual_seed(1))
    plain = pruned_roberta_base(layers=LAYERS[name])
    onnx, converted = export(plain, ids), in_int8(plain)
    contestants = {
        "skn, int8": _ours(converted, ids),
        "skn, int8, bfloat16 around": _ours(copy.deepcopy(converted).to(torch.bfloat16), ids),
        "skn, bfloat16": _ours(pruned_roberta_base(torch.bfloat16, LAYERS[name]), ids),
        "OpenVINO, NNCF int8": openvino(nncf_int8(onnx, [ids]), ids, "bf16"),
        "ONNX Runtime, dynamic int8": onnx_runtime(onnx_int8(onnx), ids),
        "torch, dynamic int8": eager(torch_int8(plain), ids),
    }
    agree(contestants, eager(plain, ids), lambda rival: 0.2 if "int8" in rival else 0.1)
    contest(
        f"encoder {name} int8",
        contestants,
        f"roberta-base's shape, {name}, int8, {BATCH} × {LENGTH} tokens (prompt {PROMPT_LENGTH}), class scores",
        Work(operations=operations(plain, BATCH, LENGTH), dtype="int8"),
        targets=TARGETS,
    )


def _ours(model: torch.nn.Module, ids: torch.Tensor) -> Callable[[], torch.Tensor]:
    def call() -> torch.Tensor:
        batch = model.assemble(ids, torch.ones_like(ids), None)
        return model.backbone.word_scores(scored_hidden(model.backbone, batch), model.label_ids)

    return call
