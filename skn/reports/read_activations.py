"""Read stored activations for a run's report: histograms by class, and the texts on which a neuron is most active."""

from __future__ import annotations

import torch

from skn.data.spec import SPLITS
from skn.data.splits import Examples, LabelledData, load_splits
from skn.errors import InputError
from skn.names import one_of
from skn.neurons.extremes import extremes
from skn.reports.run_data import Histogram, NeuronTexts, TextOfNeuron
from skn.runs.run import Run
from skn.store.artifacts import Artifact

SHOWN = 10  # neurons of a file in the report
TEXTS = 5  # texts with the highest activation, and as many with the lowest


def read_activations(run: Run, identity: dict) -> list[Artifact]:
    """Load the stored activations of chosen neurons. Raises :class:`InputError` for activations of another run."""
    files = sorted(run.path.glob("activations-neuron-*.safetensors"))
    found = [run.own(file, "activations", identity) for file in files]
    for one in found:
        one.needs("neurons", "split", "position", "classes", "label")
        one_of(one.meta["split"], SPLITS, f"{one.path}: split")
    return found


def histograms_of(
    run: Run, activations: Artifact, hits: Artifact | None, best: list[tuple[int, int]]
) -> list[Histogram]:
    """Make a histogram of each of the first neurons of a file, at the position where the neuron predicts best."""
    classes = run.config.names_of(activations.meta["classes"])
    counted = hits is not None and hits.provenance.get("dtype") == activations.provenance.get("dtype")
    found = []
    for slot, ((layer, neuron), position) in enumerate(_places(activations)):
        _check_place(activations, (layer, neuron, position), hits)
        threshold = hits["threshold"][layer, position, neuron].item() if counted else float("nan")
        found.append(
            Histogram(
                split=activations.meta["split"],
                layer=layer,
                neuron=neuron,
                position=position,
                best=best[:1] == [(layer, neuron)],
                activation=activations["activations"][:, 0, position, slot].double().numpy(),
                label=activations["label"].numpy(),
                classes=classes,
                threshold=None if threshold != threshold else threshold,
            )
        )
    return found


def _places(activations: Artifact) -> list[tuple[tuple[int, int], int]]:
    """Return (layer, neuron) and position of the first neurons.

    Older files know only the position of the first neuron.
    """
    neurons = [(layer, neuron) for layer, neuron in activations.meta["neurons"]]
    positions = activations.meta.get("positions")
    if positions is None:
        return [(neurons[0], activations.meta["position"])]
    return list(zip(neurons, positions, strict=True))[:SHOWN]


def _check_place(activations: Artifact, place: tuple[int, int, int], hits: Artifact | None) -> None:
    """Refuse a neuron or a position that does not exist. Raises :class:`InputError`."""
    layers, width = hits.neurons if hits else (place[0] + 1, place[1] + 1)
    there = [layers, width, activations["activations"].shape[2]]
    if min(place) < 0 or any(one >= size for one, size in zip(place, there, strict=True)):
        at = f"layer {place[0]}, neuron {place[1]}, position {place[2]}"
        raise InputError(f"{activations.path}: of {at}, which this run has not; run 'skn activate --overwrite' again")


def data_of(run: Run, stored: list[Artifact], place: str | None) -> tuple[LabelledData | None, str | None]:
    """Load the run's data for the texts of the ``stored`` files. Without such files there is no need of data.

    If the data cannot be read, also say why. ``place`` is where the data is now, if it was moved. Raises
    :class:`InputError` if no data is at ``place``, or if the report would read no text from it.
    """
    if not stored:
        if place is not None:
            raise InputError(
                f"--data: the report reads data for the texts of stored neurons, and {run.path} has none; leave it out, or run "
                f"'skn activate --run {run.path} --best 10' first"
            )
        return None, None
    try:
        return load_splits(run.data_at(place), run.splits_file), None
    except InputError as error:
        if place is not None:  # the user says that the data is there
            raise
        return None, str(error)


def texts_of(run: Run, stored: list[Artifact], data: LabelledData) -> tuple[list[NeuronTexts], str | None]:
    """Return the texts beside the neurons of all files, or say which file does not belong to the data."""
    found = []
    for activations in stored:
        rows = activations.get("row")
        if rows is None:
            rows = torch.tensor(data.rows[activations.meta["split"]])
        there = (rows >= 0) & (rows < len(data.examples))
        if len(rows) != len(activations["label"]) or not there.all():
            return [], f"{activations.path} is not of these rows"
        classes = run.config.names_of(activations.meta["classes"])
        for slot, ((layer, neuron), position) in enumerate(_places(activations)):
            values = activations["activations"][:, 0, position, slot]
            ends = extremes(values, TEXTS)
            high, low = (
                [_shown(data.examples, int(rows[i]), classes, values[i].item()) for i in places]
                for places in (ends.highest, ends.lowest)
            )
            where = {"split": activations.meta["split"], "layer": layer, "neuron": neuron, "position": position}
            found.append(NeuronTexts(**where, highest=high, lowest=low))
    return found, None


def _shown(examples: Examples, row: int, classes: list[str], value: float) -> TextOfNeuron:
    pair = "" if examples.pair is None else f" ‖ {examples.pair[row]}"
    return TextOfNeuron(examples.text[row] + pair, classes[examples.label[row]], value)
