"""Load a frozen model so that its weights are never in memory twice."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from skn.errors import InputError
from skn.model import placement, weights
from skn.model.families import Family, family_of
from skn.model.fit import check_weights, check_word_scores
from skn.model.headers import stored_dtype
from skn.model.placement import DeviceMap
from skn.model.pretrained import load_config, load_model, loading_weights


def load_frozen(
    name: str, device: str, wanted: torch.dtype, device_map: DeviceMap | None
) -> tuple[nn.Module, bool, str]:
    """Return the model of a folder or a hub id, whether it is headless, and the digest of its weights.

    A checkpoint in bfloat16 or float16 is loaded in its own dtype, so that the digest covers its exact values. Then its
    weights are converted one after another. Raises :class:`InputError`.
    """
    config = load_config(name)
    family, spread = family_of(config, name), placement.loading(device, device_map)
    loaded = _dtype_to_load(name, wanted, device_map)
    model, headless = _checked(name, config, loaded, family, spread)
    digest = weights.digest(weights_in_use(model, family, headless))
    if device_map is None:
        weights.convert(model, torch.device(device), wanted)
    elif loaded != wanted:  # weights on the disk cannot be converted in place
        del model
        model, _ = _checked(name, config, wanted, family, spread)
    return model.requires_grad_(False).eval(), headless, digest


def weights_in_use(model: nn.Module, family: Family, headless: bool) -> nn.Module:
    """Return the part of a model whose weights count: the encoder alone where nothing reads the head."""
    return getattr(model, family.base, model) if headless else model


def _dtype_to_load(name: str, wanted: torch.dtype, device_map: DeviceMap | None) -> torch.dtype:
    """Return the dtype in which a checkpoint is loaded, so that its digest is that of a load in float32.

    float32 holds the values of every checkpoint. It is also the better choice where float32 is wanted, because
    transformers converts each tensor while it reads the tensor.
    """
    if wanted == torch.float32 and device_map is None:
        return wanted
    with loading_weights(name):
        stored = stored_dtype(name)
    if stored is None and device_map is not None:
        raise InputError(
            f"{name}: --device-map needs weights in safetensors files; load it with transformers and call save_pretrained"
        )
    return torch.float32 if wanted == torch.float32 else stored or torch.float32


def _checked(
    name: str, config: Any, dtype: torch.dtype, family: Family, spread: dict[str, Any]
) -> tuple[nn.Module, bool]:
    """Load a model in a dtype. Returns it, and whether it is headless."""
    auto = transformers.AutoModelForCausalLM if family.causal else transformers.AutoModelForMaskedLM
    model, report = load_model(auto, name, config, dtype, spread)
    placement.refuse_unreachable(name, model)
    headless = not check_weights(name, model, family, report) or getattr(config, "word_scores", None) == "embedding"
    check_word_scores(name, model, headless)
    return model, headless
