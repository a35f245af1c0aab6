"""What is averaged as seeds is one task's: another task, other classes, words or data are refused, by the library too."""

from __future__ import annotations

from dataclasses import replace

import pytest
from refusals import command
from tables import write_tsv

import skn

WORDS = ["negative", "positive"]
SMALL = {"prompt_length": 4, "epochs": 0, "batch_size": 16}


@pytest.fixture(scope="module")
def probes(tiny, corpus_folder):
    data = skn.load_data(corpus_folder)
    return [skn.probe(skn.tune(tiny("roberta"), data, WORDS, seed=seed, **SMALL)) for seed in (0, 1)]


def of(probe, **changes):
    return replace(probe, provenance={**probe.provenance, **changes})


CHANGES = {
    "task": ({"task": "other"}, "made for another task (task other,"),
    "classes": ({"class_names": ["a", "b"]}, "made for other classes (class_names a,b,"),
    "words": ({"label_words": ["bad", "good"]}, "made for other label words (label_words bad,good,"),
    "backbone": ({"backbone_digest": "0"}, "made for another backbone"),
    "scores": ({"word_scores": "by embedding"}, "made for another way to score words"),
    "data": ({"split_digest": "0"}, "made for other data"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_no_seeds_of_one_task(probes, name):
    changes, said = CHANGES[name]
    with pytest.raises(skn.InputError) as refusal:
        skn.rank([probes[0], of(probes[1], **changes)])
    assert said in str(refusal.value)
    if name != "backbone":  # further tasks are of one backbone and of nothing else
        skn.rank(probes[0], [of(probes[1], **changes)])


def test_seeds_and_older_probes(probes):
    assert skn.rank(probes).provenance["tuned"] == [probe.provenance["tuned"] for probe in probes]
    unsaid = dict.fromkeys(("class_names", "split_digest"))
    assert skn.rank([probes[0], of(probes[1], **unsaid)]).task == probes[0].provenance["task"]
    united = skn.rank(probes[0], [of(probes[1], task="other")])
    assert united.task == f"{probes[0].provenance['task']} + other"


def test_two_tasks_on_the_command_line(run, tiny, tmp_path, refused):
    """The same rows under another file's name, and other rows under the same name."""
    rows = [(f"text {i}", i % 2) for i in range(80)]
    for folder, file in (("a", "other.tsv"), ("b", f"{skn.open_run(run).data.spec.name}.tsv")):
        (tmp_path / folder).mkdir()
        write_tsv(tmp_path / folder / file, ["text", "label"], rows)
        train = ["train", "--backbone", tiny("roberta"), "--data", tmp_path / folder / file, "--epochs", 0]
        assert command([*train, "--out", tmp_path / f"run-{folder}", "--prompt-length", 4]) == 0
        assert command(["probe", "--run", tmp_path / f"run-{folder}"]) == 0
    said = "run-a/hits-validation.safetensors: made for another task (task other,", "seeds share a task"
    refused(["select", "--run", "run", "--run", "run-a", "--overwrite"], *said)
    refused(["select", "--run", "run", "--run", "run-b", "--overwrite"], "made for other data", "seeds share a task")
