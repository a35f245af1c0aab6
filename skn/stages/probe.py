"""``skn probe``: thresholds on train, hits on the other splits, one pass over each."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from skn.console import listed, print_table, say
from skn.errors import InputError
from skn.inference.defaults import BATCH_TOKENS
from skn.inference.hf import MAX, MEAN, PROMPT
from skn.inference.measures import accuracy
from skn.neurons.probing import Hits, Moments, nan_neurons, probe_hits, probe_moments
from skn.neurons.selection import balanced_accuracy, default_contrasts, plain_accuracy, predictivity
from skn.runs.run import LoadedRun, Run, timed
from skn.store import artifacts
from skn.store.output import refuse_existing

log = logging.getLogger(__name__)

HELD_OUT = ("validation", "test")


def probe(
    run_path: Path,
    pool: list[str],
    batch_tokens: int = BATCH_TOKENS,
    device: str | None = None,
    dtype: str | None = None,
    engine: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Write ``moments``, ``hits`` and ``accuracy`` for the prompt positions and each pooling asked for."""
    run = Run.open(run_path)
    unknown = set(pool) - {MEAN, MAX}
    if unknown:
        raise InputError(f"--pool {','.join(sorted(unknown))}: expected mean, max or mean,max")
    readouts = [PROMPT, *pool]
    outputs = [run.file("moments", r) for r in readouts]
    if not resume:
        refuse_existing(outputs, overwrite, resume_option=True)
    loaded = run.load(device, dtype, engine, readouts)
    rows = []
    with timed(run_path, "probe"):
        moments = _moments(loaded, readouts, batch_tokens, reuse=resume)
        for split in HELD_OUT:
            rows += _hits(loaded, moments, split, batch_tokens, reuse=resume)
    _show(loaded, rows)


def _show(loaded: LoadedRun, rows: list[list[object]]) -> None:
    where = [loaded.provenance["dtype"], loaded.provenance["backend"], f"engine {loaded.engine}"]
    columns = ["split", "read-out", "model accuracy", "best neuron", "position", "predictivity", "near threshold"]
    formats = {"model accuracy": ".4f", "best neuron": listed, "predictivity": ".4f", "near threshold": _share}
    print_table(f"Probe of {loaded.run.path} ({', '.join(where)})", columns, rows, formats)
    if loaded.provenance["dtype"] == "float32":
        say("near threshold: activations within float error of it, which another engine or batch may count otherwise")


def _share(near_of_compared: list[int]) -> str:
    near, compared = near_of_compared
    return f"{near:,} of {compared:,}"


def _moments(loaded: LoadedRun, readouts: list[str], batch_tokens: int, reuse: bool) -> dict[str, Moments]:
    run = loaded.run
    files = {r: run.file("moments", r) for r in readouts}
    if reuse and all(file.is_file() for file in files.values()):
        stored = {r: artifacts.load(file, "moments", loaded.provenance) for r, file in files.items()}
        return {r: Moments(a["count"], a["total"], a["total_sq"]) for r, a in stored.items()}
    found, _ = probe_moments(
        loaded.model, loaded.encoded("train"), batch_tokens, readouts, "probe train", loaded.engine
    )
    present = loaded.model.backbone.present
    for readout, m in found.items():
        _name_nan(loaded, readout, m.total)
        tensors = {"count": m.count, "total": m.total, "total_sq": m.total_sq, "present": present}
        artifacts.save(files[readout], "moments", tensors, loaded.provenance, split="train", readout=readout)
    return found


def _hits(
    loaded: LoadedRun, moments: dict[str, Moments], split: str, batch_tokens: int, reuse: bool
) -> list[list[object]]:
    """Probe one split, write its artifacts, and return its rows of the table."""
    run = loaded.run
    files = {r: run.file("accuracy", r, split) for r in moments}
    if reuse and all(file.is_file() for file in files.values()):
        return [[split, r, "done before", None, None, None, None] for r in files]
    thresholds = {r: m.threshold() for r, m in moments.items()}
    encoded = loaded.encoded(split)
    found, logits = probe_hits(loaded.model, encoded, batch_tokens, thresholds, f"probe {split}", loaded.engine)
    present = loaded.model.backbone.present
    rows = []
    for readout, h in found.items():
        near = None if h.near is None else h.near.sum().item()
        meta = {"split": split, "readout": readout}
        tensors = {"count": h.count, "hits": h.hits, "threshold": h.threshold, "present": present}
        artifacts.save(run.file("hits", readout, split), "hits", tensors, loaded.provenance, near=near, **meta)
        table = _accuracy_tables(h, present)
        contrasts = [str(c) for c in _evaluable(h)]
        artifacts.save(files[readout], "accuracy", table, loaded.provenance, contrasts=contrasts, **meta)
        rows.append([split, readout, accuracy(logits, encoded.label), *_best(table), _near_of_compared(near, h)])
    return rows


def _evaluable(hits: Hits) -> list:
    """The default contrasts whose two sides both occur in the split."""
    contrasts = default_contrasts(hits.count.numel())
    return [c for c in contrasts if hits.count[list(c.positive)].sum() and hits.count[list(c.negative)].sum()]


def _accuracy_tables(hits: Hits, present: torch.Tensor) -> dict[str, torch.Tensor]:
    """accuracy and plain [K, L, P, F] and predictivity [K, L, F] for the default contrasts; NaN where absent."""
    gone = ~present[:, None, :]
    balanced = [balanced_accuracy(hits.hits, hits.count, c) for c in _evaluable(hits)]
    plain = [plain_accuracy(hits.hits, hits.count, c) for c in _evaluable(hits)]
    balanced = torch.stack(balanced).masked_fill(gone, torch.nan)
    return {
        "accuracy": balanced,
        "plain": torch.stack(plain).masked_fill(gone, torch.nan),
        "predictivity": torch.stack([predictivity(table) for table in balanced]),
    }


def _best(table: dict[str, torch.Tensor]) -> list[object]:
    """The best neuron, its best position and its predictivity, over all contrasts."""
    value = torch.maximum(table["accuracy"], 1 - table["accuracy"]).nan_to_num(-1.0)
    _, layer, position, neuron = torch.unravel_index(value.argmax(), value.shape)
    return [[layer.item(), neuron.item()], position.item(), value.max().item()]


def _near_of_compared(near: int | None, hits: Hits) -> list[int] | None:
    """How many of the activations that were compared lie near their threshold."""
    compared = hits.count.sum().item() * hits.threshold.isfinite().sum().item()
    return None if near is None else [near, compared]


def _name_nan(loaded: LoadedRun, readout: str, total: torch.Tensor) -> None:
    bad = nan_neurons(loaded.model.backbone, total)
    if bad:
        names = " ".join(f"{layer},{neuron}" for layer, neuron in bad[:20]) + (" …" if len(bad) > 20 else "")
        log.warning(
            "%s: the activation total of %d neurons is NaN; they count as never exceeding: %s", readout, len(bad), names
        )
