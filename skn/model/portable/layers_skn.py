"""Parts of the models in ``modeling_skn.py``: texts without left padding, the prompt before them, word scores, narrow
layers.

Both files are copied into portable folders. This file imports only torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# An encoder without an LM head scores a word by the dot product with the word's embedding, scaled to length 1, times
# this number. MiniLM-like encoders end in a LayerNorm, so the dot product has a spread near 1. With 4, a softmax over
# the label words can be confident.
EMBEDDING_SCORE_SCALE = 4.0


# ---- texts and prompt ------------------------------------------------------------------------------------------


def tidied(
    text: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, room: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the texts without padding on the left, each with at most ``room`` tokens.

    A longer text keeps its first tokens and its last token, as a tokenizer cuts a single text between its special
    tokens.

    :param text: ids [B, T] or embeddings [B, T, H].
    :param attention_mask: [B, T], with ones at the tokens of a text, which are adjacent.
    """
    columns = text.shape[1]
    if torch.compiler.is_compiling():  # an exported graph gets right padding and lengths that fit
        return text, attention_mask, token_type_ids
    first, length = attention_mask.argmax(dim=1), attention_mask.sum(dim=1)
    if columns <= room and not text.is_cuda and not first.any():  # on a GPU, this check would wait for the device
        return text, attention_mask, token_type_ids
    column = torch.arange(min(columns, room), device=text.device)
    place = column + first[:, None]
    place[:, -1] = torch.where(length > room, first + length - 1, place[:, -1])
    place = place.clamp(max=columns - 1)
    mask = (column < length[:, None]).to(attention_mask.dtype)
    types = None if token_type_ids is None else token_type_ids.gather(1, place) * mask
    if text.is_floating_point():
        return text.gather(1, place[:, :, None].expand(-1, -1, text.shape[2])), mask, types
    return text.gather(1, place), mask, types


@dataclass(frozen=True)
class EncoderInputs:
    """``inputs_embeds`` [B, S, H]; ``attention_mask``, ``position_ids`` and ``token_type_ids`` [B, S] int64."""

    inputs_embeds: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    token_type_ids: Tensor | None


def behind_prompt(
    prompt: Tensor, text: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, position_start: int
) -> EncoderInputs:
    """Put the prompt [P, H] before each of the embedded texts [B, T, H], which are padded on the right."""
    rows = prompt.to(text.dtype).expand(text.shape[0], -1, -1)
    ones = attention_mask.new_ones(rows.shape[:2])
    columns = rows.shape[1] + text.shape[1]
    positions = torch.arange(position_start, position_start + columns, device=text.device)
    return EncoderInputs(
        inputs_embeds=torch.cat([rows, text], dim=1),
        attention_mask=torch.cat([ones, attention_mask], dim=1),
        position_ids=positions.expand(text.shape[0], -1),
        token_type_ids=None if token_type_ids is None else torch.cat([torch.zeros_like(ones), token_type_ids], dim=1),
    )


# ---- scores of words -------------------------------------------------------------------------------------------


def embedding_scores(hidden: Tensor, words: Tensor) -> Tensor:
    """Scores [.., C] of words with embeddings [C, H], for hidden states [.., H] of an encoder without an LM head."""
    return F.linear(hidden, F.normalize(words.float(), dim=-1).to(hidden.dtype)) * EMBEDDING_SCORE_SCALE


def decoder_scores(decoder: nn.Module, transformed: Tensor, token_ids: Tensor) -> Tensor:
    """Scores [B, C] of a few words by an LM head's decoder, without scores of the whole vocabulary.

    If the decoder is not a plain linear layer (a wrapper, say), its weight's rows may be no scores of words. Then the
    whole decoder runs.
    """
    hooked = decoder._forward_hooks or decoder._forward_pre_hooks or "forward" in vars(decoder)
    if type(decoder) is not nn.Linear or hooked:
        return decoder(transformed)[:, token_ids]
    bias = None if decoder.bias is None else decoder.bias[token_ids]
    return F.linear(transformed, decoder.weight[token_ids], bias)


def roberta_transform(head: nn.Module, hidden: Tensor) -> Tensor:
    """RoBERTa's LM head without its decoder."""
    return head.layer_norm(F.gelu(head.dense(hidden)))


# ---- products of bytes -----------------------------------------------------------------------------------------

SLICE = 512  # columns of a down-projection's rows that are rounded together


def int8_parts(packed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Take an ``int8_weight`` apart: multiples int8 [N, K], their scales [N], shift and factor of the columns [2, K], and
    whether the weight mixes the columns (:func:`mixed`), bool [].
    """

    def floats(part: Tensor) -> Tensor:  # a clone, because float32 cannot be read at every place of memory
        return part.clone(memory_format=torch.contiguous_format).view(torch.float32)

    return packed[:-8, :-4], floats(packed[:-8, -4:])[:, 0], floats(packed[-8:, :-4].T).T, packed[-8, -4] != 0


def mixed(rows: Tensor) -> Tensor:
    """Mix columns of rows [.., K] float32 orthogonally, so that a wide column widens the steps of all columns less.

    A block of 128 columns (behind the last such block: of 64, 32 and 16) is seen as [groups, 4, 4]. Hadamard's matrices mix
    the groups, and the fours. Up to 15 columns are left as they are. Mixed twice, rows are what they were.
    """
    parts, first = [], 0
    for groups in (8, 4, 2, 1):
        count = (rows.shape[-1] - first) // (16 * groups)
        block = rows[..., first : first + count * 16 * groups].unflatten(-1, (count, groups, 4, 4))
        block = _hadamard(_hadamard(block, -1), -3)
        parts.append(block.flatten(-4))
        first += count * 16 * groups
    return torch.cat([*parts, rows[..., first:]], dim=-1)


def _hadamard(x: Tensor, dim: int) -> Tensor:
    """Multiply by Hadamard's orthogonal matrix along a dimension of 1, 2, 4 or 8."""
    size = x.shape[dim]
    x = x.movedim(dim, -1)
    for half in [1 << bit for bit in range(size.bit_length() - 1)]:
        a, b = x.unflatten(-1, (-1, 2, half)).unbind(-2)
        x = torch.stack([a + b, a - b], dim=-2).flatten(-3)
    return x.movedim(-1, dim) * size**-0.5


class Int8Linear(nn.Linear):
    """A linear layer [.., K] to [.., N] that reads rows rounded to eight bits with a weight of eight bits.

    ``int8_weight`` int8 [N + 8, K + 4] holds whole multiples [N, K] of a scale for each output. The last four bytes of a
    row are its scale, in float32. The last eight bytes of a column are its shift and its factor: the weight reads a
    number x as (x - shift) · factor. The first byte of the corner is 1 if the weight then mixes the columns
    (:func:`mixed`). ``int8_bias`` [N] includes the share of the shifts. ``weight`` and ``bias``, of the
    plain layer, are kept or None; nothing reads them.

    :param sliced: a row is rounded in slices of :data:`SLICE` columns, as for a down-projection.
    :param plain: whether there are ``weight`` and ``bias``.
    """

    def __init__(self, inputs: int, outputs: int, sliced: bool, plain: bool):
        super().__init__(inputs, outputs)
        if not plain:
            self.weight = self.bias = None
        self.width = SLICE if sliced else inputs
        self.register_buffer("int8_weight", torch.zeros(outputs + 8, inputs + 4, dtype=torch.int8))
        self.register_buffer("int8_bias", torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Rows [.., K] to products [.., N], in the dtype of the rows. Raises ``ValueError`` if a gradient is needed."""
        if torch.is_grad_enabled() and x.requires_grad:
            raise ValueError("a model in int8 has no gradients; train the plain model, and convert it again")
        number, scale, (shift, factor), rotated = int8_parts(self.int8_weight)
        read, total = (x.float() - shift) * factor, self.int8_bias.float()
        read = torch.where(rotated, mixed(read), read)  # no branch, which torch.export would refuse
        for part, own in zip(read.split(self.width, -1), number.float().split(self.width, 1), strict=True):
            low, high = part.amin(-1, keepdim=True), part.amax(-1, keepdim=True)
            size = high - low
            byte = ((part - low) * torch.where(size > 0, 255 / size, 0.0)).round()
            total = total + (F.linear(byte, own) * (size / 255) + low * own.sum(1)) * scale
        return total.to(x.dtype)


def hold_bytes(encoder: nn.Module, config: Any, down: str) -> None:
    """Put products of bytes, still empty, into the place of the linear layers that the configuration names.

    :param down: the path of the down-projection inside a layer.

    Raises ``ValueError`` for a name of anything else.
    """
    found = dict(encoder.named_modules())
    for name in config.int8 or ():
        layer = found.get(name)
        if not isinstance(layer, nn.Linear):
            raise ValueError(
                f"config.json: int8 names '{name}', no linear layer of this encoder; prune or export the model again"
            )
        sliced = re.search(rf"\.\d+\.{re.escape(down)}$", name) is not None
        encoder.set_submodule(name, Int8Linear(layer.in_features, layer.out_features, sliced, config.int8_keeps_plain))


class FrozenInt8:
    """What a model in int8 is: frozen when it is loaded, and never in training. A mixin before transformers' classes."""

    refusal: type[Exception] = ValueError  # the error for what a model cannot do, or for a folder that is not complete

    @classmethod
    def from_pretrained(cls, *arguments: Any, **named: Any) -> Any:
        """Load as transformers does. The weights around products of bytes take no gradient."""
        found = super().from_pretrained(*arguments, **named)
        model = found[0] if isinstance(found, tuple) else found  # with a report on the weights
        if model.config.int8:
            model.requires_grad_(False)
        return found

    def train(self, mode: bool = True) -> Any:
        """As ``nn.Module.train``. Raises :attr:`refusal` for a model in int8, which has no gradients."""
        if mode and self.config.int8:
            raise self.refusal("a model in int8 cannot be trained; train the plain model, and convert it again")
        return super().train(mode)


class WholeWeights:
    """A model that is loaded as it was saved, or not at all. A mixin before transformers' classes."""

    refusal: type[Exception] = ValueError

    @property
    def whole_width(self) -> int:
        """F, the FFN width of the unpruned model."""
        return self.config.intermediate_size

    @classmethod
    def from_pretrained(cls, place: Any, *arguments: Any, **named: Any) -> Any:
        """Load as transformers does, but neither draw a missing weight at random nor ignore an unexpected weight.

        Raises :attr:`refusal`, which names such weights.
        """
        report_too = named.pop("output_loading_info", False)
        model, report = super().from_pretrained(place, *arguments, output_loading_info=True, **named)
        for kind in ("missing", "unexpected"):
            keys = sorted(report[f"{kind}_keys"])
            if keys:
                more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
                shown = ", ".join(keys[:3]) + more
                raise cls.refusal(f"{place}: no whole model of skn, {kind} weights: {shown}; prune or export it again")
        for weight, stored, expected in sorted(
            report["mismatched_keys"]
        ):  # transformers would draw these at random with ignore_mismatched_sizes
            sizes = f"{weight} is {list(stored)}, expected {list(expected)}"
            raise cls.refusal(f"{place}: its weights have not the sizes that its config.json says ({sizes})")
        model._check_numbers(place)
        return (model, report) if report_too else model

    def _check_numbers(self, place: Any) -> None:
        """Check that the stored numbers of neurons and words exist in the unpruned model."""
        counts = {"kept_neurons": self.whole_width, "label_ids": self.config.vocab_size}
        for name, numbers in self.named_buffers():
            count = counts.get(name.rpartition(".")[2])
            if count is not None and not ((numbers >= 0) & (numbers < count)).all():
                raise self.refusal(
                    f"{place}: {name} holds numbers outside of 0 to {count - 1}; prune or export it again"
                )


# ---- layers ----------------------------------------------------------------------------------------------------


class Adapter(nn.Module):
    """x + up(relu(down(x))) on the FFN's output [.., H], before the residual and the LayerNorm."""

    def __init__(self, hidden_size: int, bottleneck: int):
        super().__init__()
        self.down = nn.Linear(hidden_size, bottleneck)
        self.up = nn.Linear(bottleneck, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states [.., H] to hidden states [.., H]."""
        return hidden + self.up(self.down(hidden).relu())


class AdaptedLinear(nn.Linear):
    """A down-projection [.., width] to [.., H] with an adapter behind it.

    The model registers the adapter under a name of its own. Here a tuple holds the adapter, so torch registers no
    second name, and a deep copy or a pickle of the whole model finds the adapter of the copy.
    """

    def __init__(self, width: int, hidden_size: int, adapter: Adapter):
        super().__init__(width, hidden_size)
        self.adapters_behind = (adapter,)

    def forward(self, activation: Tensor) -> Tensor:
        """Activations [.., width] to hidden states [.., H]."""
        return self.adapters_behind[0](super().forward(activation))


def narrow(encoder: nn.Module, config: Any, adapters: nn.ModuleList | None) -> None:
    """Give each layer of a family's encoder its own FFN width and, if there are adapters, its adapter."""
    hidden = config.hidden_size
    widths = config.ffn_widths or [config.intermediate_size] * config.num_hidden_layers
    for index, (layer, width) in enumerate(zip(encoder.encoder.layer, widths, strict=True)):
        layer.intermediate.dense = nn.Linear(hidden, width)
        layer.intermediate.register_buffer("kept_neurons", torch.arange(width))
        plain = adapters is None
        layer.output.dense = nn.Linear(width, hidden) if plain else AdaptedLinear(width, hidden, adapters[index])
