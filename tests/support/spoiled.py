"""A good run that a test may spoil, and the command lines of the stages that read the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
from options import replaced

from skn.cli import run as skn
from skn.store import artifacts, digests, documents

STAGES = {
    "probe": ["probe", "--overwrite"],
    "select": ["select", "--overwrite"],
    "mask": ["mask", "--fraction", "0.1"],
    "mean": ["mask", "--kind", "mean", "--fraction", "0.1"],
    "prune": ["prune", "--fraction", "0.5"],
    "evaluate": ["evaluate"],
    "activate": ["activate", "--neuron", "best"],
    "report": ["report"],
}


def on(stage: str, *options, run="run") -> list[str]:
    """Return the arguments of a stage of a run."""
    return replaced([*STAGES[stage], "--run", run], options)


@pytest.fixture(scope="session")
def runs(tiny, corpus_folder, tmp_path_factory):
    """``runs(family, prompt_length)`` is an untrained run, probed and selected."""
    made: dict[tuple, Path] = {}

    def build(family: str = "roberta", prompt_length: int = 4) -> Path:
        key = family, prompt_length
        if key not in made:
            out = tmp_path_factory.mktemp("runs") / f"{family}-{prompt_length}"
            train = ["train", "--backbone", tiny(family), "--data", corpus_folder, "--out", out, "--epochs", 0]
            assert skn([str(a) for a in (*train, "--prompt-length", prompt_length)]) == 0
            assert skn(["probe", "--run", str(out)]) == skn(["select", "--run", str(out)]) == 0
            made[key] = out
        return made[key]

    return build


@pytest.fixture
def run(runs, tmp_path) -> Path:
    """A copy of the good run that a test may spoil."""
    return Path(shutil.copytree(runs(), tmp_path / "run"))


def edit(path: Path, change) -> None:
    """Pass the content of a JSON document through ``change``, and give the document a new digest."""
    stored = json.loads(path.read_text())
    content = {name: value for name, value in stored.items() if name not in documents.OWN_KEYS}
    change(content)
    documents.write(path, stored["document"], content)


def rewrite(path: Path, change) -> None:
    """Pass the tensors of an artifact through ``change``, unchecked, and give the artifact a new digest."""
    edit_artifact(path, lambda description, tensors: change(tensors))


def redescribe(path: Path, change) -> None:
    """Pass the description of an artifact through ``change``, unchecked, and give the artifact a new digest."""
    edit_artifact(path, lambda description, tensors: change(description))


def edit_artifact(path: Path, change) -> None:
    """Pass description and tensors of an artifact through ``change``, unchecked, and give the artifact a new digest."""
    description, tensors = artifacts.read_safetensors(path)
    change(description, tensors)
    description.pop("digest", None)
    description["digest"] = digests.of_tensors(description, tensors)
    path.write_bytes(safetensors.torch.save(tensors, metadata={"skn": json.dumps(description)}))
