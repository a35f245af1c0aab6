"""A tiny RoBERTa in which only chosen FFN units carry the label.

One token of each text is "good" or "bad". Its embedding moves two hidden dimensions in opposite directions, so the mean
and variance of a LayerNorm say nothing about the class. Attention, uniform in layer 0, carries the two dimensions to
the prompt positions. Planted units read them and write two read-out dimensions, the only dimensions in which the label
words differ. No other weight touches these four dimensions.

A model may hold several such plants, each with its own words, dimensions and units. They share the read-out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import transformers

from skn.inference.batches import Encoded
from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel

HIDDEN, WIDTH, LAYERS = 32, 24, 3
PLANTED = {1: (2, 11), 2: (5, 17)}  # layer → units
SIGNAL, READOUT = (0, 1), (2, 3)
GOOD, BAD, WORD_BAD, WORD_GOOD, MASK = 5, 6, 7, 8, 4
FILLER = range(10, 60)


def chosen_units() -> torch.Tensor:
    """[L, F] bool: the planted units."""
    chosen = torch.zeros(LAYERS, WIDTH, dtype=torch.bool)
    for layer, units in PLANTED.items():
        chosen[layer, list(units)] = True
    return chosen


@dataclass(frozen=True)
class Plant:
    """Two words, the dimensions that tell them apart, and the units (layer → units) that read these dimensions."""

    good: int
    bad: int
    signal: tuple[int, int]
    units: dict[int, tuple[int, ...]]


@torch.no_grad()
def planted_model(prompt_length: int = 4) -> TunedModel:
    model = planted_encoder([Plant(GOOD, BAD, SIGNAL, PLANTED)])
    backbone = Backbone(model.requires_grad_(False), headless=True)
    tuned = TunedModel.fresh(backbone, [WORD_BAD, WORD_GOOD], MASK, prompt_length)
    tuned.prompt[:, [*SIGNAL, *READOUT]] = 0
    return tuned.requires_grad_(False)


@torch.no_grad()
def planted_encoder(plants: list[Plant]) -> transformers.RobertaModel:
    torch.manual_seed(0)
    config = transformers.RobertaConfig(
        vocab_size=64, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=2, intermediate_size=WIDTH,
        max_position_embeddings=40, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    model = transformers.RobertaModel(config, add_pooling_layer=False).eval()
    for name, parameter in model.named_parameters():
        if "LayerNorm" not in name:
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    signals = [dim for plant in plants for dim in plant.signal]
    special = [*signals, *READOUT]
    embeddings = model.embeddings
    for table in (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings):
        table.weight[:, special] = 0
    for plant in plants:
        for word, sign in ((plant.good, 1.0), (plant.bad, -1.0)):
            embeddings.word_embeddings.weight[word, plant.signal[0]] = 3 * sign
            embeddings.word_embeddings.weight[word, plant.signal[1]] = -3 * sign
    for word, sign in ((WORD_GOOD, 1.0), (WORD_BAD, -1.0)):
        embeddings.word_embeddings.weight[word] = 0
        embeddings.word_embeddings.weight[word, READOUT[0]] = sign
        embeddings.word_embeddings.weight[word, READOUT[1]] = -sign
    for index, layer in enumerate(model.encoder.layer):
        attention = layer.attention
        for linear in (attention.self.query, attention.self.key):
            linear.weight.zero_()
            linear.bias.zero_()
        for linear in (attention.self.value, attention.output.dense, layer.intermediate.dense, layer.output.dense):
            _keep_away(linear, special)
        if index == 0:
            for dim in signals:
                attention.self.value.weight[dim, dim] = 1
                attention.output.dense.weight[dim, dim] = 12
        for plant in plants:
            for unit in plant.units.get(index, ()):
                layer.intermediate.dense.weight[unit] = 0
                layer.intermediate.dense.weight[unit, list(plant.signal)] = torch.tensor([2.0, -2.0])
                layer.intermediate.dense.bias[unit] = 0
                layer.output.dense.weight[:, unit] = 0
                layer.output.dense.weight[list(READOUT), unit] = torch.tensor([1.0, -1.0])
        if index == 1:  # if the planted units are silent, the read-out says "bad"
            layer.output.dense.bias[list(READOUT)] = torch.tensor([-2.0, 2.0])
    return model


def _keep_away(linear: torch.nn.Linear, special: list[int]) -> None:
    """Let a layer neither read from nor write to the special dimensions."""
    if linear.in_features == HIDDEN:
        linear.weight[:, special] = 0
    if linear.out_features == HIDDEN:
        linear.weight[special] = 0
        linear.bias[special] = 0


def planted_split(rows: int, seed: int) -> Encoded:
    """Return texts of 6 to 10 filler tokens with one "good" or "bad" among them, half of each class."""
    generator = torch.Generator().manual_seed(seed)
    texts, labels = [], []
    for row in range(rows):
        length = int(torch.randint(6, 11, (1,), generator=generator))
        text = torch.randint(FILLER.start, FILLER.stop, (length,), generator=generator).tolist()
        label = row % 2
        text[int(torch.randint(length, (1,), generator=generator))] = GOOD if label else BAD
        texts.append(text)
        labels.append(label)
    return Encoded(texts, None, torch.tensor(labels), 0)
