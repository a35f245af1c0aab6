"""Turn the products of a model's encoder into products of bytes, calibrated on texts.

The layers are converted one after the other, so each layer is calibrated on what the converted layers before it give.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from skn.errors import InputError
from skn.inference.batches import Encoded, batches_by_length, collate
from skn.inference.engine import PromptedModel
from skn.inference.fast import refusal
from skn.int8.columns import choose_columns
from skn.int8.rounding import round_weight
from skn.model.backbone import Backbone
from skn.model.portable.layers_skn import EncoderInputs, Int8Linear, mixed
from skn.ops import reference
from skn.progress import track

log = logging.getLogger(__name__)

TEXTS = 320  # of train, for calibration
TOKENS = 2048  # in a batch of calibration
# Products that read the same rows, by their numbers in Family.encoder: queries, keys and values; the attention's output;
# up; down.
_SAME_ROWS = ((0, 1, 2), (3,), (5,), (6,))
_DOWN = 6


class _Reached(Exception):
    """The first layer was called: its inputs are known."""


@dataclass
class _Call:
    """The arguments of a layer's call, and which rows of the first argument [B, S, H] belong to a text [B, S]."""

    arguments: tuple
    named: dict[str, Any]
    real: Tensor


def calibration_rows(encoded: Encoded) -> list[int]:
    """Return the rows of up to :data:`TEXTS` texts of a split, chosen at random, always the same ones."""
    return torch.randperm(len(encoded), generator=torch.Generator().manual_seed(0))[:TEXTS].tolist()


def calibration_inputs(model: PromptedModel, encoded: Encoded) -> list[EncoderInputs]:
    """Return the texts of :func:`calibration_rows` in batches, behind the model's prompt."""
    some = encoded.take(calibration_rows(encoded))
    batches = (collate(some, rows) for rows in batches_by_length(some, TOKENS, model.prompt_length))
    return [model.assemble(*b.inputs) for b in batches]


def compute_in_int8(model: PromptedModel, train: Encoded, name: str) -> None:
    """Convert a model in place, calibrated on a train split, if it is not in int8 already.

    :param name: of the model, for a refusal.
    """
    if not model.backbone.int8:
        check_convertible(model.backbone, f"--dtype int8: {name}", "; use --dtype float32")
        convert(model.backbone, calibration_inputs(model, train))


def tell_of_activations(backbone: Backbone) -> None:
    """Say, before activations are read, that they are those of a quantized model, if they are."""
    if backbone.int8:
        log.info("int8: these are activations of a quantized model; a claim about neurons needs --dtype float32")


def check_convertible(backbone: Backbone, what: str = "int8", way_out: str = "") -> None:
    """Raise :class:`InputError` if a backbone has no products of bytes. The message is "WHAT: reasonWAY_OUT"."""
    reason = refusal(backbone)
    if backbone.device.type != "cpu":
        reason = f"int8 runs on the CPU, this model is on {backbone.device.type}"
    elif backbone.bf16x3:
        reason = "the model computes in bf16x3"
    elif backbone.int8:
        reason = "the model is in int8 already"
    if reason is not None:
        raise InputError(f"{what}: {reason}{way_out}")


@torch.inference_mode(False)
@torch.no_grad()
def convert(backbone: Backbone, inputs: Sequence[EncoderInputs], plain: bool = False) -> list[str]:
    """Convert the encoder's products in place, and return the names of their modules in the encoder.

    :param inputs: texts like those that the model will see, in batches.
    :param plain: keep the plain weights beside the bytes.

    Raises :class:`InputError` for a backbone that cannot be converted, without texts, or if a layer reads numbers that are
    not finite. After an error or an interrupt, the model is as it was.
    """
    check_convertible(backbone)
    if not inputs:
        raise InputError("int8: no text to calibrate with; give some")
    calls = _first_calls(backbone, inputs)
    layers = attrgetter(backbone.family.layers)(backbone.base)
    plain_modules = {}
    try:
        for index, layer in enumerate(track(layers, len(layers), "calibrate int8")):
            for numbers in _SAME_ROWS:
                paths = [backbone.family.encoder.parts[number] for number in numbers]
                names = [f"{backbone.family.layers}.{index}.{path}" for path in paths]
                modules = [backbone.base.get_submodule(name) for name in names]
                rows = _rows_of(layer, modules[0], calls)
                _check_finite(names[0], rows, *(module.weight for module in modules))
                plain_modules |= zip(names, modules, strict=True)
                for name, made in zip(names, _converted(modules, rows, numbers == (_DOWN,), plain), strict=True):
                    backbone.base.set_submodule(name, made)
            for call in calls:
                call.arguments = (_hidden(layer(*call.arguments, **call.named)), *call.arguments[1:])
    except BaseException:  # also Ctrl-C in a notebook
        for name, module in plain_modules.items():
            backbone.base.set_submodule(name, module)
        raise
    return list(plain_modules)


def _check_finite(name: str, *tensors: Tensor) -> None:
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise InputError(f"int8: {name} holds or reads numbers that are not finite; make the model again")


def _converted(modules: list[nn.Linear], rows: Tensor, sliced: bool, plain: bool) -> list[Int8Linear]:
    """Convert products that read the same rows [R, K]."""
    together = torch.cat([module.weight.float() for module in modules])
    columns = choose_columns(rows, together)
    shift, factor = columns
    read = mixed((rows - shift) * factor)
    made = []
    for module in modules:
        number, scale = round_weight(mixed(module.weight.float() / factor), read)
        new = Int8Linear(module.in_features, module.out_features, sliced, plain).to(module.weight.dtype)
        new.int8_weight = reference.pack_int8(number, scale, columns, rotated=True)
        new.int8_bias = (module.bias.float() + module.weight.float() @ shift).to(module.bias.dtype)
        if plain:
            new.weight, new.bias = module.weight, module.bias
        made.append(new.requires_grad_(False).eval())
    return made


def _rows_of(layer: nn.Module, product: nn.Module, calls: list[_Call]) -> Tensor:
    """All rows [R, K] float32 that a product inside a layer reads from texts."""
    rows: list[Tensor] = []
    for call in calls:
        with _before(product, lambda arguments, _, real=call.real: rows.append(arguments[0][real].float())):
            layer(*call.arguments, **call.named)
    return torch.cat(rows)


def _first_calls(backbone: Backbone, inputs: Sequence[EncoderInputs]) -> list[_Call]:
    """Return how the encoder calls its first layer for these texts."""
    calls = []

    def stop(arguments: tuple, named: dict[str, Any]) -> None:
        calls.append(_Call(arguments, named, batch.attention_mask.bool()))
        raise _Reached

    with _before(attrgetter(backbone.family.layers)(backbone.base)[0], stop):
        for batch in inputs:
            try:
                backbone.outputs(batch)
            except _Reached:
                continue
    return calls


@contextmanager
def _before(module: nn.Module, call: Callable[[tuple, dict[str, Any]], None]) -> Iterator[None]:
    """Call ``call(arguments, named arguments)`` before each call of the module."""

    def hook(_: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        call(arguments, named)

    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _hidden(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]
