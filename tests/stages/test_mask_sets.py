"""mask --run with a neuron set of a searchlight, binary and scaled."""

from __future__ import annotations

import json

import torch
from filled_sweep import TASKS
from masked_sweeps import right, skn

from skn.neurons import mask as neurons_mask
from skn.neurons.masking import Mask
from skn.neurons.selection import random_factors, random_like
from skn.runs.sweep import Cell, Sweep
from skn.seeds import generator
from skn.store import artifacts


def test_a_set_on_one_run(own_sweep, refused, monkeypatch):
    folder = own_sweep / "sweep/emotion/joy/seed-1"
    command = ["mask", "--run", folder, "--controls", 2, "--neurons"]
    skn(*command, "sets/valence-top20.safetensors", "--match", "overall")
    table = json.loads((folder / "mask-zero.json").read_text())
    assert table["rows"][0]["neurons"] == 20 and table["match"] == "overall" and table["alpha"] is None
    refused([*command, "scaled/valence-top20.safetensors", "--kind", "scale", "--alpha", 0.5],
            "--alpha 0.5: scaled/valence-top20.safetensors has a factor for each neuron")  # fmt: skip
    made = []
    monkeypatch.setattr(neurons_mask, "Mask", lambda *a, **k: made.append(Mask(*a, **k)) or made[-1])
    skn(*command, "scaled/valence-top20.safetensors", "--kind", "scale")
    table = json.loads((folder / "mask-scale.json").read_text())
    loaded = Sweep.open("sweep").run(Cell(TASKS[0], 1)).load()
    sets = artifacts.load(own_sweep / "scaled/valence-top20.safetensors", "neurons")
    assert table["rows"][0]["accuracy"] == right(loaded, "scale", sets["selected"], sets["factor"]).double().mean()
    assert table["alpha"] is None and torch.equal(made[-1].factor, sets["factor"])
    for draw, control in enumerate(made[:-1]):  # each with factors of its own
        key = generator(0, "control", 20, draw)
        drawn = random_like(sets["selected"], torch.ones_like(sets["selected"]), key)
        assert torch.equal(control.chosen, drawn) and torch.equal(control.factor, random_factors(drawn, key))
    assert draw == 1
