"""Tiny models of every family, each with a tokenizer of the family's kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from skn.data import corpus

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
WORDS = ["negative", "positive", "neutral", "conflict", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]


def _texts() -> list[str]:
    return [text for text, _ in corpus.generate(seed=0, size=600)]


def _wordpiece() -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        [*_texts(), *WORDS * 50], trainers.WordPieceTrainer(vocab_size=900, special_tokens=special)
    )
    ends = [("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


def _byte_level(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([*_texts(), *WORDS * 50], trainer)
    return tokenizer


def _roberta_tokenizer() -> transformers.PreTrainedTokenizerFast:
    tokenizer = _byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        unk_token="<unk>", pad_token="<pad>", mask_token="<mask>", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def _gpt2_tokenizer() -> transformers.PreTrainedTokenizerFast:
    tokenizer = _byte_level(["<|endoftext|>"])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


# Configurations of families beyond RoBERTa's and BERT's kind, with what differs from the common sizes.
POSITIONS = {"max_position_embeddings": 64}
DECODER = {**POSITIONS, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
GROUPED = {**DECODER, "num_key_value_heads": 2}
CONFIGS = {
    "electra": {**POSITIONS, "embedding_size": 20},
    "distilbert": {**POSITIONS, "dim": 32, "hidden_dim": 48, "n_layers": 3, "n_heads": 4},
    "mpnet": {"max_position_embeddings": 66, "pad_token_id": 1},
    "deberta-v2": {
        **POSITIONS, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
        "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True, "type_vocab_size": 0,
    },
    "modernbert": {
        **POSITIONS, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3,
        "local_attention": 8, "global_attn_every_n_layers": 2,
    },
    "gpt_neox": DECODER,
    "opt": {**DECODER, "ffn_dim": 48, "word_embed_proj_dim": 20},
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 16},
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 10},
    "gemma": {**GROUPED, "head_dim": 10},
    "gemma2": {**GROUPED, "head_dim": 10, "sliding_window": 16, "query_pre_attn_scalar": 10},
    "gemma3_text": {**GROUPED, "head_dim": 10, "sliding_window": 16, "query_pre_attn_scalar": 10},
    "phi3": {**GROUPED, "original_max_position_embeddings": 64},
    "olmo2": GROUPED,
}  # fmt: skip
ENCODERS = ("roberta", "xlm-roberta", "camembert", "bert", "electra", "distilbert", "mpnet", "deberta-v2", "modernbert")
DECODERS = ("gpt2", *(name for name in CONFIGS if name not in ENCODERS))


def _model(family: str, vocabulary: int) -> transformers.PreTrainedModel:
    common = {**SIZES, "vocab_size": vocabulary}
    if family == "gpt2":
        config = transformers.GPT2Config(
            n_embd=32, n_layer=3, n_head=4, n_inner=48, n_positions=64, vocab_size=vocabulary
        )
        return transformers.GPT2LMHeadModel(config)
    if family.startswith("bert"):
        config = transformers.BertConfig(**common, max_position_embeddings=64)
        return (transformers.BertModel if family == "bert-headless" else transformers.BertForMaskedLM)(config)
    auto = transformers.AutoModelForMaskedLM if family in ENCODERS else transformers.AutoModelForCausalLM
    if family in CONFIGS:
        return auto.from_config(transformers.AutoConfig.for_model(family, **(common | CONFIGS[family])))
    config = transformers.AutoConfig.for_model(
        family, **common, max_position_embeddings=66, pad_token_id=1, type_vocab_size=1
    )
    return auto.from_config(config)


_WORDPIECE = ("bert", "bert-headless", "electra", "distilbert", "deberta-v2", "modernbert")
TOKENIZERS = {
    **dict.fromkeys(ENCODERS, _roberta_tokenizer), **dict.fromkeys(_WORDPIECE, _wordpiece),
    **dict.fromkeys(DECODERS, _gpt2_tokenizer),
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """``tiny(family)`` is the folder of a random model of that family.

    Its weights are large enough for different outputs.
    """
    made: dict[str, Path] = {}

    def build(family: str) -> Path:
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            tokenizer = TOKENIZERS[family]()
            torch.manual_seed(0)
            model = _model(family, len(tokenizer)).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[family] = folder
        return made[family]

    return build
