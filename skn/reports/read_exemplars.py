"""Read ``exemplars`` files for a run's report: the texts at the ends of neurons' ranges, token by token."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from skn.data.splits import Examples, LabelledData
from skn.errors import InputError
from skn.neurons import shading
from skn.neurons.excerpts import whole, window, within
from skn.neurons.exemplars import ENDS
from skn.reports.run_data import Exemplar, ExemplarsOfSplit, NeuronExemplars, Piece
from skn.runs.run import Run
from skn.store.artifacts import Artifact

LONGEST = 240  # the most characters of a text in the page, around its token


def read_exemplars(run: Run, identity: dict) -> list[Artifact]:
    """Load the stored exemplars. Raises :class:`InputError` for those of another run, and for tensors that do not fit."""
    found = [run.own(file, "exemplars", identity) for file in sorted(run.path.glob("exemplars-*.safetensors"))]
    for artifact in found:
        if not _fits(artifact):
            again = "make it again with 'skn activate --top K --overwrite'"
            raise InputError(f"{artifact.path}: its tokens do not fit its texts; {again}")
    return found


def _fits(artifact: Artifact) -> bool:
    """Whether there are two ends, and the token of every text that is shaded is one of the stored tokens."""
    shade, span, token = (artifact.get(name) for name in ("shade", "span", "token"))
    if len(token) != len(ENDS) or (shade is None) != (span is None):
        return False
    if shade is None:
        return True
    shown = artifact["row"][:, : shade.shape[1], : shade.shape[2]] >= 0
    first = token[:, : shade.shape[1], : shade.shape[2]]
    return span.shape[-1] == 3 and bool(((first >= 0) & (first < shade.shape[3]) | ~shown).all())


def exemplars_of(run: Run, stored: list[Artifact], data: LabelledData) -> tuple[list[ExemplarsOfSplit], str | None]:
    """Return the texts of the first neurons of each file, or say which file does not belong to the data."""
    found = []
    for artifact in stored:
        split = artifact.meta["split"]
        examples, row = data.split(split), artifact["row"]
        if not ((row >= -1) & (row < len(examples))).all():
            return [], f"{artifact.path} is not of these rows"
        neurons = [_of_neuron(artifact, slot, examples) for slot in range(min(len(row[0]), shading.NEURONS))]
        found.append(ExemplarsOfSplit(split, run.config.names_of(data.classes), examples.label, neurons))
    return found, None


def _of_neuron(artifact: Artifact, slot: int, examples: Examples) -> NeuronExemplars:
    ends = [list(_texts(artifact, end, slot, examples)) for end in range(len(ENDS))]
    return NeuronExemplars(artifact["layer"][slot].item(), artifact["neuron"][slot].item(), *ends)


def _texts(artifact: Artifact, end: int, slot: int, examples: Examples) -> Iterator[Exemplar]:
    columns = (artifact[name][end, slot].tolist() for name in ("activation", "row", "token"))
    shade, span = artifact.get("shade"), artifact.get("span")
    for place, (value, row, token) in enumerate(zip(*columns, strict=True)):
        if row < 0:
            return
        text, pieces = whole(examples, row), []
        if shade is not None and place < shade.shape[2] and slot < shade.shape[1]:
            pieces = _pieces(examples, row, token, shade[end, slot, place], span[end, slot, place])
        elif place < shading.TEXTS:
            pieces = [Piece(text[:LONGEST] + "…" * (len(text) > LONGEST))]
        yield Exemplar(value, row, token, text, pieces)


def _pieces(examples: Examples, row: int, token: int, shade: Tensor, span: Tensor) -> list[Piece]:
    """Cut a text into its tokens and what lies between them. Of a long text, only the characters around ``token``."""
    text, spans = whole(examples, row), span.tolist()
    start, end = window(len(text), *within(examples, row, spans[token]), LONGEST)
    pieces, at = [Piece("…" * (start > 0))], start
    for place, (value, one) in enumerate(zip(shade.tolist(), spans, strict=True)):
        if one[0] < 0:
            continue
        first, behind = within(examples, row, one)
        first, behind = max(first, at), min(behind, end)
        if first < behind:
            pieces += [Piece(text[at:first]), Piece(text[first:behind], value, place == token)]
            at = behind
        elif place == token:  # one of several tokens of the same characters
            pieces[-1] = Piece(pieces[-1].text, value, True)
    return [piece for piece in (*pieces, Piece(text[at:end] + "…" * (end < len(text)))) if piece.text]
