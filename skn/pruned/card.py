"""The README.md of a folder that ``skn prune`` or ``skn export`` writes: the model's origin, and how to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from skn.inference.loaded import LoadedRun
from skn.inference.measures import Score
from skn.store import folders

CARD = """---
library_name: transformers
pipeline_tag: text-classification
tags: [skn{tag}]
---

# {name}

{story}

Accuracy on validation: {accuracy}.

Classes: {classes}. Label words: {label_words}. Word scores: {word_scores}. Weights: {dtype}.

{use}

The prompt and the label words are inside; texts are truncated to {max_length} tokens.{warning}
"""

WITH_SKN = """```python
import skn  # registers the model
from transformers import pipeline

classify = pipeline("text-classification", "{name}")
classify("a text")
```"""

ALONE = """```python
from transformers import pipeline

classify = pipeline("text-classification", "{name}", trust_remote_code=True)
classify("a text")
```

This needs no skn: the Python files of this folder are the model. After `import skn` the same line takes skn's faster classes."""

WARNING = " Use it for the task it was pruned for: what the removed neurons did elsewhere is gone."


def card(name: str, model: PreTrainedModel, run: LoadedRun, story: str, accuracy: str) -> str:
    """Return the text of a folder's README.md.

    :param story: how the model was made from which backbone.
    :param accuracy: the text of :func:`reached`.
    """
    narrow = is_narrow(model)
    portable = getattr(model.config, "auto_map", None)
    told = {
        "tag": ", pruned" if narrow else "",
        "name": name,
        "story": story,
        "accuracy": accuracy,
        "classes": ", ".join(run.class_names),
        "label_words": ", ".join(run.label_words),
        "use": (ALONE if portable else WITH_SKN).format(name=name),
        "max_length": run.max_length,
        "warning": WARNING if narrow else "",
        "dtype": _weights(model, run.provenance["dtype"]),
    }
    return CARD.format(**{**run.provenance, **told})


def _weights(model: PreTrainedModel, dtype: str) -> str:
    if not model.config.int8:
        return dtype
    if not model.config.int8_keeps_plain:
        return f"int8, {dtype} around them"
    return f"int8, {dtype} around them; `from_pretrained(…, int8=None)` loads the plain ones"


def tuned_on(run: LoadedRun) -> str:
    """Return the beginning of every story: the run's backbone, the backbone's origin, and what was tuned."""
    first, origin = origin_of(run), run.provenance
    before = f" (made from `{first}`)" if first else ""
    if run.template is not None:
        return f"`{origin['backbone']}`{before} on `{origin['task']}` by the template {run.template.written!r}"
    how = f"{origin['method']}, prompt length {origin['prompt_length']}"
    return f"`{origin['backbone']}`{before} tuned on `{origin['task']}` ({how})"


def origin_of(run: LoadedRun) -> str | None:
    """Return the backbone from which the run's backbone was pruned or exported, by its folder's mark; None if unknown."""
    mark = folders.mark_of(Path(run.model.backbone.config._name_or_path))
    about: dict[str, Any] = (mark and mark.about) or {}
    return about.get("origin") or about.get("provenance", {}).get("backbone")


def is_narrow(model: PreTrainedModel) -> bool:
    """Whether a layer has fewer neurons than the unpruned model."""
    return min(model.config.ffn_widths) < model.backbone.ffn_width


def reached(score: Score, majority: float, again: bool = False) -> str:
    """Write an accuracy with its 95% interval in words. ``again``: the prompt was tuned again."""
    low, high = score.interval
    tuned = ", its prompt tuned again" if again else ""
    return f"{score.accuracy:.4f} (95%: {low:.4f} to {high:.4f}{tuned}); the larger class alone: {majority:.4f}"
