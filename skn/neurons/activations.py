"""Read the activations of chosen neurons, of all neurons under the prompt alone, or of all neurons over a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skn.data.spec import SPLITS
from skn.data.splits import Examples
from skn.inference.batches import Batch, Encoded, tokenize
from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import choose_engine, predict
from skn.inference.hf import Tap
from skn.inference.loaded import LoadedRun
from skn.int8.convert import tell_of_activations
from skn.model.backbone import FfnSite
from skn.names import one_of
from skn.neurons.chosen import Neuron, chosen_neurons
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.selection import best_place
from skn.store import artifacts
from skn.store.foreign_files import stands
from skn.store.output import refuse_existing

Keep = Callable[[Tensor, FfnSite, Tensor], None]


@dataclass(frozen=True, repr=False)
class Activations:
    """Activations ``values`` float32 [example, L, P, F]. For chosen neurons, L is 1 and the last axis lists the
    neurons.

    ``label`` [example] int64 is each example's class. ``row`` [example] int64 is each example's row in the data. Both
    are None under the prompt alone. ``meta`` names the neurons, the position at which each neuron predicts best, and
    the split.
    """

    values: Tensor
    label: Tensor | None
    row: Tensor | None
    meta: dict[str, Any]

    def __repr__(self) -> str:
        return f"<activations {list(self.values.shape)} of {self.meta['split']}>"


def activate(
    run: LoadedRun,
    neurons: Sequence[Neuron] = (),
    *,
    best: int | None = None,
    split: str = "test",
    ranking: NeuronSets | None = None,
    batch_tokens: int = BATCH_TOKENS,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> Activations:
    """Read activations at the prompt positions; of a template, at the mask or, of a decoder, at the last token.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``.
        neurons: (layer, neuron) pairs, in the order of the last axis of the result. "best" stands for the best neuron of the ranking.
            Without ``neurons`` and ``best``, all neurons are read at the first position, under the prompt with an empty text (one
            example, P = 1).
        best: this many of the ranking's best neurons come first, before ``neurons``.
        split: "train", "validation" or "test".
        ranking: the ranking that ``best`` and "best" mean; by default the run's own.
        batch_tokens: the most tokens of a batch, prompt and padding included.
        out: a file that keeps the activations.

    Returns:
        The activations: ``values`` float32 [example, 1, P, neuron] of chosen neurons, in the order in which they were chosen, or
        [1, L, 1, F] of all neurons; ``label`` [example], the class of each example as its place in ``data.classes``.

    Raises:
        InputError: a neuron does not exist, or the file ``out`` exists already.

    Example::

        >>> skn.activate(run, ["best", (2, 7)], ranking=ranking).values.shape
        torch.Size([40, 1, 4, 2])
        >>> skn.activate(run, best=10, ranking=ranking).values.shape
        torch.Size([40, 1, 4, 10])
    """
    one_of(split, SPLITS, "--split")
    if out is not None:
        refuse_existing([Path(out)], overwrite, kind="activations")
    places = chosen_neurons(run, neurons, best, ranking)
    activations = _chosen(run, places, split, ranking, batch_tokens) if places else _empty_text(run)
    if out is not None:
        tensors = {"activations": activations.values, "label": activations.label, "row": activations.row}
        there = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        artifacts.save(Path(out), "activations", there, run.provenance, **activations.meta)
    return activations


def activate_all(run: LoadedRun, out: Path, split: str = "test", batch_tokens: int = BATCH_TOKENS) -> Path:
    """Stream all neurons at all prompt positions to disk: float32 [example, L, P, F]; returns ``out``."""
    backbone, encoded = run.model.backbone, run.encoded(split)
    shape = (len(encoded), len(backbone.ffn_sites), run.positions(run.main_readout), backbone.ffn_width)
    with artifacts.stream(out, "activations", "activations", shape, run.provenance, split=split) as array:

        def keep(rows: Tensor, site: FfnSite, act: Tensor) -> None:
            neurons = site.neurons.cpu().numpy()
            for row, values in zip(rows.tolist(), act.float().cpu().numpy(), strict=True):
                array[row, site.layer][:, neurons] = values

        _pass(run, encoded, batch_tokens, f"activate {split}", keep)
    return out


def _chosen(
    run: LoadedRun, chosen: Sequence[tuple[int, int]], split: str, ranking: NeuronSets | None, batch_tokens: int
) -> Activations:
    encoded = run.encoded(split)
    sites = {site.layer: site for site in run.model.backbone.ffn_sites}
    values = torch.empty(len(encoded), 1, run.positions(run.main_readout), len(chosen))
    columns = [(layer, (sites[layer].neurons == neuron).nonzero().item()) for layer, neuron in chosen]

    def keep(rows: Tensor, site: FfnSite, act: Tensor) -> None:
        for slot, (layer, column) in enumerate(columns):
            if layer == site.layer:
                values[rows, 0, :, slot] = act[:, :, column].float().cpu()

    _pass(run, encoded, batch_tokens, f"activate {split}", keep)
    positions = _best_positions(run, chosen, ranking)
    meta = {"neurons": [list(pair) for pair in chosen], "split": split, "classes": run.data.classes}
    meta |= {"position": positions[0], "positions": positions}
    return Activations(values, encoded.label, torch.tensor(run.data.rows[split]), meta)


def _empty_text(run: LoadedRun) -> Activations:
    """Read the prompt with the empty text (the tokenizer's special tokens alone), as the original's task "empty" does."""
    backbone = run.model.backbone
    nothing = tokenize(Examples([""], None, [0]), run.tokenizer, run.max_length, run.template)
    values = torch.zeros(1, len(backbone.ffn_sites), 1, backbone.ffn_width)

    def keep(_rows: Tensor, site: FfnSite, act: Tensor) -> None:
        values[0, site.layer, 0, site.neurons.cpu()] = act[0, 0].float().cpu()

    _pass(run, nothing, 1, "activate", keep)
    return Activations(values, None, None, {"split": "empty text"})


def _pass(run: LoadedRun, encoded: Encoded, batch_tokens: int, description: str, keep: Keep) -> None:
    """Call ``keep(rows, site, activation [B, P, width])`` for every batch and layer."""

    def add(site: FfnSite, _readout: str, act: Tensor, batch: Batch) -> None:
        keep(batch.rows.cpu(), site, act)

    tell_of_activations(run.model.backbone)
    tap, engine = Tap([run.main_readout], add), run.engine
    if engine == "fast":  # it may not return the activations of this read-out
        engine = choose_engine(run.model.backbone, readouts=tap.readouts)
    predict(run.model, encoded, batch_tokens, description=description, engine=engine, tap=tap)


def _best_positions(run: LoadedRun, neurons: Sequence[tuple[int, int]], ranking: NeuronSets | None) -> list[int]:
    """Return the prompt position at which each neuron predicts best on validation.

    The run's stored probe says the positions, or the probe that was ranked in memory. Before a probe, this is the
    position that the model scores.
    """
    file = None if run.path is None else run.file("accuracy", run.main_readout, "validation")
    if file is not None and stands(file):
        table = artifacts.load(file, "accuracy", run.provenance)
        table.fits(run.model.backbone.present.shape, "this backbone")
        return [best_place(table["accuracy"], *neuron)[2] for neuron in neurons]
    if ranking is not None and ranking.position is not None:
        whose, position = ranking.position
        if whose.get("tuned") == run.provenance["tuned"]:
            return [int(position[neuron]) for neuron in neurons]
    return [run.positions(run.main_readout) - 1 if run.model.backbone.causal else 0] * len(neurons)
