"""Shared by the operators' files: their library, the messages of their checks, and the registration of the CUDA
kernels.
"""

from collections.abc import Callable, Sequence
from functools import wraps

import torch
from torch import Tensor, nn

from skn.ops import native

FLOATING = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
library = torch.library.Library("skn", "DEF")
native.load()


def is_freed(tensor: Tensor) -> bool:
    """Whether a tensor has less memory than its sizes need, as sharding and offloading leave it."""
    has = tensor.untyped_storage().nbytes()
    # Weights are contiguous, and each call of a pruned model checks them all, so they get the shortest path.
    if tensor.is_contiguous() and tensor.storage_offset() == 0:
        return tensor.nbytes > has
    if tensor.numel() == 0:
        return False
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (tensor.storage_offset() + span) * tensor.element_size() > has


def behind_memory(op: str) -> Callable[[Callable], Callable]:
    """Check the memory of an operator's arguments before ``check``, as csrc/behind_checks.h does for native kernels.

    Fake tensors have no memory. Their types differ, so they are not checked.
    """

    def decorate(check: Callable) -> Callable:
        @wraps(check)
        def checked(*arguments: object) -> None:
            for argument in arguments:
                for tensor in argument if isinstance(argument, list | tuple) else (argument,):
                    if type(tensor) in (Tensor, nn.Parameter) and is_freed(tensor):
                        raise RuntimeError(f"{op}: the memory of a tensor {describe(tensor)} was freed")
            check(*arguments)

        return checked

    return decorate


def describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def check_floating(op: str, name: str, tensor: Tensor, axes: str, rank: int) -> None:
    native.tell(tensor)
    torch._check(
        tensor.dtype in FLOATING and tensor.dim() == rank,
        lambda: f"{op}: {name} must be float32, bfloat16, float16 or float64 {axes}, got {describe(tensor)}",
    )


def check_activations(op: str, act: Tensor, axes: str) -> None:
    check_floating(op, "act", act, axes, 3)


def check_tensor(
    op: str, name: str, tensor: Tensor, act: Tensor, dtype: torch.dtype, axes: str, sizes: Sequence[int]
) -> None:
    torch._check(
        tensor.dtype == dtype
        and tensor.dim() == len(sizes)
        and all(a == b for a, b in zip(tensor.shape, sizes, strict=False)),
        lambda: (
            f"{op}: {name} must be {str(dtype).removeprefix('torch.')} {axes} = {list(sizes)}, got {describe(tensor)}"
        ),
    )
    torch._check(tensor.device == act.device, lambda: f"{op}: {name} must be on the device of act")


def check_labels(op: str, labels: Tensor, act: Tensor) -> None:
    """Labels may stay on the CPU."""
    check_tensor(op, "labels", labels, labels if labels.is_cpu else act, torch.int64, "[B]", act.shape[:1])


def check_state(op: str, name: str, state: Tensor) -> None:
    torch._check(
        all(size < 2 or stride != 0 for size, stride in zip(state.shape, state.stride(), strict=False)),
        lambda: f"{op}: {name} must not be expanded, because it is updated in place",
    )


def define(schema: str, gradient: bool = False) -> None:
    """Define an operator. Without ``gradient``, the kernel runs as it is, and its result requires no gradient."""
    op = schema.partition("(")[0]
    library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    if not gradient:
        library.impl(op, torch.library.fallthrough_kernel, "Autograd")
    if native.failure("cpu"):
        library.impl(op, native.refuse, "CPU")


def register_cuda(checks: dict[str, Callable]) -> None:
    """Register the kernels of skn.kernels for these operators, after the native kernels.

    A kernel first runs its check of ``checks``.
    """
    if torch.cuda.is_available():
        from skn.kernels import register

        register.register(library, checks)
