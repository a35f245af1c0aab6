"""Loading: the dtype that the files store, a digest that no dtype changes, shards, and conversion tensor by tensor."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
import transformers
from prompted_scores import scores
from safetensors.torch import load_file, save_file
from torch.multiprocessing.reductions import StorageWeakRef

from skn.model import loading, weights
from skn.model.backbone import Backbone
from skn.model.headers import stored_dtype

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@pytest.fixture
def stored_in(tiny, tmp_path):
    """``stored_in(dtype, family)``: the folder of a tiny model whose weights were rounded to a dtype and stored in it."""

    def build(dtype: torch.dtype, family: str = "llama", **how):
        folder = tmp_path / f"{family}-{dtype}-{len(how)}"
        model = Backbone.load(str(tiny(family))).model.to(dtype)
        model.save_pretrained(folder, **how)
        transformers.AutoTokenizer.from_pretrained(tiny(family)).save_pretrained(folder)
        return folder

    return build


@pytest.fixture
def loads(monkeypatch):
    """The dtypes that were asked of transformers."""
    asked, real = [], loading.load_model

    def load(auto, name, config, dtype, spread):
        asked.append(dtype)
        return real(auto, name, config, dtype, spread)

    monkeypatch.setattr(loading, "load_model", load)
    return asked


def by_hand(backbone: Backbone) -> str:
    """The digest of all weights in float32, in one piece."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(backbone.model.state_dict().items()):
        hasher.update(name.encode() + tensor.float().contiguous().numpy().tobytes())
    return hasher.hexdigest()[:16]


@pytest.mark.parametrize("half", HALVES)
def test_a_half_is_loaded_as_a_half_and_its_digest_is_that_of_float32(stored_in, loads, half, monkeypatch):
    folder = stored_in(HALVES[half])
    whole = Backbone.load(str(folder))
    expected = by_hand(whole)
    monkeypatch.setattr(weights, "_PIECE", 100)  # a weight is hashed in many pieces
    for dtype in ("float32", "bfloat16", "float16"):
        loads.clear()
        backbone = Backbone.load(str(folder), dtype=dtype)
        assert backbone.loaded_digest == whole.loaded_digest == expected
        assert loads == [torch.float32 if dtype == "float32" else HALVES[half]]
        assert {parameter.dtype for parameter in backbone.model.parameters()} == {getattr(torch, dtype)}
    assert Backbone.load(str(folder), dtype=half).digest() == expected


def test_the_headers_decide(stored_in, loads):
    folder = stored_in(torch.bfloat16)
    loads.clear()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float32"}))
    assert stored_dtype(str(folder)) == torch.bfloat16
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name].float()}, file, {"format": "pt"})  # two dtypes
    Backbone.load(str(folder), dtype="bfloat16")
    torch.save(tensors, folder / "pytorch_model.bin")
    file.unlink()
    assert stored_dtype(str(folder)) is None
    Backbone.load(str(folder), dtype="bfloat16")
    assert loads == [torch.float32, torch.float32]


def test_a_model_in_the_cache_of_the_hub(stored_in, tmp_path, monkeypatch):
    place = tmp_path / "hub" / "models--some--model"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    stored_in(torch.float16).rename(tmp_path / "snapshot")
    (place / "snapshots").mkdir()
    (tmp_path / "snapshot").rename(place / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert stored_dtype("some/model") == torch.float16


def test_shards(tiny, stored_in, loads):
    whole = Backbone.load(str(tiny("llama")))
    for dtype, own in (
        ("float32", whole),
        ("bfloat16", Backbone.load(str(stored_in(torch.bfloat16)), dtype="bfloat16")),
    ):
        folder = stored_in(getattr(torch, dtype), max_shard_size="20KB")
        assert len(list(folder.glob("*.safetensors"))) > 3
        loads.clear()
        backbone = Backbone.load(str(folder), dtype=dtype)
        assert loads == [getattr(torch, dtype)]
        assert backbone.loaded_digest == own.loaded_digest and torch.equal(scores(backbone), scores(own))


@pytest.mark.parametrize("family", ("roberta", "llama", "gemma3_text", "modernbert", "gpt_neox"))
def test_what_is_computed_does_not_depend_on_the_stored_dtype(stored_in, family):
    """Of the same values, in bfloat16 and in float32: buffers that no file stores must be the same, too."""
    half = stored_in(torch.bfloat16, family)
    auto = type(Backbone.load(str(half)).model)
    auto.from_pretrained(half, dtype=torch.float32).save_pretrained(half / "whole")
    for dtype in ("float32", "bfloat16"):
        assert torch.equal(
            scores(Backbone.load(str(half), dtype=dtype)), scores(Backbone.load(str(half / "whole"), dtype=dtype))
        )
    as_loaded = Backbone(auto.from_pretrained(half, dtype=torch.bfloat16).eval())
    assert torch.equal(scores(Backbone.load(str(half), dtype="bfloat16")), scores(as_loaded))


def test_conversion_holds_one_tensor_twice(tiny, monkeypatch):
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(tiny("llama")))
    tied, real, before = model.lm_head.weight is model.model.embed_tokens.weight, weights._converted, []

    def converted(tensor, device, dtype):
        assert all(old.expired() for old in before[:-1])
        before.append(StorageWeakRef(tensor.untyped_storage()))
        return real(tensor, device, dtype)

    monkeypatch.setattr(weights, "_converted", converted)
    weights.convert(model, torch.device("cpu"), torch.bfloat16)
    assert len(before) > 20 and (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
