"""Masks: each kind is what the formula says, at every position, on the chosen neurons only."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from skn.data.spec import DataSpec
from skn.data.splits import read_data
from skn.errors import InputError
from skn.inference.batches import tokenize
from skn.inference.engine import predict
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.tuned import TunedModel
from skn.neurons.masking import Mask
from skn.ops.noise import inverse_normal_table, keyed_normal, philox4x32


@pytest.fixture
def setting(tiny, corpus_folder):
    def build(family="roberta", method="prompt"):
        tokenizer, backbone = load_tokenizer(str(tiny(family))), Backbone.load(str(tiny(family)))
        model = TunedModel.fresh(backbone, [7, 8], tokenizer.mask_token_id, 3 if method == "prompt" else 1, method)
        encoded = tokenize(read_data(DataSpec(data=str(corpus_folder))).split("test"), tokenizer, 40)
        return model.requires_grad_(False), encoded

    return build


def run(model, encoded, mask, tokens=150):
    """Logits, and what reaches each down-projection, before and after the mask."""
    before, after = [], []
    sites = model.backbone.ffn_sites
    handles = [s.activation.register_forward_hook(lambda _m, _i, o: before.append(o)) for s in sites]
    handles += [s.down.register_forward_hook(lambda _m, i, _o: after.append(i[0])) for s in sites]
    logits = predict(model, encoded, tokens, "mask", "hf", mask=mask)
    for handle in handles:
        handle.remove()
    return logits, before, after


CHOSEN = torch.zeros(3, 48, dtype=torch.bool)
CHOSEN[0, [1, 7]] = True
CHOSEN[2, 40:] = True
MEAN = torch.linspace(-1, 1, 3 * 48, dtype=torch.float64).reshape(3, 48)


@pytest.mark.parametrize("kind", ["zero", "mean", "scale"])
def test_formula(setting, kind):
    model, encoded = setting()
    _, before, after = run(model, encoded, Mask(kind, CHOSEN, MEAN, alpha=0.25))
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        layer = i % 3
        expected = {"zero": torch.zeros_like(old), "mean": MEAN[layer].float().expand_as(old), "scale": old * 0.25}[
            kind
        ]
        torch.testing.assert_close(new, torch.where(CHOSEN[layer], expected, old), rtol=0, atol=0)


def test_each_neuron_may_have_a_factor_of_its_own(setting):
    model, encoded = setting()
    factor = torch.linspace(0, 1, 3 * 48).reshape(3, 48)
    _, before, after = run(model, encoded, Mask("scale", CHOSEN, alpha=0.25, factor=factor))
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        expected = torch.where(CHOSEN[i % 3], old * factor[i % 3], old)
        torch.testing.assert_close(new, expected, rtol=0, atol=0)


def test_gaussian_adds_one_value_for_each_example_and_neuron(setting):
    model, encoded = setting()
    _, before, after = run(model, encoded, Mask("gaussian", CHOSEN, alpha=0.5, seed=3), tokens=10_000)
    order = sorted(range(len(encoded)), key=lambda i: (-len(encoded.input_ids[i]), i))
    for layer, (old, new) in enumerate(zip(before, after, strict=True)):
        added = new - old
        expected = 0.5 * keyed_normal(3, torch.tensor(order), layer, torch.arange(48)) * CHOSEN[layer]
        torch.testing.assert_close(added, expected[:, None].expand_as(added), rtol=1e-5, atol=1e-5)


def test_gaussian_does_not_depend_on_batches(setting):
    model, encoded = setting()
    mask = Mask("gaussian", CHOSEN, alpha=0.5, seed=3)
    torch.testing.assert_close(run(model, encoded, mask, 1)[0], run(model, encoded, mask, 40)[0], rtol=1e-4, atol=1e-4)
    other = run(model, encoded, Mask("gaussian", CHOSEN, alpha=0.5, seed=4), 40)[0]
    assert (other - run(model, encoded, mask, 40)[0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    "family,method", [("bert", "prompt"), ("gpt2", "prompt"), ("roberta", "bitfit"), ("roberta", "adapter")]
)
def test_masks_act_on_every_family_and_method_and_leave_nothing_behind(setting, family, method):
    model, encoded = setting(family, method)
    plain = predict(model, encoded, 150)
    masked = run(model, encoded, Mask("zero", CHOSEN))[0]
    assert (plain - masked).abs().max() > 1e-4
    assert torch.equal(predict(model, encoded, 150), plain)


def test_nan_mean_is_refused():
    bad = MEAN.clone()
    bad[0, 7] = torch.nan
    with pytest.raises(InputError, match="neuron 0,7 is NaN"):
        Mask("mean", CHOSEN, bad)
    bad = MEAN.clone()
    bad[1, 7] = torch.nan  # not chosen: does not matter
    Mask("mean", CHOSEN, bad)


# ---- keyed noise -------------------------------------------------------------------------------------------------


def philox_oracle(counter, key):
    """Philox4x32-10 on Python integers, from the paper."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


# Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]  # fmt: skip


@pytest.mark.parametrize("counter,key,expected", KNOWN)
def test_philox_known_answers(counter, key, expected):
    assert philox_oracle(counter, key) == expected
    words = philox4x32(tuple(torch.tensor([c]) for c in counter), key)
    assert tuple(int(w) for w in words) == expected


def test_noise_is_a_function_of_its_key():
    seed, layer = 0x1234567890, 7
    examples, neurons = torch.tensor([0, 5, 2**33 + 1]), torch.tensor([0, 1, 7, 8, 3071])
    noise = keyed_normal(seed, examples, layer, neurons)
    table = inverse_normal_table()
    for i, example in enumerate(examples.tolist()):
        for j, neuron in enumerate(neurons.tolist()):
            counter = (example & 0xFFFFFFFF, example >> 32, layer, neuron // 8)
            word = philox_oracle(counter, (seed & 0xFFFFFFFF, seed >> 32))[neuron % 8 // 2]
            assert noise[i, j] == table[(word >> 16 * (neuron % 2)) & 0xFFFF]


def test_noise_is_normal():
    noise = keyed_normal(1, torch.arange(200), 0, torch.arange(512)).double()
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.25


PINNED = "1cfbba1e07e34386"  # first digits of the SHA-256 of the table's bytes


def test_the_table_is_pinned():
    """Every backend must use these very bits."""
    digest = hashlib.sha256(inverse_normal_table().numpy().tobytes()).hexdigest()
    assert digest.startswith(PINNED), digest
