"""Runs by template: the scores of the plain Hugging Face model, and every later stage over them."""

from __future__ import annotations

import pytest
import torch
import transformers

import skn as face
from skn.cli import run as command
from skn.errors import InputError
from skn.inference.engine import predict
from skn.neurons.masking import Mask
from skn.runs.run import Run
from skn.store import artifacts

TEMPLATES = {"roberta": "{text} It was {mask} .", "gpt2": "{text}\nIt was", "llama": "{text}\nIt was"}
WORDS = ["dull", "wonderful"]


def skn(*arguments) -> None:
    assert command([str(a) for a in arguments]) == 0, arguments


@pytest.fixture(scope="module", params=list(TEMPLATES))
def template_run(request, tiny, corpus_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param) / "run"
    skn("train", "--backbone", tiny(request.param), "--data", corpus_folder, "--method", "template",
        "--template", TEMPLATES[request.param], "--verbalizer", ",".join(WORDS), "--out", out)  # fmt: skip
    return request.param, out


@torch.no_grad()
def by_hand(folder, family, texts, part=None):
    """Label-word scores [N, C] and activations [N, L, F] at the scored token, one text at a time.

    They are the inputs of the down-projections, or the outputs of ``part`` of each layer.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    causal = family != "roberta"
    auto = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    model, scores, activations = auto.from_pretrained(folder).eval(), [], []
    words = [tokenizer.encode(" " + word, add_special_tokens=False)[0] for word in WORDS]
    downs = {"roberta": "output.dense", "gpt2": "mlp.c_proj", "llama": "mlp.down_proj"}[family]
    ending = part or downs
    parts = [module for name, module in model.named_modules() if name.endswith(ending) and "attention" not in name]
    for text in texts:
        whole = TEMPLATES[family].replace("{text}", text).replace("{mask}", tokenizer.mask_token or "")
        ids, seen = tokenizer(whole, return_tensors="pt")["input_ids"], []
        at = -1 if causal else int((ids[0] == tokenizer.mask_token_id).nonzero()[-1])
        keep = lambda _m, inputs, output: seen.append((output if part else inputs[0])[0, at])  # noqa: B023, E731
        handles = [module.register_forward_hook(keep) for module in parts]
        scores.append(model(input_ids=ids).logits[0, at, words])
        for handle in handles:
            handle.remove()
        activations.append(torch.stack(seen))
    return torch.stack(scores), torch.stack(activations)


def test_zero_shot_accuracy_and_statistics_are_the_plain_models(template_run, tiny):
    family, out = template_run
    skn("probe", "--run", out)
    opened = Run.open(out)
    loaded = opened.load()
    assert opened.config.epochs == 0 and opened.config.prompt_length == 0
    assert sorted(artifacts.load(opened.tuned_file, "tuned").tensors) == ["label_ids"]
    validation, test = (loaded.data.split(name) for name in ("validation", "test"))
    scores, _ = by_hand(tiny(family), family, validation.text)
    right = (scores.argmax(dim=1) == torch.tensor(validation.label)).double().mean().item()
    assert opened.training["best_accuracy"] == right and opened.training["best_step"] == 0
    readout = "mask" if family == "roberta" else "last"
    hits = artifacts.load(out / f"hits-{readout}-test.safetensors", "hits")
    _, train = by_hand(tiny(family), family, loaded.data.split("train").text)
    _, held = by_hand(tiny(family), family, test.text)
    torch.testing.assert_close(hits["threshold"][:, 0], train.double().mean(dim=0), rtol=1e-5, atol=1e-6)
    for label in range(2):
        own = held[torch.tensor(test.label) == label]
        clear = ((own - hits["threshold"][:, 0]).abs() > 1e-5).all(dim=0)
        counted = (own > hits["threshold"][:, 0]).sum(dim=0)
        assert torch.equal(hits["hits"][label, :, 0][clear], counted[clear]) and clear.double().mean() > 0.9


def test_every_later_stage_runs(template_run):
    family, out = template_run
    readout = "mask" if family == "roberta" else "last"
    skn("probe", "--run", out, "--at", f"{readout},mean,max", "--overwrite")
    skn("select", "--run", out, "--overwrite")
    skn("select", "--run", out, "--readout", "mean", "--out", out / "by-mean.safetensors", "--overwrite")
    skn("mask", "--run", out, "--fraction", "0.1", "--controls", "2", "--overwrite")
    skn("activate", "--run", out, "--best", "2", "--overwrite")
    skn("evaluate", "--run", out, "--overwrite")
    skn("report", "--run", out)
    ranking = artifacts.load(out / "neurons.safetensors", "neurons")
    assert ranking.meta["readout"] == readout and ranking.provenance["template"] == TEMPLATES[family]
    page = (
        (out / "report" / "index.html").read_text() if (out / "report").is_dir() else (out / "report.html").read_text()
    )
    assert "template" in page and readout in page


def test_the_gate_alone_above_zero(template_run, tiny, refused):
    """act(gate) of a gated layer, and how often it is above zero, as LAPE counts it."""
    family, out = template_run
    if family != "llama":
        refused(["probe", "--run", out, "--neuron", "gate"], "--neuron gate: the layers of a", "have no gate")
        return
    skn("probe", "--run", out, "--neuron", "gate", "--threshold", "zero", "--at", "last,mean", "--overwrite")
    skn("probe", "--run", out, "--threshold", "zero", "--overwrite")
    skn("select", "--run", out, "--readout", "last-gate", "--out", out / "gate.safetensors", "--overwrite")
    hits = artifacts.load(out / "hits-last-gate-test.safetensors", "hits")
    for name, says in (
        ("moments-last-gate", "the means of act(gate) alone"), ("hits-last-test", "its thresholds are zero, not means"),
    ):  # fmt: skip
        means = ["--kind", "mean", "--thresholds", out / f"{name}.safetensors", "--fraction", "0.1", "--overwrite"]
        refused(["mask", "--run", out, "--neurons", out / "gate.safetensors", *means], name, says)
    refused(["select", "--run", out, "--readout", "max-gate", "--out", "x"], "skn probe --at max --neuron gate --run")
    assert hits.meta["readout"] == "last-gate" and hits.meta["threshold_at"] == "zero" and not hits["threshold"].any()
    test = Run.open(out).load().data.split("test")
    _, gates = by_hand(tiny(family), family, test.text, part="mlp.act_fn")
    for label in range(2):
        own = gates[torch.tensor(test.label) == label]
        clear = (own.abs() > 1e-6).all(dim=0)
        assert (
            torch.equal(hits["hits"][label, :, 0][clear], (own > 0).sum(dim=0)[clear]) and clear.double().mean() > 0.9
        )


def test_pooling_reads_the_texts_own_tokens_alone(tiny, corpus_folder):
    """The same texts in another template: "max" over their own first layer's tokens differs, words beside them do not count."""
    data = face.load_data(corpus_folder)
    run = face.tune(tiny("roberta"), data, WORDS, method="template", template=TEMPLATES["roberta"])
    encoded = run.encoded("test")
    for ids, own in zip(encoded.input_ids[:20], encoded.own[:20], strict=True):
        kept = [token for token, is_own in zip(ids, own, strict=True) if is_own]
        assert run.tokenizer.decode(kept).strip() in data.split("test").text
    assert face.probe(run, ["mean", "max"]).accuracy("test", "max").shape == (1, 3, 1, 48)
    assert face.rank(face.probe(run)).meta["readout"] == "mask"


@pytest.mark.parametrize(
    ("family", "given", "says"),
    [
        ("roberta", ["--template", "{text} It was {mask}."], "--template: goes with --method template"),
        ("roberta", ["--method", "template"], "--method template: give --template"),
        ("roberta", ["--method", "template", "--template", "It was {mask}."], "{text} stands in it 0 times"),
        ("roberta", ["--method", "template", "--template", "{text} It was"], "an encoder fills one mask"),
        ("gpt2", ["--method", "template", "--template", "{text} {mask}"], "a decoder goes on after the last word"),
        ("roberta", ["--method", "template", "--template", "{text} {mask}", "--prompt-length", "4"], "--prompt-length: a template tunes nothing"),
        ("roberta", ["--method", "template", "--template", "{text} {mask}", "--lr", "0.1"], "--lr: a template tunes nothing"),
        ("roberta", ["--method", "template", "--template", "{text} {mask}", "--epochs", "3"], "--epochs: a template tunes nothing"),
        ("roberta", ["--method", "template", "--template", "{text} {mask}", "--patience", "6"], "--patience: a template tunes nothing"),
        ("roberta", ["--method", "template", "--template", "{text}. {mask}", "--max-length", "3"], "leaves no room for a text"),
    ],
)  # fmt: skip
def test_refusals(refused, tiny, corpus_folder, tmp_path, family, given, says):
    out = tmp_path / "run"
    refused(["train", "--backbone", tiny(family), "--data", corpus_folder, "--out", out, *given], says)
    assert not out.exists()


@pytest.mark.parametrize(
    "given",
    [{"epochs": 0}, {"epochs": 3}, {"batch_size": 8}, {"lr": 0.1}, {"warmup": 0.5}, {"eval_every": 2}, {"patience": 1}, {"autocast": True}],
)  # fmt: skip
def test_what_only_a_training_has_is_refused_in_python_too(tiny, corpus_folder, given):
    (name,) = given
    with pytest.raises(InputError, match=f"^{name}(=True)?: a template tunes nothing"):
        face.tune(
            tiny("roberta"), face.load_data(corpus_folder), WORDS, method="template", template="{text} {mask}", **given
        )


def test_a_readout_that_a_run_does_not_have(refused, template_run):
    family, out = template_run
    refused(["probe", "--run", out, "--at", "prompt", "--overwrite"], "--at prompt: this run has a template")
    if family != "roberta":
        refused(
            ["probe", "--run", out, "--at", "mask", "--overwrite"],
            "--at mask: a decoder has no mask; read last, mean or max",
        )


def answers(folder, family, texts, tokenizer_of):
    """Label-word scores [N, C] of a pruned folder, by transformers."""
    auto = transformers.AutoModelForCausalLM if family != "roberta" else transformers.AutoModelForMaskedLM
    model, tokenizer = auto.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(tokenizer_of)
    words = [tokenizer.encode(" " + word, add_special_tokens=False)[0] for word in WORDS]
    rows = []
    for text in texts:
        ids = tokenizer(TEMPLATES[family].replace("{text}", text).replace("{mask}", tokenizer.mask_token or ""), return_tensors="pt")["input_ids"]  # fmt: skip
        at = -1 if family != "roberta" else int((ids[0] == tokenizer.mask_token_id).nonzero()[-1])
        with torch.no_grad():
            rows.append(model(input_ids=ids).logits[0, at, words])
    return torch.stack(rows)


@pytest.mark.parametrize("stock", [False, True])
def test_a_pruned_language_model_answers_as_the_mask(template_run, stock, refused):
    """The folder of ``skn prune`` against the run under a mask of the same kind, and in an evaluation beside the run."""
    family, out = template_run
    readout = "mask" if family == "roberta" else "last"
    skn("probe", "--run", out, "--at", readout, "--overwrite")
    skn("select", "--run", out, "--overwrite")
    freeze = "mean" if (family, stock) != ("llama", True) else "zero"
    widths = ["--count", "12"] if stock else ["--count", "48,12,5"]
    folder = out / ("stock" if stock else "pruned")
    skn(
        "prune",
        "--run",
        out,
        *widths,
        "--freeze",
        freeze,
        *(["--stock"] if stock else []),
        "--out",
        folder,
        "--overwrite",
    )
    run = face.open_run(out)
    ranking = face.NeuronSets.load(out / "neurons.safetensors", run.provenance, run.model.backbone.present)
    keep = ranking.count(12 if stock else [48, 12, 5], range(3))
    moments = artifacts.load(out / f"moments-{readout}.safetensors", "moments")
    mean = (moments["total"].sum(dim=0) / moments["count"].sum())[:, 0]
    mask = Mask("mean", ~keep, mean) if freeze == "mean" else Mask("zero", ~keep)
    texts = run.data.split("test").text[:12]
    expected = predict(run.model, run.encoded("test").take(range(12)), engine="hf", mask=mask)
    torch.testing.assert_close(answers(folder, family, texts, out_backbone(run)), expected, rtol=1e-5, atol=1e-5)
    plain = not transformers.AutoConfig.from_pretrained(folder).model_type.startswith("skn_")
    assert plain == stock and TEMPLATES[family].replace("\n", "\\n") in (folder / "README.md").read_text()
    skn("evaluate", "--run", out, "--model", folder, "--overwrite")
    refused(["predict", "--model", folder, "--text", "a"], "a language model of a run by template")
    assert face.prune(run, ranking, count=12, stock=stock, freeze="zero").config.vocab_size


def out_backbone(run):
    return run.model.backbone.config._name_or_path


def test_refusals_of_pruning(template_run, refused, tiny, corpus_folder, tmp_path):
    family, out = template_run
    skn("probe", "--run", out, "--overwrite")
    skn("select", "--run", out, "--overwrite")
    refused(
        ["prune", "--run", out, "--count", "5", "--int8", "--out", "p"],
        "--int8: a run by template has no prompt inside its model",
    )
    refused(["prune", "--run", out, "--count", "5", "--retune", "1", "--out", "p"], "a run by template has none")
    refused(
        ["prune", "--run", out, "--count", "48,12,5", "--stock", "--out", "p"], "one feed-forward width for all layers"
    )
    if family == "llama":
        return
    run = face.tune(tiny(family), face.load_data(corpus_folder), WORDS, prompt_length=4, epochs=0)
    with pytest.raises(face.InputError, match="a tuned prompt stands in no stock architecture"):
        face.prune(run, face.rank(face.probe(run)), count=5, stock=True)


def test_a_probe_without_a_readout_is_refused(tiny, corpus_folder):
    data = face.load_data(corpus_folder)
    run = face.tune(tiny("gpt2"), data, WORDS, method="template", template=TEMPLATES["gpt2"])
    with pytest.raises(face.InputError, match="no read-out; name one"):
        face.probe(run, [])


def test_a_tokenizer_that_does_not_tell_characters_is_refused(tiny, corpus_folder, tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("bert"))
    vocabulary = tokenizer.get_vocab()
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)))
    transformers.AutoModelForMaskedLM.from_pretrained(tiny("bert")).save_pretrained(tmp_path / "slow")
    transformers.BertJapaneseTokenizer(tmp_path / "vocab.txt", word_tokenizer_type="basic").save_pretrained(
        tmp_path / "slow"
    )
    with pytest.raises(face.InputError, match="its tokenizer is written in Python"):
        face.tune(tmp_path / "slow", face.load_data(corpus_folder), WORDS, method="template", template="{text} {mask}")
