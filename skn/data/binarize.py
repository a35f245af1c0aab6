"""Make balanced binary sub-tasks of a multi-class data set, each as a ``datasets`` folder."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from skn.data.spec import DataSpec
from skn.data.splits import SPLITS, Examples, LabelledData, read_data
from skn.errors import InputError
from skn.names import file_name
from skn.seeds import generator
from skn.store.folders import appearing, mark_filled, refuse_occupied, replaced
from skn.tables import Table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubTask:
    """Rows of the ``positive`` classes against rows of the ``negative`` classes. Rows of other classes are left out."""

    suffix: str
    positive: tuple[int, ...]
    negative: tuple[int, ...]


# The original defines these sub-tasks: the two poles against each other, and the neutral class against all others. Of
# four classes (conflict, negative, neutral, positive) the poles are 1 and 3.
POLES = {3: SubTask("pn", (2,), (0,)), 4: SubTask("pn", (3,), (1,))}
NEUTRAL = {3: SubTask("neu", (1,), (0, 2)), 4: SubTask("neu", (2,), (0, 1, 3))}


def binarize(spec: DataSpec, out: Path, one_vs_rest: bool = False, *, seed: int = 0, overwrite: bool = False) -> Table:
    """Write ``out/<name>-pn`` and ``out/<name>-neu``, or ``out/<name>-<class>`` for every class.

    If ``out`` is new, it appears with all folders at once. If ``out`` exists, it may hold other files; then skn writes
    all folders first, and puts them in place one by one. Returns the number of rows of each folder. Raises
    :class:`InputError`.
    """
    notes: list[tuple] = []
    data = read_data(spec, note=lambda *line: notes.append(line))
    tasks = _one_vs_rest(data.classes) if one_vs_rest else _poles_and_neutral(data.classes)
    folders = [out / _folder_name(spec.name, task.suffix) for task in tasks]
    for folder in folders:
        refuse_occupied(folder, "data set", overwrite)
    drawn = [{split: _balanced(data, split, task, seed) for split in SPLITS} for task in tasks]
    with _written_together(out, folders) as partial:
        for parts, folder in zip(drawn, partial, strict=True):
            _fill(parts, folder)
    for line in notes:
        log.info(*line)
    rows = [
        [str(folder), *(len(parts[split]) for split in SPLITS)] for parts, folder in zip(drawn, folders, strict=True)
    ]
    return Table("Binary sub-tasks (rows, half of each class)", ["folder", *SPLITS], rows)


def _folder_name(name: str, suffix: str) -> str:
    """The last hyphen stands between the two: "a" and "b-c" never have the folder of "a-b" and "c"."""
    return f"{name.replace('/', '-')}-{suffix.replace('-', '%2D')}"


@contextlib.contextmanager
def _written_together(out: Path, folders: list[Path]) -> Iterator[list[Path]]:
    """Yield folders to fill. They take the place of ``folders``, children of ``out``, when the block ends well."""
    with contextlib.ExitStack() as stack:
        if out.exists():
            yield [stack.enter_context(replaced(folder, "data set")) for folder in folders]
        else:
            staged = stack.enter_context(appearing(out))
            made = [staged / folder.name for folder in folders]
            yield made
            for folder in made:
                mark_filled(folder, "data set")


def _poles_and_neutral(classes: list[str]) -> list[SubTask]:
    if len(classes) not in POLES:
        raise InputError(f"{len(classes)} classes: -pn and -neu are defined for 3 and 4; use --one-vs-rest")
    return [POLES[len(classes)], NEUTRAL[len(classes)]]


def _one_vs_rest(classes: list[str]) -> list[SubTask]:
    everyone = range(len(classes))
    names = [file_name(name, "--one-vs-rest: class") for name in classes]
    return [SubTask(names[c], (c,), tuple(o for o in everyone if o != c)) for c in everyone]


def _balanced(data: LabelledData, split: str, task: SubTask, seed: int) -> Examples:
    """Draw as many rows of each side, without replacement. The rows keep the order of the data."""
    examples = data.split(split)
    sides = [[i for i, label in enumerate(examples.label) if label in side] for side in (task.negative, task.positive)]
    size = min(len(side) for side in sides)
    if size == 0:
        raise InputError(
            f"sub-task {task.suffix}: a side has no rows in the {split} split; give more rows of its classes"
        )
    drawn: dict[int, int] = {}
    for label, side in enumerate(sides):
        order = torch.randperm(len(side), generator=generator(seed, task.suffix, split, label))
        drawn |= {side[i]: label for i in order[:size].tolist()}
    rows = sorted(drawn)
    chosen = examples.take(rows)
    return Examples(chosen.text, chosen.pair, [drawn[i] for i in rows])


def _fill(parts: dict[str, Examples], folder: Path) -> None:
    import datasets

    columns = {
        split: {"text": part.text, **({} if part.pair is None else {"pair": part.pair}), "label": part.label}
        for split, part in parts.items()
    }
    dataset = datasets.DatasetDict({split: datasets.Dataset.from_dict(values) for split, values in columns.items()})
    datasets.disable_progress_bars()
    dataset.save_to_disk(str(folder))
