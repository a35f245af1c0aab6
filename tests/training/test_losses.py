"""The losses of several models in one forward, against each model's own forward."""

from __future__ import annotations

import pytest
import torch

from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel
from skn.training.losses import Part, losses

LENGTHS = [[9, 7, 3], [4], [12, 12]]  # of the texts of each batch
CLASSES = [2, 3, 2]


def part(backbone: Backbone, seed: int, lengths: list[int], classes: int) -> Part:
    """A model with its own prompt and label words, and a batch that is padded to its own longest text."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randperm(100, generator=generator)[:classes].add(50).tolist()
    model = TunedModel.fresh(backbone, words, None if backbone.causal else 4, 5, seed=seed)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 200, mask.shape, generator=generator) * mask
    return Part(model, ids, mask, torch.arange(len(lengths)) % classes, torch.zeros_like(ids))


@pytest.mark.parametrize("family", ["roberta", "bert", "bert-headless", "gpt2"])
def test_each_model_has_its_own_loss_and_gradient(tiny, family):
    """Texts of other lengths, other batch sizes, other classes; a prompt of NaN spoils no other model."""
    backbone = Backbone.load(str(tiny(family)))
    parts = [part(backbone, *given) for given in zip(range(3), LENGTHS, CLASSES, strict=True)]
    spoiled = part(backbone, 3, [15, 2], 2)
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
