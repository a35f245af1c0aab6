"""The imports of the server from which test processes are forked: all that a command imports or builds before its own
work.
"""

import importlib
import pkgutil

import killing  # noqa: F401
import pydantic  # noqa: F401
import transformers.models.auto.tokenization_auto  # noqa: F401
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

import skn.commands
import skn.pruned.modeling
import skn.stages.mask_sweep
import skn.stages.sweep
import skn.stages.train

for module in pkgutil.iter_modules(skn.commands.__path__, "skn.commands."):
    importlib.import_module(module.name)

# transformers compiles a thousand expressions at the first load of a model.
for model_type in ("roberta", "bert", "gpt2"):
    get_checkpoint_conversion_mapping(model_type)
