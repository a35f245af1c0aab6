"""The documents: the paths that they name exist, and the Python that the README shows runs."""

import re

import pytest
import torch
import transformers
from recorded import model_of
from repository import REPOSITORY
from safetensors.numpy import load_file
from tables import write_tsv

import skn
from skn.data import corpus

DOCUMENTS = [*REPOSITORY.glob("README*.md"), REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")]
SOURCE = r"[\w.-]+(?:/[\w.-]+)*"
FILE = re.compile(rf"{SOURCE}/[\w.-]+\.(?:py|cpp|h|cu|sh|md)")
FOLDER = re.compile(rf"{SOURCE}/")


def paths(text):
    """What stands in backticks and looks like a path: a word with a slash that ends like a source file, or a folder alone."""
    for quoted in re.findall(r"`([^`\n]+)`", text):
        yield from (word for word in quoted.split() if FILE.fullmatch(word))
        if FOLDER.fullmatch(quoted):
            yield quoted


def missing(text, roots):
    return [path for path in paths(text) if not any((root / path).exists() for root in roots)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_in_backticks_exists(document):
    inside = [REPOSITORY / "skn"] if document.name in ("architecture.md", "decisions.md") else []
    assert missing(document.read_text(), [REPOSITORY, *inside]) == []


def test_a_wrong_path_is_seen():
    text = "`skn/seeds.py`, `skn/`, `python scripts/lost.py OUT`, `skn/lost/`, `and/or`, `skn/lost.md`"
    assert missing(text, [REPOSITORY]) == ["scripts/lost.py", "skn/lost/", "skn/lost.md"]


def python_of(document):
    return re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)


# The README's lines on what is at hand: a tiny model, a file of the test, fewer neurons than those of a whole layer.
AT_HAND = {
    '"reviews.csv"': "reviews",
    '"roberta-base"': "backbone",
    '"terrible", "great"': '"negative", "positive"',
    "controls=20": "controls=2",
    "count=61, layers=range(3, 12)": "count=12, layers=range(1, 3)",
}


@pytest.mark.parametrize("name", ["README.md", "README-ZH.md"])
def test_the_python_of_the_readme_runs(name, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [(text, "good" if label else "bad") for text, label in corpus.generate(seed=1, size=240)]
    reviews = write_tsv(tmp_path / "reviews.tsv", ["review", "stars"], rows)
    pipeline = python_of(REPOSITORY / name)[0]
    for line, own in AT_HAND.items():
        assert line in pipeline
        pipeline = pipeline.replace(line, own)
    known = {"reviews": reviews, "backbone": str(tiny("roberta"))}
    exec(pipeline, known)
    assert known["small"].config.ffn_widths == [48, 12, 12]
    assert [row["neurons"] for row in known["table"].rows] == [12, 27]
    assert list(tmp_path.iterdir()) == [reviews]


def test_the_loop_of_ones_own_runs():
    (statistics,) = (part for part in python_of(REPOSITORY / "docs" / "python.md") if "NeuronStatistics" in part)
    ids, real = torch.arange(5, 26).reshape(3, 7), torch.ones(3, 7, dtype=torch.int64)
    batch = {"input_ids": ids, "attention_mask": real, "labels": torch.tensor([0, 1, 1])}
    known = {"skn": skn, "model": model_of("roberta"), "loader": [batch]}
    exec(statistics, known)
    assert known["found"].count.tolist() == [1, 2]


def test_the_python_of_int8_runs(tiny, corpus_folder, tmp_path):
    """The conversion in the page on Python, and the layout of its tensors in the page on files."""
    (conversion,) = (part for part in python_of(REPOSITORY / "docs" / "python.md") if "to_int8" in part)
    (layout,) = (part for part in python_of(REPOSITORY / "docs" / "files.md") if "packed" in part)
    run = skn.tune(tiny("roberta"), skn.load_data(corpus_folder), ["negative", "positive"], epochs=0)
    known = {"skn": skn, "run": run, "folder": tmp_path, "AutoModelForSequenceClassification": transformers.AutoModelForSequenceClassification}  # fmt: skip
    exec(conversion, known)
    assert known["small"].backbone.int8 and not known["plain"].backbone.int8
    stored = load_file(tmp_path / "model.safetensors")
    name = known["model"].config.int8[-1]
    own = {part: stored[f"roberta.{name}.{part}"] for part in ("weight", "bias", "int8_weight", "int8_bias")}
    exec(layout, parts := {"packed": own["int8_weight"], "int8_bias": own["int8_bias"]})
    for part in ("weight", "bias"):
        assert abs(parts[part] - own[part]).max() < 0.1 * abs(own[part]).max()


def test_the_first_page_shows_the_python_of_the_readme():
    assert python_of(REPOSITORY / "docs" / "index.md") == python_of(REPOSITORY / "README.md")[:1]
