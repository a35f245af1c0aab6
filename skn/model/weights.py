"""Read and convert a model's weights one tensor at a time, so that no second copy of the model is ever in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers.integrations.accelerate import load_offloaded_parameter

_PIECE = 2**22  # numbers that are hashed together: 16 MB of float32


def digest(module: nn.Module) -> str:
    """Return the first 16 digits of the SHA-256 of a module's weights as they are now: names and bytes of every tensor.

    A weight in bfloat16 or float16 counts as its float32 value, which is exact. So the digest of a checkpoint does not
    depend on the dtype in which the checkpoint was loaded. Weights may be on any device, or offloaded.
    """
    hasher = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        hasher.update(name.encode())
        whole = load_offloaded_parameter(module, name) if tensor.is_meta else tensor
        for piece in whole.detach().reshape(-1).split(_PIECE):
            half = piece.dtype in (torch.bfloat16, torch.float16)
            exact = piece.cpu().to(torch.float32) if half else piece.cpu()
            hasher.update(exact.view(torch.uint8).numpy())
    return hasher.hexdigest()[:16]


@torch.no_grad()
def convert(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move a model to a device and its weights to a dtype, in place, one tensor after another.

    A buffer that no checkpoint stores keeps its dtype, as it does where transformers loads a model in ``dtype``. For
    example, bfloat16 would spoil the frequencies of rotary embeddings.
    """
    for parameter in model.parameters():
        parameter.data = _converted(parameter.data, device, dtype)
    for module, name, buffer in list(_buffers(model)):
        stored = name not in module._non_persistent_buffers_set
        module._buffers[name] = _converted(buffer, device, dtype if stored else buffer.dtype)


def _converted(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype)


def _buffers(model: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                yield module, name, buffer
