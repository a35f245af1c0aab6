"""Write a pruned model as an ONNX file, and compare the file with the model.

The graph holds the plain modules, the prompt and the label words. Its inputs are texts as the tokenizer gives them, its
outputs are class logits.
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
    """Raises :class:`InputError` if a package of the extra is missing."""
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"--onnx: {name} cannot be imported ({first_line(error)}); pip install {' '.join(PACKAGES)}"
            ) from error


def check_exportable(model: nn.Module, onnx: bool) -> None:
    """Refuse, before its prompt is tuned again, a model that has no ONNX form. Raises :class:`InputError`."""
    if onnx and model.backbone.family.encoder is None:
        raise InputError(
            f"--onnx: writes models of RoBERTa, BERT, ELECTRA and DistilBERT, not a {type(model).__name__}; leave it out"
        )


def write_onnx(model: nn.Module, encoded: Encoded, path: Path) -> None:
    """Write a ``Pruned…ForPromptClassification`` in eval mode as an ONNX file. Weights over 1.5 GB get a file beside
    it.

    Inputs [B, T] int64: ``input_ids``, ``attention_mask`` and, if tokenizer and model both have token types,
    ``token_type_ids``; B and T are free. Output: ``logits`` [B, C]. Raises :class:`SknError` if torch.onnx fails.

    :param encoded: a split, tokenized by the run's tokenizer.
    """
    from onnxscript.ir.passes.common import ClearMetadataAndDocStringPass

    names = ["input_ids", "attention_mask"]
    if encoded.token_type_ids is not None and getattr(model.config, "type_vocab_size", 1) > 1:
        names.append("token_type_ids")
    # torch would take an axis of length 1 for a constant, and two axes of one length for the same axis.
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
    # removes each node's Python stack, which holds paths of this machine
    ClearMetadataAndDocStringPass()(program.model)
    program.save(path)


def compare_onnx(path: Path, model: nn.Module, encoded: Encoded) -> dict[str, Any]:
    """Run the file in onnxruntime on the CPU, and compare its logits with those of the Hugging Face forward.

    Three batches are compared: the shortest text, the longest text, and up to 16 texts of all lengths, padded. Returns
    ``largest_difference`` and the ``batches``' shapes [B, T]. Raises :class:`SknError` if the file does not run or a
    logit differs by more than 1e-4.
    """
    rows = _rows_of_all_lengths(encoded)
    batches = [collate(encoded, chosen) for chosen in (rows[:1], rows[-1:], rows)]
    expected = torch.cat([_logits(model, batch) for batch in batches])
    largest = (_answers(path, batches) - expected).abs().max().item()
    if not largest <= TOLERANCE:  # NaN counts as a difference
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
    """Compute logits with the traced modules, not with ``encode``, so that only the export can make a difference."""
    prompted = model.assemble(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    return model.backbone.scores(prompted, model.label_ids)


def _answers(path: Path, batches: list[Batch]) -> Tensor:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_inputs()]
        feeds = [{name: getattr(batch, name).numpy() for name in names} for batch in batches]
        return torch.cat([torch.from_numpy(session.run(["logits"], feed)[0]) for feed in feeds])
    except Exception as error:  # onnxruntime's exceptions have no narrower base class
        raise SknError(
            f"--onnx: onnxruntime {onnxruntime.__version__} does not run {path.name} ({first_line(error)}); "
            f"{NOTHING_WRITTEN}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on axes and missing libraries. skn checks the file itself afterwards."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
