"""The losses of several models in one forward, against each model's own forward."""

from __future__ import annotations

import pytest
import torch
from trainings import fresh, part

from skn.model.backbone import Backbone
from skn.training.losses import losses

LENGTHS = [[9, 7, 3], [4], [12, 12]]  # of the texts of each batch
CLASSES = [2, 3, 2]


@pytest.mark.parametrize("family", ["roberta", "bert", "bert-headless", "gpt2"])
def test_each_model_has_its_own_loss_and_gradient(tiny, family):
    """Texts of other lengths, other batch sizes, other classes; a prompt of NaN spoils no other model."""
    backbone = Backbone.load(str(tiny(family)))
    models = [fresh(backbone, seed, classes) for seed, classes in enumerate(CLASSES)]
    parts = [part(model, lengths, seed) for seed, (model, lengths) in enumerate(zip(models, LENGTHS, strict=True))]
    spoiled = part(fresh(backbone, 3), [15, 2])
    spoiled.model.prompt.data.fill_(float("nan"))
    *found, nan = losses([*parts, spoiled])
    torch.autograd.backward([*found, nan])
    assert nan.isnan() and spoiled.model.prompt.grad.isnan().any()
    for one, loss in zip(parts, found, strict=True):
        gradient, one.model.prompt.grad = one.model.prompt.grad, None
        own = one.model(one.input_ids, one.attention_mask, one.token_type_ids, one.labels)["loss"]
        own.backward()
        torch.testing.assert_close(loss, own, rtol=0, atol=1e-5)
        torch.testing.assert_close(gradient, one.model.prompt.grad, rtol=1e-4, atol=1e-6)
        assert gradient.abs().max() > 1e-5
