"""A sweep loads its backbone once: no training leaves anything of its own in it."""

from __future__ import annotations

import pytest

from skn.data.spec import DataSpec
from skn.model.backbone import Backbone
from skn.runs import tune
from skn.runs.prepare import TrainRequest
from skn.store import artifacts


@pytest.mark.parametrize("method", ["prompt", "bitfit", "adapter"])
def test_a_training_on_a_used_backbone_is_what_it_is_alone(method, tiny, corpus_folder, tmp_path):
    own = {"prompt_length": 4} if method == "prompt" else {"prompt_length": 1, "lr": 0.05}
    backbone = Backbone.load(tiny("roberta"), "cpu", "float32")
    for seed in (1, 2):
        request = TrainRequest(backbone=str(tiny("roberta")), data=DataSpec(data=str(corpus_folder)), seed=seed,
                               words=["negative", "positive"], method=method, epochs=1, batch_size=32, **own)  # fmt: skip
        folders = tmp_path / f"shared-{seed}", tmp_path / f"alone-{seed}"
        tune.start(request, folders[0], backbone=backbone)
        tune.start(request, folders[1])
        shared, alone = (artifacts.load(folder / "tuned.safetensors", "tuned").tensors for folder in folders)
        assert shared.keys() == alone.keys() and all(shared[name].equal(alone[name]) for name in alone)
