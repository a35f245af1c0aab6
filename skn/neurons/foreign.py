"""Recognise files of the original code bases by their content, and convert them.

The originals are Skill-Neuron V1.0 (Wang et al., EMNLP 2022) and Model_Emotion (Li et al., 2023). Both write their
files with ``torch.save``; Skill-Neuron also saves NumPy arrays. A converter is a pure function from a file's content to
tensors and a description. A converter's :class:`InputError` says what is wrong. The caller that reads the file adds the
file's name.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skn.errors import InputError
from skn.neurons import selection

SKILL_NEURON = "Skill-Neuron V1.0"
MODEL_EMOTION = "Model_Emotion"

# Model_Emotion reads these two logits of roberta-base for every emotion: "negative", "positive".
MODEL_EMOTION_LABEL_IDS = [33407, 22173]

# ---- the result of a conversion ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Foreign:
    """One foreign file as tensors of skn's ``kind``. ``prompt_length`` is None if the length is unknown."""

    kind: str
    format: str
    source_code: str
    tensors: dict[str, Tensor]
    prompt_length: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def convert(content: Any, as_: str | None = None) -> Foreign:
    """Recognise ``content`` and convert it to skn's tensors. Raises :class:`InputError` without the file's name.

    :param as_: "thresholds" or "accuracies" for an array, because the values of an array seldom show its kind.
    """
    if as_ not in (None, "thresholds", "accuracies"):
        raise InputError(f"--as {as_}: expected thresholds or accuracies")
    content = _tensor_of(content) if isinstance(content, np.ndarray | Tensor) else content
    format_name = next((name for name, format_ in FORMATS.items() if format_.recognises(content, as_)), None)
    if format_name is None:
        raise InputError(_unrecognised(content))
    if as_ and format_name != as_:
        raise InputError(f"--as {as_} is for an array of numbers; this is a {format_name}")
    return replace(FORMATS[format_name].convert(content), format=format_name)


def aggregate_scores(seeds: list[Foreign], how: str) -> Foreign:
    """Make one ranking of the scores [L, F] of one or more seeds: the "mean" or "min" over the seeds."""
    shapes = sorted({(tuple(seed.tensors["score"].shape), seed.prompt_length) for seed in seeds}, key=str)
    if len(shapes) > 1:
        models = " and ".join(f"{list(shape)} neurons at {p or 'pooled'} positions" for shape, p in shapes)
        raise InputError(f"accuracies of different models cannot be aggregated: {models}")
    score = selection.aggregate([seed.tensors["score"] for seed in seeds], how)
    rank = selection.rank(score, torch.ones_like(score, dtype=torch.bool))
    return replace(seeds[0], tensors={"score": score, "rank": rank}, meta=seeds[0].meta | {"aggregate": how})


# ---- one recogniser and one converter per format -----------------------------------------------------------


def _is_skill_prompt(content: Any, _as: str | None) -> bool:
    return isinstance(content, Mapping) and {"prompt", "pos"} <= content.keys()


def _skill_prompt(content: Mapping[str, Any]) -> Foreign:
    """``best-backbone``: {"prompt": [1, P − 1, H] of an MLM, [1, P, H] of a GPT, "pos": label token ids}."""
    if any(isinstance(key, str) and key.startswith("backbone.") for key in content):
        raise InputError(
            "a pruned checkpoint of the original code, prompt and backbone in one, is not a prompt; "
            "import the unpruned 'best-backbone' and prune with 'skn prune'"
        )
    prompt, ids = _tensor_of(content["prompt"]), content["pos"]
    if prompt.dim() != 3 or prompt.shape[0] != 1:
        raise InputError(f"'prompt' is {list(prompt.shape)}, expected [1, P − 1, H], or [1, P, H] of a GPT")
    if not isinstance(ids, list) or len(ids) < 2 or not all(type(i) is int and 0 <= i < 2**31 for i in ids):
        raise InputError(f"'pos' is {reprlib.repr(ids)[:80]}, expected a list of two or more label token ids")
    # The shape does not tell the prompt of an MLM from the prompt of a GPT, so P is unknown until there is a backbone.
    return _tuned(SKILL_NEURON, prompt[0], ids, position_start=None)


def _is_emotion_checkpoint(content: Any, _as: str | None) -> bool:
    return isinstance(content, Mapping) and "best_prompt" in content


def _emotion_checkpoint(content: Mapping[str, Any]) -> Foreign:
    """``checkpoint/EMOTION-SEED.pt``: {"best_prompt": [P − 1, H], "best_acc", "epoch", ...}."""
    prompt = _tensor_of(content["best_prompt"])
    if prompt.dim() != 2:
        raise InputError(f"'best_prompt' is {list(prompt.shape)}, expected [P − 1, H]")
    # Model_Emotion overwrites RoBERTa's position ids, which start at padding_idx + 1, with 0, 1, 2, …
    tuned = _tuned(MODEL_EMOTION, prompt, MODEL_EMOTION_LABEL_IDS, position_start=0)
    best = {"best_accuracy": _number(content, "best_acc")}
    return replace(tuned, prompt_length=prompt.shape[0] + 1, meta=tuned.meta | best)


def _is_thresholds(content: Any, as_: str | None) -> bool:
    """Recognise thresholds.

    float64 values outside [0, 1] need no ``as_``: of the originals' arrays, only means are float64.
    """
    if as_ is not None or not _is_table(content):
        return as_ == "thresholds" and _is_table(content)
    return content.dtype == torch.float64 and not _within_unit(content)


def _thresholds(content: Tensor) -> Foreign:
    """``train_avg`` [L, P, F], or pooled ``train_mean_avg`` and ``train_max_avg`` [L, F]."""
    content, positions = _with_positions(content)
    return Foreign("thresholds", "", SKILL_NEURON, {"threshold": content}, positions)


def _is_accuracies(content: Any, as_: str | None) -> bool:
    return _is_table(content) and as_ == "accuracies"


def _accuracies(content: Tensor) -> Foreign:
    """``dev_perf`` and ``test_perf`` [L, P, F], or pooled [L, F].

    The file holds plain accuracies; the result is predictivity.
    """
    content, positions = _with_positions(content)
    if not _within_unit(content):
        raise InputError("values outside 0 to 1 are no accuracies; --as thresholds imports thresholds")
    score = selection.predictivity(content)
    return Foreign("neurons", "", SKILL_NEURON, tensors={"score": score}, prompt_length=positions, meta={"by": "plain"})


def _is_neuron_set(content: Any, _as: str | None) -> bool:
    return isinstance(content, Tensor) and content.dtype == torch.bool


def _neuron_set(content: Tensor) -> Foreign:
    """``info/TASK/FRACTION`` [L, F] bool: the skill neurons of one cut."""
    if content.dim() != 2 or not content.numel():
        raise InputError(f"a neuron set is {list(content.shape)}, expected [L, F]")
    return Foreign("neurons", "", SKILL_NEURON, {"selected": content})


@dataclass(frozen=True)
class Format:
    """A kind of file: ``recognises`` says whether a content is of this kind, ``convert`` converts the content."""

    recognises: Callable[[Any, str | None], bool]
    convert: Callable[[Any], Foreign]


# skn tries the formats in this order. The names of the two formats of arrays are the values of ``--as``.
FORMATS: dict[str, Format] = {
    "prompt": Format(_is_skill_prompt, _skill_prompt),
    "emotion checkpoint": Format(_is_emotion_checkpoint, _emotion_checkpoint),
    "neuron set": Format(_is_neuron_set, _neuron_set),
    "thresholds": Format(_is_thresholds, _thresholds),
    "accuracies": Format(_is_accuracies, _accuracies),
}


# ---- parts -------------------------------------------------------------------------------------------------


def _tuned(source_code: str, prompt: Tensor, label_ids: list[int], position_start: int | None) -> Foreign:
    """Describe a prompt [rows, H]. With ``position_start`` None, the positions start as the backbone's own do."""
    if not prompt.is_floating_point():
        raise InputError(f"the prompt is {prompt.dtype}, expected floats")
    tensors = {"prompt": prompt.float(), "label_ids": torch.tensor(label_ids, dtype=torch.int64)}
    # Neither original stores the mask token's embedding: it is the backbone's embedding, which was frozen.
    meta = {"method": "prompt", "position_start": position_start, "mask_embedding": "from backbone"}
    return Foreign("tuned", "", source_code, tensors, meta=meta)


def _tensor_of(value: Any) -> Tensor:
    """Return a plain tensor in memory. Raises :class:`InputError` for NaN or infinite values."""
    if isinstance(value, np.ndarray):
        try:
            value = torch.from_numpy(value)  # unpickled arrays are writable and in this machine's byte order
        except (TypeError, ValueError):
            raise InputError(f"holds an array of {value.dtype}, expected numbers") from None
    if not isinstance(value, Tensor) or not _is_plain(value):
        raise InputError(f"holds {_describe(value)} where a tensor is expected")
    value = value.detach()
    if value.is_floating_point() and not value.isfinite().all():
        raise InputError("holds NaN or infinite values")
    return value


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta or tensor.is_nested)


def _is_table(content: Any) -> bool:
    return isinstance(content, Tensor) and content.is_floating_point()


def _within_unit(content: Tensor) -> bool:
    return bool(((content >= 0) & (content <= 1)).all())


def _with_positions(content: Tensor) -> tuple[Tensor, int | None]:
    """Return the table as [L, P, F] float64, and P. A pooled [L, F] gets one position, and None instead of P."""
    content = content.double()
    if content.dim() not in (2, 3) or not content.numel():
        raise InputError(f"values {list(content.shape)}, expected [L, P, F], or [L, F] of pooled activations")
    return (content, content.shape[1]) if content.dim() == 3 else (content[:, None], None)


def _number(content: Mapping[str, Any], name: str) -> float | None:
    """Return a float. The original keeps it as a number, a NumPy scalar or a tensor of one element."""
    value = content.get(name)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"'{name}' is {_describe(value)}, expected a number") from None


def _unrecognised(content: Any) -> str:
    if not _is_table(content):
        return f"holds {_describe(content)}, which is none of: {', '.join(FORMATS)}"
    _with_positions(content)  # if the shape fits neither kind, an error about the shape helps more
    values = f"values {list(content.shape)}"
    if _within_unit(content):
        return f"{values} within 0 to 1 can be either; say --as thresholds or --as accuracies"
    return (
        f"{values} of {content.dtype} can be activations, the original's thresholds being float64; "
        "--as thresholds imports them as thresholds"
    )


def _describe(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dictionary of {[key[:80] if isinstance(key, str) else reprlib.repr(key) for key in list(value)[:4]]}"
    if isinstance(value, Tensor) and not value.is_nested:  # a nested tensor has no shape
        return f"a tensor {list(value.shape)} of {value.dtype}"
    return f"a {type(value).__name__}"
