"""skn: find skill neurons in pretrained Transformers, prove that they matter, keep only them.

The names below are loaded at their first use: ``import skn`` imports neither torch nor transformers, and registers no
pruned models. The first use of transformers' ``AutoConfig``, through which every Auto class reads a folder, registers
them. The order in which the two packages are imported does not matter.
"""

from importlib import import_module as _import
from typing import TYPE_CHECKING

from skn.hooks import on_first_use as _on_first_use

# Each name of the Python face has a line here, for editors and type checkers, and a line in the table below, for run
# time. A test checks that the two agree.
if TYPE_CHECKING:
    from skn.data.splits import load_data as load_data
    from skn.errors import InputError as InputError
    from skn.errors import SknError as SknError
    from skn.inference.compute import Compute as Compute
    from skn.neurons.activations import activate as activate
    from skn.neurons.exemplars import exemplars as exemplars
    from skn.neurons.mask import mask as mask
    from skn.neurons.mask_options import MaskOptions as MaskOptions
    from skn.neurons.neuron_sets import NeuronSets as NeuronSets
    from skn.neurons.off_target import off_target as off_target
    from skn.neurons.off_target_seeds import off_target_over_seeds as off_target_over_seeds
    from skn.neurons.probe import probe as probe
    from skn.neurons.ranking import rank as rank
    from skn.neurons.selection import Contrast as Contrast
    from skn.neurons.statistics import NeuronStatistics as NeuronStatistics
    from skn.neurons.tested import significance as significance
    from skn.pruned.evaluation import evaluate as evaluate
    from skn.pruned.export import export as export
    from skn.pruned.modeling import PrunedBertForMaskedLM as PrunedBertForMaskedLM
    from skn.pruned.modeling import PrunedBertForPromptClassification as PrunedBertForPromptClassification
    from skn.pruned.modeling import PrunedRobertaForMaskedLM as PrunedRobertaForMaskedLM
    from skn.pruned.modeling import PrunedRobertaForPromptClassification as PrunedRobertaForPromptClassification
    from skn.pruned.predict import predict as predict
    from skn.pruned.prune import prune as prune
    from skn.pruned.pruning import pruned_model as pruned_model
    from skn.pruned.stock import stock_model as stock_model
    from skn.rsa.search import SearchOptions as SearchOptions
    from skn.rsa.search import searchlight as searchlight
    from skn.runs.compare import compare as compare
    from skn.runs.run import open_run as open_run
    from skn.runs.tune import tune as tune

__version__ = "0.1.0"

_HOMES = {
    "InputError": "skn.errors",
    "PrunedBertForMaskedLM": "skn.pruned.modeling",
    "PrunedBertForPromptClassification": "skn.pruned.modeling",
    "PrunedRobertaForMaskedLM": "skn.pruned.modeling",
    "PrunedRobertaForPromptClassification": "skn.pruned.modeling",
    "SknError": "skn.errors",
    "Compute": "skn.inference.compute",
    "Contrast": "skn.neurons.selection",
    "MaskOptions": "skn.neurons.mask_options",
    "NeuronSets": "skn.neurons.neuron_sets",
    "NeuronStatistics": "skn.neurons.statistics",
    "SearchOptions": "skn.rsa.search",
    "activate": "skn.neurons.activations",
    "compare": "skn.runs.compare",
    "evaluate": "skn.pruned.evaluation",
    "exemplars": "skn.neurons.exemplars",
    "export": "skn.pruned.export",
    "load_data": "skn.data.splits",
    "mask": "skn.neurons.mask",
    "off_target": "skn.neurons.off_target",
    "off_target_over_seeds": "skn.neurons.off_target_seeds",
    "open_run": "skn.runs.run",
    "predict": "skn.pruned.predict",
    "probe": "skn.neurons.probe",
    "prune": "skn.pruned.prune",
    "pruned_model": "skn.pruned.pruning",
    "rank": "skn.neurons.ranking",
    "searchlight": "skn.rsa.search",
    "significance": "skn.neurons.tested",
    "stock_model": "skn.pruned.stock",
    "tune": "skn.runs.tune",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'skn' has no attribute '{name}'")
    value = globals()[name] = getattr(_import(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


_on_first_use(
    "transformers.models.auto.configuration_auto",
    "AutoConfig",
    ("from_pretrained", "for_model"),
    lambda: _import("skn.pruned.modeling"),
)
