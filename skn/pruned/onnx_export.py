"""Pruned model → ONNX file, and the comparison of the file with the model.

The graph holds the plain modules, prompt and label words included: texts as the tokenizer gives them go in, class
logits come out.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from skn.errors import InputError, SknError
from skn.inference.batches import Batch, Encoded, collate
from skn.model.pretrained import first_line

PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # the extra "onnx" of pyproject.toml

TOLERANCE = 1e-4  # between logits, absolute, in float32
COMPARED_ROWS = 16

NOTHING_WRITTEN = f"nothing was written (update {', '.join(PACKAGES)}, or do without --onnx)"


def require_packages() -> None:
    """Raises :class:`InputError` where a package of the extra is missing."""
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"--onnx: {name} cannot be imported ({first_line(error)}); pip install {' '.join(PACKAGES)}"
            ) from error


def write_onnx(model: nn.Module, encoded: Encoded, path: Path) -> None:
    """Write a ``Pruned…ForPromptClassification`` in eval mode as an ONNX file; weights over 1.5 GB stand beside it.

    Inputs [B, T] int64: ``input_ids``, ``attention_mask`` and, where tokenizer and model both have types,
    ``token_type_ids``; B and T are free. Output: ``logits`` [B, C]. Raises :class:`SknError` where torch.onnx fails.

    :param encoded: a split as the run's tokenizer gives it.
    """
    from onnxscript.ir.passes.common import ClearMetadataAndDocStringPass

    names = ["input_ids", "attention_mask"]
    if encoded.token_type_ids is not None and model.config.type_vocab_size > 1:
        names.append("token_type_ids")
    # An axis of length 1 would be taken for a constant, two of one length for the same.
    texts = {name: torch.ones(2, 3, dtype=torch.int64) for name in names}
    axes = {name: {0: "batch", 1: "sequence"} for name in names}
    try:
        with _quiet():
            program = torch.onnx.export(
                model, kwargs=texts, dynamic_shapes=axes, output_names=["logits"], dynamo=True, verbose=False
            )
    except OnnxExporterError as error:
        raise SknError(
            f"--onnx: torch.onnx cannot export this model ({first_line(error)}); {NOTHING_WRITTEN}"
        ) from error
    ClearMetadataAndDocStringPass()(program.model)  # each node's Python stack, with the paths of this machine
    program.save(path)


def compare_onnx(path: Path, model: nn.Module, encoded: Encoded) -> dict[str, Any]:
    """Run the file in onnxruntime on the CPU and compare its logits with the Hugging Face forward's.

    Three batches: the shortest text, the longest, and up to 16 of all lengths, padded. Returns ``largest_difference``
    and the ``batches``' shapes [B, T]. Raises :class:`SknError` where the file does not run or a logit differs by
    more than 1e-4.
    """
    rows = _rows_of_all_lengths(encoded)
    batches = [collate(encoded, chosen) for chosen in (rows[:1], rows[-1:], rows)]
    expected = torch.cat([_logits(model, batch) for batch in batches])
    largest = (_answers(path, batches) - expected).abs().max().item()
    if not largest <= TOLERANCE:  # NaN is no agreement
        raise SknError(
            f"--onnx: {path.name} answers otherwise than the model: a logit differs by {largest:.1e}, allowed is "
            f"{TOLERANCE:.0e}; {NOTHING_WRITTEN}"
        )
    return {"largest_difference": largest, "batches": [list(batch.input_ids.shape) for batch in batches]}


def _rows_of_all_lengths(encoded: Encoded) -> list[int]:
    """Up to 16 rows, evenly spaced from the shortest text to the longest."""
    order = sorted(range(len(encoded)), key=lambda i: (len(encoded.input_ids[i]), i))
    count = min(COMPARED_ROWS, len(order))
    return [order[i * (len(order) - 1) // max(count - 1, 1)] for i in range(count)]


@torch.no_grad()
def _logits(model: nn.Module, batch: Batch) -> Tensor:
    """By the modules that were traced, not by ``encode``, so that the difference is the export's alone."""
    prompted = model.assemble(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    return model.backbone.scores(prompted, model.label_ids)


def _answers(path: Path, batches: list[Batch]) -> Tensor:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_inputs()]
        feeds = [{name: getattr(batch, name).numpy() for name in names} for batch in batches]
        return torch.cat([torch.from_numpy(session.run(["logits"], feed)[0]) for feed in feeds])
    except Exception as error:  # onnxruntime's own have no narrower base
        raise SknError(
            f"--onnx: onnxruntime {onnxruntime.__version__} does not run {path.name} ({first_line(error)}); "
            f"{NOTHING_WRITTEN}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on axes and absent libraries: whether the file is right is compared afterwards."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
