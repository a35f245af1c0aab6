"""``skn.exemplars``: the texts on which neurons are most and least active, in one pass that stores no activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from skn.data.spec import SPLITS
from skn.data.splits import Examples
from skn.errors import InputError
from skn.inference.batches import Batch
from skn.inference.compute import BATCH_TOKENS
from skn.inference.loaded import LoadedRun
from skn.model.backbone import Backbone, FfnSite
from skn.names import one_of
from skn.neurons import shading
from skn.neurons.chosen import Neuron, chosen_neurons
from skn.neurons.excerpts import excerpt
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.token_pass import TokenPass
from skn.neurons.top_texts import Ends
from skn.store import artifacts
from skn.store.foreign_files import stands
from skn.store.output import refuse_existing
from skn.tables import Table, listed

ENDS = ("highest", "lowest")


class End(NamedTuple):
    """One end of each neuron's range: ``values`` [n, k] float32, ``rows`` and ``tokens`` [n, k] int64."""

    values: Tensor
    rows: Tensor
    tokens: Tensor


@dataclass(frozen=True, repr=False)
class Exemplars:
    """The texts on which each of ``neurons``, (layer, neuron) pairs, is most and least active.

    ``highest`` and ``lowest`` begin with the most extreme text. Their ``rows`` are row numbers in ``examples``, the texts of
    ``split``; their ``tokens`` are places in the tokenized row, ``run.encoded(split).input_ids[row]``. A neuron with fewer
    than k texts has NaN, −1 and −1 behind them. ``shades`` are the activations at every token of the first texts of the
    first neurons; None if the tokenizer does not tell which characters a token stands for.
    """

    neurons: list[tuple[int, int]]
    highest: End
    lowest: End
    split: str
    examples: Examples
    shades: shading.Shades | None

    def table(self, neurons: int = 5) -> Table:
        """A table of the first ``neurons``: the first text of each end, shortened, with its token between » and «."""
        rows = []
        for slot, place in enumerate(self.neurons[:neurons]):
            for end, name in enumerate(ENDS):
                found = getattr(self, name)
                row, token = int(found.rows[slot, 0]), int(found.tokens[slot, 0])
                if row >= 0:
                    text = excerpt(self.examples, row, self._span(end, slot, token))
                    rows.append([place, name, found.values[slot, 0].item(), row, text])
        count = len(self.neurons)
        title = f"Texts at the ends of the range of {count:,} neuron{'s' * (count > 1)}, {self.split} split"
        return Table(title, ["layer,neuron", "end", "activation", "row", "text"], rows, _FORMATS)

    def _span(self, end: int, slot: int, token: int) -> list[int] | None:
        if self.shades is None or slot >= self.shades.span.shape[1]:
            return None
        return self.shades.span[end, slot, 0, token].tolist()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return str(self.table())


_FORMATS = {"layer,neuron": listed, "activation": ".4f"}


def exemplars(
    run: LoadedRun,
    neurons: Sequence[Neuron] | Neuron = (),
    *,
    best: int | None = None,
    top: int = 20,
    split: str = "test",
    ranking: NeuronSets | None = None,
    batch_tokens: int = BATCH_TOKENS,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> Exemplars:
    """Find the texts on which neurons are most and least active. A text's activation is the highest (of the lowest end: the
    lowest) over its own tokens, without those of the prompt, a template or the tokenizer.

    One pass with the Hugging Face forward stores no activations: its memory depends on the number of neurons and on ``top``,
    not on the number of texts. A short second pass reads the first texts of the first ten neurons token by token.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``.
        neurons: (layer, neuron) pairs. "best" stands for the best neuron of the ranking. Without ``neurons`` and ``best``, all
            neurons of ``ranking`` are read, the best first; without a ranking, all neurons of the model, the ten best of the run's
            stored ranking first.
        best: this many of the ranking's best neurons come first, before ``neurons``.
        top: k, the number of texts at each end; at most those of the split.
        split: "train", "validation" or "test".
        ranking: the ranking or the fixed set; by default ``best`` and "best" mean the run's own.
        batch_tokens: the most tokens of a batch, prompt and padding included.
        out: a file that keeps the result.

    Returns:
        The texts: ``highest`` and ``lowest``, each with ``values`` float32, ``rows`` int64 and ``tokens`` int64, [neurons, k].
        Of equal values, the lower row comes first. A NaN is no value, and a text without tokens of its own is left out.

    Raises:
        InputError: a neuron does not exist, ``top`` is no number of texts, or the file ``out`` exists already.

    Example::

        >>> found = skn.exemplars(run, [(2, 7), (0, 3)], top=5)
        >>> found.highest.values.shape, found.lowest.rows.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
        >>> row = found.highest.rows[0, 0]
        >>> run.data.split("test").text[row] in run.data.examples.text
        True
    """
    one_of(split, SPLITS, "--split")
    if not isinstance(top, int) or top < 1:
        raise InputError(f"--top {top}: a number of texts, 1 or more")
    if out is not None:
        refuse_existing([Path(out)], overwrite, kind="exemplars")
    chosen = list(dict.fromkeys(chosen_neurons(run, neurons, best, ranking) or _every(run, ranking)))
    texts = TokenPass.over(run, split, batch_tokens)
    found = _gathered(texts, chosen, min(top, len(texts.examples)), f"exemplars {split}")
    rows = found[1][:, : shading.NEURONS, : shading.TEXTS]
    result = Exemplars(
        neurons=chosen,
        highest=End(*(tensor[0] for tensor in found)),
        lowest=End(*(tensor[1] for tensor in found)),
        split=split,
        examples=texts.examples,
        shades=shading.shades_of(texts, chosen[: shading.NEURONS], rows),
    )
    if out is not None:
        _save(Path(out), result, run)
    return result


def _save(out: Path, result: Exemplars, run: LoadedRun) -> None:
    layer, neuron = (torch.tensor(part) for part in zip(*result.neurons, strict=True))
    high, low = result.highest, result.lowest
    names = ("activation", "row", "token")
    tensors = {name: torch.stack(pair) for name, *pair in zip(names, high, low, strict=True)}
    if result.shades is not None:
        tensors |= {"shade": result.shades.activation, "span": result.shades.span}
    origin = {**run.provenance, "engine": "hf"}
    artifacts.save(out, "exemplars", {"layer": layer, "neuron": neuron, **tensors}, origin, split=result.split)


def _gathered(
    texts: TokenPass, chosen: list[tuple[int, int]], k: int, description: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return values, rows and tokens [2, neurons, k] (:meth:`Ends.result`)."""
    backbone = texts.run.model.backbone
    layers = _by_layer(backbone, chosen)
    ends = {layer: Ends(len(slots), k, backbone.device) for layer, (slots, _) in layers.items()}

    def add(site: FfnSite, activation: Tensor, batch: Batch) -> None:
        if site.layer in ends:
            columns = layers[site.layer][1]
            own, rows = (tensor.to(activation.device) for tensor in (batch.own, batch.rows))
            ends[site.layer].add(activation if columns is None else activation[:, :, columns], own, rows)

    texts.read(add, description)
    parts = {layer: several.result() for layer, several in ends.items()}
    order = torch.tensor([slot for slots, _ in layers.values() for slot in slots]).argsort()
    return tuple(torch.cat([part[i].cpu() for part in parts.values()], dim=1)[:, order] for i in range(3))


def _by_layer(backbone: Backbone, chosen: list[tuple[int, int]]) -> dict[int, tuple[list[int], Tensor | None]]:
    """Return for each layer with chosen neurons their places in ``chosen``, and their columns; None for all columns in order."""
    layers = {}
    for site in backbone.ffn_sites:
        column = {neuron: i for i, neuron in enumerate(site.neurons.tolist())}
        slots = [slot for slot, (layer, _) in enumerate(chosen) if layer == site.layer]
        columns = [column[chosen[slot][1]] for slot in slots]
        if slots:
            whole = columns == list(range(site.width))
            layers[site.layer] = slots, None if whole else torch.tensor(columns, device=backbone.device)
    return layers


def _every(run: LoadedRun, ranking: NeuronSets | None) -> list[tuple[int, int]]:
    """Return all neurons of a ranking or fixed set. Without either, return all neurons of the model, with the best ones of
    the run's stored ranking first.
    """
    present = run.model.backbone.present
    if ranking is not None:
        sets = ranking.checked(run.provenance, present)
        if sets.selected is not None:
            found = _pairs(sets.selected)
        elif sets.score is not None:
            found = sets.best(present.numel())
        else:
            found = _pairs(sets.rank >= 0)
        if not found:
            raise InputError(f"{sets.name}: has no neuron that this backbone has; give another, or name LAYER,NEURON")
        return found
    first = []
    if run.path is not None and stands(file := run.file("neurons")):
        sets = NeuronSets.load(file, run.provenance, present)
        first = [] if sets.score is None else sets.best(shading.NEURONS)
    return [*first, *_pairs(present)]


def _pairs(table: Tensor) -> list[tuple[int, int]]:
    return [tuple(pair) for pair in table.nonzero().tolist()]
