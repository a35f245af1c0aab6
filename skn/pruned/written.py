"""Write the folder of a pruned or exported model: weights, tokenizer, README.md and, on request, its own code and ONNX."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from skn.errors import InputError
from skn.inference.loaded import LoadedRun
from skn.pruned.card import card, origin_of
from skn.pruned.card_lm import lm_card
from skn.pruned.onnx_export import compare_onnx, require_packages, write_onnx
from skn.store import atomic, folders
from skn.tables import Table

ONNX = "model.onnx"


def check(out: Path | None, kind: str, overwrite: bool, onnx: bool, dtype: str) -> None:
    """Refuse, before a model is needed, a folder that is in the way, or settings that ONNX does not support."""
    if onnx:
        require_packages()
        if dtype != "float32":
            raise InputError(f"--onnx: writes float32, this run was trained in {dtype}; train with --dtype float32")
        if out is None:
            raise InputError("--onnx: the file needs a folder; give --out")
    if out is not None:
        folders.refuse_occupied(out, kind, overwrite)


def write_folder(
    folder: Path,
    kind: str,
    model: PreTrainedModel,
    run: LoadedRun,
    *,
    summary: dict[str, Any],
    story: str,
    accuracy: str,
    onnx: bool = False,
) -> None:
    """Write a folder of this kind that ``from_pretrained`` loads, all at once. A portable model brings its code.

    :param summary: stored in the folder's mark; the comparison of the ONNX file is added to it.
    :param story: for the README.md: how the model was made from which backbone; ``accuracy`` is the model's accuracy in
        words.
    """
    about = {"provenance": run.provenance, "origin": origin_of(run), **summary}
    with folders.replaced(folder, kind, about) as partial:
        if onnx:
            about["onnx"] = summary["onnx"] = _add_onnx(partial, model, run)
        model.save_pretrained(partial)
        tokenizer = copy.deepcopy(run.tokenizer)  # a copy, so that the run's tokenizer stays as it is
        tokenizer.model_max_length = run.max_length
        tokenizer.save_pretrained(partial)
        atomic.write_text(
            partial / "README.md", (card if run.template is None else lm_card)(folder.name, model, run, story, accuracy)
        )


def _add_onnx(folder: Path, model: PreTrainedModel, run: LoadedRun) -> dict[str, Any]:
    encoded = run.encoded("validation")
    write_onnx(model, encoded, folder / ONNX)
    return compare_onnx(folder / ONNX, model, encoded)


def onnx_table(found: dict[str, Any]) -> Table:
    """A table of the comparison of the ONNX file with the model."""
    columns = ["file", "batches compared", "largest difference of a logit"]
    row = [ONNX, found["batches"], found["largest_difference"]]
    return Table("ONNX against PyTorch", columns, [row], {columns[1]: _shapes, columns[2]: ".1e"})


def _shapes(batches: list[list[int]]) -> str:
    return ", ".join(f"{texts} × {tokens}" for texts, tokens in batches)
