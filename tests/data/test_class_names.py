"""What classes are called: as the user says, else as the data says, else by the label words; the labels stay what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers
from refusals import command
from spoiled import edit, on
from tables import write_tsv

import skn
from skn.data.class_names import choose_class_names
from skn.data.tasks import DEFAULT_LABEL_WORDS
from skn.reports.read_run import collect
from skn.runs.run import Run
from skn.runs.sweep import Sweep

NAMED = {
    "given": (["bad ", "good"], ["0", "1"], ["negative", "positive"], ["bad", "good"]),
    "given for labels that are names": (["a", "b"], ["no", "yes"], ["negative", "positive"], ["a", "b"]),
    "labels that are names": (None, ["no", "yes"], ["negative", "positive"], ["no", "yes"]),
    "labels some of which are names": (None, ["0", "1", "n/a"], ["x", "y", "z"], ["0", "1", "n/a"]),
    "numbers": (None, ["-1", "0.5"], ["terrible", " great"], ["terrible", "great"]),
    "words alike but for a space": (None, ["0", "1"], ["great", " great"], ["0", "1"]),
    "letters by default": (None, ["1", "2", "3", "4", "5"], list(DEFAULT_LABEL_WORDS[5]), ["1", "2", "3", "4", "5"]),
    "letters that were chosen": (None, ["0", "1"], ["A", "B"], ["A", "B"]),
}


@pytest.mark.parametrize("given, labels, words, names", NAMED.values(), ids=NAMED)
def test_the_rule(given, labels, words, names):
    assert choose_class_names(given, labels, words) == names


@pytest.mark.parametrize(
    "given, message",
    [
        (["bad"], r"2 classes \(0, 1\) but 1 class names; give class_names= with one name for each class"),
        (["bad", "bad "], "class_names: 'bad' stands for two classes"),
        (["bad", " "], "class_names: '' is no name"),
        (["bad", "a\nb"], "is no name"),
    ],
)
def test_names_that_do_not_fit(given, message):
    with pytest.raises(skn.InputError, match=message):
        choose_class_names(given, ["0", "1"], ["negative", "positive"])


def train(tiny, data, *more, out="run"):
    line = ["train", "--backbone", tiny("roberta"), "--data", data, "--epochs", 0, "--prompt-length", 4, "--out", out]
    return [*line, *more]


def test_a_refused_name_leaves_nothing(refused, tiny, corpus_folder):
    refused(train(tiny, corpus_folder, "--class-names", "good,good"), "--class-names: 'good' stands for two classes")
    refused(train(tiny, corpus_folder, "--class-names", "good"), "2 classes (0, 1) but 1 class names", "--class-names")


def test_names_of_the_command_line_and_of_a_task_file(tiny, corpus_folder, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    Path("task.toml").write_text(f'data = "{corpus_folder}"\nclass_names = "bad, good"\n')
    assert command(train(tiny, "task.toml")) == 0
    assert Run.open("run").config.class_names == ["bad", "good"]
    assert command(train(tiny, "task.toml", "--class-names", "low,high", out="other")) == 0
    assert skn.open_run("other").class_names == ["low", "high"]
    assert skn.load_data("task.toml").names == ["bad", "good"]
    assert command(["train", "--resume", "--out", "run", "--data", "task.toml"]) == 0
    refused(["train", "--resume", "--out", "run", "--class-names", "low,high"], "--class-names bad,good, not low,high")


def test_names_of_a_sweep(tiny, corpus_folder, tmp_path, quiet_exit):
    out = tmp_path / "sweep"
    line = ["sweep", "--backbone", tiny("roberta"), "--data", corpus_folder, "--text-column", "text", "--tasks", "sst2"]
    line += ["--seeds", "1", "--epochs", 0, "--prompt-length", 4, "--class-names", "bad,good", "--out", out]
    assert command(line) == 0
    [run] = Sweep.open(out).finished_runs().values()
    assert run.config.class_names == ["bad", "good"] and run.load().data.classes == ["negative", "positive"]


def test_where_the_names_stand(run, capsys, quiet_exit):
    """A run on the labels 0 and 1: its pruned model, the card, the pipeline and the report say the label words."""
    assert command(on("prune", run=run)) == command(on("activate", run=run)) == command(on("report", run=run)) == 0
    config = json.loads((run / "pruned/config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "positive"} and config["label2id"] == {
        "negative": 0,
        "positive": 1,
    }
    assert "Classes: negative, positive." in (run / "pruned/README.md").read_text()
    [answer] = transformers.pipeline("text-classification", str(run / "pruned"))("the film is funny")
    assert answer["label"] in ("negative", "positive")
    [histogram] = collect(Run.open(run)).histograms
    assert histogram.classes == ["negative", "positive"]
    assert "<td>negative</td>" in (run / "report/index.html").read_text()


def test_a_run_of_an_older_version_opens_and_has_names(run):
    edit(run / "run.json", lambda stored: stored["config"].pop("class_names"))
    opened = skn.open_run(run)
    assert opened.class_names == ["negative", "positive"] and opened.data.classes == ["0", "1"]


def test_the_names_change_no_number(run, tiny, corpus_folder, tmp_path, quiet_exit):
    """Artifacts keep the labels of the data: files of a run with other names are the same bytes."""
    out = tmp_path / "named"
    assert command(train(tiny, corpus_folder, "--class-names", "bad,good", out=out)) == 0
    assert (out / "tuned.safetensors").read_bytes() == (run / "tuned.safetensors").read_bytes()


def test_a_registered_task_has_names_of_its_own(tiny, tmp_path):
    rows = [(f"text number {i}", i % 2) for i in range(60)]
    data = skn.load_data(write_tsv(tmp_path / "rows.tsv", ["sentence", "label"], rows), task="cola")
    made = skn.tune(str(tiny("roberta")), data, prompt_length=4, epochs=0, batch_size=8)
    assert made.class_names == ["unacceptable", "acceptable"] and made.label_words == ["negative", "positive"]
    again = skn.tune(str(tiny("roberta")), data, class_names=["no", "yes"], prompt_length=4, epochs=0, batch_size=8)
    assert again.class_names == ["no", "yes"]
