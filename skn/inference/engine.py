"""The inference pass that probe, activate, mask and evaluate share, and the one place that chooses the engine.

Rows of similar length form a batch, and results come back in the data set's order. One pass visits every batch of a
split. A caller that needs more than the logits passes a tap or a mask.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference import processes
from skn.inference.batches import Batch, Encoded, batches_by_length, collate
from skn.inference.compute import BATCH_TOKENS
from skn.inference.fast import fast_forward, refusal
from skn.inference.hf import Intervention, PromptedModel, Scores, Tap, plain_forward
from skn.inference.resample import Resample, resampled_forward
from skn.inference.resample_fast import resampled_fast_forward
from skn.model.backbone import Backbone
from skn.names import one_of
from skn.progress import track

FORWARDS = {"hf": plain_forward, "fast": fast_forward}
RESAMPLED = {"hf": resampled_forward, "fast": resampled_fast_forward}


def choose_engine(backbone: Backbone, wanted: str | None = None, readouts: list[str] | tuple[str, ...] = ()) -> str:
    """Return the user's engine, or "fast" if the backbone allows it, or "hf".

    Raises :class:`InputError` if the user wants "fast" and it is not possible, or "hf" for a backbone in bf16x3.
    """
    if wanted is not None:
        one_of(wanted, list(FORWARDS), "--engine")
    if wanted == "hf" and not backbone.bf16x3:
        return "hf"
    reason = refusal(backbone, readouts)
    if backbone.bf16x3 and (wanted == "hf" or reason is not None):
        raise InputError(f"--dtype bf16x3: {reason or 'the engine hf has no such products'}; use --dtype float32")
    if wanted == "fast" and reason is not None:
        raise InputError(f"--engine fast: {reason}; use --engine hf")
    return "fast" if reason is None else "hf"


@processes.together
@torch.inference_mode()
def predict(
    model: PromptedModel,
    encoded: Encoded,
    tokens: int = BATCH_TOKENS,
    description: str = "evaluate",
    engine: str | None = None,
    tap: Tap | None = None,
    mask: Intervention | Resample | None = None,
) -> Tensor:
    """Return class scores [N, C] float32 of a split, on the CPU, in the split's order.

    A batch has at most ``tokens`` tokens. Several processes share the batches, and each returns the scores of all.
    """
    batches = processes.share(batches_by_length(encoded, tokens, model.prompt_length))
    device = model.backbone.device

    def make(rows: list[int]) -> Batch:
        batch = collate(encoded, rows)
        if isinstance(mask, Resample):
            batch = replace(batch, donors=mask.donors(encoded, rows, tokens, model.prompt_length))
        return batch.to(device)

    made = map(make, track(batches, len(batches), description))
    logits = predict_batches(model, made, len(encoded), engine=engine, tap=tap, mask=mask)
    processes.add([logits])
    return logits


@torch.inference_mode()
def predict_batches(
    model: PromptedModel,
    batches: Iterable[Batch],
    rows: int,
    engine: str | None = None,
    tap: Tap | None = None,
    mask: Intervention | Resample | None = None,
) -> Tensor:
    """Like :func:`predict`, but from the batches of a split with ``rows`` rows.

    Callers can pass the same batches many times. A row that is in no batch has zeros.
    """
    backbone = model.backbone
    logits = torch.zeros(rows, model.label_ids.numel(), device=backbone.device)
    with _forward(model, engine, tap, mask) as forward:
        for batch in batches:
            at = batch.rows.to(backbone.device, non_blocking=True)
            logits[at] = forward(batch).float()
    return logits.cpu()  # only once, so that no batch waits for the device


def _forward(
    model: PromptedModel, engine: str | None, tap: Tap | None, mask: Intervention | Resample | None
) -> AbstractContextManager[Scores]:
    engine = engine or choose_engine(model.backbone, readouts=tap.readouts if tap else ())
    forwards = RESAMPLED if isinstance(mask, Resample) else FORWARDS
    return forwards[engine](model, tap, mask)
