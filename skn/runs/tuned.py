"""The model of a run's tuned tensors."""

from __future__ import annotations

from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.model.extras import EXTRAS
from skn.model.templated import METHOD, TemplatedModel
from skn.model.tuned import TunedModel
from skn.store.artifacts import Artifact


def build_tuned(backbone: Backbone, tuned: Artifact) -> TunedModel | TemplatedModel:
    """Build the model of a ``tuned`` artifact over its backbone."""
    method, ids = tuned.meta["method"], tuned["label_ids"]
    if method != METHOD and tuned.get("prompt") is None:
        raise InputError(f"{tuned.path}: holds no prompt; make it again with 'skn train'")
    if (
        (method != METHOD and method not in EXTRAS)
        or not len(ids)
        or ids.min() < 0
        or ids.max() >= backbone.config.vocab_size
    ):
        raise InputError(
            f"{tuned.path}: damaged (its method or its label words are none); make it again with 'skn train'"
        )
    if method == METHOD:
        return TemplatedModel(backbone, ids).requires_grad_(False)
    try:
        model = TunedModel.from_tensors(backbone, tuned.tensors, method, tuned.meta["position_start"])
    except InputError as error:
        raise InputError(f"{tuned.path}: {error}; make it again with 'skn train'") from error
    return model.requires_grad_(False)
