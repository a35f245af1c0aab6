"""Models in int8: near the plain model, the same after a round trip, and refused where plain weights are needed."""

import copy
import pickle

import pytest
import torch
from int8_models import WORDS, off
from pruned_models import SERVED
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

import skn
from skn.errors import InputError
from skn.inference import known
from skn.inference.engine import choose_engine, predict
from skn.int8 import convert
from skn.model.portable import modeling_skn as portable
from skn.model.portable.layers_skn import SLICE, Int8Linear
from skn.pruned.pruning import parameter_count


@pytest.fixture(scope="module")
def runs(tiny, corpus_folder):
    """``runs(family)``: a run in memory whose prompt is far from its start."""
    made, data = {}, skn.load_data(corpus_folder)

    def build(family):
        if family not in made:
            made[family] = skn.tune(tiny(family), data, WORDS, prompt_length=4, epochs=0)
            with torch.no_grad():
                made[family].model.prompt.normal_(0, 0.3, generator=torch.Generator().manual_seed(3))
        return made[family]

    return build


@pytest.fixture(scope="module")
def texts(runs):
    run = runs("roberta")
    return run.tokenizer(run.data.split("train").text[:60], padding=True, truncation=True, return_tensors="pt")


@pytest.fixture(scope="module")
def converted(runs, texts):
    """A RoBERTa in int8 and its plain logits."""
    run = runs("roberta")
    model = skn.export(run)
    plain = predict(model, run.encoded("validation"))
    return model.to_int8(**texts, keep_plain=True), plain


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", *SERVED[1:]])
def test_it_answers_nearly_as_the_plain_model_by_both_engines(runs, family):
    run = runs(family)
    encoded = run.encoded("validation")
    plain = predict(run.model, encoded)
    model = skn.export(run, int8=True)
    assert sum(isinstance(m, Int8Linear) for m in model.modules()) == 6 * model.config.num_hidden_layers
    fast, hf = (predict(model, encoded, engine=engine) for engine in ("fast", "hf"))
    assert 0 < off(fast, plain) < 0.1 and off(hf, fast) < 0.02
    assert parameter_count(model) == parameter_count(skn.export(run))


@pytest.mark.parametrize("part", ["attention.self.value", "output.dense"])
def test_a_product_may_stay_plain(converted, runs, part):
    """So one can measure where int8 hurts."""
    encoded, (model, plain) = runs("roberta").encoded("validation"), converted
    mixed, place = copy.deepcopy(model), f"encoder.layer.1.{part}"
    whole = mixed.base_model.get_submodule(place)
    own = torch.nn.Linear(whole.in_features, whole.out_features).eval()
    own.weight, own.bias = whole.weight, whole.bias
    mixed.base_model.set_submodule(place, own)
    fast, hf = (predict(mixed, encoded, engine=engine) for engine in ("fast", "hf"))
    assert off(fast, plain) < 0.1 and off(hf, fast) < 0.02


def test_a_round_trip_keeps_every_bit(converted, runs, tmp_path):
    model, plain = converted
    encoded = runs("roberta").encoded("validation")
    answers = predict(model, encoded)
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert not again.training and torch.equal(predict(again, encoded), answers)
    batch = {"input_ids": torch.tensor([encoded.input_ids[0]])}
    for kind in (AutoModel, AutoModelForMaskedLM):
        other = kind.from_pretrained(tmp_path)
        assert isinstance(other.base_model.encoder.layer[0].output.dense, Int8Linear)
        assert not other(**batch)[0].requires_grad  # a plain call, with gradients enabled
        with pytest.raises((InputError, ValueError), match="a model in int8 cannot be trained"):
            other.train()
    assert torch.equal(predict(AutoModelForSequenceClassification.from_pretrained(tmp_path, int8=None), encoded), plain)
    there = portable.PrunedRobertaForPromptClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(there(**batch).logits, model(**batch).logits, atol=0.02, rtol=0.02)
    half = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert off(predict(half, encoded), plain) < 0.2


@pytest.mark.parametrize("family", ["electra", "distilbert"])
def test_a_folder_of_a_family_without_classes_of_its_own(runs, tmp_path, family):
    run = runs(family)
    encoded = run.encoded("validation")
    plain = predict(skn.export(run), encoded)
    model = skn.export(run, tmp_path / "both", int8=True)
    answers = predict(model, encoded)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "both")
    assert type(again) is type(model) and torch.equal(predict(again, encoded), answers)
    assert widths_of(again) == widths_of(model) and SLICE in widths_of(again).values()
    batch = {"input_ids": torch.tensor([encoded.input_ids[0]])}
    for kind in (AutoModel, AutoModelForMaskedLM):
        other = kind.from_pretrained(tmp_path / "both")
        assert widths_of(other.base_model) == widths_of(model.base_model)
        assert not other(**batch)[0].requires_grad
        with pytest.raises(InputError, match="a model in int8 cannot be trained"):
            other.train()
    whole = AutoModelForSequenceClassification.from_pretrained(tmp_path / "both", int8=None)
    assert torch.equal(predict(whole, encoded), plain) and whole.train().training
    skn.export(run, tmp_path / "bytes", int8=True, no_plain=True)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "bytes")
    assert torch.equal(predict(again, encoded), answers)
    with pytest.raises(InputError, match="missing weights"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "bytes", int8=None)


def widths_of(model):
    """The columns that are rounded together by each product of bytes."""
    return {name: module.width for name, module in model.named_modules() if isinstance(module, Int8Linear)}


def test_without_its_plain_weights_it_is_smaller(runs, texts, tmp_path):
    model = skn.export(runs("roberta")).to_int8(**texts)
    model.save_pretrained(tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    of_layer = [name for name in names if ".layer.0.output.dense." in name]
    assert sorted(name.rpartition(".")[2] for name in of_layer) == ["int8_bias", "int8_weight"]
    with pytest.raises(InputError, match="missing weights"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, int8=None)


def test_what_needs_plain_weights_is_refused(converted, runs, texts, tmp_path):
    model, _ = converted
    with pytest.raises(InputError, match="a model in int8 cannot be trained"):
        model.train()
    with pytest.raises(InputError, match="in int8 already"):
        model.to_int8(**texts)
    with pytest.raises(ValueError, match="no gradients"):
        model(inputs_embeds=torch.randn(1, 5, model.config.hidden_size, requires_grad=True))
    model.save_pretrained(tmp_path)
    run = runs("roberta")
    run.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="a model in int8 cannot be trained"):
        skn.tune(str(tmp_path), run.data, WORDS, epochs=0)
    with pytest.raises(InputError, match="int8=True: ONNX files hold float32"):
        skn.export(run, tmp_path / "out", int8=True, onnx=True)
    with pytest.raises(InputError, match="no_plain=True: leaves the plain weights out"):
        skn.export(run, no_plain=True)


def test_models_without_the_fast_forward_are_refused(tiny, corpus_folder, int8_run, tmp_path, refused):
    out, exported = tmp_path / "run", tmp_path / "adapted"
    run = skn.tune(tiny("roberta"), skn.load_data(corpus_folder), WORDS, method="adapter", epochs=0, out=out)
    why = "adapters stand behind its FFNs, which encode would pass by; "
    with pytest.raises(InputError, match=f"int8=True: {why}leave it out"):
        skn.export(run, int8=True)
    refused(["evaluate", "--run", out, "--dtype", "int8"], f"--dtype int8: {out}: {why}use --dtype float32")
    model = skn.export(run, exported)
    with pytest.raises(InputError, match="int8: adapters stand"):
        model.to_int8(torch.ones(2, 5, dtype=torch.int64))
    both = ["evaluate", "--run", int8_run, "--model", exported, "--dtype", "int8", "--name", "both"]
    refused(both, f"--dtype int8: adapted: {why}use --dtype float32")


def test_a_failed_or_interrupted_conversion_leaves_the_model_as_it_was(runs, texts, monkeypatch):
    run = runs("roberta")
    model, plain = skn.export(run), skn.export(run)
    rounded, calls = convert.round_weight, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 8:  # in the second layer
            raise KeyboardInterrupt
        return rounded(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(convert, "round_weight", interrupted)
        model.to_int8(**texts)
    with torch.no_grad():
        assert not model.backbone.int8 and torch.equal(model(**texts).logits, plain(**texts).logits)
        model.base_model.encoder.layer[1].output.dense.weight[0, 0] = torch.nan
    with pytest.raises(
        InputError, match="int8: encoder.layer.1.output.dense holds or reads numbers that are not finite"
    ):
        model.to_int8(**texts)
    assert not model.backbone.int8 and model.train().training


@pytest.mark.parametrize("name", ["nothing", "embeddings.LayerNorm", "encoder.layer.0", ""])
def test_a_configuration_that_names_no_linear_layer_is_refused(converted, tmp_path, name):
    config = copy.deepcopy(converted[0].config)
    config.int8 = [name]
    with pytest.raises(ValueError, match=f"int8 names '{name}', no linear layer"):
        portable.PrunedRobertaForPromptClassification(config)


def test_copies_answer_alike_and_cannot_be_converted_again(converted, texts):
    model, _ = converted
    with torch.no_grad():
        logits = model(**texts).logits
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(twin(**texts).logits, logits)
            with pytest.raises(InputError, match="in int8 already"):
                twin.to_int8(**texts)
        halved = copy.deepcopy(model).half()
        assert choose_engine(halved.backbone) == "hf" and off(halved(**texts).logits.float(), logits) < 0.2


def test_the_side_of_the_padding_changes_no_calibration(runs):
    run = runs("roberta")
    tokenizer, found = copy.deepcopy(run.tokenizer), []
    for tokenizer.padding_side in ("left", "right"):
        batch = tokenizer(run.data.split("train").text[:9], padding=True, return_tensors="pt")
        found.append(skn.export(run).to_int8(**batch).state_dict())
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


def test_texts_that_are_no_tensors_are_refused(runs):
    model, tokenizer = skn.export(runs("roberta")), runs("roberta").tokenizer
    for given in (tokenizer(["a dull film"]), {"input_ids": torch.tensor([5, 6])}):
        with pytest.raises(InputError, match="expected tensors .* return_tensors='pt'"):
            model.to_int8(**given)


def test_other_devices_than_the_cpu_take_the_hugging_face_forward():
    device, module = torch.device("meta"), Int8Linear(4, 4, sliced=False, plain=False)
    assert known._odd_weights(module, torch.float32, torch.device("cpu")) is None
    assert "no kernel for products of bytes" in known._odd_weights(module.to(device), torch.float32, device)
