"""mask --sweep on planted neurons: each set harms its own emotion and no other."""

from __future__ import annotations

import json

import torch
from filled_sweep import (
    PLANTED_WORDS,
    PLANTS,
    UNITS,
    make_rsa,
    make_sweep,
    planted_backbone,
    planted_data,
    planted_ranks,
    random_ranks,
)
from masked_sweeps import skn


def test_planted_neurons_harm_their_emotion_and_no_other(tmp_path):
    """Attribute i ranks the neurons of emotion i first and sets emotion i apart; a fourth attribute ranks at random."""
    backbone = planted_backbone(tmp_path / "model")
    tasks = [f"emotion/{name}" for name in PLANTS]
    sweep = make_sweep(tmp_path / "sweep", backbone, tasks, (1, 2, 3), planted_data, words=PLANTED_WORDS)
    ranks = torch.cat([planted_ranks(), random_ranks(1, *planted_ranks().shape[1:], seed=9)])
    # Distances of the pairs (0,1), (0,2), (1,2): two are far from each emotion on its own attribute.
    distance = torch.tensor([[1.0, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 1]], dtype=torch.float64)
    rsa = make_rsa(
        tmp_path / "rsa.safetensors", ranks, [*(f"of-{name}" for name in PLANTS), "of-none"], PLANTS, distance
    )
    skn("select", "--rsa", rsa, "--top", UNITS, "--out", tmp_path / "sets")
    skn("mask", "--sweep", sweep.path, "--sets", tmp_path / "sets", "--match", "overall", "--controls", 10)
    document = json.loads((sweep.path / "masked/sets/specificity.json").read_text())
    rows = {row["attribute"]: row for row in document["rows"]}
    drops = {(row["attribute"], row["emotion"]): row["drop"] for row in document["by_emotion"]}
    for name in PLANTS:
        row = rows[f"of-{name}"]
        assert row["drop"]["mean"] > 0.1 and row["drop"]["q"] < 0.01 and row["drop"]["low"] > 0
        assert row["mcnemar"]["p"] < 1e-6 and row["mcnemar"]["b"] > 20 * row["mcnemar"]["c"]
        assert row["specificity"]["top_third"] == [name]
        assert row["specificity"]["mean"] > 0.3 and row["specificity"]["q"] < 0.01
        for other in PLANTS:
            drop = drops[f"of-{name}", other]
            assert drop > 0.35 if other == name else abs(drop) < 0.1, (name, other)
    assert abs(rows["of-none"]["drop"]["mean"]) < 0.1
