"""skn: find skill neurons in pretrained Transformers, prove that they matter, keep only them.

Importing skn registers the pruned models with the Hugging Face Auto classes, so that
``AutoModelForSequenceClassification.from_pretrained(folder)`` loads what ``skn prune`` wrote.
"""

from skn.errors import InputError, SknError
from skn.pruned import modeling
from skn.pruned.modeling import (
    PrunedBertForMaskedLM,
    PrunedBertForPromptClassification,
    PrunedRobertaForMaskedLM,
    PrunedRobertaForPromptClassification,
)

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "PrunedBertForMaskedLM",
    "PrunedBertForPromptClassification",
    "PrunedRobertaForMaskedLM",
    "PrunedRobertaForPromptClassification",
    "SknError",
    "__version__",
]

modeling.register()
