"""A device map: parts on the disk compute the same as a model in memory, and the digest covers them."""

from __future__ import annotations

import pytest
import torch
from prompted_scores import scores

from skn.errors import InputError
from skn.model import placement
from skn.model.backbone import Backbone, FfnSite
from skn.neurons import probing

CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # accelerate runs the whole LM head instead of some of its rows
EVERYTHING = {"": "disk"}


def layers_on_disk(backbone: Backbone) -> dict[str, str]:
    """The map that puts every layer but the first on the disk, and the rest on the CPU."""
    names = [name for name, _ in backbone.model.named_parameters(remove_duplicate=False)]
    inside = f"{backbone.family.base}.{backbone.family.layers}."
    layers = {name.removeprefix(inside).split(".")[0] for name in names if name.startswith(inside)}
    rest = {name.rpartition(".")[0]: "cpu" for name in names if not name.startswith(inside)}
    return rest | {inside + layer: "cpu" if layer == "0" else "disk" for layer in layers}


@pytest.mark.parametrize("family", ("roberta", "bert-headless", "gpt2", "llama", "phi3", "gemma3_text", "opt"))
def test_offloaded_parts_compute_the_same(tiny, family):
    name = str(tiny(family))
    whole = Backbone.load(name)
    for device_map in (EVERYTHING, layers_on_disk(whole)):
        spread = Backbone.load(name, device_map=device_map)
        assert spread.spread and spread.loaded_digest == spread.digest() == whole.loaded_digest
        assert spread.ffn_sites[2].up.weight.is_meta and spread.ffn_sites[2].device == torch.device("cpu")
        torch.testing.assert_close(scores(spread), scores(whole), **CLOSE)
        assert spread.ffn_sites[2].up.weight.is_meta


def test_another_dtype_than_the_stored_one(tiny):
    """The digest is that of the stored values, though weights on the disk cannot be converted in place."""
    name = str(tiny("llama"))
    half, whole = Backbone.load(name, dtype="bfloat16"), Backbone.load(name)
    spread = Backbone.load(name, dtype="bfloat16", device_map=EVERYTHING)
    assert spread.loaded_digest == whole.loaded_digest and spread.dtype == torch.bfloat16
    torch.testing.assert_close(scores(spread), scores(half), rtol=1e-2, atol=1e-2)


def test_auto_takes_one_device_that_holds_the_model(tiny):
    backbone = Backbone.load(str(tiny("llama")), "cpu", device_map="auto")
    assert not backbone.spread and torch.equal(scores(backbone), scores(Backbone.load(str(tiny("llama")))))


def test_auto_offloads_what_memory_does_not_hold(tiny, monkeypatch):
    monkeypatch.setattr("accelerate.utils.get_max_memory", lambda: {0: 10**9, "cpu": 190_000})
    assert placement.loading("cpu", "auto")["max_memory"] == {"cpu": 171_000}
    backbone = Backbone.load(str(tiny("llama")), "cpu", device_map="auto")
    assert backbone.spread and any(parameter.is_meta for parameter in backbone.model.parameters())
    torch.testing.assert_close(scores(backbone), scores(Backbone.load(str(tiny("llama")))), **CLOSE)


def test_refusals(tiny, tmp_path):
    llama = str(tiny("llama"))
    for given in ("balanced", "", {}):
        with pytest.raises(InputError, match="--device-map .*use auto|device_map.*use auto"):
            Backbone.load(llama, device_map=given)
    for dtype in ("int8", "bf16x3"):
        with pytest.raises(InputError, match="needs the whole model on one device"):
            Backbone.load(llama, dtype=dtype, device_map="auto")
    with pytest.raises(InputError, match="offloads deberta.encoder.rel_embeddings"):
        Backbone.load(str(tiny("deberta-v2")), device_map=EVERYTHING)
    with pytest.raises(InputError, match="no weights that transformers can load"):
        Backbone.load(llama, device_map={"no.such.part": "disk"})
    model = Backbone.load(llama).model
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="needs weights in safetensors files"):
        Backbone.load(str(tmp_path), device_map="auto")


def test_states_are_on_the_device_of_their_layer(tiny, monkeypatch):
    backbone = Backbone.load(str(tiny("llama")))
    monkeypatch.setattr(FfnSite, "device", property(lambda site: torch.device("meta" if site.layer == 1 else "cpu")))
    states = probing._per_site(backbone, (2,), torch.float64, wide=True)
    assert [state.device.type for state in states] == ["cpu", "meta", "cpu"]
