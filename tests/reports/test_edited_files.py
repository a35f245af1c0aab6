"""Files of a run with a digest of their own whose structure is not skn's: read, or refused in a line that names a file."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filled_run
import pytest
import torch
from spoiled import edit, redescribe, rewrite

from skn.errors import InputError
from skn.neurons.ranking import rank
from skn.reports.read_run import collect
from skn.reports.run_page import SECTIONS
from skn.runs.run import Run

ABSENT = object()
OTHERS = (None, "x", -1, 1.5, [1], {"a": 1})  # a value of each type


def places(content: Any, at: tuple = ()) -> Iterator[tuple]:
    """Every place in a document, the first of each list."""
    keys = (
        list(content) if isinstance(content, dict) else range(min(1, len(content))) if isinstance(content, list) else ()
    )
    for key in keys:
        yield *at, key
        yield from places(content[key], (*at, key))


def changes(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The content without each of its keys, and with each value of another type."""
    for at in places(content):
        for other in (ABSENT, *OTHERS):
            new = copy.deepcopy(content)
            inner = new
            for key in at[:-1]:
                inner = inner[key]
            if other is ABSENT:
                del inner[at[-1]]
            else:
                inner[at[-1]] = other
            yield new


def tensor_changes(tensors: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    for name, tensor in tensors.items():
        others = [tensor[None], tensor.flatten(), tensor.to(torch.int32)]
        for axis, size in enumerate(tensor.shape):
            others += [tensor.narrow(axis, 0, size - 1), tensor.narrow(axis, 0, 0), torch.cat([tensor, tensor], axis)]
        yield {other: kept for other, kept in tensors.items() if other != name}
        yield from ({**tensors, name: other.contiguous()} for other in others)


def read(folder: Path) -> None:
    """What ``report`` and ``select`` read."""
    run = Run.open(folder)
    collect(run)
    rank(run.probe("test"), split="test")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    run = filled_run.fill(filled_run.make_run(tmp_path_factory.mktemp("filled") / "run"))
    return run.path


FILES = ("mask-zero.json", "evaluate-test.json", "prune.json", "run.json")
ARTIFACTS = ("tuned", "hits-test", "neurons", "accuracy-test", "activations-neuron-test")


def check(file: Path, content: bytes) -> str | None:
    """The refusal, which names a file of the run: of two that do not fit, either; the file is then as it was."""
    try:
        read(file.parent)
    except InputError as error:
        assert str(file.parent) in str(error) and "\n" not in str(error)
        return str(error)
    finally:
        file.write_bytes(content)
    return None


@pytest.mark.parametrize("name", FILES)
def test_a_document(run, name):
    file = run / name
    content, found = file.read_bytes(), []
    edit(file, lambda stored: found.extend(changes(stored)))
    refusals = []
    for new in found:
        edit(file, lambda stored, new=new: (stored.clear(), stored.update(new)))
        refusals.append(check(file, content))
    assert len([line for line in refusals if line]) > len(found) / 2


@pytest.mark.parametrize("name", ARTIFACTS)
def test_an_artifact(run, name):
    file = run / f"{name}.safetensors"
    content, found, tensors = file.read_bytes(), [], []
    redescribe(file, lambda description: found.extend(changes(description)))
    rewrite(file, lambda stored: tensors.extend(tensor_changes(stored)))
    refusals = []
    for new in found:
        redescribe(file, lambda description, new=new: (description.clear(), description.update(new)))
        refusals.append(check(file, content))
    for new in tensors:
        rewrite(file, lambda stored, new=new: (stored.clear(), stored.update(new)))
        refusals.append(check(file, content))
    assert len([line for line in refusals if line]) > len(refusals) / 3


def test_what_is_drawn_where_less_is_said(run):
    """Models without an interval beside guessing, or outside of their own; draws without where their mean lies."""
    evaluation, mask = run / "evaluate-test.json", run / "mask-zero.json"
    before = evaluation.read_bytes(), mask.read_bytes()
    edit(evaluation, lambda stored: (stored.update(majority=0.5), stored["models"][0].update(interval=[0.1, 0.2])))
    edit(mask, lambda stored: stored["rows"][1]["controls"]["accuracy"].pop("mean_low", None))
    data = collect(Run.open(run))
    assert all(section is None or section.title for section in (build(data) for build in SECTIONS))
    evaluation.write_bytes(before[0])
    mask.write_bytes(before[1])
