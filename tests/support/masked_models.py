"""The answers of a whole model under a mask, with which a model that has fewer neurons is compared."""

from __future__ import annotations

import torch
import transformers
from tiny_models import ENCODERS
from torch import Tensor

from skn.data.splits import Examples
from skn.inference.batches import tokenize
from skn.inference.engine import predict
from skn.inference.hf import hooks
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.tuned import TunedModel
from skn.neurons.masking import Mask

TEXTS = ["the film is funny", "although the plot is slow , the ending is wonderful and the cast is charming", "dull"]
CLASSES = ["bad", "good"]


def whole_model(folder, family: str) -> transformers.PreTrainedModel:
    """The model of a folder of :func:`tiny_models.tiny`, with its head if it has one."""
    if family == "bert-headless":
        return transformers.AutoModel.from_pretrained(folder).eval()
    auto = transformers.AutoModelForMaskedLM if family in ENCODERS else transformers.AutoModelForCausalLM
    return auto.from_pretrained(folder).eval()


def texts(config) -> dict[str, Tensor]:
    """Two texts, the shorter one padded on the right."""
    ids = torch.randint(10, config.vocab_size, (2, 11), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@torch.no_grad()
def answers(model, inputs: dict[str, Tensor] | None = None) -> Tensor:
    """The logits, or the last hidden states of a model without a head, at every token."""
    inputs = texts(model.config) if inputs is None else inputs
    return model(**inputs)[0][inputs["attention_mask"].bool()]


def masked_answers(model, mask: Mask) -> Tensor:
    """:func:`answers` while the neurons are masked."""

    def change(site, activation):
        factors = mask.factors(site, torch.arange(len(activation)))
        return None if factors is None else activation * factors[0] + factors[1][:, None]

    with hooks(Backbone(model), change):
        return answers(model)


def random_mean() -> Tensor:
    """A mean for every neuron of a tiny model, [L, F] float64."""
    return torch.randn(3, 48, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def keep_random(widths) -> Tensor:
    """[L, F] bool: so many neurons of each layer."""
    generator = torch.Generator().manual_seed(5)
    keep = torch.zeros(3, 48, dtype=torch.bool)
    for layer, width in enumerate(widths):
        keep[layer, torch.randperm(48, generator=generator)[:width]] = True
    return keep


def setup(tiny, family, method="prompt", dtype="float32"):
    """A model whose tuned tensors are random, its data, and a random mean for every neuron."""
    tokenizer, backbone = load_tokenizer(str(tiny(family))), Backbone.load(str(tiny(family)), dtype=dtype)
    model = TunedModel.fresh(backbone, [7, 200], tokenizer.mask_token_id, 4 if method == "prompt" else 1, method)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    mean = torch.randn(3, 48, generator=generator, dtype=torch.float64)
    return model.requires_grad_(False), tokenizer, tokenize(Examples(TEXTS, None, [0, 1, 0]), tokenizer, 50), mean


def mean_masked(model, encoded, keep, mean):
    return predict(model, encoded, 60, mask=Mask("mean", ~keep, mean))
