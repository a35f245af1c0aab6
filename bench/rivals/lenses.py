"""Probing libraries and plain hooks: the activations of every layer at the prompt positions, summed in float64."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from contest import Missing
from torch import Tensor, nn

from rivals.original import in_order
from skn.inference.batches import Batch, Encoded
from skn.model.templated import TemplatedModel
from skn.model.tuned import TunedModel


def plain_hooks(model: TunedModel, encoded: Encoded) -> Callable[[], object]:
    """Forward hooks that sum each activation where it is computed."""
    prompt = slice(0, model.prompt_length)

    def call():
        sums = [0.0] * len(model.backbone.ffn_sites)

        def add(layer, out):
            sums[layer] = sums[layer] + out[:, prompt].double().sum(dim=0)

        handles = [
            site.activation.register_forward_hook(lambda _m, _i, out, layer=site.layer: add(layer, out))
            for site in model.backbone.ffn_sites
        ]
        for batch in in_order(encoded):
            model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        for handle in handles:
            handle.remove()
        return sums

    return call


def _traced(module: nn.Module) -> tuple[Any, Callable]:
    """Return a module in nnsight's wrapper, and nnsight's function ``save``."""
    from nnsight import NNsight, save
    from nnsight._c import unmount

    if unmount is not None and hasattr(object, "save"):
        unmount("save")  # on import it gives every object a method save, which hides the method of other libraries
    with warnings.catch_warnings():  # it warns that it renames a submodule called output, which nothing reads here
        warnings.simplefilter("ignore")
        return NNsight(module), save


def nnsight(model: TunedModel, encoded: Encoded) -> Callable[[], object] | Missing:
    try:
        traced, save = _traced(model.backbone.base)
    except ImportError:
        return Missing("nnsight is not installed")
    prompt = slice(0, model.prompt_length)

    def call():
        sums: list[Tensor | float] = [0.0] * len(model.backbone.ffn_sites)
        for batch in in_order(encoded):
            with traced.trace(**_inputs(model, batch)):
                found = save([])
                for layer in traced.encoder.layer:
                    found.append(layer.intermediate.output[:, prompt])
            sums = [total + act.double().sum(dim=0) for total, act in zip(sums, found, strict=True)]
        return sums

    return call


def transformer_lens(model: TunedModel, encoded: Encoded) -> Callable[[], object] | Missing:
    try:
        from transformer_lens.model_bridge import TransformerBridge
    except ImportError:
        return Missing("transformer-lens is not installed")
    try:
        bridge = TransformerBridge.boot_transformers(
            model.backbone.config._name_or_path, hf_model=model.backbone.model, device="cpu"
        )
    except Exception as error:  # its supported models change from release to release
        return Missing(f"it does not load this encoder: {type(error).__name__}")
    names = [f"blocks.{layer}.mlp.hook_post" for layer in range(len(model.backbone.ffn_sites))]
    prompt = slice(0, model.prompt_length)

    def call():
        sums: list[Tensor | float] = [0.0] * len(names)
        for batch in in_order(encoded):
            inputs = _inputs(model, batch)
            _, cache = bridge.run_with_cache(inputs.pop("inputs_embeds"), names_filter=names, **inputs)
            sums = [total + cache[name][:, prompt].double().sum(dim=0) for total, name in zip(sums, names, strict=True)]
        return sums

    return call


def nnsight_last(model: TemplatedModel, batches: list[Batch]) -> Callable[[], object] | Missing:
    """A decoder's activations at the last token of each text, summed: the inputs of the down-projections."""
    backbone = model.backbone
    try:
        traced, save = _traced(backbone.base)
    except ImportError:
        return Missing("nnsight is not installed")
    layers, down = backbone.family.layers, attrgetter(backbone.family.down)

    def call():
        sums: list[Tensor | float] = [0.0] * len(backbone.ffn_sites)
        for batch in batches:
            at = torch.arange(len(batch.rows)), batch.scored
            inputs = {"inputs_embeds": backbone.embedding(batch.input_ids), "attention_mask": batch.attention_mask}
            with traced.trace(**inputs, use_cache=False):
                found = save([])
                for layer in getattr(traced, layers):
                    found.append(down(layer).input[at])
            sums = [total + act.double().sum(dim=0) for total, act in zip(sums, found, strict=True)]
        return sums

    return call


def transformer_lens_last(model: TemplatedModel, batches: list[Batch]) -> Callable[[], object] | Missing:
    """The same with TransformerLens, whose ``hook_post`` is what the down-projection reads."""
    try:
        from transformer_lens.model_bridge import TransformerBridge
    except ImportError:
        return Missing("transformer-lens is not installed")
    try:
        with tempfile.TemporaryDirectory() as folder:  # it reads the configuration by name
            model.backbone.config.save_pretrained(folder)
            bridge = TransformerBridge.boot_transformers(folder, hf_model=model.backbone.model, device="cpu")
    except Exception as error:  # its supported models change from release to release
        return Missing(f"it does not load this decoder: {type(error).__name__}")
    names = [f"blocks.{layer}.mlp.hook_post" for layer in range(len(model.backbone.ffn_sites))]

    def call():
        sums: list[Tensor | float] = [0.0] * len(names)
        for batch in batches:
            at = torch.arange(len(batch.rows)), batch.scored
            _, cache = bridge.run_with_cache(batch.input_ids, names_filter=names, attention_mask=batch.attention_mask)
            sums = [total + cache[name][at].double().sum(dim=0) for total, name in zip(sums, names, strict=True)]
        return sums

    return call


def _inputs(model: TunedModel, batch) -> dict[str, torch.Tensor]:
    prompted = model.assemble(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    names = ("inputs_embeds", "attention_mask", "position_ids", "token_type_ids")
    return {name: value for name in names if (value := getattr(prompted, name)) is not None}
