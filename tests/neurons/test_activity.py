"""Activity: what a mask takes from the stream, held against the masked activations themselves, and masks matched by it."""

from types import SimpleNamespace

import pytest
import torch
from planted import LAYERS, WIDTH, chosen_units, planted_model, planted_split
from transformers.pytorch_utils import Conv1D

from skn.inference.engine import predict
from skn.inference.measures import accuracy
from skn.inference.readouts import PROMPT
from skn.model.backbone import Backbone
from skn.neurons.activity import activity_of, column_norms, mean_square, mean_variance
from skn.neurons.mask_options import MaskOptions
from skn.neurons.masking import Mask
from skn.neurons.matching import EQUAL, as_set, balance, levels, match_by_activity
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.probing import probe_moments
from skn.neurons.resampling import donors
from skn.seeds import generator

PROMPTS = 4


@pytest.fixture(scope="module")
def planted():
    """A run that knows its moments from the probe that was ranked in memory."""
    model = planted_model(PROMPTS)
    encoded = planted_split(200, 1)
    moments = probe_moments(model, encoded, 300, [PROMPT], "train")[0][PROMPT]
    origin = {"engine": "hf"}
    neurons = NeuronSets(
        mean=(origin, moments.threshold().mean(dim=1)), square=mean_square(moments), variance=mean_variance(moments)
    )
    return SimpleNamespace(model=model, engine="hf", provenance=origin, path=None), encoded, neurons


def activations(model, encoded, mask=None):
    """[N, L, P, F]: what each down-projection reads at the prompt positions, in the order of the batches."""
    read = [[] for _ in range(LAYERS)]
    handles = [
        site.down.register_forward_hook(lambda _m, inputs, _o, of=read[site.layer]: of.append(inputs[0][:, :PROMPTS]))
        for site in model.backbone.ffn_sites
    ]
    predict(model, encoded, 300, "activations", "hf", mask=mask)
    for handle in handles:
        handle.remove()
    return torch.stack([torch.cat(of) for of in read], dim=1).double()


CASES = {"zero": None, "mean": None, "scale": 0.3, "gaussian": 0.2}


@pytest.mark.parametrize("kind", CASES)
def test_activity_is_what_the_mask_takes_from_the_stream(planted, kind):
    """One layer is masked at a time, because a mask changes what later layers read."""
    run, encoded, neurons = planted
    mean = neurons.mean[1] + (0.1 if kind == "mean" else 0)  # means of the user's own count, not the run's
    found = activity_of(run, neurons, MaskOptions(kind=kind), alpha=CASES[kind], mean=mean if kind == "mean" else None)
    plain = activations(run.model, encoded)
    norms = torch.stack([site.down.weight.double().norm(dim=0) for site in run.model.backbone.ffn_sites])
    for layer in range(LAYERS):
        chosen = torch.zeros(LAYERS, WIDTH, dtype=torch.bool)
        chosen[layer] = True
        masked = activations(run.model, encoded, Mask(kind, chosen, mean, alpha=CASES[kind] or 1.0))
        taken = (plain - masked)[:, layer].square().mean(dim=(0, 1)).sqrt() * norms[layer]
        # the noise of 200 examples is a sample of what the formula says of all
        tolerance = 0.2 if kind == "gaussian" else 1e-4
        torch.testing.assert_close(found[layer], taken, rtol=tolerance, atol=1e-6)


def test_a_resampled_neuron_loses_the_difference_of_two_texts(planted):
    """Of two texts at the same position, so the differences between positions do not count."""
    run, encoded, neurons = planted
    found = activity_of(run, neurons, MaskOptions(kind="resample"), alpha=None, mean=None)
    plain = activations(run.model, encoded)
    difference = plain - plain[donors(0, len(plain))]
    norms = column_norms(run.model.backbone)
    torch.testing.assert_close(found, difference.square().mean(dim=(0, 2)).sqrt() * norms, rtol=0.15, atol=1e-6)
    spread = plain.transpose(1, 2).flatten(0, 1).std(dim=0, unbiased=False) * norms
    assert (2**0.5 * spread / found).max() > 2  # with them, some neurons would seem to lose twice as much


def test_under_the_own_mean_it_is_the_standard_deviation(planted):
    run, encoded, neurons = planted
    found = activity_of(run, neurons, MaskOptions(kind="mean"), alpha=None, mean=neurons.mean[1])
    spread = activations(run.model, encoded).transpose(1, 2).flatten(0, 1).std(dim=0, unbiased=False)
    torch.testing.assert_close(found, spread * column_norms(run.model.backbone), rtol=1e-4, atol=1e-6)
    always = torch.full((LAYERS, WIDTH), 0.1, dtype=torch.float64)
    constant = NeuronSets(mean=(run.provenance, always), square=0.01 * (1 + 1e-14) * always / always)
    never = activity_of(run, constant, MaskOptions(kind="mean"), alpha=None, mean=always)
    assert (never == 0).all()  # and no rounding, which would tell such neurons apart


@pytest.mark.parametrize("family", ["roberta", "gpt2", "llama"])
def test_norms_are_of_the_columns_that_write_to_the_stream(tiny, family):
    backbone = Backbone.load(str(tiny(family)))
    norms = column_norms(backbone)
    site = backbone.ffn_sites[1]
    one = torch.zeros(site.width)
    one[7] = 1.0
    with torch.no_grad():
        written = site.down(one) - site.down(torch.zeros(site.width))
    assert norms[1, 7].item() == pytest.approx(written.norm().item(), rel=1e-4)
    assert isinstance(site.down, Conv1D) == (family == "gpt2") and norms.shape == (len(backbone.ffn_sites), site.width)


def test_planted_controls_are_within_the_caliper_and_harm_less(planted):
    """Neurons as active as a planted one change the answers less. The loudest of all have no equals."""
    run, _, neurons = planted
    activity = activity_of(run, neurons, MaskOptions(), alpha=None, mean=None)
    level = levels(activity)
    company = ((level[:, :, None] - level[:, None]).abs() <= EQUAL).sum(dim=2)  # with few neurons, not all have equals
    usual = torch.zeros(LAYERS, WIDTH, dtype=torch.bool).scatter(1, company.argsort(dim=1)[:, -1:], True)
    partners = [match_by_activity(usual, activity, generator(0, "control", 3, draw)) for draw in range(10)]
    found = balance(usual, activity, partners)
    assert found["missing"] == found["unequal"] == 0 and abs(found["difference"]) < 0.3
    for partner in partners:
        assert ((level - level.gather(1, partner.clamp(min=0)))[usual].abs() <= EQUAL).all()
    assert len({tuple(partner[usual].tolist()) for partner in partners}) > 5
    loudest = torch.zeros(LAYERS, WIDTH, dtype=torch.bool).scatter(1, activity.argsort(dim=1)[:, -3:], True)
    partners = [match_by_activity(loudest, activity, generator(0, "control", 9, draw)) for draw in range(10)]
    assert balance(loudest, activity, partners)["unequal"] >= 3
    test = planted_split(200, 3)
    drawn = as_set(match_by_activity(chosen_units(), activity, generator(0, "control", 4, 0)))
    assert drawn.sum(dim=1).tolist() == chosen_units().sum(dim=1).tolist() and not (drawn & chosen_units()).any()
    assert accuracy(predict(run.model, test, 300, mask=Mask("zero", drawn)), test.label) > 0.95
