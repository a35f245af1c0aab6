"""A sweep with neuron sets, the same masked by all of them, and single masks to hold the files against."""

from __future__ import annotations

import shutil

import pytest
import torch
from filled_sweep import make_rsa, make_sweep, random_ranks

from skn.cli import run
from skn.inference.engine import predict
from skn.neurons.masking import Mask
from skn.seeds import generator
from skn.store import artifacts

NAMES = ["valence", "arousal"]
DRAWS = 3


def skn(*arguments):
    assert run([str(argument) for argument in arguments]) == 0


def mask(sweep, sets, *options):
    skn("mask", "--sweep", sweep, "--sets", sets, "--controls", DRAWS, *options)


@pytest.fixture(scope="session")
def sweep_with_sets(tiny, tmp_path_factory):
    """A folder with a sweep, binary and scaled sets; not to be spoiled."""
    folder = tmp_path_factory.mktemp("masked")
    make_sweep(folder / "sweep", tiny("roberta"))
    distance = torch.rand(2, 6, dtype=torch.float64, generator=generator(0))
    conditions = ["joy", "anger", "fear", "love"]
    rsa = make_rsa(folder / "rsa.safetensors", random_ranks(2, 3, 48), NAMES, conditions, distance)
    skn("select", "--rsa", rsa, "--top", "20,40", "--out", folder / "sets")
    skn("select", "--rsa", rsa, "--top", "20", "--kind", "scale", "--out", folder / "scaled")
    return folder


@pytest.fixture(scope="session")
def masked_sweep(sweep_with_sets, tmp_path_factory):
    """The same, masked by all binary sets."""
    folder = tmp_path_factory.mktemp("done") / "all"
    shutil.copytree(sweep_with_sets, folder)
    mask(folder / "sweep", folder / "sets")
    return folder


@pytest.fixture
def own_sweep(sweep_with_sets, tmp_path, monkeypatch):
    """A working folder of one's own: sweep, sets and scaled stand in it."""
    shutil.copytree(sweep_with_sets, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results(folder, task, seed, attribute, sets="sets"):
    return artifacts.load(folder / "sweep/masked" / sets / task / f"seed-{seed}/{attribute}.safetensors", "masked")


def right(loaded, kind, chosen, factor=None):
    encoded = loaded.encoded("test")
    mask = Mask(kind, chosen, factor=factor)
    return predict(loaded.model, encoded, engine=loaded.engine, mask=mask).argmax(dim=1) == encoded.label
