"""NeuronStatistics against the plain way: hooks of the tests' own on the down-projections, means in numpy."""

from __future__ import annotations

import doctest

import children
import crews
import numpy as np
import pytest
import recorded
import torch
from recorded import CLASSES, LAYERS, WIDTH, batches_of, model_of, plain_readouts, record_all

from skn.errors import InputError
from skn.neurons import statistics
from skn.neurons.selection import Contrast
from skn.neurons.statistics import NeuronStatistics

pytestmark = pytest.mark.usefixtures("one_thread")  # the models are so tiny that more would only wait for each other
FAMILIES = list(recorded.MAKERS)
READOUTS = ["first", "last", "mean", "max", [0, 2, -1]]


def by_class(values, labels, reduce):
    """[C, ...]: NaN for a class without examples."""
    empty = np.full(values.shape[1:], np.nan)
    return np.stack([reduce(values[labels == c], axis=0) if (labels == c).any() else empty for c in range(CLASSES)])


def check_against_plain(model, readout, tolerance=1e-10):
    first, second = batches_of(model), batches_of(model, seed=2)
    found = record_all(NeuronStatistics(model, CLASSES, readout), model, first)
    counted = record_all(NeuronStatistics(model, CLASSES, readout, threshold=found.threshold), model, second)
    plain, held_out = (plain_readouts(model, batches, readout) for batches in (first, second))
    if isinstance(readout, str):
        plain, held_out = plain[:, :, 0], held_out[:, :, 0]
    labels = np.concatenate([label.numpy() for _, label in first])
    assert found.count.tolist() == [6, 6, 0] and found.hits is None
    np.testing.assert_allclose(found.mean, by_class(plain, labels, np.mean), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found.variance, by_class(plain, labels, np.var), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found.threshold, plain.mean(axis=0), rtol=tolerance, atol=tolerance)
    assert torch.equal(found.threshold, found.total_mean) and torch.equal(counted.threshold, found.threshold)
    over = held_out > found.threshold.numpy()
    hits = np.stack([over[labels == c].sum(axis=0) for c in range(CLASSES)])  # the labels of both passes are the same
    assert counted.hits.dtype == torch.int64 and np.array_equal(counted.hits, hits)
    right = (hits[1] / 6 + 1 - hits[0] / 6) / 2
    contrast = Contrast((1,), (0,))
    np.testing.assert_allclose(counted.accuracy(contrast), right, rtol=1e-12)
    best = np.maximum(right, 1 - right)
    best = best if isinstance(readout, str) else best.max(axis=1)
    np.testing.assert_allclose(counted.predictivity(contrast), best, rtol=1e-12)
    return found, counted


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_plain_way(family, attention):
    model = model_of(family, attention)
    for readout in READOUTS:
        check_against_plain(model, readout, 1e-6 if readout == "mean" else 1e-10)  # a mean is rounded to float32


@pytest.mark.parametrize("readout", ["last", [1, -2]])
def test_bfloat16_activations_are_read_as_they_are(readout):
    check_against_plain(model_of("roberta", "sdpa", torch.bfloat16), readout)


@pytest.mark.parametrize("family", ["roberta", "bert", "gpt2", "skn_pruned_bert"])
@pytest.mark.parametrize("readout", READOUTS, ids=str)
def test_padding_changes_nothing(family, readout):
    model = model_of(family, dtype=torch.float64)

    def found(size, side):
        stats = NeuronStatistics(model, CLASSES, readout)
        return record_all(stats, model, batches_of(model, size, side))

    alone = found(1, "right")
    for other in (found(5, "right"), found(5, "left")):
        assert torch.equal(other.count, alone.count)
        torch.testing.assert_close(other.mean, alone.mean, rtol=1e-10, atol=1e-10, equal_nan=True)
        torch.testing.assert_close(other.variance, alone.variance, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_without_a_mask_all_tokens_are_real_and_one_class_needs_no_labels():
    model = model_of("bert", dtype=torch.float64)
    inputs = {"input_ids": torch.randint(5, 50, (4, 6))}
    stats, plain = NeuronStatistics(model, 1, "mean"), {**inputs, "attention_mask": torch.ones(4, 6)}
    with stats.record():
        model(**inputs)
    found = stats.compute()
    expected = plain_readouts(model, [(plain, torch.zeros(4))], "mean")[:, :, 0].mean(axis=0)
    assert found.count.tolist() == [4]
    np.testing.assert_allclose(found.mean[0], expected, rtol=1e-12)


@pytest.mark.parametrize("readout", READOUTS, ids=str)
def test_padding_between_real_tokens_is_left_out(readout):
    model = model_of("bert", dtype=torch.float64)
    inputs = {"input_ids": torch.randint(5, 50, (2, 6))}
    inputs["attention_mask"] = torch.tensor([[0, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1]])
    found = record_all(NeuronStatistics(model, 1, readout), model, [(inputs, None)])
    expected = plain_readouts(model, [(inputs, torch.zeros(2))], readout).mean(axis=0)
    np.testing.assert_allclose(found.mean[0].reshape(expected.shape), expected, rtol=1e-12)


@pytest.mark.parametrize("family", ["skn_pruned_roberta", "skn_pruned_bert"])
def test_pruned_neurons_hold_zero(family):
    model = model_of(family)
    below = torch.full((LAYERS, WIDTH), -10.0)  # a zero would exceed it
    found = record_all(NeuronStatistics(model, 2, "last", threshold=below), model, batches_of(model))
    assert [present.nonzero()[:, 0].tolist() for present in found.present] == [k.tolist() for k in recorded.KEPT]
    for values in (found.mean, found.variance, found.hits):
        assert (values[:, ~found.present] == 0).all()
    assert (found.hits[:, found.present] == 6).all()
    assert (found.accuracy()[~found.present] == 0.5).all()


def test_outputs_and_gradients_are_undisturbed():
    """In train mode, with dropout, and without a trace left on the model."""
    model = model_of("roberta").train()
    inputs, labels = batches_of(model)[0]
    inputs["labels"] = labels

    def step(stats):
        torch.manual_seed(3)
        model.zero_grad()
        if stats is None:
            loss = model(**inputs).loss
        else:
            with stats.record(labels, inputs["attention_mask"]):
                loss = model(**inputs).loss
        loss.backward()
        return loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]

    stats = NeuronStatistics(model, 2)
    (loss, gradients), (own_loss, own_gradients) = step(stats), step(None)
    assert torch.equal(loss, own_loss) and all(map(torch.equal, gradients, own_gradients))
    assert not any(state.requires_grad for state in stats.state_dict().values())
    assert not any(module._forward_hooks for module in model.modules()) and model.training


@pytest.mark.parametrize("family", ["bert", "skn_pruned_bert"])
def test_inference_mode_and_its_end(family):
    model = model_of(family)
    inputs, labels = batches_of(model)[0]
    with torch.inference_mode():
        stats = NeuronStatistics(model, 2)
        with stats.record(labels, inputs["attention_mask"]):
            model(**inputs)
    with stats.record(labels, inputs["attention_mask"]):
        model(**inputs)
    with stats.record(labels, inputs["attention_mask"]), torch.inference_mode():
        model(**inputs)
    assert stats.compute().count.sum() == 3 * len(labels)


def test_two_statistics_read_one_call():
    model = model_of("gpt2")
    last, mean = NeuronStatistics(model, 2), NeuronStatistics(model, 2, "mean")
    for inputs, labels in batches_of(model):
        mask = inputs["attention_mask"]
        with last.record(labels, mask), mean.record(labels, mask), torch.no_grad():
            model(**inputs)
    for stats, readout in ((last, "last"), (mean, "mean")):
        alone = record_all(NeuronStatistics(model, 2, readout), model, batches_of(model))
        assert torch.equal(stats.compute().mean, alone.mean)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_counts_once(reentrant):
    model = model_of("roberta").train()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    inputs, labels = batches_of(model)[0]
    stats = NeuronStatistics(model, 2)
    with stats.record(labels, inputs["attention_mask"]):
        loss = model(**inputs, labels=labels).loss
    loss.backward()
    assert stats.compute().count.sum() == len(labels)
    with pytest.raises(InputError, match="ran twice"), stats.record(labels, inputs["attention_mask"]):
        model(**inputs, labels=labels).loss.backward()
    assert stats.compute().count.sum() == len(labels)


def test_merged_resumed_and_reset():
    model = model_of("bert")
    threshold = torch.zeros(LAYERS, WIDTH)

    def made(batches=()):
        stats = NeuronStatistics(model, 2, threshold=threshold)
        record_all(stats, model, batches)
        return stats

    batches = batches_of(model)
    whole, left, right = made(batches), made(batches[:1]), made(batches[1:])
    before = right.state_dict()
    left.merge(right)
    resumed = made(batches[2:])  # which is gone
    resumed.load_state_dict(made(batches[:1]).state_dict())
    record_all(resumed, model, batches[1:])
    for stats in (left, resumed):
        for name, state in whole.state_dict().items():
            torch.testing.assert_close(stats.state_dict()[name], state, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(before[name], state) for name, state in right.state_dict().items())
    whole.reset()
    assert not any(state.any() for state in whole.state_dict().values())
    assert whole.compute().mean.isnan().all()


def test_processes_add(tmp_path):
    """Two that meet in a folder; what differs in its read-out does not add."""
    processes = [children.call(recorded.add_up, rank, 2, tmp_path) for rank in range(2)]
    assert crews.ended(processes) == [0, 0]
    whole = recorded.record_share(0, 1).state_dict()
    assert whole["count"].tolist() == [6, 6, 0] and whole["hits"].any()
    for rank in range(2):
        summed = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name in ("count", "hits", "threshold"):
            assert torch.equal(summed[name], whole[name])
        for name in ("total", "total_sq"):
            torch.testing.assert_close(summed[name], whole[name], rtol=1e-12, atol=1e-12)
        assert "statistics do not add" in (tmp_path / f"{rank}.txt").read_text()


def test_what_is_summed_is_not_summed_again():
    model = model_of("bert")
    stats = NeuronStatistics(model, 2)
    record_all(stats, model, batches_of(model))
    stats.sync()  # the only process
    assert stats.compute().count.tolist() == [6, 6]
    for again in (stats.sync, lambda: stats.merge(stats), lambda: record_all(stats, model, batches_of(model))):
        with pytest.raises(InputError, match="reset"):
            again()
    stats.reset()
    assert record_all(stats, model, batches_of(model)).count.tolist() == [6, 6]


def test_table():
    pandas = pytest.importorskip("pandas")
    model = model_of("skn_pruned_bert")
    found = record_all(NeuronStatistics(model, 2, [0, -1]), model, batches_of(model))
    table = found.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table) == ["layer", "position", "neuron", "class", "mean", "variance"]
    assert len(table) == int(found.present.sum()) * 2 * 2
    row = table[(table.layer == 0) & (table.position == -1) & (table.neuron == 7) & (table["class"] == 1)]
    assert row["mean"].item() == found.mean[1, 0, 1, 7] and row["variance"].item() == found.variance[1, 0, 1, 7]
    counts = NeuronStatistics(model, 2, threshold=torch.zeros(LAYERS, WIDTH))
    assert list(record_all(counts, model, batches_of(model)).to_pandas())[-1] == "hits"


def test_the_example_runs():
    result = doctest.testmod(statistics)
    assert result.attempted and not result.failed
