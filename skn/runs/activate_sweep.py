"""Read every neuron's activation at the first prompt position, under the prompt of each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import skn
from skn.data.splits import Examples
from skn.errors import InputError
from skn.inference.batches import Encoded, collate, tokenize
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.engine import choose_engine
from skn.inference.hf import hooks
from skn.model.backbone import Backbone, FfnSite
from skn.model.pretrained import load_tokenizer
from skn.names import file_name, pick
from skn.progress import track
from skn.runs.sweep import Sweep
from skn.runs.tuned import build_tuned
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.digests import identity_of
from skn.store.folders import below, refuse_occupied, replaced
from skn.store.output import refuse_existing

# The original puts this token in place of a text. An encoder without this token reads its own first token instead.
DEFAULT_PROBE_TEXT = "<s>"


def activate_sweep(
    path: Path,
    emotions: list[str] | None = None,
    *,
    probe_text: str = DEFAULT_PROBE_TEXT,
    pre_activation: bool = False,
    csv: Path | None = None,
    compute: Compute = AS_TRAINED,
    overwrite: bool = False,
) -> Path:
    """Write ``SWEEP/activations.safetensors``: [seed, condition, L, F] float32, from every cell's prompt (Li et al.,
    2023).

    The text is one token or, if ``probe_text`` is empty, the tokenizer's special tokens alone. skn reads the first
    prompt position, the mask. ``pre_activation`` reads the input of the activation function instead of its output.
    ``csv`` is a folder for the same numbers in the original's layout. Raises :class:`InputError`.
    """
    if compute.dtype == "int8":
        raise InputError("--dtype int8: it is calibrated for one prompt, and each cell has its own; leave it out")
    sweep = Sweep.open(path)
    sweep = sweep.only(pick(emotions, sweep.conditions, "--emotions", f"{path}: emotions"))
    refuse_existing([sweep.activations_file], overwrite)
    if csv is not None:
        refuse_occupied(csv, "folder of csv files", overwrite, option="--csv")
    runs = sweep.finished_runs()
    first = next(iter(runs.values())).config
    (device, device_map), dtype = first.placed(compute), compute.dtype or first.dtype
    folder = next(iter(runs.values())).backbone_at(compute.backbone)
    backbone = Backbone.load(folder, device, dtype, device_map)
    choose_engine(backbone, "hf")  # refuses bf16x3, which the Hugging Face forward does not have
    text = _probe(load_tokenizer(folder), probe_text)
    for run in runs.values():
        run.refuse_other(backbone, folder)
    tuned = {cell: run.tuned() for cell, run in runs.items()}
    prompts = {str(cell): identity_of(artifact.tensors) for cell, artifact in tuned.items()}
    sites = backbone.ffn_sites
    activations = torch.zeros(len(sweep.seeds), len(sweep.tasks), len(sites), backbone.ffn_width)
    for cell, prompt in track(tuned.items(), len(tuned), "activate"):
        cell_activations = activations[sweep.seeds.index(cell.seed), sweep.tasks.index(cell.task)]
        _read(backbone, prompt, text, cell_activations, "up" if pre_activation else "activation")
    own = {"tasks": sweep.tasks, "seed": sweep.seeds, "dtype": dtype, "device": device, "prompts": prompts}
    shared = next(iter(tuned.values())).provenance
    artifacts.save(
        sweep.activations_file,
        "activations",
        {"activations": activations},
        {**{key: shared.get(key) for key in ("backbone", "backbone_digest", "prompt_length")}, **own,
         "skn_version": skn.__version__},
        axes={"activations": ("seed", "condition", "L", "F")},
        seeds=sweep.seeds,
        conditions=sweep.conditions,
        probe_text=probe_text,
        pre_activation=pre_activation,
    )  # fmt: skip
    if csv is not None:
        _write_csv(csv, activations.flatten(2).numpy(), sweep.seeds, sweep.conditions)
    return sweep.activations_file


def _probe(tokenizer: Any, text: str) -> Encoded:
    """Return one row: the single token, or the tokenizer's special tokens for an empty text."""
    if not text:
        return tokenize(Examples([""], None, [0]), tokenizer, tokenizer.model_max_length)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if text == DEFAULT_PROBE_TEXT and (len(ids) != 1 or ids[0] == tokenizer.unk_token_id):
        ids = [tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id]
    if len(ids) != 1:
        parts = ", ".join(repr(token) for token in tokenizer.convert_ids_to_tokens(ids))
        raise InputError(f"--probe-text {text}: {len(ids)} tokens ({parts}); give one, or '' for the empty text")
    types = [[0]] if "token_type_ids" in tokenizer.model_input_names else None
    return Encoded([ids], types, torch.zeros(1, dtype=torch.int64), 0)


@torch.inference_mode()
def _read(backbone: Backbone, tuned: Artifact, text: Encoded, cell_activations: Tensor, part: str) -> None:
    """Fill ``cell_activations`` [L, F] with the values of the first prompt position under one prompt.

    Pruned neurons stay zero.
    """
    model = build_tuned(backbone, tuned)
    batch = collate(text, [0]).to(model.backbone.device)
    prompted = model.assemble(batch.input_ids, batch.attention_mask, batch.token_type_ids)

    def keep(site: FfnSite, values: Tensor) -> None:
        cell_activations[site.layer, site.neurons.cpu()] = values[0, prompted.prompt.start].float().cpu()

    with hooks(model.backbone, keep, part):
        model.backbone.last_hidden(prompted)


def _write_csv(folder: Path, values: np.ndarray, seeds: list[int], conditions: list[str]) -> None:
    """Write EMOTION-SEED.csv, a header of numbers and one row of all neurons, and EMOTION-all.csv, the sum over the
    seeds.
    """
    header = ",".join(map(str, range(values.shape[2])))
    with replaced(folder, "folder of csv files") as partial:
        for c, condition in enumerate(conditions):
            rows = {str(seed): values[s, c] for s, seed in enumerate(seeds)} | {"all": values[:, c].sum(axis=0)}
            for name, row in rows.items():
                file = below(partial, f"{file_name(condition, 'emotion')}-{name}.csv")
                file.write_text(f"{header}\n{','.join(row.astype(str))}\n")
