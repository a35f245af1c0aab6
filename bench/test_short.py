"""One text alone, and small batches, from token ids to class scores: what a service asks, and int8 beside bfloat16."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from contest import Contestant, Missing, Sample, Work
from encoders import agree, eager, operations
from rivals.compiled import compiled
from rivals.exported import export, onnx_runtime, openvino
from rivals.quantized import nncf_int8, onnx_int8, torch_int8
from shapes import LAYERS, PROMPT_LENGTH, in_int8, pruned_roberta_base

SHAPES = [(1, 8), (1, 16), (1, 32), (1, 64), (1, 128), (8, 32), (32, 32), (128, 32)]  # texts × tokens
ROWS = 512  # of the least work in one turn: a smaller batch is asked several times in a turn
CALIBRATION = (300, 32)


def random_ids(batch: int, length: int, seed: int) -> torch.Tensor:
    return torch.randint(5, 50000, (batch, length), generator=torch.Generator().manual_seed(seed))


class Rivals:
    """The models of other libraries, which serve all shapes: each is made when it is first asked for."""

    def __init__(self, name: str):
        self.plain = pruned_roberta_base(layers=LAYERS[name])
        self.onnx = export(self.plain, random_ids(2, 3, seed=0), free=True)
        count, length = CALIBRATION
        self.int8 = in_int8(self.plain)
        self.int8_prepacked = _prepacked(self.int8)
        self.nncf = nncf_int8(self.onnx, random_ids(count, length, seed=2).split(1))
        self.onnx_int8 = onnx_int8(self.onnx)
        self.torch_int8 = torch_int8(self.plain)


@pytest.fixture(scope="module", params=list(LAYERS))
def rivals(request):
    return request.param, Rivals(request.param)


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_short(contest, rivals, batch, length):
    name, others = rivals
    ids = random_ids(batch, length, seed=1)
    model = pruned_roberta_base(torch.bfloat16, LAYERS[name])
    plain = eager(model, ids)
    contestants = {
        "skn": _asked(model, ids),
        "skn, prepacked": _asked(_prepacked(model), ids),
        "skn, int8": _asked(others.int8, ids),
        "skn, int8, prepacked": _asked(others.int8_prepacked, ids),
        "eager": plain,
        "torch.compile": compiled(plain),
        "OpenVINO": openvino(others.onnx, ids, "bf16"),
        "ONNX Runtime, float32": onnx_runtime(others.onnx, ids),
        "OpenVINO, NNCF int8": openvino(others.nncf, ids, "bf16"),
        "ONNX Runtime, dynamic int8": onnx_runtime(others.onnx_int8, ids),
        "torch, dynamic int8": eager(others.torch_int8, ids),
    }
    agree(contestants, eager(others.plain, ids), lambda rival: 0.2 if "int8" in rival else 0.1)
    rows = batch * (PROMPT_LENGTH + length)
    contest(
        f"short {name} {batch} × {length}",
        {rival: _repeated(call, max(1, ROWS // rows)) for rival, call in contestants.items()},
        f"roberta-base's shape, {name}, bfloat16, {batch} × {length} tokens after a prompt of {PROMPT_LENGTH}",
        Work(operations=operations(model, batch, PROMPT_LENGTH + length), dtype="bfloat16"),
        amx=True,
    )


def _prepacked(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of the model, as a service prepares it: its calls look for no edits."""
    with torch.inference_mode(False):
        return copy.deepcopy(model).prepack()


def _asked(model: torch.nn.Module, ids: torch.Tensor) -> Callable[[], torch.Tensor]:
    """As users call a model of Hugging Face, with all checks that skn makes before each call."""
    mask = torch.ones_like(ids)
    return lambda: model(input_ids=ids, attention_mask=mask).logits


def _repeated(contestant: Contestant, times: int) -> Contestant:
    """Ask several times in a turn, and count the time of one."""
    if isinstance(contestant, Missing):
        return contestant

    def call() -> None:
        for _ in range(times):
            contestant()

    return Sample(call, 1 / times)
