"""Where the parts of a model are: on one device, or spread over several devices and the disk by a device map.

accelerate spreads a model: its hooks carry hidden states from device to device. The hooks also bring the weights of an
offloaded part in before the part computes, and drop the weights afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import torch
from torch import nn

from skn.errors import InputError

# "auto", or the device of each part by the part's name in the model: a GPU's number, "cpu" or "disk".
DeviceMap = str | Mapping[str, int | str]


def main_device(device: str | None, device_map: DeviceMap | None = None) -> str:
    """Return "cpu" or "cuda", filled in if the user named none: cpu, or with a device map cuda where there is one.

    Raises :class:`InputError` for a device or a device map that skn does not have.
    """
    if device_map is not None and device_map != "auto" and (isinstance(device_map, str) or not device_map):
        raise InputError(f"--device-map {device_map}: use auto")
    if device is None:
        device = "cuda" if device_map is not None and torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: use cpu or cuda (CUDA_VISIBLE_DEVICES chooses among several GPUs)")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this torch sees no CUDA device; use --device cpu")
    return device


def loading(device: str, device_map: DeviceMap | None) -> dict[str, object]:
    """Return what ``from_pretrained`` needs to spread a model. On the CPU, "auto" leaves GPUs out."""
    if device_map is None:
        return {}
    if device_map == "auto" and device == "cpu":
        from accelerate.utils import get_max_memory

        # nine tenths, as transformers itself leaves room
        return {"device_map": "auto", "max_memory": {"cpu": int(0.9 * get_max_memory()["cpu"])}}
    return {"device_map": device_map if isinstance(device_map, str) else dict(device_map)}


# Parts whose weights transformers reads without calling the part, so no hook of accelerate brings the weights in.
_UNCALLED = ("rel_embeddings",)  # of DeBERTa


def refuse_unreachable(name: str, model: nn.Module) -> None:
    """Raises :class:`InputError` if a part is offloaded that accelerate cannot bring in."""
    for part, module in model.named_modules():
        if part.endswith(_UNCALLED) and any(parameter.is_meta for parameter in module.parameters()):
            raise InputError(f"{name}: --device-map offloads {part}, which transformers cannot run so; leave it out")


def device_of(module: nn.Module) -> torch.device:
    """Return the device on which a module computes. The weights of an offloaded module are there only meanwhile."""
    device = next(chain(module.parameters(), module.buffers())).device
    hook = getattr(module, "_hf_hook", None) if device.type == "meta" else None
    return device if hook is None else torch.device(hook.execution_device)


def is_spread(model: nn.Module) -> bool:
    """Whether a device map put parts of this model on several devices, or offloaded a part."""
    places = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    return len(places) > 1 or "disk" in places
