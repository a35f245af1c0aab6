"""The same seed gives the same bytes, and the seed alone orders the rows."""

from __future__ import annotations

import json

import pytest
import torch
from trainings import stored

from skn.stages.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


def test_same_seed_same_bytes(request_for, tmp_path):
    runs = [train(request_for(seed=seed), tmp_path / f"run{i}") for i, seed in enumerate((1, 1, 2))]
    for name in ("tuned.safetensors", "splits.safetensors", "run.json"):
        first, second, other = ((run.path / name).read_bytes() for run in runs)
        assert first == second, name
        assert (first == other) == (name == "splits.safetensors"), name
    assert json.loads((runs[0].path / "run.json").read_text())["training"] == runs[0].training


def test_the_seed_orders_the_rows(request_for, tmp_path):
    """From the same start, another seed is another order."""
    start = train(request_for(epochs=0), tmp_path / "start")
    runs = [train(request_for(seed=s, init_from=str(start.path)), tmp_path / f"run{s}") for s in (1, 2)]
    assert not torch.equal(stored(runs[0])["prompt"], stored(runs[1])["prompt"])


def test_every_row_once_an_epoch(request_for, made_trainers, tmp_path):
    train(request_for(), tmp_path / "run")
    sampler = made_trainers[0].sampler
    orders = []
    for epoch in (0, 1, 0):
        sampler.epoch = epoch
        orders.append(list(sampler))
        assert sorted(row for batch in orders[-1] for row in batch) == list(range(160))
    assert orders[0] == orders[2] != orders[1]
