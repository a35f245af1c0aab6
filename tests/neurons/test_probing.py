"""The probe against the plain way: forward hooks, every activation copied to numpy, float64."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from skn.data.spec import DataSpec
from skn.data.splits import read_data
from skn.inference.batches import batches_by_length, collate, tokenize
from skn.inference.readouts import MAX, MEAN, PROMPT
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.tuned import TunedModel
from skn.neurons.probing import nan_neurons, probe_hits, probe_moments

READOUTS = [PROMPT, MEAN, MAX]


def plain_activations(model, encoded, tokens):
    """Per read-out [N, L, P, F] float32, in the split's order, from hooks written for this test."""
    backbone = model.backbone
    sites = backbone.ffn_sites
    found = dict.fromkeys(READOUTS)
    for rows in batches_by_length(encoded, tokens, model.prompt_length):
        batch = collate(encoded, rows)
        outputs = []
        handles = [
            s.activation.register_forward_hook(lambda _m, _i, o, to=outputs: to.append(o.numpy().copy())) for s in sites
        ]
        prompted = model.assemble(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        with torch.no_grad():
            backbone.last_hidden(prompted)
        for handle in handles:
            handle.remove()
        for layer, out in enumerate(outputs):
            for i, row in enumerate(batch.rows.tolist()):
                length, width = int(batch.lengths[i]), out.shape[1]
                start = width - model.prompt_length - length if backbone.causal else model.prompt_length
                special = (
                    [] if backbone.causal else [0, 1, 2, 3, 4, 101, 102]
                )  # of the tiny tokenizers, and of MiniLM's
                own = out[i, start : start + length][~np.isin(batch.input_ids[i, :length], special)]
                values = {
                    PROMPT: out[i, prompted.prompt],
                    MEAN: own.astype(np.float64).mean(0).astype(np.float32)[None],
                    MAX: own.max(0)[None],
                }
                for readout, value in values.items():
                    if found[readout] is None:
                        found[readout] = np.zeros((len(encoded), len(sites), *value.shape), np.float32)
                    found[readout][row, layer] = value
    return found


def tuned(folder, classes=2, prompt_length=5):
    tokenizer, backbone = load_tokenizer(str(folder)), Backbone.load(str(folder))
    model = TunedModel.fresh(backbone, list(range(7, 7 + classes)), tokenizer.mask_token_id, prompt_length)
    return model.requires_grad_(False), tokenizer


def check_against_plain(model, train, held_out, tokens):
    moments, _ = probe_moments(model, train, tokens, READOUTS, "train")
    thresholds = {r: m.threshold() for r, m in moments.items()}
    hits, packed, logits = probe_hits(model, held_out, tokens, thresholds, "validation", with_bits=True)
    plain_train, plain_held = (plain_activations(model, e, tokens) for e in (train, held_out))
    for readout in READOUTS:
        act, label = plain_train[readout].astype(np.float64), train.label.numpy()
        for c in range(model.label_ids.numel()):
            assert moments[readout].count[c] == (label == c).sum()
            np.testing.assert_allclose(moments[readout].total[c], act[label == c].sum(0), rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(
                moments[readout].total_sq[c], (act[label == c] ** 2).sum(0), rtol=1e-12, atol=1e-12
            )
        np.testing.assert_allclose(thresholds[readout], act.mean(0), rtol=1e-12, atol=1e-12)
        exceeds = plain_held[readout].astype(np.float64) > thresholds[readout].numpy()
        for c in range(model.label_ids.numel()):
            assert np.array_equal(hits[readout].hits[c], exceeds[held_out.label.numpy() == c].sum(0))
        assert np.array_equal(packed[readout].numpy(), np.packbits(exceeds, axis=-1, bitorder="little"))
        assert torch.equal(hits[readout].count, torch.bincount(held_out.label, minlength=model.label_ids.numel()))
    return logits


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "bert", "bert-headless", "gpt2"])
def test_equals_the_plain_way(tiny, corpus_folder, family):
    model, tokenizer = tuned(tiny(family))
    data = read_data(DataSpec(data=str(corpus_folder)))
    splits = [tokenize(data.split(s), tokenizer, 40) for s in ("train", "validation")]
    logits = check_against_plain(model, *splits, tokens=150)
    assert logits.shape == (40, 2)


def test_equals_the_plain_way_on_the_real_encoder(minilm, corpus_folder):
    model, tokenizer = tuned(minilm)
    data = read_data(DataSpec(data=str(corpus_folder)))
    splits = [tokenize(data.split(s), tokenizer, 40) for s in ("validation", "test")]
    check_against_plain(model, *splits, tokens=600)


def test_many_classes_and_an_absent_one(tiny, corpus_folder):
    model, tokenizer = tuned(tiny("bert"), classes=5)
    data = read_data(DataSpec(data=str(corpus_folder)))
    encoded = [tokenize(data.split(s), tokenizer, 40) for s in ("train", "validation")]
    for e in encoded:
        e.label.copy_(torch.arange(len(e)) % 4)  # class 4 never occurs
    check_against_plain(model, *encoded, tokens=600)


def test_activations_near_their_threshold_are_counted(tiny, corpus_folder):
    model, tokenizer = tuned(tiny("roberta"))
    encoded = tokenize(read_data(DataSpec(data=str(corpus_folder))).split("test"), tokenizer, 40)
    act = plain_activations(model, encoded, 300)[PROMPT].astype(np.float64)
    threshold = act[3] + 4e-6  # within float error of one example at the least
    found = probe_hits(model, encoded, 300, {PROMPT: torch.from_numpy(threshold)}, "test", "hf")[0][PROMPT]
    distance = np.abs(act - threshold) / (1 + np.abs(threshold))
    low, high = ((distance <= bound).sum(axis=0) for bound in (0.99e-5, 1.01e-5))
    assert (low > 0).all() and (low <= found.near.numpy()).all() and (found.near.numpy() <= high).all()


@pytest.mark.parametrize("family", ["roberta", "gpt2"])
def test_batch_size_and_neighbours_do_not_matter(tiny, corpus_folder, family):
    """Padding is not seen; totals differ by float rounding of the activations only."""
    model, tokenizer = tuned(tiny(family))
    train = tokenize(read_data(DataSpec(data=str(corpus_folder))).split("train"), tokenizer, 40)
    one, many = (probe_moments(model, train, size, READOUTS, "train")[0] for size in (1, 2000))
    for readout in READOUTS:
        torch.testing.assert_close(one[readout].total, many[readout].total, rtol=1e-4, atol=1e-4)


def test_nan_neurons_are_named_and_never_exceed(tiny, corpus_folder):
    model, tokenizer = tuned(tiny("roberta"))
    with torch.no_grad():
        model.backbone.ffn_sites[1].up.bias[9] = torch.nan
    train = tokenize(read_data(DataSpec(data=str(corpus_folder))).split("train"), tokenizer, 40)
    moments, _ = probe_moments(model, train, 1000, [PROMPT], "train")
    named = nan_neurons(model.backbone, moments[PROMPT].total)
    assert (1, 9) in named and not any(layer == 0 for layer, _ in named)
    hits, *_ = probe_hits(model, train, 1000, {PROMPT: moments[PROMPT].threshold()}, "train")
    assert hits[PROMPT].hits[:, 1, :, 9].sum() == 0


def test_holds_one_layer_of_one_batch(tiny, corpus_folder):
    """No activation outlives its layer: when a layer's tap runs, the previous layer's activation is gone."""
    import weakref

    from skn import ops

    model, tokenizer = tuned(tiny("roberta"))
    train = tokenize(read_data(DataSpec(data=str(corpus_folder))).split("train"), tokenizer, 40)
    alive: list[weakref.ref] = []
    most = 0
    real = ops.accumulate_moments

    def watching(count, total, total_sq, act, labels):
        nonlocal most
        gc.collect()
        alive.append(weakref.ref(act._base if act._base is not None else act))
        most = max(most, sum(ref() is not None for ref in alive))
        real(count, total, total_sq, act, labels)

    ops.accumulate_moments = watching
    gc.collect()
    gc.freeze()  # what is there before the pass is not searched at every layer, nor later: see support/garbage.py
    try:
        probe_moments(model, train, 600, [PROMPT], "train")
    finally:
        ops.accumulate_moments = real
    assert len(alive) == 3 * len(batches_by_length(train, 600, 5)) > 3 and most <= 2
