"""all-MiniLM-L6-v2 (BERT architecture) as a RoBERTa folder with the same weights.

RoBERTa counts positions from padding_idx + 1, so the position table moves down by that much. RoBERTa has one token
type, so only the embedding of type 0 stays. Every other tensor is the same under another prefix.

    python scripts/minilm_as_roberta.py OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, BertModel, RobertaConfig, RobertaModel

from skn.stages.demo import demo_backbone

SHARED = (
    ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act")
    + ("hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps", "pad_token_id")
)  # fmt: skip


def as_roberta(bert: BertModel) -> RobertaModel:
    """The same encoder in the RoBERTa architecture, without a pooler."""
    shift = bert.config.pad_token_id + 1
    config = RobertaConfig(
        **{name: getattr(bert.config, name) for name in SHARED},
        max_position_embeddings=bert.config.max_position_embeddings + shift,
        type_vocab_size=1,
    )
    roberta = RobertaModel(config, add_pooling_layer=False)
    state = {name: tensor for name, tensor in bert.state_dict().items() if not name.startswith("pooler.")}
    positions = state["embeddings.position_embeddings.weight"]
    state["embeddings.position_embeddings.weight"] = torch.cat(
        [positions.new_zeros(shift, positions.shape[1]), positions]
    )
    state["embeddings.token_type_embeddings.weight"] = state["embeddings.token_type_embeddings.weight"][:1]
    roberta.load_state_dict(state)
    return roberta.eval()


def main(out: Path) -> None:
    source = demo_backbone()
    as_roberta(BertModel.from_pretrained(source)).save_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # RoBERTa has no second token type
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
