"""The fast engine against the Hugging Face forward."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from skn import ops
from skn.data.spec import DataSpec
from skn.data.splits import read_data
from skn.data.template import Template
from skn.errors import InputError
from skn.inference.batches import collate, tokenize
from skn.inference.calls import plain_rows
from skn.inference.engine import choose_engine, predict
from skn.inference.fast import _packed, fast_forward, packed_weights
from skn.inference.hf import Tap
from skn.inference.readouts import MEAN, PROMPT
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.templated import TemplatedModel
from skn.model.tuned import TunedModel
from skn.neurons.masking import MASK_KINDS, Mask
from skn.neurons.probing import probe_hits, probe_moments
from skn.ops import native
from skn.pruned.pruning import prune

ENCODERS = ["roberta", "xlm-roberta", "camembert", "bert", "bert-headless", "electra", "distilbert"]


@pytest.fixture(autouse=True)
def library():
    if native.isa() is None:
        pytest.skip("no native library")


@pytest.fixture
def setting(tiny, corpus_folder):
    def build(folder="roberta", dtype="float32", method="prompt"):
        folder = str(folder) if "/" in str(folder) else str(tiny(folder))
        tokenizer, backbone = load_tokenizer(folder), Backbone.load(folder, dtype=dtype)
        model = TunedModel.fresh(backbone, [7, 8], tokenizer.mask_token_id, 5 if method == "prompt" else 1, method)
        data = read_data(DataSpec(data=str(corpus_folder)))
        train, held_out = (tokenize(data.split(split), tokenizer, 40) for split in ("train", "test"))
        return model.requires_grad_(False), train, held_out

    return build


def test_a_template_is_scored_at_the_mask_of_each_text(tiny, corpus_folder):
    """The encoder computes all positions; each text has its mask elsewhere."""
    folder = str(tiny("roberta"))
    tokenizer, backbone = load_tokenizer(folder), Backbone.load(folder)
    data = read_data(DataSpec(data=str(corpus_folder)))
    encoded = tokenize(data.split("test"), tokenizer, 40, Template.read("{text} It was {mask}."))
    model = TemplatedModel(backbone, [7, 8])
    assert choose_engine(backbone) == "fast" and len(set(encoded.scored)) > 1
    hf, fast = both(lambda engine: predict(model, encoded, 200, engine=engine))
    torch.testing.assert_close(fast, hf, rtol=1e-4, atol=1e-4)
    masked = Mask("zero", torch.rand(3, 48, generator=torch.Generator().manual_seed(0)) < 0.3)
    hf, fast = both(lambda engine: predict(model, encoded, 200, engine=engine, mask=masked))
    torch.testing.assert_close(fast, hf, rtol=1e-4, atol=1e-4)


def both(call):
    return call("hf"), call("fast")


@pytest.mark.parametrize("family", ENCODERS)
def test_the_default_is_fast_and_its_logits_are_those_of_hf(setting, family):
    model, _, encoded = setting(family)
    assert choose_engine(model.backbone) == "fast"
    plain, fast = both(lambda engine: predict(model, encoded, 99, engine=engine))
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
    assert torch.equal(predict(model, encoded, 99), fast) and not torch.equal(fast, plain)


def test_on_the_real_encoder_predictivity_differs_only_within_float_error_of_a_threshold(setting, minilm):
    model, train, held_out = setting(minilm)
    plain, fast = both(lambda engine: probe_moments(model, train, 600, [PROMPT], "train", engine))
    torch.testing.assert_close(fast[1], plain[1], rtol=0, atol=1e-4)
    for name in ("count", "total", "total_sq"):
        expected = getattr(plain[0][PROMPT], name)
        torch.testing.assert_close(getattr(fast[0][PROMPT], name), expected, rtol=1e-4, atol=1e-3)
    thresholds = {PROMPT: plain[0][PROMPT].threshold()}
    hits, fast_hits = both(lambda engine: probe_hits(model, held_out, 600, thresholds, "test", engine)[0][PROMPT])
    assert torch.equal(hits.count, fast_hits.count)
    difference = (hits.hits - fast_hits.hits).abs().sum(dim=0)
    assert (difference <= hits.near).all()
    assert (hits.near == 0).double().mean() > 0.9  # so that the line above says something


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_masks(setting, kind):
    model, _, encoded = setting()
    generator = torch.Generator().manual_seed(0)
    chosen = torch.rand(3, 48, generator=generator) < 0.4
    chosen[1] = False
    mask = Mask(kind, chosen, torch.randn(3, 48, generator=generator, dtype=torch.float64), 0.3, seed=5)
    plain, fast = both(lambda engine: predict(model, encoded, 99, engine=engine, mask=mask))
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
    assert (fast - predict(model, encoded, 99)).abs().max() > 1e-4


def test_a_mask_stays_in_its_thread(setting):
    """Two passes of one model at once: what changes the activations of one does not touch the other's."""
    model, _, encoded = setting()
    mask = Mask("zero", torch.ones(3, 48, dtype=torch.bool))
    calls = [lambda chosen=chosen: predict(model, encoded, 99, engine="hf", mask=chosen) for chosen in (None, mask)]
    expected = [call() for call in calls]
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    with ThreadPoolExecutor(2) as pool:
        found = [[pool.submit(call) for call in calls] for _ in range(4)]
    for pair in found:
        assert all(torch.equal(one.result(), right) for one, right in zip(pair, expected, strict=True))


def test_bfloat16(setting):
    model, _, encoded = setting(dtype="bfloat16")
    exact = predict(setting()[0], encoded, 99, engine="hf")
    plain, fast = both(lambda engine: (predict(model, encoded, 99, engine=engine) - exact).abs().max())
    assert fast < 1.5 * plain


def test_bf16x3_is_near_float32(setting):
    """On one model in memory, so that packed weights of one form must not serve the other."""
    model, _, encoded = setting()
    plain = predict(model, encoded, 7, engine="fast")
    model.backbone.bf16x3 = True
    found = predict(model, encoded, 7)
    model.backbone.bf16x3 = False
    assert torch.equal(predict(model, encoded, 7, engine="fast"), plain)
    assert 1e-7 < (found - plain).abs().max() / plain.abs().max() < 5e-5
    rounded = predict(setting(dtype="bfloat16")[0], encoded, 7)
    assert (rounded - plain).abs().max() > 50 * (found - plain).abs().max()
    assert torch.equal(predict(setting(dtype="bf16x3")[0], encoded, 7), found)


def test_errors_of_the_real_encoders_logits(setting, minilm):
    """As stated in docs/kernels.md."""
    model, _, encoded = setting(minilm)
    model.double().backbone.model.double()
    exact = predict(model, encoded, 7, engine="hf")

    def highest(dtype):
        found = predict(setting(minilm, dtype=dtype)[0], encoded, 7, engine="fast")
        return ((found - exact).abs().max() / exact.abs().max()).item()

    assert highest("float32") < 2e-6 < highest("bf16x3") < 3e-5 < 2e-3 < highest("bfloat16") < 2e-2


def test_a_pruned_model(setting):
    model, _, encoded = setting()
    keep = torch.zeros(3, 48, dtype=torch.bool)
    for layer, width in enumerate((48, 5, 33)):
        keep[layer, :width] = True
    small = prune(model, keep, torch.zeros(3, 48, dtype=torch.float64), ["no", "yes"])
    plain, fast = both(lambda engine: predict(small, encoded, 99, engine=engine))
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)


def test_packed_weights_follow_every_edit(setting):
    model, _, encoded = setting()
    layer = model.backbone.base.encoder.layer[1]

    def same_as_hf():
        plain, fast = both(lambda engine: predict(model, encoded, 99, engine=engine))
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
        return fast

    before = same_as_hf()
    with torch.no_grad():
        layer.output.dense.weight.mul_(3)
    edited = same_as_hf()
    layer.intermediate.dense.weight = torch.nn.Parameter(torch.randn(48, model.backbone.hidden_size))
    replaced = same_as_hf()
    model.backbone.base.load_state_dict({k: v * 1.1 for k, v in model.backbone.base.state_dict().items()})
    loaded = same_as_hf()
    layer.output.dense.weight.data[5, 7] = 9  # no version counts it
    answers = [before, edited, replaced, loaded, same_as_hf()]
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(answers, answers[1:], strict=False))


def test_new_weights_where_old_ones_lay_are_noticed(setting):
    """Memory is used again: an address and a version do not tell one tensor from the next."""
    model, _, encoded = setting()
    dense = model.backbone.base.encoder.layer[1].output.dense
    memory = bytearray(dense.weight.numel() * 4)

    def put(factor):
        lying_there = torch.frombuffer(memory, dtype=torch.float32)
        lying_there.copy_(dense.weight.detach().flatten() * factor)
        dense.weight = torch.nn.Parameter(torch.frombuffer(memory, dtype=torch.float32).view_as(dense.weight))
        return predict(model, encoded, 99, engine="fast")

    before, after = put(1), put(3)
    torch.testing.assert_close(after, predict(model, encoded, 99, engine="hf"), rtol=1e-5, atol=1e-5)
    assert (after - before).abs().max() > 1e-4


@pytest.mark.parametrize("strided", [False, True])
def test_few_rows_are_answered_from_plain_weights(setting, monkeypatch, strided):
    """A call on few rows packs nothing, and sees an edit that no version counts. Other strides are packed."""
    model, _, encoded = setting()
    small = prune(model, torch.ones(3, 48, dtype=torch.bool), torch.zeros(3, 48, dtype=torch.float64), ["no", "yes"])
    dense = small.base_model.encoder.layer[1].output.dense
    if strided:
        dense.weight.data = dense.weight.data.T.contiguous().T
    packed = []
    monkeypatch.setattr(
        "skn.inference.calls.packed_weights", lambda backbone: packed.append(1) or packed_weights(backbone)
    )
    ids = torch.randint(5, 40, (1, 7), generator=torch.Generator().manual_seed(0))
    fitting, rows = plain_rows(torch.float32), small.prompt_length + ids.shape[1]

    def same_as_modules():
        with torch.no_grad():
            answer = small(input_ids=ids).logits
        small.requires_grad_()
        torch.testing.assert_close(answer, small(input_ids=ids).logits, rtol=1e-5, atol=1e-5)  # by the modules
        return answer

    before = same_as_modules()
    dense.weight.data[5] += 9
    assert (same_as_modules() - before).abs().max() > 1e-4
    assert len(packed) == (2 if strided else 0)
    with torch.no_grad():
        small(input_ids=ids.expand(fitting // rows, -1))
        assert len(packed) == (3 if strided else 0)
        small(input_ids=ids.expand(fitting // rows + 1, -1))
    assert len(packed) == (4 if strided else 1)


def test_weights_without_versions(setting):
    with torch.inference_mode():
        model, _, encoded = setting()
        before = predict(model, encoded, 99)
        model.backbone.base.encoder.layer[1].output.dense.weight.mul_(3)
    plain, fast = both(lambda engine: predict(model, encoded, 99, engine=engine))
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
    assert (fast - before).abs().max() > 1e-4


def test_packed_weights_go_with_their_model(setting):
    gc.collect()
    before = len(_packed)
    model, _, encoded = setting()
    predict(model, encoded, 99)
    assert len(_packed) == before + 1
    del model
    gc.collect()
    assert len(_packed) == before


@pytest.mark.parametrize(("family", "cuda"), [("roberta", False), ("roberta", True), ("bert-headless", False)])
def test_a_batch_waits_for_no_device(setting, family, cuda, monkeypatch):
    """On tensors without values: whoever asked a device for one, as a wait for it does, would fail."""
    monkeypatch.setattr("skn.inference.fast._on_cuda", lambda rows: cuda)
    monkeypatch.setattr("skn.inference.fast.digests", lambda tensors: len(tensors))  # once a pass, not once a batch
    model, _, encoded = setting(family)
    backbone = model.backbone
    backbone.model.to("meta")
    model.to("meta")
    seen = []

    def add(site, _readout, act, batch):
        cells = {"size": (5, site.width), "device": "meta"}
        hits = torch.zeros(2, *cells["size"], dtype=torch.int64, device="meta")
        ops.accumulate_hits(hits, act, torch.zeros(**cells, dtype=torch.float64), batch.label)
        seen.append(act.shape)

    mask = Mask("zero", torch.ones(3, 48, dtype=torch.bool))
    for tap, change in ((None, None), (Tap([PROMPT], add), None), (Tap([PROMPT], add), mask)):
        with torch.inference_mode(), fast_forward(model, tap, change) as forward:
            scores = forward(collate(encoded, [0, 1, 2]).to(backbone.device))
        assert scores.is_meta and scores.shape == (3, 2)
    assert len(seen) == 2 * len(backbone.ffn_sites)


@pytest.mark.parametrize(
    ("family", "method", "dtype", "readouts", "reason"),
    [
        ("gpt2", "prompt", "float32", (), "gpt2 backbone is no encoder"),
        ("roberta", "adapter", "float32", (), "adapters stand behind its FFNs"),
        ("roberta", "prompt", "float16", (), "not in float16"),
        ("roberta", "prompt", "float32", (PROMPT, MEAN), "activations of the prompt positions alone"),
    ],
)
def test_where_encode_does_not_fit_hf_runs_and_fast_is_refused(setting, family, method, dtype, readouts, reason):
    backbone = setting(family, dtype, method)[0].backbone
    assert choose_engine(backbone, None, readouts) == choose_engine(backbone, "hf") == "hf"
    with pytest.raises(InputError, match=f'engine="fast": .*{reason}'):
        choose_engine(backbone, "fast", readouts)
    backbone.bf16x3 = True
    for wanted in (None, "hf", "fast"):
        with pytest.raises(InputError, match=f'dtype="bf16x3": .*{reason}.*; use dtype="float32"'):
            choose_engine(backbone, wanted, readouts)


def test_another_activation_function_is_not_mistaken_for_gelu(setting):
    backbone = setting()[0].backbone
    backbone.config.hidden_act = "relu"
    assert choose_engine(backbone) == "hf"


def test_a_users_hook_is_not_passed_by(setting):
    model, _, encoded = setting()
    seen = []
    handle = model.backbone.ffn_sites[0].down.register_forward_hook(lambda *_: seen.append(1))
    predict(model, encoded, 99)
    handle.remove()
    assert seen and choose_engine(model.backbone) == "fast"


def test_biases_that_take_turns_on_one_backbone(setting):
    """Packed weights are those of the model that runs, whoever ran before."""
    first, _, encoded = setting(method="bitfit")
    second = TunedModel.from_tensors(first.backbone, first.tuned_tensors(), "bitfit").requires_grad_(False)
    for bias in second.extra.tensors().values():
        bias += 0.2
    assert choose_engine(first.backbone) == choose_engine(second.backbone) == "fast"
    for _ in range(2):
        answers = [
            both(lambda engine, model=model: predict(model, encoded, 99, engine=engine)) for model in (first, second)
        ]
        for plain, fast in answers:
            torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
        assert (answers[0][1] - answers[1][1]).abs().max() > 1e-3
