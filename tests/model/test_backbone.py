"""Backbones: every family's scores against the plain Hugging Face forward, and nothing formed that is not needed."""

from __future__ import annotations

import pytest
import torch
import transformers
from tiny_models import DECODERS, ENCODERS

from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.model.families import NO_TABLE
from skn.model.pretrained import load_tokenizer

FAMILIES = (*ENCODERS, "bert-headless", *DECODERS)
TEXTS = ["the film is funny", "although the plot is slow , the ending is wonderful and the cast is charming", "dull"]


def plain_scores(folder, prompt, ids, mask, types, label_ids):
    """One unpadded example at a time through the public Hugging Face model, full vocabulary."""
    config = transformers.AutoConfig.from_pretrained(folder)
    causal = config.model_type in DECODERS
    headless = (config.architectures or [""])[0] == "BertModel"
    auto = (
        transformers.AutoModelForCausalLM if causal
        else transformers.AutoModel if headless else transformers.AutoModelForMaskedLM
    )  # fmt: skip
    model = auto.from_pretrained(folder).eval()
    rows = []
    for row in range(len(ids)):
        text = model.get_input_embeddings()(ids[row, mask[row] == 1])
        embeds = torch.cat([text, prompt] if causal else [prompt, text])[None]
        extra = {}
        if types is not None and not causal:
            extra["token_type_ids"] = torch.cat(
                [torch.zeros(len(prompt), dtype=torch.int64), types[row, mask[row] == 1]]
            )[None]
        out = model(inputs_embeds=embeds, **extra)
        if headless:
            words = torch.nn.functional.normalize(model.get_input_embeddings().weight[label_ids], dim=-1)
            rows.append(4 * out.last_hidden_state[0, 0] @ words.T)
        else:
            rows.append(out.logits[0, -1 if causal else 0, label_ids])
    return torch.stack(rows)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pairs", [False, True])
def test_scores_equal_plain_forward(tiny, family, pairs):
    folder = tiny(family)
    tokenizer, backbone = load_tokenizer(str(folder)), Backbone.load(str(folder))
    encoded = [tokenizer(*([t, "a fine ending"] if pairs else [t])) for t in TEXTS]
    width = max(len(e["input_ids"]) for e in encoded)

    def pad(key):
        return torch.tensor([e[key] + [0] * (width - len(e[key])) for e in encoded])

    ids, mask = pad("input_ids"), pad("attention_mask")
    types = pad("token_type_ids") if "token_type_ids" in encoded[0] else None
    prompt = torch.randn(5, backbone.embedding_size, generator=torch.Generator().manual_seed(1))
    label_ids = torch.tensor([7, 200])
    with torch.no_grad():
        batch = backbone.assemble(prompt, ids, mask, types)
        torch.testing.assert_close(
            backbone.scores(batch, label_ids),
            plain_scores(folder, prompt, ids, mask, types, label_ids),
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_at_the_maximum_length(tiny, family):
    folder = tiny(family)
    backbone = Backbone.load(str(folder))
    assert backbone.max_positions == 64
    prompt = torch.randn(5, backbone.embedding_size, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(10, 400, (1, backbone.max_positions - 5), generator=torch.Generator().manual_seed(2))
    mask, label_ids = torch.ones_like(ids), torch.tensor([7, 200])
    with torch.no_grad():
        batch = backbone.assemble(prompt, ids, mask)
        assert batch.inputs_embeds.shape[1] == 64
        torch.testing.assert_close(
            backbone.scores(batch, label_ids),
            plain_scores(folder, prompt, ids, mask, None, label_ids),
            rtol=1e-5,
            atol=1e-5,
        )
        if backbone.family.positions == NO_TABLE or family == "deberta-v2":  # no table ends there
            return
        with pytest.raises((IndexError, RuntimeError)):
            backbone.last_hidden(
                backbone.assemble(prompt, torch.cat([ids, ids[:, :1]], 1), torch.ones(1, 60, dtype=torch.int64))
            )


@pytest.mark.parametrize("family", FAMILIES)
def test_vocabulary_is_never_scored(tiny, family, monkeypatch):
    """Training and inference both go through ``scores``; the decoder's own forward must not run."""
    backbone = Backbone.load(str(tiny(family)))
    vocabulary = backbone.config.vocab_size
    real = torch.nn.functional.linear

    def narrow_linear(x, weight, bias=None):
        out = real(x, weight, bias)
        assert out.shape[-1] != vocabulary
        return out

    monkeypatch.setattr(torch.nn.functional, "linear", narrow_linear)
    batch = backbone.assemble(
        torch.zeros(3, backbone.embedding_size), torch.full((2, 4), 9), torch.ones(2, 4, dtype=torch.int64)
    )
    assert backbone.scores(batch, torch.tensor([5, 6, 7])).shape == (2, 3)


def test_frozen_and_in_eval_mode(tiny):
    backbone = Backbone.load(str(tiny("roberta")))
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not any(m.training for m in backbone.model.modules())


def test_digest_follows_the_weights(tiny):
    first, again = (Backbone.load(str(tiny("bert"))) for _ in range(2))
    assert first.digest() == again.digest()
    with torch.no_grad():
        again.ffn_sites[0].up.bias[0] += 1
    assert first.digest() != again.digest()


def test_headless_digest_ignores_the_random_head(tiny):
    assert Backbone.load(str(tiny("bert-headless"))).digest() == Backbone.load(str(tiny("bert-headless"))).digest()


def test_incomplete_weights_are_refused(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    source = tiny("roberta")
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(source / "model.safetensors")
    del tensors["roberta.encoder.layer.1.output.dense.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="not a complete roberta model"):
        Backbone.load(str(tmp_path))
