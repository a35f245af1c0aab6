"""``skn activate``: activations themselves, of chosen neurons, under the prompt alone, or of everything."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from skn.console import say
from skn.data.splits import Examples
from skn.errors import InputError
from skn.inference.batches import Batch, Encoded, encode
from skn.inference.defaults import BATCH_TOKENS
from skn.inference.engine import predict
from skn.inference.hf import PROMPT, Tap
from skn.model.backbone import FfnSite
from skn.neurons.neuron_sets import NeuronSets
from skn.runs.run import LoadedRun, Run, timed
from skn.store import artifacts
from skn.store.output import refuse_existing


def activate(
    run_path: Path,
    neurons: list[str],
    empty: bool = False,
    everything: bool = False,
    split: str = "test",
    batch_tokens: int = BATCH_TOKENS,
    device: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one ``activations`` file [example, L, P, F] float32.

    Chosen neurons stand along the last axis (L = 1) in the order asked for; ``empty`` reads the first prompt position
    under the prompt with an empty text (one example, P = 1); ``everything`` streams all neurons at all prompt
    positions to disk.
    """
    if bool(neurons) + empty + everything != 1:
        raise InputError("say what to read: --neuron LAYER,NEURON (repeatable, or 'best'), --empty or --all")
    run = Run.open(run_path)
    name = f"neuron-{split}" if neurons else "empty" if empty else f"all-{split}"
    out = run.file("activations", name)
    refuse_existing([out], overwrite)
    loaded = run.load(device, dtype)
    with timed(run_path, f"activate-{name}"):
        if empty:
            _empty_text(loaded, out)
        elif everything:
            _all(loaded, split, batch_tokens, out)
        else:
            _chosen(loaded, neurons, split, batch_tokens, out)
    say(f"wrote {out}")
    return out


def _chosen(loaded: LoadedRun, names: list[str], split: str, batch_tokens: int, out: Path) -> None:
    chosen = [_parse(loaded, name) for name in names]
    encoded = loaded.encoded(split)
    sites = {site.layer: site for site in loaded.model.backbone.ffn_sites}
    result = torch.empty(len(encoded), 1, loaded.model.prompt_length, len(chosen))
    columns = [(layer, (sites[layer].neurons == neuron).nonzero().item()) for layer, neuron in chosen]

    def keep(rows: Tensor, site: FfnSite, act: Tensor) -> None:
        for slot, (layer, column) in enumerate(columns):
            if layer == site.layer:
                result[rows, 0, :, slot] = act[:, :, column].float().cpu()

    _pass(loaded, encoded, batch_tokens, f"activate {split}", keep)
    tensors = {"activations": result, "label": encoded.label}
    meta = {"neurons": [list(pair) for pair in chosen], "split": split, "classes": loaded.data.classes}
    artifacts.save(out, "activations", tensors, loaded.provenance, position=_best_position(loaded, chosen[0]), **meta)


def _all(loaded: LoadedRun, split: str, batch_tokens: int, out: Path) -> None:
    backbone, encoded = loaded.model.backbone, loaded.encoded(split)
    shape = (len(encoded), len(backbone.ffn_sites), loaded.model.prompt_length, backbone.ffn_width)
    with artifacts.stream(out, "activations", "activations", shape, loaded.provenance, split=split) as array:

        def keep(rows: Tensor, site: FfnSite, act: Tensor) -> None:
            neurons = site.neurons.cpu().numpy()
            for row, values in zip(rows.tolist(), act.float().cpu().numpy(), strict=True):
                array[row, site.layer][:, neurons] = values

        _pass(loaded, encoded, batch_tokens, f"activate {split}", keep)


def _empty_text(loaded: LoadedRun, out: Path) -> None:
    """The prompt with the empty text, which is the tokenizer's special tokens, as in the original's task "empty"."""
    backbone = loaded.model.backbone
    nothing = encode(Examples([""], None, [0]), loaded.tokenizer, loaded.run.config.max_length)
    result = torch.zeros(1, len(backbone.ffn_sites), 1, backbone.ffn_width)

    def keep(rows: Tensor, site: FfnSite, act: Tensor) -> None:
        result[0, site.layer, 0, site.neurons.cpu()] = act[0, 0].float().cpu()

    _pass(loaded, nothing, 1, "activate", keep)
    artifacts.save(out, "activations", {"activations": result}, loaded.provenance, split="empty text")


def _pass(loaded: LoadedRun, encoded: Encoded, batch_tokens: int, description: str, keep) -> None:
    """Call ``keep(rows, site, activation [B, P, width])`` for every batch and layer."""

    def add(site: FfnSite, _readout: str, act: Tensor, batch: Batch) -> None:
        keep(batch.rows.cpu(), site, act)

    predict(loaded.model, encoded, batch_tokens, description, loaded.engine, Tap([PROMPT], add))


def _parse(loaded: LoadedRun, text: str) -> tuple[int, int]:
    present = loaded.model.backbone.present
    if text == "best":
        sets = NeuronSets.load(loaded.run.path / "neurons.safetensors", loaded.provenance, present)
        score = artifacts.load(sets.path, "neurons").get("score")
        if score is None:
            raise InputError(
                f"--neuron best: {sets.path} is a fixed set without scores; name LAYER,NEURON, or run 'skn select'"
            )
        score = score.nan_to_num(-1.0)
        layer, neuron = torch.unravel_index(score.argmax(), score.shape)
        return layer.item(), neuron.item()
    try:
        layer, neuron = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--neuron {text}: expected LAYER,NEURON such as 9,1893, or 'best'") from None
    layers, width = present.shape
    if not (0 <= layer < layers and 0 <= neuron < width):
        raise InputError(f"--neuron {text}: out of range; this backbone has layers 0:{layers} and neurons 0:{width}")
    if not present[layer, neuron]:
        raise InputError(f"--neuron {text}: was pruned away in this backbone")
    return layer, neuron


def _best_position(loaded: LoadedRun, neuron: tuple[int, int]) -> int:
    """The prompt position at which a neuron predicts best on validation; the scored one before a probe."""
    file = loaded.run.file("accuracy", "validation")
    if not file.is_file():
        return loaded.model.prompt_length - 1 if loaded.model.backbone.causal else 0
    accuracy = artifacts.load(file, "accuracy", loaded.provenance)["accuracy"][:, neuron[0], :, neuron[1]]
    return int(torch.maximum(accuracy, 1 - accuracy).amax(dim=0).argmax())
