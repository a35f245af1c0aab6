"""The README.md of a folder that ``skn prune`` writes for a run by template: a language model, and how it answers."""

from __future__ import annotations

from transformers import PreTrainedModel

from skn.inference.loaded import LoadedRun
from skn.model.families import PRUNED

CARD = """---
library_name: transformers
pipeline_tag: {task}
tags: [skn, pruned]
---

# {name}

{story}

Accuracy on validation, inside the template: {accuracy}.

Classes: {classes}. Label words: {label_words}. Weights: {dtype}.

```python
{first}from transformers import pipeline

ask = pipeline("{task}", "{name}")
ask({example!r})
```

{loads} Nothing of a prompt is inside: put each text into the template `{template}`. Use the model for the task it was pruned for:
what the removed neurons did elsewhere is gone.
"""


def lm_card(name: str, model: PreTrainedModel, run: LoadedRun, story: str, accuracy: str) -> str:
    """Return the text of the README.md of a language model that was pruned for a run by template."""
    plain = not model.config.model_type.startswith(PRUNED)
    template, mask = run.template, run.tokenizer.mask_token
    return CARD.format(
        task="text-generation" if template.causal else "fill-mask",
        name=name,
        story=story,
        accuracy=accuracy,
        classes=", ".join(run.class_names),
        label_words=", ".join(run.label_words),
        dtype=run.provenance["dtype"],
        first="" if plain else "import skn  # registers the model\n",
        example=template.fill({"text": "a text", "pair": "another text"}, mask)[0],
        loads="The folder loads without skn, by transformers alone."
        if plain
        else "The folder loads after `import skn`.",
        template=template.written.replace("\n", "\\n"),
    )
