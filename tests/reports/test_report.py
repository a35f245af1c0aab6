"""The report: which sections a run gets; that its page stands alone, escapes text, repeats byte for byte."""

import html
import json
import re

import matplotlib
import pytest
import torch
from filled_run import (
    LAYERS,
    PROVENANCE,
    WIDTH,
    add_accuracy,
    add_evaluation,
    add_mask,
    add_neurons,
    add_prune,
    mask_table,
)
from pages import Page, assert_stands_alone
from spoiled import edit

from skn.errors import InputError
from skn.intervals import balanced_interval, share_interval
from skn.reports.read_run import report
from skn.runs.run import Run
from skn.store import artifacts

SECTIONS = {
    "summary": "Summary",
    "histogram": "Activations of the best neurons, by class",
    "texts": "Texts beside neurons",
    "predictivity": "Predictivity by layer",
    "positions": "Predictivity by prompt position",
    "carried": "The best neurons on test",
    "masking": "Accuracy under a mask",
    "pruning": "Before and after pruning",
    "provenance": "Provenance",
}


def page_of(run):
    return Page(report(run.path).read_text())


@pytest.mark.drawn
def test_full_run_has_every_section_and_stands_alone(full):
    path = report(full.path)
    assert path == full.path / "report" / "index.html"
    text = path.read_text()
    page = Page(text)
    assert page.sections == list(SECTIONS)
    assert all(title in page.text for title in SECTIONS.values())
    pictures = {"training", "histogram-test", "predictivity", "positions", "carried", "mask-zero", "evaluate-test"}
    assert_stands_alone(path, pictures)
    assert {file.stem for file in path.parent.glob("*.csv")} == pictures


def test_bare_run(bare):
    page = page_of(bare)
    assert page.sections == ["summary", "provenance"]
    assert "85.3%" in page.text and "step 10" in page.text


@pytest.mark.parametrize(
    ("files", "anchors"),
    [
        (["activations-neuron-test.safetensors"], {"texts"}),
        (["neurons.safetensors"], {"predictivity", "positions", "carried"}),
        (["accuracy-validation.safetensors"], {"positions", "carried"}),
        (["accuracy-test.safetensors"], {"carried"}),
        (["hits-test.safetensors"], set()),
        (["mask-zero.json"], {"masking"}),
        (["prune.json", "evaluate-test.json"], {"pruning"}),
    ],
)
def test_a_section_goes_with_its_files_and_no_other_does(full, files, anchors):
    for name in files:
        (full.path / name).unlink()
    assert page_of(full).sections == [name for name in SECTIONS if name not in anchors]


def test_prune_or_evaluate_alone(bare):
    add_prune(bare)
    page = page_of(bare)
    assert "2,000,000 to 1,500,000" in page.text and "20 in layer 0, 4 in layers 1 to 2" in page.text
    (bare.path / "prune.json").unlink()
    add_evaluation(bare)
    page = page_of(bare)
    assert "Accuracy and speed" in page.text and "425.5" in page.text


def test_text_is_escaped(full):
    text = report(full.path).read_text()
    assert "<b>" not in text
    assert html.escape("<b>") in text
    assert "$_&" in Page(text).text


@pytest.mark.drawn
def test_same_bytes_whatever_the_user_configured(full):
    def written():
        report(full.path)
        return {file.name: file.read_bytes() for file in (full.path / "report").iterdir()}

    first = written()
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "text.parse_math": True}):
        assert written() == first


def test_threshold_and_class_table(full):
    page = page_of(full)
    assert "2 7 1 1.125" in page.text and "above the threshold" in page.text
    activations = artifacts.load(full.file("activations", "neuron", "test"), "activations")
    above = activations["activations"][activations["label"] == 1, 0, 1, 0] > 1.125
    assert f"{above.double().mean():.1%}" in page.text
    assert "the first of the ranking" in page.text
    (full.path / "hits-test.safetensors").unlink()
    assert "2 7 1 – – –" in page_of(full).text


def test_another_neuron_is_not_called_the_best(full):
    artifact = artifacts.load(full.file("activations", "neuron", "test"), "activations")
    meta = {**artifact.meta, "neurons": [[1, 1]]}
    artifacts.save(artifact.path, "activations", artifact.tensors, PROVENANCE, **meta)
    assert "the first of the ranking" not in page_of(full).text


def test_test_accuracy_keeps_the_choice_made_on_validation(full):
    # Validation is best at position 1, inverted (0.1): on test that is 1 − 0.225, not the 0.99 of position 0.
    low, high = (f"{end:.1%}" for end in balanced_interval([0.8, 0.75], [20, 40]))
    assert f"2 7 93.7% 77.5% {low} to {high}" in page_of(full).text
    (full.path / "hits-test.safetensors").unlink()
    assert "2 7 93.7% 77.5% –" in page_of(full).text


@pytest.mark.parametrize("change", ["no validation", "other contrasts", "ranked on test"])
def test_no_test_column_that_would_flatter(full, change):
    if change == "no validation":
        (full.path / "accuracy-validation.safetensors").unlink()
    elif change == "other contrasts":
        add_accuracy(full, "test", [0.99, 0.2, 0.6, 0.5], contrasts=("0:1",))
    else:
        add_neurons(full, split="test")
    page = page_of(full)
    assert "2 7 93.7%" in page.text and "carried" not in page.sections
    assert "93.7% 77.5%" not in page.text and "93.7% 99.0%" not in page.text


def test_fewer_neurons_than_the_table_shows(bare):
    score = torch.full((1, 5), torch.nan, dtype=torch.float64)
    score[0, 3] = 0.75
    artifacts.save(bare.file("neurons"), "neurons", {"score": score}, PROVENANCE)
    assert "The 1 most predictive neurons" in page_of(bare).text


def test_a_fixed_set_has_nothing_to_draw(bare):
    selected = torch.ones(LAYERS, WIDTH, dtype=torch.bool)
    artifacts.save(bare.file("neurons"), "neurons", {"selected": selected}, PROVENANCE)
    row = {**mask_table()["rows"][1], "fraction": None}
    add_mask(bare, rows=[row])
    page = page_of(bare)
    assert "predictivity" not in page.sections
    assert "fixed set" in page.text
    assert not (bare.path / "report" / "mask-zero.png").exists()


def test_every_mask_is_shown_and_judged(full):
    add_mask(full, "mask-gaussian", kind="gaussian", alpha=0.1)
    rows = mask_table()["rows"]
    rows[-1]["accuracy"] = rows[-1]["controls"]["accuracy"]["mean"]
    add_mask(full, "mask-scale", kind="scale", alpha=0.5, rows=rows)
    page = page_of(full)
    assert (
        "Mask: zero; layers 1 to 2; test split; float32. Chosen: neurons that the file does not name. With 12"
        in page.text
    )
    assert "the accuracy is 70.0%, below" in page.text
    assert "the AUC is 75.0%, within the controls' 95% interval (74.0% to 76.0%, from 2 random sets)" in page.text
    assert "Mask: gaussian (alpha 0.1)" in page.text
    assert "85.0%, within the controls' 95% interval (84.0% to 86.0%, from 2 random sets)" in page.text


def test_a_masked_accuracy_has_its_interval_and_the_auc_has_none(full):
    rows = mask_table()["rows"]
    rows[-1]["interval"] = [0.615, 0.772]
    add_mask(full, rows=rows)
    text = page_of(full).text
    assert "20% 12 accuracy 70.0% 61.5% to 77.2%" in text and "20% 12 AUC 75.0% –" in text
    assert "10% 6 accuracy 80.0% –" in text  # as older versions wrote it


def test_whose_neurons_were_masked_and_kept(full):
    theirs = {"name": "../other/neurons.safetensors", "task": "joy", "digest": "0123456789abcdef"}
    add_mask(full, neurons=theirs)
    edit(full.path / "prune.json", lambda prune: prune.update(neurons=theirs))
    page = page_of(full)
    assert page.text.count("hosen: ../other/neurons.safetensors (of joy, 0123456789abcdef)") == 3


def test_a_mask_of_another_run_is_refused(full):
    add_mask(full, provenance={**PROVENANCE, "task": "another"})
    with pytest.raises(InputError, match="mask-zero.json: made for another task"):
        report(full.path)


def test_a_neuron_and_its_model_are_measured_alike(full):
    """The model answers 30 of 40 and 10 of 20 right: plain 66.7%, balanced 62.5%. The best neuron 30 of 40 and 16 of 20."""
    hits = artifacts.load(full.file("hits", "test"), "hits")
    meta = {**hits.meta, "confusion": [[10, 10], [10, 30]]}
    artifacts.save(hits.path, "hits", hits.tensors, PROVENANCE, **meta)
    ends = {"balanced": balanced_interval([0.5, 0.75], [20, 40]), "plain": share_interval(40 / 60, 60)}
    best = {"balanced": balanced_interval([0.8, 0.75], [20, 40]), "plain": share_interval(46 / 60, 60)}
    for by, named, own in (("predictivity", "balanced", "62.5%"), ("plain", "plain", "66.7%")):
        add_neurons(full, by=by)
        text = page_of(full).text
        low, high = (f"{end:.1%}" for end in ends[named])
        assert f"By the same measure the model itself reaches {own} (95%: {low} to {high}) on test." in text
        assert f"layer neuron {named} accuracy {named} accuracy on test 95% on test" in text
        assert "2 7 93.7% 77.5% {:.1%} to {:.1%}".format(*best[named]) in text
    assert "85.3% plain accuracy" in text


@pytest.mark.parametrize("share,beaten", [(0.51, ""), (0.84, " The model is no better than that.")])
def test_the_accuracy_of_the_tuning_has_its_interval_beside_the_larger_class(bare, share, beaten):
    bare.training |= {"examples": 60, "majority": share}
    bare.save()
    low, high = (f"{100 * end:.1f}%" for end in share_interval(0.853, 60))
    text = page_of(bare).text
    assert f"95%: {low} to {high}) on the 60 examples of the validation split at step 10" in text
    assert f"The larger class alone reaches {share:.1%}.{beaten}" in text
    assert ("no better" in text) == bool(beaten)


@pytest.mark.parametrize("foreign", [{"with_runs": [["b"]]}, {"runs": ["a", "b"]}, {"contrasts": [[[0], [1]]]}])
def test_no_test_column_of_neurons_that_this_probe_did_not_choose(full, foreign):
    add_neurons(full, **foreign)
    assert "2 7 93.7%" in page_of(full).text and "77.5%" not in page_of(full).text


def test_mask_without_controls(bare):
    rows = [{**row, "controls": None} for row in mask_table()["rows"]]
    add_mask(bare, rows=rows)
    page = page_of(bare)
    assert "masking" in page.sections and "interval (" not in page.text


def test_files_and_dtype_are_listed(full):
    (full.path / "timings.json").write_text("{}")
    (full.path / "checkpoints").mkdir()
    (full.path / "checkpoints" / "state.bin").write_bytes(b"x")
    (full.path / ".half.tmp").write_bytes(b"x")
    add_mask(full, "mask-mean", kind="mean", dtype="bfloat16")
    report(full.path)  # a second report must not list the first
    text = page_of(full).text
    size = (full.path / "run.json").stat().st_size
    assert f"run.json {size:,}" in text and "computed in bfloat16, float32" in text
    assert not re.search(r"timings|state\.bin|\.half|index\.html", text)


def test_refuses_what_is_not_a_finished_run(tmp_path, bare):
    with pytest.raises(InputError, match="not a run"):
        report(tmp_path)
    Run(bare.path, bare.config, None).save()
    with pytest.raises(InputError, match="not finished"):
        report(bare.path)
    assert not (bare.path / "report").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "damaged"), ("[]", "damaged"), ('{"rows": 3}', "damaged"), ("{}", "damaged .*kind: Field required"),
     (json.dumps(mask_table(rows=[{"fraction": 0.1}])), "damaged .*rows.0.neurons: Field required")],
)  # fmt: skip
def test_damaged_json_is_named(bare, text, said):
    (bare.path / "mask-zero.json").write_text(text)
    with pytest.raises(InputError, match=rf"mask-zero\.json: {said}"):
        report(bare.path)


def test_a_split_that_leads_out_of_the_report(full, tmp_path):
    """What a file says becomes the name of a picture."""
    victim = tmp_path / "victim.png"
    victim.write_text("a user's")
    found = artifacts.load(full.file("activations", "neuron", "test"), "activations")
    meta = {**found.meta, "split": "x/../../../victim"}
    artifacts.save(found.path, "activations", found.tensors, found.provenance, **meta)
    with pytest.raises(InputError, match="split.*: Input should be 'train', 'validation' or 'test'"):
        report(full.path)
    assert victim.read_text() == "a user's"


def test_damaged_or_foreign_artifacts_are_named(full):
    (full.path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"other\.safetensors: damaged"):
        report(full.path)
    (full.path / "other.safetensors").unlink()
    score = torch.zeros(LAYERS, WIDTH, dtype=torch.float64)
    artifacts.save(full.file("neurons"), "neurons", {"score": score}, {**PROVENANCE, "backbone_digest": "d2"})
    with pytest.raises(InputError, match="another backbone"):
        report(full.path)
