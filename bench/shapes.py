"""The inputs of the benchmarks: models of roberta-base's shape with random weights, the real small encoder, and data."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import torch
import transformers
from torch import nn

from skn.data import corpus
from skn.data.spec import DataSpec
from skn.data.splits import read_data
from skn.inference.batches import Encoded, tokenize
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.templated import TemplatedModel
from skn.model.tuned import TunedModel
from skn.pruned.pruning import prune
from skn.stages.demo import demo_backbone

PROMPT_LENGTH = 16
PRUNED_LAYERS, KEPT = range(3, 12), 61
LAYERS = {"pruned": PRUNED_LAYERS, "dense": range(0)}
SPLITS = ("train", "validation", "test")


@torch.inference_mode(False)  # tensors of inference mode count no edits, so they would be packed anew at every call
def roberta_base(dtype: torch.dtype = torch.float32) -> TunedModel:
    """A model of roberta-base's shape with random weights, a prompt and two label words."""
    torch.manual_seed(0)
    config = transformers.RobertaConfig(max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    backbone = Backbone(transformers.RobertaForMaskedLM(config).eval().requires_grad_(False).to(dtype))
    return TunedModel.fresh(backbone, [100, 200], 4, PROMPT_LENGTH).requires_grad_(False)


@torch.inference_mode(False)
def pruned_roberta_base(dtype: torch.dtype = torch.float32, layers: range = PRUNED_LAYERS) -> nn.Module:
    """The same model with some layers cut to 61 neurons, as a Hugging Face model."""
    keep = torch.ones(12, 3072, dtype=torch.bool)
    keep[layers.start : layers.stop, KEPT:] = False
    mean = torch.zeros(12, 3072, dtype=torch.float64)
    return prune(roberta_base(), keep, mean, ["no", "yes"]).requires_grad_(False).to(dtype)


def decoder(name: str) -> TemplatedModel:
    """A decoder with random weights that goes on after a text, with two label words: of Pythia-160m's shape, or of that of
    SmolLM-135M, a small Llama.
    """
    torch.manual_seed(0)
    config = {
        "pythia-160m": transformers.GPTNeoXConfig(
            vocab_size=50304, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072
        ),
        "llama-135m": transformers.LlamaConfig(
            vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
            intermediate_size=1536, tie_word_embeddings=True,
        ),
    }[name]  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    return TemplatedModel(Backbone(model.eval().requires_grad_(False)), [100, 200])


def in_int8(model: nn.Module) -> nn.Module:
    """Return a copy of a pruned model in int8. Weights are random, so a few random texts calibrate it."""
    ids = torch.randint(5, 50000, (8, 40), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode(False):
        return copy.deepcopy(model).to_int8(ids.clone())


def minilm() -> tuple[TunedModel, object]:
    """all-MiniLM-L6-v2 with a random prompt, and its tokenizer."""
    folder = str(demo_backbone())
    tokenizer = load_tokenizer(folder)
    model = TunedModel.fresh(Backbone.load(folder), [0, 1], tokenizer.mask_token_id, PROMPT_LENGTH)
    return model.requires_grad_(False), tokenizer


def texts(data: str | None, split: str, rows: int):
    """The first rows of a split: of the given folder, or of the built-in corpus."""
    if data is None:
        data = tempfile.mkdtemp()
        corpus.write(Path(data))
    found = read_data(DataSpec(data=data, text_column="sentence"))
    return found.examples.take(found.rows[split][:rows])


def splits(data: str | None, tokenizer: object, rows: int) -> dict[str, Encoded]:
    return {split: tokenize(texts(data, split, rows), tokenizer, 128) for split in SPLITS}
