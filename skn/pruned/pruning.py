"""Make a smaller model from a set of neurons.

A layer keeps k neurons. The others are frozen at their mean μ or at zero. Together they contribute one constant,
W_down[:, removed] · μ[removed], which is added to the output bias. The kept neurons still compute their own
contribution.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from skn.errors import InputError
from skn.inference.loaded import LoadedRun
from skn.model.backbone import Backbone
from skn.model.fit import some_of
from skn.model.portable.layers_skn import Int8Linear
from skn.model.templated import TemplatedModel
from skn.model.tuned import TunedModel
from skn.pruned.cutting import check_plain, cut, filled, frozen_at, view, widths_of
from skn.pruned.modeling import lm_classes, make_portable, prompted_classes


def prune(model: TunedModel, keep: Tensor, mean: Tensor, classes: list[str]) -> nn.Module:
    """Return the smaller model, a ``Pruned…ForPromptClassification`` in eval mode on the CPU.

    :param keep: [L, F] bool, the neurons that stay; at least one in each layer.
    :param mean: [L, F] float64, the value at which a removed neuron is frozen.
    :param classes: class names for ``id2label``.

    Raises :class:`InputError` for adapters in a family whose pruned models have none, an empty layer, or a removed neuron with a NaN mean.
    """
    backbone = model.backbone
    if isinstance(model, TemplatedModel):
        raise InputError("a run by template has no prompt for such a model; 'skn prune' makes a language model of it")
    if backbone.int8:
        raise InputError("int8: the run has no plain weights now; open it with --dtype float32")
    widths = widths_of(backbone, keep)
    config_class, model_class = prompted_classes(backbone)
    small = model_class(_config(config_class, model, widths, classes)).to(backbone.dtype)
    weights = _weights(backbone, keep, mean)  # tuned biases are among the weights
    missing, unexpected = small.load_state_dict(weights | _tuned(model), strict=False)
    if missing or unexpected:
        raise AssertionError(f"pruned weights do not fit: missing {missing}, unexpected {unexpected}")
    return small.eval()


def pruned_model(
    model: PreTrainedModel | Backbone, keep: Tensor, mean: Tensor | None = None, *, freeze: str = "mean"
) -> PreTrainedModel:
    """Remove neurons from a language model of any family. Each layer may keep another number of them.

    The removed neurons are frozen at their mean or at zero. The result computes what the whole model computes under a
    mask of that kind over the removed neurons. It knows their original numbers, and can be pruned again.

    Args:
        model: a language model, or an encoder alone, whose result has no head, either; also a model pruned before. It stays as it is.
        keep: [L, F] bool, the neurons that stay, at least one in each layer. F is the width of the unpruned model.
        mean: [L, F], the mean activations, for example ``statistics.compute().mean[class]`` of ``skn.NeuronStatistics``.
        freeze: "mean" puts the mean effect of the removed neurons into the bias of the layer's down-projection, which the result has in
            every family. "zero" needs no means.

    Returns:
        The smaller model, in eval mode on the CPU, for example a ``PrunedLlamaForCausalLM``. After ``import skn``, the Auto classes load
        a folder that its ``save_pretrained`` wrote. Nothing of a prompt is in it.

    Raises:
        InputError: a layer would keep no neuron; the model is in int8, or has adapters or other layers that are not plain; a mean is NaN.

    Example::

        >>> lm = skn.pruned_model(run.model.backbone, ranking.count([48, 12, 5], range(3)), freeze="zero")
        >>> type(lm).__name__, lm.config.ffn_widths
        ('PrunedRobertaForMaskedLM', [48, 12, 5])
    """
    backbone = view(model)
    check_plain(backbone)
    widths, frozen = widths_of(backbone, keep), frozen_at(freeze, mean, keep)
    if backbone.causal and backbone.headless:
        raise InputError("a decoder without its head; give the language model, of AutoModelForCausalLM")
    config_class, lm_class = lm_classes(backbone)
    word_scores = "embedding" if backbone.headless else "lm_head"
    small = lm_class(config_class(**_fields(backbone) | {"ffn_widths": widths, "word_scores": word_scores}))
    state, wanted = _weights(backbone, keep, frozen), small.state_dict().keys()
    beyond = sorted(name for name in state.keys() - wanted if ".pooler." not in name)
    if beyond:
        raise InputError(f"a {lm_class.__name__} has no place for {some_of(beyond)}; give the language model alone")
    return filled(small, {name: tensor.clone() for name, tensor in state.items() if name in wanted}, backbone.model)


def pruned_run(run: LoadedRun, keep: Tensor, mean: Tensor, portable: bool) -> PreTrainedModel:
    """:func:`prune` the model of a run. The model then knows the run's classes and reader of texts."""
    model = prune(run.model, keep, mean, run.class_names)
    model.reader, model.origin = (
        run.reader,
        run.provenance,
    )  # attributes of this model, which its folder's mark stores
    if portable:
        make_portable(model)
    return model


def parameter_count(*modules: nn.Module) -> int:
    """Count the distinct parameters of the modules. A tied or shared weight counts once, also in int8."""
    distinct = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    every = (part for module in modules for part in module.modules())
    bytes_alone = {part for part in every if isinstance(part, Int8Linear) and part.weight is None}
    return sum(distinct.values()) + sum((part.in_features + 1) * part.out_features for part in bytes_alone)


def full_count(model: TunedModel) -> int:
    """Count the parameters that an exported model of this run would have: backbone, LM head, and what was tuned."""
    backbone = model.backbone
    return parameter_count(backbone.base if backbone.headless else backbone.model, model)


def _config(config_class: type, model: TunedModel, widths: list[int], classes: list[str]) -> object:
    backbone = model.backbone
    fields = _fields(backbone) | {
        "id2label": dict(enumerate(classes)),
        "label2id": {name: i for i, name in enumerate(classes)},
        "ffn_widths": widths,
        "word_scores": "embedding" if backbone.headless else "lm_head",
        "prompt_length": model.prompt_length,
        "position_start": model.position_start,
    }
    if backbone.adapter_bottleneck:
        fields["adapter_bottleneck"] = backbone.adapter_bottleneck
    return config_class(**fields)


def _fields(backbone: Backbone) -> dict[str, Any]:
    """The fields of a model's configuration that its pruned model shares."""
    fields = backbone.config.to_dict()
    own = ("model_type", "architectures", "transformers_version", "dtype", "label2id", "_name_or_path", "auto_map")
    return {name: value for name, value in fields.items() if name not in own}


def _weights(backbone: Backbone, keep: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """The state dict of the backbone with narrow FFNs, under the names of the family's LM model."""
    prefix = backbone.family.base + "."
    state = {prefix + name: tensor.detach().cpu() for name, tensor in backbone.base.state_dict().items()}
    for name, tensor in backbone.model.state_dict().items():
        around = backbone.model is not backbone.base and not name.startswith(prefix)
        if around and (not backbone.headless or name.startswith("adapters.")):
            state[name] = tensor.detach().cpu()
    cut(state, prefix, backbone, keep, mean)
    return state


def _tuned(model: TunedModel) -> dict[str, Tensor]:
    """Return prompt, label words and adapters under the pruned model's names. The weights already hold tuned biases."""
    state: dict[str, Tensor] = {}
    for name, tensor in model.tuned_tensors().items():
        if name.startswith("adapter."):
            state["adapters." + name.removeprefix("adapter.")] = tensor
        elif not name.startswith("bias."):
            state[name] = tensor
    return state
