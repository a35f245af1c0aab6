"""The inputs of check.py and bench.py: random models of RoBERTa's shape and made-up texts.

No download, no tokenizer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import torch
import transformers

from skn.inference.batches import Batch, Encoded, collate
from skn.model.backbone import Backbone
from skn.model.templated import TemplatedModel
from skn.model.tuned import TunedModel
from skn.pruned.pruning import prune
from skn.training.losses import Part

PROMPT_LENGTH = 16
MASK_TOKEN = 4


WORDS, FEW_WORDS = 50265, 1000  # sizes of a vocabulary; the small one is for a dry run


def prompted_models(
    device: str, dtype: torch.dtype, layers: int, hidden: int, kept: int, first: int, small: bool = False
) -> dict:
    """Return "dense", and "pruned" to ``kept`` neurons in the layers from ``first`` on.

    All dtypes have the same weights.
    """
    torch.manual_seed(0)
    config = transformers.RobertaConfig(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=hidden // 64, intermediate_size=4 * hidden,
        vocab_size=FEW_WORDS if small else WORDS, max_position_embeddings=514, type_vocab_size=1,
        layer_norm_eps=1e-5,
    )  # fmt: skip
    backbone = Backbone(transformers.RobertaForMaskedLM(config).eval().requires_grad_(False))
    dense = TunedModel.fresh(backbone, [100, 200], MASK_TOKEN, PROMPT_LENGTH).requires_grad_(False)
    keep = torch.ones(layers, 4 * hidden, dtype=torch.bool)
    keep[first:, kept:] = False
    pruned = prune(dense, keep, torch.zeros(keep.shape, dtype=torch.float64), ["no", "yes"]).requires_grad_(False)
    for model in (dense, pruned):
        model.to(device, dtype)
        model.backbone.model.to(device, dtype)
    return {"dense": dense, "pruned": pruned}


DECODERS = ("llama", "gpt_neox", "opt")


def decoder(name: str, device: str) -> TemplatedModel:
    """Return a small random decoder that goes on after a text: of a gated family, and of two others."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": FEW_WORDS}
    sizes |= {"ffn_dim": 512, "word_embed_proj_dim": 128} if name == "opt" else {"intermediate_size": 512}
    config = transformers.AutoConfig.for_model(name, **sizes, max_position_embeddings=128, pad_token_id=0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False).to(device)
    return TemplatedModel(Backbone(model), [100, 200])


def ended(split: Encoded) -> Encoded:
    """Return a split whose texts are scored at their last token."""
    return replace(split, scored=[len(ids) - 1 for ids in split.input_ids])


def texts(lengths: list[int], small: bool = False) -> Encoded:
    """Return a split of texts with these numbers of tokens, and with labels by turns."""
    generator = torch.Generator().manual_seed(1)
    ids = [
        torch.randint(5, FEW_WORDS if small else WORDS, (length,), generator=generator).tolist() for length in lengths
    ]
    return Encoded(ids, None, torch.arange(len(ids)) % 2, 0)


# How many texts of SST-2's validation split have 4, 5, 6, … 40 tokens of BERT's vocabulary: 89% of the split.
SST2 = [2, 1, 2, 7, 12, 11, 22, 18, 28, 20, 27, 23, 23, 22, 33, 28, 38, 29, 31, 25, 26, 37, 30, 31, 26, 26, 29, 24, 25, 17, 23, 21, 16, 11, 11, 16, 17]  # fmt: skip


def lengths_of(rows: int, tokens: int) -> list[int]:
    """Return the numbers of tokens, without the prompt, of texts that have ``tokens`` tokens with the prompt."""
    return [tokens - PROMPT_LENGTH] * rows


def sst2_lengths(rows: int) -> list[int]:
    """Return numbers of tokens like those of SST-2, drawn once for all. The longest text has the most, 40."""
    return [40, *random.Random(0).choices(range(4, 4 + len(SST2)), SST2, k=rows - 1)]


def batch_of(model: object, lengths: list[int], small: bool = False) -> Batch:
    """Return a batch of texts with these numbers of tokens, on the model's device."""
    return collate(texts(lengths, small), list(range(len(lengths)))).to(model.backbone.device)


def trained(backbone: Backbone, count: int) -> list[TunedModel]:
    """Return models with a prompt each, to be trained over one backbone."""
    return [TunedModel.fresh(backbone, [100, 200], MASK_TOKEN, PROMPT_LENGTH, seed=seed) for seed in range(count)]


def part_of(model: TunedModel, lengths: list[int], autocast: bool, small: bool = False) -> Part:
    """Return a training's part of a step, on the device: texts of so many tokens."""
    batch = collate(texts(lengths, small), list(range(len(lengths)))).to(model.backbone.device)
    return Part(model, batch.input_ids, batch.attention_mask, batch.label, autocast=autocast)


@torch.inference_mode()
def original(model: TunedModel, prompted: object, use: Callable[[torch.Tensor], object]) -> torch.Tensor:
    """Run a batch as the original code does: padded, logits of the whole vocabulary, and ``use`` of each layer's
    activation.
    """
    sites = model.backbone.ffn_sites
    handles = [site.activation.register_forward_hook(lambda _m, _i, out: use(out) and None) for site in sites]
    try:
        return model.backbone.model(
            inputs_embeds=prompted.inputs_embeds,
            attention_mask=prompted.attention_mask,
            position_ids=prompted.position_ids,
        ).logits
    finally:
        for handle in handles:
            handle.remove()
