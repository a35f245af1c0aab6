"""Every family: a neuron's activation against a formula written by hand, whatever the padding and the attention."""

from __future__ import annotations

from operator import attrgetter

import pytest
import torch
import transformers
from tiny_models import DECODERS, ENCODERS

import skn
from skn.errors import InputError
from skn.inference.hf import GATE, UP, hooks
from skn.model.backbone import Backbone
from skn.model.families import FAMILIES, family_of
from skn.model.pretrained import load_config

ALL = (*ENCODERS, *DECODERS)


def _bert(layer, x):
    return layer.intermediate.intermediate_act_fn(layer.intermediate.dense(x))


def _llama(layer, x):
    return layer.mlp.act_fn(layer.mlp.gate_proj(x)) * layer.mlp.up_proj(x)


def _halves(projected, act):
    gate, up = projected.chunk(2, dim=-1)
    return act(gate) * up


# Family → (layers in the LM model, part of a layer that holds the FFN, activations of a layer from that part's input).
BY_HAND = {
    **{name: (f"{name}.encoder.layer", "intermediate", _bert) for name in ("roberta", "bert", "electra", "mpnet")},
    **dict.fromkeys(("xlm-roberta", "camembert"), ("roberta.encoder.layer", "intermediate", _bert)),
    "deberta-v2": ("deberta.encoder.layer", "intermediate", _bert),
    "distilbert": ("distilbert.transformer.layer", "ffn", lambda layer, x: layer.ffn.activation(layer.ffn.lin1(x))),
    "modernbert": ("model.layers", "mlp", lambda layer, x: _halves(layer.mlp.Wi(x), layer.mlp.act)),
    "gpt2": ("transformer.h", "mlp", lambda layer, x: layer.mlp.act(layer.mlp.c_fc(x))),
    "gpt_neox": ("gpt_neox.layers", "mlp", lambda layer, x: layer.mlp.act(layer.mlp.dense_h_to_4h(x))),
    "opt": (
        "model.decoder.layers",
        "fc1",
        lambda layer, x: layer.activation_fn(x @ layer.fc1.weight.T + layer.fc1.bias),
    ),
    **{name: ("model.layers", "mlp", _llama) for name in DECODERS if name not in ("gpt2", "gpt_neox", "opt", "phi3")},
    "phi3": ("model.layers", "mlp", lambda layer, x: _halves(layer.mlp.gate_up_proj(x), layer.mlp.activation_fn)),
}


def loaded(folder, family, **settings):
    auto = transformers.AutoModelForMaskedLM if family in ENCODERS else transformers.AutoModelForCausalLM
    return auto.from_pretrained(folder, **settings).eval()


@torch.no_grad()
def by_hand(model, family, ids, **inputs):
    """[L, S, F] of one text, from a hook on the part that holds the FFN."""
    where, part, activation = BY_HAND[family]
    rows, handles = [], []
    for layer in attrgetter(where)(model):
        hook = lambda _m, inputs, layer=layer: rows.append(activation(layer, inputs[0]))  # noqa: E731
        handles.append(getattr(layer, part).register_forward_pre_hook(hook))
    model(input_ids=ids[None], **inputs)
    for handle in handles:
        handle.remove()
    return torch.stack([row.reshape(-1, row.shape[-1]) for row in rows])


def texts(config):
    draw = torch.Generator().manual_seed(3)
    return [torch.randint(10, config.vocab_size, (length,), generator=draw) for length in (9, 4, 7)]


@torch.no_grad()
def means(model, rows, side, positions):
    """[texts, L, F]: the mean over each text's tokens, by the statistics of one batch with padding on this side."""
    width = max(map(len, rows)) + (0 if side is None else 2)
    ids, mask = torch.full((len(rows), width), 1), torch.zeros(len(rows), width, dtype=torch.int64)
    for at, row in enumerate(rows):
        start = width - len(row) if side == "left" else 0
        ids[at, start : start + len(row)], mask[at, start : start + len(row)] = row, 1
    statistics = skn.NeuronStatistics(model, classes=len(rows), readout="mean")
    with statistics.record(labels=torch.arange(len(rows)), attention_mask=mask):
        model(input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0) + positions)
    return statistics.compute().mean


@pytest.mark.parametrize("family", ALL)
def test_activations_equal_the_formula_whatever_the_padding(tiny, family):
    model = loaded(tiny(family), family)
    backbone = Backbone(model)
    rows = texts(model.config)
    expected = torch.stack([by_hand(model, family, row).mean(dim=1) for row in rows]).double()
    assert expected.shape == (3, 3, 48) and backbone.ffn_width == 48
    for side in ("left", "right"):
        together = means(model, rows, side, backbone.position_start)
        torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-5)
    for at, row in enumerate(rows):
        alone = means(model, [row], None, backbone.position_start)
        torch.testing.assert_close(alone[0], expected[at], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ALL)
def test_both_attentions_give_the_same_activations(tiny, family):
    eager = loaded(tiny(family), family, attn_implementation="eager")
    rows, start = texts(eager.config), Backbone(eager).position_start
    try:
        other = loaded(tiny(family), family, attn_implementation="sdpa")
    except ValueError as error:  # these have eager attention alone
        assert family in ("deberta-v2", "mpnet", "gemma2") and "scaled_dot_product" in str(error)
        return
    torch.testing.assert_close(
        means(other, rows, "left", start), means(eager, rows, "left", start), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("family", ALL)
def test_a_hook_sees_and_changes_what_the_down_projection_reads(tiny, family):
    backbone = Backbone.load(str(tiny(family)))
    seen, fed = [], []
    batch = backbone.assemble(
        torch.zeros(2, backbone.embedding_size), torch.full((2, 4), 9), torch.ones(2, 4, dtype=torch.int64)
    )
    with torch.no_grad(), hooks(backbone, lambda site, act: seen.append((site.layer, act)) or 2 * act):
        for site in backbone.ffn_sites:
            site.down.register_forward_pre_hook(lambda _m, inputs: fed.append(inputs[0]))
        backbone.last_hidden(batch)
    assert [layer for layer, _ in seen] == [0, 1, 2]
    for (_, tapped), down_input in zip(seen, fed, strict=True):
        assert tapped.shape == (2, 6, 48)
        torch.testing.assert_close(2 * tapped, down_input.view_as(tapped), rtol=0, atol=0)


@pytest.mark.parametrize("family", ALL)
def test_the_parts_of_a_gated_activation(tiny, family):
    """act(gate) alone, the input of act, and the product are parts of one formula."""
    backbone = Backbone.load(str(tiny(family)))
    parts = {part: [] for part in ("activation", GATE, UP)}
    batch = backbone.assemble(
        torch.zeros(2, backbone.embedding_size), torch.full((1, 4), 9), torch.ones(1, 4, dtype=torch.int64)
    )
    for part, seen in parts.items():
        with torch.no_grad(), hooks(backbone, lambda _, act, seen=seen: seen.append(act), part):
            backbone.last_hidden(batch)
    for whole, gate, before, site in zip(*parts.values(), backbone.ffn_sites, strict=True):
        assert whole.shape == gate.shape == before.shape == (1, 6, 48)
        act = (
            site.activation.intermediate_act_fn if hasattr(site.activation, "intermediate_act_fn") else site.activation
        )
        torch.testing.assert_close(act(before), gate, rtol=1e-6, atol=1e-6)
        assert torch.equal(whole, gate) != backbone.gated
    assert backbone.gated == (family in ("modernbert", *DECODERS[3:]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ALL)
def test_half_precision_is_near_float32(tiny, family, dtype):
    """The statistics read the activation in the dtype of the run."""
    rows = texts(load_config(str(tiny(family))))
    whole, half = (Backbone.load(str(tiny(family)), dtype=kind) for kind in ("float32", dtype))
    exact, found = (means(backbone.model, rows, "right", backbone.position_start) for backbone in (whole, half))
    assert half.dtype == getattr(torch, dtype) and not torch.equal(exact, found)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05 * exact.abs().max())


def config_of(model_type, **fields):
    return transformers.AutoConfig.for_model(model_type, **fields)


@pytest.mark.parametrize("model_type", ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v3", "gpt_oss"])
def test_mixtures_of_experts_are_refused(model_type):
    with pytest.raises(InputError, match=f"folder: a mixture of experts \\('{model_type}'\\)"):
        family_of(config_of(model_type), "folder")


def test_albert_is_refused_with_the_reason():
    with pytest.raises(InputError, match="ALBERT runs one layer's weights several times"):
        family_of(config_of("albert"))


@pytest.mark.parametrize(("model_type", "near"), [("t5", ""), ("gemma3", r" \(the nearest: gemma\)")])
def test_unknown_family(model_type, near):
    with pytest.raises(InputError, match=f"family '{model_type}' is not supported{near}; skn reads roberta, "):
        family_of(config_of(model_type))


def test_every_family_has_a_tiny_model():
    assert {name for name in FAMILIES if not name.startswith("skn_")} == set(ALL)


@pytest.mark.parametrize("family", ALL)
def test_the_configuration_of_every_family_is_checked(tiny, family):
    assert load_config(str(tiny(family))).model_type == family
