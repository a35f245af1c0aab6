"""The report: which sections a run gets; that its page stands alone, escapes text, repeats byte for byte."""

import html
import re

import matplotlib
import pytest
from filled_run import add_evaluation, add_mask, add_prune, fill, make_run
from pages import Page, assert_stands_alone, bytes_of

from skn.intervals import share_interval
from skn.reports.read_run import report
from skn.reports.run_data import Kept, ReportData
from skn.reports.run_page import pruning

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
SIGNIFICANCE = [f"significance-{split}.safetensors" for split in ("validation", "test")]


def page_of(run):
    return Page(report(run.path).read_text())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The page of a full run with its pictures."""
    return report(fill(make_run(tmp_path_factory.mktemp("drawn") / "run")).path)


def test_full_run_has_every_section_and_stands_alone(drawn):
    path = drawn
    assert path.parts[-3:] == ("run", "report", "index.html")
    page = Page(path.read_text())
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
        (["neurons.safetensors"], {"positions", "carried"}),
        (["neurons.safetensors", *SIGNIFICANCE], {"predictivity", "positions", "carried"}),
        (SIGNIFICANCE, set()),
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
def test_same_bytes_whatever_the_user_configured(drawn):
    first = bytes_of(drawn.parent)
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "text.parse_math": True}):
        report(drawn.parent.parent)
    assert bytes_of(drawn.parent) == first


@pytest.mark.parametrize(
    "share,beaten",
    [(0.51, ""), (0.84, " The model is not clearly better than that."), (0.86, " The model is no better than that.")],
)
def test_the_accuracy_of_the_tuning_has_its_interval_beside_the_larger_class(bare, share, beaten):
    bare.training |= {"examples": 60, "majority": share}
    bare.save()
    low, high = (f"{100 * end:.1f}%" for end in share_interval(0.853, 60))
    text = page_of(bare).text
    assert f"95%: {low} to {high}) on the 60 examples of the validation split at step 10" in text
    assert f"The larger class alone reaches {share:.1%}.{beaten}" in text
    assert ("better than that" in text) == bool(beaten)


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


def test_a_pruned_model_is_told_to_tune_again_only_once():
    def words(**validation):
        low = {"interval": [0.4, 0.6], "accuracy": 0.55, "parameters": 9, "examples_per_second": None}
        models = [{**low, "name": "full"}, {**low, "name": "pruned"}]
        where = {"split": "test", "name": "again", "data": None, "stem": "e", "dtype": "", "device": "", "threads": 1}
        evaluation = {**where, "batch_tokens": 1, "examples": 60, "majority": 0.5, "models": models}
        kept = Kept("pruned", 9, (0.5, 0.4, 0.6), validation.get("retuned"), 0.5)
        return pruning(ReportData({}, {}, {}, evaluations=[evaluation], kept=[kept])).text[0]

    first = words()
    assert first.startswith(
        "On test 'again' the larger class alone reaches 50.0%; not clearly better, by the 95% interval"
    )
    assert first.endswith("full, pruned. 'skn prune --retune 3' tunes a pruned model again.")
    assert words(retuned=(0.55, 0.4, 0.6)).endswith("full, pruned.")
