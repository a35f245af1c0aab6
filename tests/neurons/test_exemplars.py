"""``skn.exemplars`` and ``skn activate --top`` beside a computation of all activations, one text at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import skn
from skn.errors import InputError
from skn.inference.hf import hooks
from skn.store import artifacts

WORDS = ["negative", "positive"]
RUNS = {
    "roberta": {"prompt_length": 4, "epochs": 0},  # the text stands behind the prompt
    "gpt2": {"prompt_length": 3, "epochs": 0},  # and before it, moved to the right
    "llama": {"method": "template", "template": "Review: {text}\nIt was"},
}
TOP = 4


@pytest.fixture(scope="module", params=list(RUNS))
def run(request, tiny, corpus_folder):
    return skn.tune(tiny(request.param), skn.load_data(corpus_folder), WORDS, **RUNS[request.param])


@torch.no_grad()
def by_hand(run, split="test"):
    """Each text's activations [T, L, F] float32 at its tokens, NaN at those that are not its own."""
    model, texts, found = run.model, run.data.split(split).text, []
    for text, row in zip(texts, run.encoded(split).input_ids, strict=True):
        ids, seen = torch.tensor([row]), []
        with hooks(model.backbone, lambda _site, activation: seen.append(activation[0])):  # noqa: B023
            model.backbone.last_hidden(model.assemble(ids, torch.ones_like(ids), None, torch.tensor([len(row) - 1])))
        first = run.model.prompt_length if not model.backbone.causal else 0
        values = torch.stack(seen, dim=1)[first : first + len(row)].numpy()
        own = [token not in run.tokenizer.all_special_ids for token in row]
        if run.template is not None:  # the words around the text have as many tokens as around none
            before = len(run.tokenizer("Review:", add_special_tokens=False)["input_ids"])
            behind = len(run.tokenizer("\nIt was", add_special_tokens=False)["input_ids"])
            before += run.tokenizer.decode(row[before]) == " "  # a space alone is one of the template
            own = [before <= place < len(row) - behind for place in range(len(row))]
            assert run.tokenizer.decode([t for t, is_own in zip(row, own, strict=True) if is_own]).strip() == text
        values[~np.array(own)] = np.nan
        found.append(values)
    return found


def ends_by_hand(run, k):
    """Values and rows [2, L, F, k], and all activations."""
    each = by_hand(run)
    high, low = (np.stack([of(text, axis=0) for text in each]) for of in (np.nanmax, np.nanmin))
    rows = np.stack([np.argsort(-high, axis=0, kind="stable")[:k], np.argsort(low, axis=0, kind="stable")[:k]])
    values = np.stack([np.take_along_axis(high, rows[0], 0), np.take_along_axis(low, rows[1], 0)])
    return values.transpose(0, 2, 3, 1), each


@pytest.mark.parametrize("batch_tokens", [1, 150, 4096])
def test_the_ends_are_those_of_all_activations(run, batch_tokens):
    found = skn.exemplars(run, top=TOP, batch_tokens=batch_tokens)
    layers, width = run.model.backbone.present.shape
    assert found.neurons == [(layer, neuron) for layer in range(layers) for neuron in range(width)]
    values, each = ends_by_hand(run, TOP)
    for end, sign, expected in ((found.highest, 1, values[0]), (found.lowest, -1, values[1])):
        np.testing.assert_allclose(end.values.numpy(), expected.reshape(-1, TOP), rtol=1e-5, atol=2e-6)
        for slot, (layer, neuron) in enumerate(found.neurons):
            for value, row, token in zip(*(part[slot].tolist() for part in end), strict=True):
                at_tokens = sign * each[row][:, layer, neuron]
                assert at_tokens[token] == pytest.approx(sign * value, rel=1e-5, abs=2e-6)
                assert at_tokens[token] >= np.nanmax(at_tokens) - 4e-6
    assert (found.highest.rows >= 0).all() and (found.highest.rows.sort().values.diff() > 0).all()


def test_chosen_neurons_are_the_same_as_among_all(run):
    every = skn.exemplars(run, top=TOP, batch_tokens=300)
    some = skn.exemplars(run, [(2, 7), (0, 3), (2, 1), (2, 7)], top=TOP, batch_tokens=300)
    assert some.neurons == [(2, 7), (0, 3), (2, 1)]
    at = [every.neurons.index(place) for place in some.neurons]
    for name in ("highest", "lowest"):
        for one, all_ in zip(getattr(some, name), getattr(every, name), strict=True):
            assert torch.equal(one, all_[at])


def test_shades_are_the_activations_of_the_own_tokens_and_their_characters(run):
    neurons = [(1, 5), (2, 7)]
    found, each = skn.exemplars(run, neurons, top=TOP), by_hand(run)
    texts, longest = run.data.split("test").text, found.shades.activation.shape[-1]
    for end, rows in enumerate((found.highest.rows, found.lowest.rows)):
        for slot, (layer, neuron) in enumerate(neurons):
            for place, row in enumerate(rows[slot].tolist()):
                expected = np.full(longest, np.nan)
                expected[: len(each[row])] = each[row][:, layer, neuron]
                shade, span = (
                    found.shades.activation[end, slot, place].numpy(),
                    found.shades.span[end, slot, place].numpy(),
                )
                np.testing.assert_allclose(shade, expected, rtol=1e-5, atol=2e-6)
                assert ((span[:, 0] == 0) == ~np.isnan(expected)).all() and (span[np.isnan(expected)] == -1).all()
                ids = run.encoded("test").input_ids[row]
                for token, (_, first, behind) in enumerate(span):
                    if first >= 0:
                        assert texts[row][first:behind].strip() == run.tokenizer.decode([ids[token]]).strip()


def test_the_table_shows_the_token_between_marks(run):
    found = skn.exemplars(run, [(2, 7)], top=TOP)
    rows = found.table().rows
    assert [row[1] for row in rows] == ["highest", "lowest"]
    row, token = int(found.highest.rows[0, 0]), int(found.highest.tokens[0, 0])
    marked = rows[0][4].partition("»")[2].partition("«")[0].strip()
    assert marked == run.tokenizer.decode([run.encoded("test").input_ids[row][token]]).strip()
    assert "»" in repr(found) and "»" in found._repr_html_()


def test_a_tokenizer_without_characters_gives_no_shades(run, monkeypatch):
    monkeypatch.setattr("skn.inference.reader.own_spans", lambda *_: None)
    found = skn.exemplars(run, [(2, 7)], top=TOP)
    assert found.shades is None and "»" not in repr(found)


def test_one_neuron_and_one_text_are_kept(run, tmp_path):
    found = skn.exemplars(run, (2, 7), top=1, out=tmp_path / "one.safetensors")
    stored = artifacts.load(tmp_path / "one.safetensors", "exemplars")
    assert (stored["layer"].tolist(), stored["neuron"].tolist()) == ([2], [7])
    assert stored["activation"][0].equal(found.highest.values) and stored["row"][1].equal(found.lowest.rows)
    with pytest.raises(InputError, match="exists already"):
        skn.exemplars(run, (2, 7), top=1, out=tmp_path / "one.safetensors")


def test_bad_values_are_refused(run):
    for top in (0, -1, 1.5, "20"):
        with pytest.raises(InputError, match="top=.*: a number of texts, 1 or more"):
            skn.exemplars(run, [(0, 0)], top=top)
    with pytest.raises(InputError, match="split="):
        skn.exemplars(run, [(0, 0)], split="dev")
    with pytest.raises(InputError, match="out of range"):
        skn.exemplars(run, [(9, 0)])


def test_neurons_that_are_nan_have_no_texts(run, monkeypatch):
    """All activations NaN: no text wins, nothing is shaded, and the file of such a result is a file like others."""
    add = skn.neurons.top_texts.Ends.add
    monkeypatch.setattr(
        "skn.neurons.top_texts.Ends.add", lambda self, activation, *rest: add(self, activation * torch.nan, *rest)
    )
    found = skn.exemplars(run, [(0, 0)], top=2)
    for end in (found.highest, found.lowest):
        assert end.values.isnan().all() and (end.rows == -1).all() and (end.tokens == -1).all()
    assert found.shades is None and found.table().rows == []
