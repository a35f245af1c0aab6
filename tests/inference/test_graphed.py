"""A batch as one graph, without CUDA: a graph here is the call itself, on inputs at fixed places."""

from __future__ import annotations

import gc
from dataclasses import replace
from weakref import WeakKeyDictionary

import pytest
import torch
from skn.kernels import capture

from skn import ops
from skn.data.labelled_rows import UNKNOWN
from skn.inference import fast, graphed
from skn.inference.batches import Encoded, collate
from skn.inference.engine import predict
from skn.inference.known import encoder_weights
from skn.inference.readouts import PROMPT
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.tuned import TunedModel
from skn.neurons.masking import Mask
from skn.neurons.probing import probe_hits, probe_moments
from skn.pruned.pruning import prune

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def graphs(captures, monkeypatch):
    """Let graphs of the plain weights stand in for CUDA's. Holds an entry for each capture."""
    weights = WeakKeyDictionary()

    def plain(backbone):
        return weights.setdefault(backbone.base, encoder_weights(backbone))

    monkeypatch.setattr(fast, "_on_cuda", lambda _tensor: True)
    monkeypatch.setattr(capture, "possible", lambda _tensor: True)
    monkeypatch.setattr(fast, "packed_weights", plain)
    monkeypatch.setattr(ops, "accumulate_moments", accumulate_moments)
    monkeypatch.setattr(ops, "accumulate_hits", accumulate_hits)
    return captures


def accumulate_moments(count, total, total_sq, act, labels):
    """The operator as in a capture: a label out of range counts nowhere."""
    for label in range(len(count)):
        rows = labels == label
        count[label] += rows.sum()
        total[label] += act[rows].double().sum(dim=0)
        total_sq[label] += act[rows].double().square().sum(dim=0)


def accumulate_hits(hits, act, threshold, labels):
    for label in range(len(hits)):
        hits[label] += (act[labels == label].double() > threshold).sum(dim=0)


@pytest.fixture
def model_of(tiny):
    def build(family="roberta"):
        folder = str(tiny(family))
        tokenizer = load_tokenizer(folder)
        return TunedModel.fresh(Backbone.load(folder), [7, 8], tokenizer.mask_token_id, 5).requires_grad_(False)

    return build


def texts(lengths=(9, 4, 7, 5, 8, 6, 3, 7) * 6, typed=False):
    """A split of random tokens, in two classes by turns."""
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(5, 60, (length,), generator=generator).tolist() for length in lengths]
    types = [[0] * (len(row) // 2) + [1] * (len(row) - len(row) // 2) for row in ids] if typed else None
    return Encoded(ids, types, torch.arange(len(ids)) % 2, truncated=0)


@pytest.mark.parametrize(("family", "typed"), [("roberta", False), ("bert", True), ("bert-headless", False), ("electra", False)])  # fmt: skip
def test_class_scores_are_those_of_the_plain_forward(model_of, graphs, family, typed):
    model, encoded = model_of(family), texts(typed=typed)
    plain = predict(model, encoded, 64, engine="hf")
    for _ in range(2):
        torch.testing.assert_close(predict(model, encoded, 64, engine="fast"), plain, **CLOSE)
    assert len(graphs) >= 2


def test_a_pruned_model_runs_in_graphs(model_of, graphs):
    dense, encoded = model_of(), texts()
    keep = torch.rand(3, 48, generator=torch.Generator().manual_seed(1)) < 0.3
    model = prune(dense, keep, torch.zeros(keep.shape, dtype=torch.float64), ["no", "yes"]).requires_grad_(False)
    plain = predict(model, encoded, 64, engine="hf")
    for _ in range(2):
        torch.testing.assert_close(predict(model, encoded, 64, engine="fast"), plain, **CLOSE)
    assert graphs


def test_the_statistics_of_a_probe_count_each_example_once(model_of, graphs):
    """Also in the last batch of a shape, which is filled up, and although each shape runs before its capture."""
    model, encoded = model_of(), texts()
    (plain, _), (found, logits) = (probe_moments(model, encoded, 64, [PROMPT], "train", way) for way in ("hf", "fast"))
    assert len(graphs) >= 2
    torch.testing.assert_close(logits, predict(model, encoded, 64, engine="hf"), **CLOSE)
    assert torch.equal(found[PROMPT].count, plain[PROMPT].count)
    torch.testing.assert_close(found[PROMPT].total, plain[PROMPT].total, **CLOSE)
    torch.testing.assert_close(found[PROMPT].total_sq, plain[PROMPT].total_sq, **CLOSE)
    before, thresholds = len(graphs), {PROMPT: plain[PROMPT].threshold()}
    (hits, bits, _), (own, own_bits, _) = (
        probe_hits(model, encoded, 64, thresholds, "test", way, with_bits=True) for way in ("hf", "fast")
    )
    assert len(graphs) > before
    assert torch.equal(own[PROMPT].hits, hits[PROMPT].hits) and torch.equal(own[PROMPT].near, hits[PROMPT].near)
    assert torch.equal(own_bits[PROMPT], bits[PROMPT])


def test_filled_up_rows_meet_no_position_that_the_model_lacks(model_of, graphs):
    """A row of no text has a place of its own, and no position id beyond the model's last."""
    model = model_of()
    longest = model.backbone.max_positions - model.prompt_length
    encoded = texts([longest, 3, 3] * 4)
    for _ in range(2):
        found = predict(model, encoded, 3 * (longest + 5), engine="fast")
    torch.testing.assert_close(found, predict(model, encoded, 99, engine="hf"), **CLOSE)
    assert graphs


def test_graphs_stay_with_their_model_until_it_has_other_tensors(model_of, graphs):
    model, encoded = model_of(), texts([6] * 8)

    def passed():
        found, made = predict(model, encoded, 22, engine="fast"), len(graphs)
        torch.testing.assert_close(found, predict(model, encoded, 22, engine="hf"), **CLOSE)
        return made

    assert (passed(), passed()) == (1, 1)
    model.prompt.data.mul_(2)  # in place: the same graph
    assert passed() == 1
    model.prompt.data = model.prompt.data * 2
    assert passed() == 2


def test_weights_that_are_packed_anew_have_graphs_of_their_own(model_of):
    """Also if the first tensor of the new list stands where that of the old list stood."""
    model = model_of()
    weights = encoder_weights(model.backbone)
    first = graphed._graphs_of(model, weights)
    assert graphed._graphs_of(model, list(weights)) is first
    assert graphed._graphs_of(model, [weights[0], *(weight.clone() for weight in weights[1:])]) is not first


def test_texts_without_a_known_label_have_scores(model_of, graphs):
    model, encoded = model_of(), replace(texts([6] * 8), label=torch.full((8,), UNKNOWN))
    plain = predict(model, encoded, 22, engine="hf")
    for _ in range(2):
        torch.testing.assert_close(predict(model, encoded, 22, engine="fast"), plain, **CLOSE)
    assert graphs


def test_a_probe_refuses_a_label_out_of_range_before_it_counts(model_of, graphs):
    model, encoded = model_of(), replace(texts([6] * 8), label=torch.full((8,), 2))
    passes = graphed.GraphedPass(model, encoder_weights(model.backbone), fast.Tap([PROMPT], lambda *_: None, 8))
    with pytest.raises(RuntimeError, match="probe: labels must lie in"):
        passes.scores(collate(encoded, [0, 1]))
    assert not graphs


@pytest.mark.usefixtures("graphs")
def test_graphs_go_with_their_model(model_of, monkeypatch):
    def kept(run, _lane, before):  # as CUDA does, it holds its output and not the call
        before()
        output = run()
        return lambda: output

    monkeypatch.setattr(capture, "capture", kept)
    model, encoded = model_of(), texts([6] * 8)
    predict(model, encoded, 22, engine="fast")
    gc.collect()  # models of other tests
    before = len(graphed._of_models)
    del model
    gc.collect()
    assert len(graphed._of_models) == before - 1


def test_what_a_graph_would_pass_by_runs_without_one(model_of, graphs):
    model, encoded, seen = model_of(), texts([6] * 8), []
    mask = Mask("zero", torch.rand(3, 48) < 0.3)
    predict(model, encoded, 22, engine="fast", mask=mask)
    handle = model.backbone.model.lm_head.register_forward_hook(lambda *_: seen.append(1))
    model.backbone.model.lm_head.layer_norm.register_forward_hook(lambda *_: seen.append(1))
    predict(model, encoded, 22, engine="fast")
    handle.remove()
    assert not graphs and len(seen) >= 4
    thresholds = {PROMPT: torch.zeros(3, 5, 48, dtype=torch.float64)}
    probe_hits(model_of(), encoded, 22, thresholds, "test", "fast", auroc=True)
    assert not graphs  # the activations go to the host


def test_a_capture_asks_the_device_for_nothing(model_of, graphs, monkeypatch):
    """On tensors without values: whoever asked for one, as a wait for the device does, would fail."""
    model, batch = model_of(), collate(texts(), [0, 1, 2])
    monkeypatch.setattr(ops, "accumulate_hits", lambda *_: None)
    for part in (model, model.backbone.model):
        part.to("meta")
    hits = []
    tap = fast.Tap([PROMPT], lambda site, _readout, act, own: hits.append((act.shape, own.rows.shape)), spare_row=48)
    for reader in (None, tap):
        passes = graphed.GraphedPass(model, encoder_weights(model.backbone), reader)
        batch = batch.to(torch.device("meta"))
        with torch.inference_mode():
            assert passes.scores(batch) is None
            found = passes.scores(batch)
        assert found.is_meta and found.shape == (3, 2)
    texts_in_graph = graphed.Sizes.around(batch, 5).texts
    assert hits[-1] == ((texts_in_graph, 5, 48), (texts_in_graph,))
