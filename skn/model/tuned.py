"""What is tuned over a frozen backbone: a soft prompt, the biases (BitFit), or adapters.

A :class:`TunedModel` registers only the tuned parameters; the backbone hangs on it as a plain attribute. So the
optimizer, the gradient clip and a checkpoint see what is tuned and nothing else, and ``train()`` cannot wake the
backbone's dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skn.errors import InputError
from skn.model.adapter import Adapter, bottleneck_of
from skn.model.backbone import Backbone, PromptedBatch

# Standard deviation of a fresh prompt: 1/30, as in the original code.
PROMPT_INIT_STD = 1 / 30


class TunedModel(nn.Module):
    """A backbone with a prompt: class scores [B, C] of texts.

    :param label_ids: token id of each class's label word.
    :param prompt_length: P. An MLM backbone has the frozen mask embedding at position 0 and P − 1 tuned vectors; a
        causal backbone has P tuned vectors after the text.
    :param method: "prompt", "bitfit" or "adapter"; the latter two run with the mask alone (P = 1).
    :param position_start: position id of the first token where it differs from the backbone's own.
    """

    def __init__(
        self,
        backbone: Backbone,
        label_ids: list[int],
        mask_token_id: int | None,
        prompt_length: int,
        method: str = "prompt",
        seed: int = 0,
        position_start: int | None = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.method = method
        self.position_start = backbone.position_start if position_start is None else position_start
        generator = torch.Generator().manual_seed(seed)
        rows = prompt_length if backbone.causal else prompt_length - 1
        prompt = torch.randn(rows, backbone.hidden_size, generator=generator) * PROMPT_INIT_STD
        self.prompt = nn.Parameter(prompt, requires_grad=method == "prompt" and rows > 0)
        mask = None if backbone.causal else backbone.embedding.weight[mask_token_id].detach().float().clone()
        self.register_buffer("mask_embedding", mask)
        self.register_buffer("label_ids", torch.tensor(label_ids, dtype=torch.int64))
        self.adapter_bottleneck: int | None = None
        self.extra_names: list[str] = []
        self.extra = METHODS[method](self, generator)
        self.to(backbone.device)

    @property
    def prompt_length(self) -> int:
        return self.prompt.shape[0] + (0 if self.backbone.causal else 1)

    def prompt_rows(self) -> Tensor:
        """The embeddings [P, H] at the prompt positions."""
        if self.mask_embedding is None:
            return self.prompt
        return torch.cat([self.mask_embedding[None], self.prompt])

    def assemble(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> PromptedBatch:
        """Texts with the prompt in place."""
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
        """Class scores ``logits`` [B, C] float32 and, given labels, the cross-entropy ``loss``."""
        batch = self.assemble(input_ids, attention_mask, token_type_ids)
        logits = self.backbone.scores(batch, self.label_ids).float()
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}

    def tuned_tensors(self) -> dict[str, Tensor]:
        """Everything that a ``tuned`` artifact stores, by name."""
        tensors = {"label_ids": self.label_ids}
        if self.mask_embedding is not None:
            tensors["mask_embedding"] = self.mask_embedding
        tensors["prompt"] = self.prompt
        tensors |= dict(zip(self.extra_names, self.extra, strict=True))
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def load_tuned(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors of :meth:`tuned_tensors` in; raises :class:`InputError` where names or shapes differ."""
        own: dict[str, Tensor] = {"label_ids": self.label_ids, "prompt": self.prompt}
        if self.mask_embedding is not None:
            own["mask_embedding"] = self.mask_embedding
        own |= dict(zip(self.extra_names, self.extra, strict=True))
        if own.keys() != tensors.keys():
            raise InputError(
                f"the tuned tensors do not fit this backbone and method: {sorted(own.keys() ^ tensors.keys())[:4]}"
            )
        for name, tensor in tensors.items():
            if tensor.shape != own[name].shape:
                raise InputError(
                    f"tuned tensor '{name}' is {list(tensor.shape)}, this model needs {list(own[name].shape)}"
                )
            own[name].copy_(tensor)


def _tune_prompt(_model: TunedModel, _generator: torch.Generator) -> nn.ParameterList:
    return nn.ParameterList()


def _tune_biases(model: TunedModel, _generator: torch.Generator) -> nn.ParameterList:
    """BitFit (Ben Zaken et al., ACL 2022): every bias of the encoder, in place in the backbone."""
    if model.backbone.dtype != torch.float32:
        raise InputError("--method bitfit trains the backbone's own biases and needs --dtype float32")
    found = {name: p for name, p in model.backbone.base.named_parameters() if name.endswith("bias")}
    model.extra_names = [f"bias.{name}" for name in found]
    return nn.ParameterList(parameter.requires_grad_(True) for parameter in found.values())


def _tune_adapters(model: TunedModel, generator: torch.Generator) -> nn.ParameterList:
    """One adapter behind each FFN. The up-projection starts at zero, so training starts at the backbone itself."""
    if getattr(model.backbone.config, "adapter_bottleneck", None):
        raise InputError("this pruned backbone has adapters already; tune a prompt or the biases over it")
    hidden = model.backbone.hidden_size
    model.adapter_bottleneck = bottleneck_of(hidden)
    parameters: list[nn.Parameter] = []
    for site in model.backbone.ffn_sites:
        adapter = Adapter(hidden, model.adapter_bottleneck)
        nn.init.normal_(adapter.down.weight, std=0.02, generator=generator)
        nn.init.zeros_(adapter.down.bias)
        nn.init.zeros_(adapter.up.weight)
        nn.init.zeros_(adapter.up.bias)
        adapter.to(device=model.backbone.device, dtype=model.backbone.dtype)
        adapter.attach(site.down)
        for name, parameter in adapter.named_parameters():
            model.extra_names.append(f"adapter.{site.layer}.{name}")
            parameters.append(parameter)
    return nn.ParameterList(parameters)


METHODS: dict[str, Callable[[TunedModel, torch.Generator], nn.ParameterList]] = {
    "prompt": _tune_prompt,
    "bitfit": _tune_biases,
    "adapter": _tune_adapters,
}
