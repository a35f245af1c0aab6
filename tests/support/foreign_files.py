"""Files as the original code bases write them, and how ``skn import`` converts them."""

import zipfile

import numpy as np
import pytest
import torch

from skn.stages.import_ import import_
from skn.store import artifacts

L, P, F, H = 3, 4, 6, 8


def generator(seed=0):
    return np.random.default_rng(seed)


def saved(path, content):
    """Save as the originals do, with ``torch.save``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def as_numpy_1(path, integers=False):
    """Rewrite a file as NumPy 1 writes it. Its pickles differ only in the module's name.

    ``integers``: as NumPy before 1.20, which stores the dtype's flags as integers.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in data and b"\x89\x88\x87" in data
                data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
                data = data.replace(b"\x89\x88\x87", b"K\x00K\x01\x87") if integers else data
            archive.writestr(name, data)
    return path


def imported(kind, *args, **options):
    return artifacts.load(import_(*args, **options), kind)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "imported.safetensors"


@pytest.fixture
def accuracy():
    return generator().random((L, P, F))


@pytest.fixture
def thresholds():
    return generator(1).normal(size=(L, P, F))
