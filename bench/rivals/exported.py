"""ONNX Runtime and OpenVINO on the exported plain model, with static shapes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from contest import Missing
from torch import Tensor, nn

from rivals.quantized import nncf_quantized
from skn.inference.batches import Encoded, batches_by_length, collate
from skn.inference.compute import BATCH_TOKENS
from skn.model.backbone import Backbone
from skn.pruned.onnx_export import write_onnx


class Scores(nn.Module):
    """Class scores [B, C] of token ids [B, S] without padding."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.network = model.backbone.model  # registered here, because a tuned model does not register its backbone
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        backbone: Backbone = self.model.backbone
        batch = self.model.assemble(ids, torch.ones_like(ids), None)
        return backbone.scores(batch, self.model.label_ids).float()


AXES = ("batch", "sequence")


def export(model: nn.Module, ids: Tensor, free: bool = False) -> Path | Missing:
    """Return the model as an ONNX file for ids of this shape. With ``free``, the libraries set the shape later."""
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        return Missing("onnxscript is not installed")
    path = Path(tempfile.mkdtemp()) / "model.onnx"
    with torch.inference_mode(False), torch.no_grad():
        shapes = (dict(enumerate(AXES)),) if free else None
        module = Scores(model).eval()
        torch.onnx.export(module, (ids.clone(),), path, dynamic_shapes=shapes, dynamo=True, verbose=False)
    return path


def onnx_runtime(path: Path | Missing, ids: Tensor) -> Callable[[], np.ndarray] | Missing:
    if isinstance(path, Missing):
        return path
    try:
        import onnxruntime
    except ImportError:
        return Missing("onnxruntime is not installed")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    for axis, size in zip(AXES, ids.shape, strict=True):
        options.add_free_dimension_override_by_name(axis, size)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: ids.numpy()}
    return lambda: session.run(None, feed)[0]


def openvino(path: Path | Missing, ids: Tensor, precision: str) -> Callable[[], np.ndarray] | Missing:
    """``precision`` is f32 or bf16: of what the file does not quantize."""
    if isinstance(path, Missing):
        return path
    try:
        import openvino as ov
    except ImportError as error:
        return Missing(f"{error.name} is not installed")
    core = ov.Core()
    model = core.read_model(path)
    model.reshape(list(ids.shape))
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    request = core.compile_model(model, "CPU", config).create_infer_request()
    return lambda: request.infer([ids.numpy()])[0]


def openvino_classifier(
    model: nn.Module, example: Encoded, calibration: Encoded | None = None
) -> Callable[[Encoded], np.ndarray] | Missing:
    """Return the predicted classes of a pruned float32 model, in bfloat16, over batches sorted by length as skn sorts
    them.

    :param calibration: texts with which NNCF first quantizes what it can to int8.
    """
    try:
        import openvino as ov

        path = Path(tempfile.mkdtemp()) / "model.onnx"
        with torch.inference_mode(False), torch.no_grad():
            write_onnx(model, example, path)
    except ImportError as error:
        return Missing(f"{error.name} is not installed")
    config = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    core = ov.Core()
    exported = core.read_model(path)
    names = [name for port in exported.inputs for name in port.get_names()]
    if calibration is not None:
        batches = (collate(calibration, [row]) for row in range(len(calibration)))
        samples = [{name: getattr(batch, name).numpy() for name in names} for batch in batches]
        exported = nncf_quantized(exported, samples)
        if isinstance(exported, Missing):
            return exported
    request = core.compile_model(exported, "CPU", config).create_infer_request()

    def call(encoded: Encoded) -> np.ndarray:
        found = np.empty(len(encoded), dtype=np.int64)
        for rows in batches_by_length(encoded, BATCH_TOKENS, model.prompt_length):
            batch = collate(encoded, rows)
            logits = request.infer({name: getattr(batch, name).numpy() for name in names})[0]
            found[rows] = logits.argmax(axis=1)
        return found

    return call
