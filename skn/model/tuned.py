"""The parameters that are tuned over a frozen backbone: a soft prompt, the biases (BitFit), or adapters.

A :class:`TunedModel` registers only the tuned parameters; its backbone is a plain attribute. So the optimizer, the
gradient clip and a checkpoint see only the tuned parameters, and ``train()`` cannot switch on the backbone's dropout.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.model.extras import EXTRAS, Extra
from skn.model.prompted import PromptedBatch

# Standard deviation of a fresh prompt: 1/30, as in the original code.
PROMPT_INIT_STD = 1 / 30


class TunedBackbone(Backbone):
    """The backbone of one tuned model, with modules of its own that hold the model's biases or adapters.

    Its other weights are the plain backbone's tensors, not copies. So no tuned parameter is ever in a module that
    another model runs, in whatever threads the models run.
    """

    def __init__(self, plain: Backbone, extra: Extra):
        super().__init__(_with_modules_of_its_own(plain.model), plain.headless, plain.bf16x3)
        self.plain = plain
        self.extra = extra
        self.loaded_digest = plain.loaded_digest
        extra.enter(self)

    @property
    def adapter_bottleneck(self) -> int | None:
        return self.extra.bottleneck or self.plain.adapter_bottleneck


def _with_modules_of_its_own(model: nn.Module) -> nn.Module:
    """Copy the modules of a model, over the same tensors and the same configuration."""
    shared = [model.config, *model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(thing): thing for thing in shared})


class TunedModel(nn.Module):
    """A backbone with a prompt: class scores [B, C] of texts. :meth:`fresh` and :meth:`from_tensors` make one.

    ``backbone`` is the given backbone or, if something inside the encoder is tuned, a :class:`TunedBackbone` over it.
    Several models may share one backbone.

    E is the width of the word embeddings.

    :param label_ids: [C] int64, the token of each class's label word.
    :param prompt: [rows, E], the tuned vectors: P − 1 after the mask embedding for an MLM backbone, P for a causal one.
    :param mask_embedding: [E], the frozen embedding at position 0; None for a causal backbone.
    :param extra: the tuned parameters inside the encoder. If there are any, the prompt is not tuned.
    :param position_start: position id of the first token, if it differs from the backbone's own.
    """

    def __init__(
        self,
        backbone: Backbone,
        label_ids: Tensor,
        prompt: Tensor,
        mask_embedding: Tensor | None,
        extra: Extra,
        position_start: int | None = None,
    ):
        super().__init__()
        plain = _plain(backbone)
        inside = bool(extra.tensors())
        if inside and plain.spread:
            raise InputError("--device-map: biases and adapters need the whole model on one device; leave it out")
        self.backbone = TunedBackbone(plain, extra) if inside else plain
        self.position_start = plain.position_start if position_start is None else position_start
        prompt_tuned = not inside and prompt.shape[0] > 0
        self.prompt = nn.Parameter(_float32_copy(prompt), requires_grad=prompt_tuned)
        self.register_buffer("mask_embedding", None if mask_embedding is None else _float32_copy(mask_embedding))
        self.register_buffer("label_ids", label_ids.to(torch.int64, copy=True))
        self.extra = extra
        self.to(plain.device)

    @classmethod
    def fresh(
        cls,
        backbone: Backbone,
        label_ids: Sequence[int],
        mask_token_id: int | None,
        prompt_length: int,
        method: str = "prompt",
        *,
        seed: int = 0,
        position_start: int | None = None,
    ) -> TunedModel:
        """Return a model at the start of a training, drawn from ``seed``.

        :param label_ids: C token ids, one for each class.
        :param mask_token_id: the mask token of the backbone's tokenizer; a causal backbone needs none.
        :param prompt_length: P, the mask included. An MLM backbone has P − 1 tuned vectors after the mask, a causal one
            P after the text.
        :param method: "prompt", "bitfit" or "adapter"; the latter two run with the mask alone (P = 1).
        """
        backbone, generator = _plain(backbone), torch.Generator().manual_seed(seed)
        rows = prompt_length if backbone.causal else prompt_length - 1
        prompt = torch.randn(rows, backbone.embedding_size, generator=generator) * PROMPT_INIT_STD
        mask = None if backbone.causal else backbone.embedding(torch.tensor(mask_token_id, device=backbone.device))
        extra = EXTRAS[method].fresh(backbone, generator)
        return cls(
            backbone, torch.tensor(label_ids), prompt, mask_embedding=mask, extra=extra, position_start=position_start
        )

    @classmethod
    def from_tensors(
        cls, backbone: Backbone, tensors: Mapping[str, Tensor], method: str, position_start: int | None = None
    ) -> TunedModel:
        """Make the model with these :meth:`tuned_tensors`. Raises :class:`InputError` if names or shapes differ."""
        backbone, size, extra = _plain(backbone), backbone.embedding_size, EXTRAS[method]
        classes, rows = (_length(tensors.get(name)) for name in ("label_ids", "prompt"))
        needed = {"label_ids": (classes,), "prompt": (rows, size)}
        if not backbone.causal:
            needed["mask_embedding"] = (size,)
        _check_fit(needed | extra.shapes(backbone), tensors)
        return cls(
            backbone,
            tensors["label_ids"],
            tensors["prompt"],
            mask_embedding=tensors.get("mask_embedding"),
            extra=extra.from_tensors(backbone, tensors),
            position_start=position_start,
        )

    @property
    def prompt_length(self) -> int:
        return self.prompt.shape[0] + (0 if self.backbone.causal else 1)

    def prompt_rows(self) -> Tensor:
        """The embeddings [P, E] at the prompt positions."""
        if self.mask_embedding is None:
            return self.prompt
        return torch.cat([self.mask_embedding[None], self.prompt])

    def assemble(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        _scored: Tensor | None = None,
    ) -> PromptedBatch:
        """Put the prompt into a batch of texts [B, T]. The prompt says which position is scored."""
        return self.backbone.assemble(
            self.prompt_rows(), input_ids, attention_mask, token_type_ids, self.position_start
        )

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Class scores ``logits`` [B, C] float32 and, given labels [B], the cross-entropy ``loss``."""
        batch = self.assemble(input_ids, attention_mask, token_type_ids)
        logits = self.backbone.scores(batch, self.label_ids).float()
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}

    def tuned_tensors(self) -> dict[str, Tensor]:
        """Return all tensors that a ``tuned`` artifact stores, by name, as copies on the CPU."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.own_tensors().items()}

    @torch.no_grad()
    def load_tuned(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors of :meth:`tuned_tensors` into this model.

        Raises :class:`InputError` if names or shapes differ.
        """
        own = self.own_tensors()
        _check_fit({name: tensor.shape for name, tensor in own.items()}, tensors)
        for name, tensor in tensors.items():
            own[name].copy_(tensor)

    def own_tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a ``tuned`` artifact stores, by name, themselves."""
        mask = {} if self.mask_embedding is None else {"mask_embedding": self.mask_embedding}
        return {"label_ids": self.label_ids, **mask, "prompt": self.prompt, **self.extra.tensors()}


def _plain(backbone: Backbone) -> Backbone:
    """Return the plain backbone under a tuned model's backbone; a plain backbone stays as it is."""
    return backbone.plain if isinstance(backbone, TunedBackbone) else backbone


def _length(tensor: Tensor | None) -> int:
    """Return the first size of a tensor, or 0 without a size."""
    return 0 if tensor is None or tensor.dim() == 0 else tensor.shape[0]


def _float32_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float32, copy=True)


def _check_fit(needed: Mapping[str, Sequence[int]], tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors whose names and shapes differ from ``needed``."""
    if needed.keys() != tensors.keys():
        names = sorted(needed.keys() ^ tensors.keys())[:4]
        raise InputError(f"the tuned tensors do not fit this backbone and method: {names}")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != tuple(needed[name]):
            raise InputError(f"tuned tensor '{name}' is {list(tensor.shape)}, this model needs {list(needed[name])}")
