"""The kinds of artifact: the tensors of each, their dtypes and axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of an artifact: its dtype, the names of its axes, and whether it may hold NaN."""

    dtype: torch.dtype
    axes: tuple[str, ...]
    optional: bool = False
    nan_allowed: bool = False


_F64, _F32, _I64, _I16, _BOOL = torch.float64, torch.float32, torch.int64, torch.int16, torch.bool
_SEARCHLIGHT = ("attribute", "L", "F")

# The values of every neuron and attribute in a searchlight, beside the rank: parametric values, then those of the
# Mantel permutations.
SEARCHLIGHT_VALUES = (
    *("tau", "p", "q", "q_all", "p_mantel", "q_mantel", "p_family"),
    *("partial_tau", "partial_p", "partial_q", "partial_p_mantel", "partial_q_mantel", "partial_p_family"),
)

# The p of a ranking's neurons, on the split that decided and on test.
P_OF_RANKING = ("p_validation", "p_family_validation", "p_test", "p_family_test", "p_chosen")

# A neuron whose activations are NaN has a NaN total and threshold. The probe names the neuron, and the file keeps the
# NaN.
ARTIFACT_KINDS: dict[str, dict[str, TensorSpec]] = {
    "splits": {
        "train": TensorSpec(_I64, ("train_rows",)),
        "validation": TensorSpec(_I64, ("validation_rows",)),
        "test": TensorSpec(_I64, ("test_rows",)),
    },
    "tuned": {
        "prompt": TensorSpec(_F32, ("P_tuned", "H"), optional=True),
        "mask_embedding": TensorSpec(_F32, ("H",), optional=True),
        "label_ids": TensorSpec(_I64, ("C",)),
    },
    "moments": {
        "count": TensorSpec(_I64, ("C",)),
        "total": TensorSpec(_F64, ("C", "L", "P", "F"), nan_allowed=True),
        "total_sq": TensorSpec(_F64, ("C", "L", "P", "F"), nan_allowed=True),
        "present": TensorSpec(_BOOL, ("L", "F")),
    },
    "hits": {
        "count": TensorSpec(_I64, ("C",)),
        "hits": TensorSpec(_I64, ("C", "L", "P", "F")),
        "threshold": TensorSpec(_F64, ("L", "P", "F"), nan_allowed=True),
        "present": TensorSpec(_BOOL, ("L", "F")),
    },
    "accuracy": {
        "accuracy": TensorSpec(_F64, ("K", "L", "P", "F"), nan_allowed=True),
        "plain": TensorSpec(_F64, ("K", "L", "P", "F"), nan_allowed=True),
        "predictivity": TensorSpec(_F64, ("K", "L", "F"), nan_allowed=True),
    },
    "bits": {
        "bits": TensorSpec(torch.uint8, ("example", "L", "P", "byte")),
        "label": TensorSpec(_I64, ("example",)),
        "row": TensorSpec(_I64, ("example",)),  # the row of the data that an example comes from
    },
    "significance": {
        "p": TensorSpec(_F64, ("L", "F"), nan_allowed=True),
        "p_family": TensorSpec(_F64, ("L", "F"), nan_allowed=True),
        "p_chosen": TensorSpec(_F64, ("L", "F"), optional=True, nan_allowed=True),
        "chance": TensorSpec(_F64, ("permutation",)),
    },
    "auroc": {
        "area": TensorSpec(_F64, ("C", "L", "P", "F"), nan_allowed=True),
        "nan": TensorSpec(_I64, ("L", "P", "F")),
        "count": TensorSpec(_I64, ("C",)),
    },
    "thresholds": {
        "threshold": TensorSpec(_F64, ("L", "P", "F")),
    },
    "neurons": {
        "score": TensorSpec(_F64, ("L", "F"), optional=True, nan_allowed=True),
        "rank": TensorSpec(_I64, ("L", "F"), optional=True),
        "selected": TensorSpec(_BOOL, ("L", "F"), optional=True),
        "factor": TensorSpec(_F32, ("L", "F"), optional=True),
        **{name: TensorSpec(_F64, ("L", "F"), optional=True, nan_allowed=True) for name in P_OF_RANKING},
        "in_top": TensorSpec(_F64, ("L", "F"), optional=True, nan_allowed=True),
    },
    "activations": {  # in a sweep [seed, condition, L, F], as its description says
        "activations": TensorSpec(_F32, ("example", "L", "P", "F")),
        "label": TensorSpec(_I64, ("example",), optional=True),
        "row": TensorSpec(_I64, ("example",), optional=True),  # the row of the data that an example comes from
    },
    "exemplars": {
        "layer": TensorSpec(_I64, ("chosen",)),
        "neuron": TensorSpec(_I64, ("chosen",)),
        "activation": TensorSpec(_F32, ("end", "chosen", "k"), nan_allowed=True),
        "row": TensorSpec(_I64, ("end", "chosen", "k")),
        "token": TensorSpec(_I64, ("end", "chosen", "k")),
        "shade": TensorSpec(_F32, ("end", "shown", "shaded", "T"), optional=True, nan_allowed=True),
        "span": TensorSpec(_I64, ("end", "shown", "shaded", "T", "bound"), optional=True),
    },
    "rsa": {
        "rank": TensorSpec(_F64, _SEARCHLIGHT, nan_allowed=True),
        "distance": TensorSpec(_F64, ("attribute", "pair"), optional=True),
        **{name: TensorSpec(_F64, _SEARCHLIGHT, optional=True, nan_allowed=True) for name in SEARCHLIGHT_VALUES},
    },
    "masked": {
        "unmasked": TensorSpec(_BOOL, ("example",)),
        "masked": TensorSpec(_BOOL, ("top", "example")),
        "random": TensorSpec(_I16, ("top", "example")),
        "random_accuracy": TensorSpec(_F64, ("top", "draw")),
    },
}

# The command that makes an artifact of each kind. Messages about a damaged file name the command.
MADE_BY = {
    "splits": "train",
    "tuned": "train",
    "moments": "probe",
    "hits": "probe",
    "accuracy": "probe",
    "bits": "probe",
    "significance": "probe",
    "auroc": "probe --auroc",
    "thresholds": "import",
    "neurons": "select",
    "activations": "activate",
    "exemplars": "activate --top",
    "rsa": "rsa",
    "masked": "mask",
}

# Tuned biases and adapter weights are stored under their own names, which depend on the backbone.
_OPEN_KINDS = {"tuned": ("bias.", "adapter.")}

# Axes that may have length 0. Every other axis has at least length 1, and the axis of classes at least length 2.
_MAY_BE_EMPTY = ("P_tuned", "train_rows", "validation_rows", "test_rows")
_LEAST = {"C": 2}


def mismatch(kind: str, tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Say what is wrong with these tensors as an artifact of this kind; None if they fit."""
    specs = ARTIFACT_KINDS[kind]
    prefixes = _OPEN_KINDS.get(kind, ())
    unknown = sorted(n for n in tensors if n not in specs and not n.startswith(prefixes or ("\0",)))
    missing = sorted(n for n, spec in specs.items() if n not in tensors and not spec.optional)
    if unknown or missing:
        return f"tensors do not fit the kind '{kind}': missing {missing}, unknown {unknown}"
    for name, tensor in tensors.items():
        spec = specs.get(name)
        if tensor.is_floating_point() and not (spec and spec.nan_allowed) and torch.isnan(tensor).any():
            return f"tensor '{name}' holds NaN"
        if spec is None:
            continue
        if tensor.dtype != spec.dtype:
            return f"tensor '{name}' is {tensor.dtype}, expected {spec.dtype}"
        if tensor.dim() != len(spec.axes):
            return f"tensor '{name}' has {tensor.dim()} axes, expected {list(spec.axes)}"
    return _odd_sizes(kind, tensors)


def _odd_sizes(kind: str, tensors: Mapping[str, torch.Tensor]) -> str | None:
    sizes = axis_sizes(kind, tensors)
    for name, axis, size in _along(kind, tensors):
        if size != sizes[axis]:
            return f"tensor '{name}' has {size} along {axis}, another tensor has {sizes[axis]}"
        if size < _LEAST.get(axis, 1) and axis not in _MAY_BE_EMPTY:
            return f"tensor '{name}' has {size} along {axis}"
    return None


def axis_sizes(kind: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Return the length of each axis, from the first tensor that has the axis."""
    sizes: dict[str, int] = {}
    for _, axis, size in _along(kind, tensors):
        sizes.setdefault(axis, size)
    return sizes


def _along(kind: str, tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, str, int]]:
    """Yield (tensor, axis, size) for every axis that the kind names."""
    for name, tensor in tensors.items():
        spec = ARTIFACT_KINDS[kind].get(name)
        for axis, size in zip(spec.axes if spec else (), tensor.shape):  # noqa: B905  an unnamed tensor has no axes
            yield name, axis, size
