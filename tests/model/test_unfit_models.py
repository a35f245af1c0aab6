"""A model that is not what its family says is refused in one line that names its folder, and nothing is formed first."""

from __future__ import annotations

import ast
import os
import time

import pytest
import torch
import transformers
from edited_folders import copied
from repository import REPOSITORY

from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.model.fit import check_word_scores
from skn.model.pretrained import load_config, load_tokenizer

CONFIGS = {
    "decoder": ({"is_decoder": True}, "says is_decoder; skn reads a roberta model as an encoder"),
    "cross-attention": ({"is_decoder": True, "add_cross_attention": True}, "says cross-attention"),
    "chunks": ({"chunk_size_feed_forward": 2}, "says chunk_size_feed_forward; set it to 0"),
    "relative positions": ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
    "no padding token": ({"pad_token_id": None}, "says no pad_token_id"),
    "many layers": ({"num_hidden_layers": 10**6}, "says num_hidden_layers 1000000; a whole number from 1 to 1,000"),
    "layers in words": ({"num_hidden_layers": "x"}, "config.json: no configuration .*num_hidden_layers.* got str"),
    "no heads": ({"num_attention_heads": 0}, "says num_attention_heads 0; a whole number from 1"),
    "odd heads": ({"num_attention_heads": 5}, "says 5 attention heads, which do not divide the hidden size 32"),
    "wide": ({"hidden_size": 2**20}, "says sizes of [0-9,]+ weights, but the weight files have [0-9,]+ bytes"),
    "negative": ({"vocab_size": -3}, "says vocab_size -3"),
    "eps in words": ({"layer_norm_eps": "1e-5"}, "config.json: no configuration .*layer_norm_eps.* got str"),
    "activation": ({"hidden_act": "gelo"}, "says the activation 'gelo', which transformers does not have"),
    "attention of a package": ({"attn_implementation": "flash_attention_2"}, "no weights .*FlashAttention2 .*package"),
    "quantized": ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "quantized weights"),
}


@pytest.mark.parametrize(("fields", "words"), CONFIGS.values(), ids=CONFIGS)
def test_configurations(tiny, tmp_path, fields, words):
    folder = copied(tiny("roberta"), tmp_path / "model", **fields)
    with pytest.raises(InputError, match=f"^{folder}.*{words}") as raised:
        Backbone.load(str(folder))
    assert "\n" not in str(raised.value)


def put(name, shape=(2, 2)):
    return lambda tensors: tensors.update({name: torch.zeros(shape)})


def take(*names):
    return lambda tensors: [tensors.pop(name) for name in names]


RELATIVE = "roberta.encoder.layer.0.attention.self.distance_embedding.weight"
WEIGHTS = {
    "beside the encoder's": (put(RELATIVE), f"its encoder has weights of another kind: {RELATIVE}"),
    "an adapter": (put("roberta.encoder.layer.1.output.adapters.a.down.weight"), "weights of another kind"),
    "encoder": (take("roberta.encoder.layer.1.output.dense.bias"), "not a complete roberta model, weights are missing"),
    "part of the head": (take("lm_head.dense.weight"), "weights are missing: lm_head.dense.weight"),
    "cut": (None, "no weights that transformers can load"),
}


@pytest.mark.parametrize("name", ["vocab_size", "intermediate_size", "max_position_embeddings"])
def test_weights_of_other_sizes(tiny, tmp_path, name):
    """The cause was a report of transformers' that nobody saw."""
    folder = copied(tiny("roberta"), tmp_path / "model", **{name: 20})
    with pytest.raises(
        InputError, match=r"weights have not the sizes that its config.json says \(.* is \[.*, expected "
    ):
        Backbone.load(str(folder))


@pytest.mark.parametrize(("change", "words"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(tiny, tmp_path, change, words):
    folder = copied(tiny("roberta"), tmp_path / "model", change)
    if change is None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"^{folder}: .*{words}"):
        Backbone.load(str(folder))


def test_heads_of_other_tasks_may_be_there_and_the_whole_lm_head_may_be_absent(tiny, tmp_path):
    source = transformers.AutoModelForMaskedLM.from_pretrained(tiny("roberta"))
    other = transformers.RobertaForSequenceClassification(source.config)
    other.roberta.load_state_dict(source.roberta.state_dict())
    other.save_pretrained(tmp_path / "classifier")
    assert Backbone.load(str(tmp_path / "classifier")).headless
    put_back = copied(tiny("roberta"), tmp_path / "two heads", put("classifier.dense.weight"))
    assert not Backbone.load(str(put_back)).headless


def test_a_decoder_without_its_own_output_weights(tiny, tmp_path):
    folder = copied(tiny("gpt2"), tmp_path / "model", tie_word_embeddings=False)
    with pytest.raises(InputError, match="weights are missing: lm_head.weight"):
        Backbone.load(str(folder))


def test_a_token_that_has_no_embedding(tiny, tmp_path):
    folder = copied(tiny("roberta"), tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    count = load_config(str(folder)).vocab_size
    with pytest.raises(InputError, match=f"token '<new>' is number {count}, but the model embeds {count}"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_no_file(tiny, tmp_path, file):
    folder = copied(tiny("roberta"), tmp_path / "model")
    (folder / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    for load in (Backbone.load, load_tokenizer):
        with pytest.raises(
            InputError, match=f"{folder / file}: a Git LFS pointer, not the file itself; fetch it with 'git lfs pull'"
        ):
            load(str(folder))


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "1.0", "model": {"type": "x"}}', "\0\0"])
def test_a_tokenizer_that_cannot_be_read(tiny, tmp_path, content):
    folder = copied(tiny("roberta"), tmp_path / "model")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=f"^{folder}: no tokenizer") as raised:
        load_tokenizer(str(folder))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["/nowhere/model", "some/where/model", "./model", "../nowhere", "a b", "x" * 5000, "", "a\0b"]
)
@pytest.mark.parametrize("load", [Backbone.load, load_tokenizer])
def test_the_hub_is_not_asked_for_what_it_cannot_have(monkeypatch, load, name):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("the network was asked"))
    start = time.perf_counter()
    with pytest.raises(InputError, match="no folder of this name, and no hub id could be it"):
        load(name)
    assert time.perf_counter() - start < 1


def test_no_code_of_a_folder_runs():
    """Every load by transformers says so; no answer to its question can let a folder's own Python in."""
    calls = []
    for file in (REPOSITORY / "skn").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "from_pretrained":
                if isinstance(node.func.value, ast.Call):
                    continue  # super().from_pretrained of a class that is known
                said = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                assert said.get("trust_remote_code", True) is False, f"{os.fspath(file)}:{node.lineno}"
                calls.append(node)
    assert len(calls) >= 3


def test_a_head_that_is_tied_to_something_else(tiny):
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny("llama"))
    check_word_scores("folder", model, headless=False)
    model.model.layers[1].mlp.up_proj.weight = model.lm_head.weight
    with pytest.raises(InputError, match="folder: its language-model head is tied to model.layers.1.mlp.up_proj, not"):
        check_word_scores("folder", model, headless=False)


def test_embeddings_of_another_width_score_no_hidden_state(tiny):
    model = transformers.AutoModelForMaskedLM.from_pretrained(tiny("electra"))
    with pytest.raises(InputError, match="word embeddings of width 20 cannot score hidden states of width 32"):
        check_word_scores("folder", model, headless=True)
