"""int8 in other libraries: NNCF for OpenVINO, and the dynamic quantization of ONNX Runtime and of torch."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from contest import Missing
from torch import Tensor, nn


def nncf_int8(path: Path | Missing, calibration: Sequence[Tensor]) -> Path | Missing:
    """Quantize an ONNX file of :func:`rivals.exported.export` for OpenVINO: weights and activations.

    :param calibration: token ids [B, S], over which NNCF takes the ranges of the activations.
    """
    if isinstance(path, Missing):
        return path
    try:
        import openvino as ov
    except ImportError as error:
        return Missing(f"{error.name} is not installed")
    model = nncf_quantized(ov.Core().read_model(path), [ids.numpy() for ids in calibration])
    if isinstance(model, Missing):
        return model
    out = Path(tempfile.mkdtemp()) / "model.xml"
    ov.save_model(model, out, compress_to_fp16=False)
    return out


def nncf_quantized(model: Any, samples: Sequence) -> Any:
    """Quantize a model of OpenVINO: weights and activations. Return :class:`Missing` without NNCF."""
    try:
        import nncf
    except ImportError:
        return Missing("nncf is not installed")
    kind = nncf.ModelType.TRANSFORMER
    return nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples), model_type=kind)


def onnx_int8(path: Path | Missing) -> Path | Missing:
    """Quantize an ONNX file for ONNX Runtime: weights now, activations at each call."""
    if isinstance(path, Missing):
        return path
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        return Missing(f"{error.name} is not installed")
    out = Path(tempfile.mkdtemp()) / "model.onnx"
    quantize_dynamic(path, out, weight_type=QuantType.QInt8, per_channel=True)
    kinds = {node.op_type for node in onnx.load(out, load_external_data=False).graph.node}
    return out if "MatMulInteger" in kinds else Missing("quantize_dynamic left every product in float32")


def torch_int8(model: nn.Module) -> nn.Module:
    """Return a copy of a float32 model whose encoder has torch's dynamic quantization of linear layers."""
    with torch.inference_mode(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao moves to a package of its own
        quantized = copy.deepcopy(model)
        torch.ao.quantization.quantize_dynamic(quantized.base_model, {nn.Linear}, torch.qint8, inplace=True)
    return quantized
