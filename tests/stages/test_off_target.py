"""``skn mask --on``: the file, the tables, resuming, the report's section, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pages import Page
from refusals import command
from spoiled import edit
from tables import write_tsv

from skn.data import corpus
from skn.neurons import off_target as library
from skn.neurons.off_target_table import read_off_target
from skn.store import folders

MASK = ["mask", "--run", "a", "--on", "b,c", "--fraction", "0.1,0.5", "--controls", 3]


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Path:
    """Three probed runs of one backbone; no test writes there. "a" and "b" have one task, with two seeds."""
    folder = tmp_path_factory.mktemp("off-target")
    for name, seed, size in (("letters", 1, 120), ("words", 2, 90)):
        (folder / name).mkdir()
        write_tsv(folder / name / "train.tsv", ["text", "label"], corpus.generate(seed=seed, size=size))
    for run, data, seed in (("a", "letters", 0), ("b", "letters", 1), ("c", "words", 0)):
        train = ["train", "--backbone", tiny("roberta"), "--data", folder / data, "--out", folder / run]
        assert command([*train, "--epochs", 0, "--prompt-length", 4, "--seed", seed]) == 0
        assert command(["probe", "--run", folder / run]) == 0
    assert command(["select", "--run", folder / "a"]) == 0
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch, quiet_exit) -> Path:
    for name in "abc":
        shutil.copytree(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file_of(here: Path, stem: str = "off-target-zero") -> Path:
    return here / "a" / f"{stem}.json"


def test_the_file_and_the_tables(here, capsys):
    assert command([*MASK, "--json"]) == 0
    matrix, table = json.loads(capsys.readouterr().out)["tables"]
    names = ["letters (a)", "letters (b)", "words"]
    assert matrix["columns"] == ["masked", "neurons", *names] and [row[1] for row in matrix["rows"]] == [12, 72]
    stored = read_off_target(file_of(here))
    assert [run["run"] for run in stored["runs"]] == names and stored["on"] == names[1:]
    assert matrix["rows"][1][2:] == [run["rows"][1]["excess"] for run in stored["runs"]]
    assert len(table["rows"]) == 6 and all(len(row["draws"]) == 3 for run in stored["runs"] for row in run["rows"])
    own = [row for row in table["rows"] if row[0] == "letters (a)"]
    assert [row[-2:] for row in own] == [[None, None]] * 2
    assert stored["provenance"]["seed"] == 0 and stored["runs"][1]["provenance"]["seed"] == 1
    folders.refuse_occupied(here / "a", "run", overwrite=True)  # the file is skn's


@pytest.mark.parametrize("match", ["layer", "activity"])
def test_the_first_run_is_as_skn_mask_says(here, match):
    """Activity is that of the run whose neurons are masked, in all runs."""
    asked = [*MASK, "--match", match]
    assert command(asked) == command([*asked[:3], *asked[5:]]) == 0
    mask = json.loads((here / "a" / "mask-zero.json").read_text())["rows"]
    (own, *_) = read_off_target(file_of(here))["runs"]
    assert [row["accuracy"] for row in own["rows"]] == [row["accuracy"] for row in mask]
    assert [row["draws"] for row in own["rows"]] == [row["controls"]["accuracy"]["draws"] for row in mask]


def test_means_are_each_runs_own(here):
    assert command([*MASK, "--kind", "mean"]) == 0
    means = [run["mean"] for run in read_off_target(file_of(here, "off-target-mean"))["runs"]]
    assert len(set(means)) == 3 and None not in means


def test_an_interrupted_command_goes_on_after_the_last_run(here, monkeypatch):
    assert command(MASK) == 0
    whole = file_of(here).read_bytes()
    file_of(here).unlink()
    measured, asked = library._measured, []

    def stopped(measure, sets):
        if asked:
            raise KeyboardInterrupt
        asked.append(measure.name)
        return measured(measure, sets)

    monkeypatch.setattr(library, "_measured", stopped)
    assert command(MASK) == 130 and asked == ["letters (a)"]
    assert [run["run"] for run in read_off_target(file_of(here))["runs"]] == asked
    seen = []
    monkeypatch.setattr(library, "_measured", lambda m, sets: (seen.append(m.name), measured(m, sets))[1])
    assert command([*MASK, "--resume"]) == 0 and seen == ["letters (b)", "words"]
    assert file_of(here).read_bytes() == whole


@pytest.mark.parametrize(
    "given,was",
    [
        (["--seed", 1], "seed 0, not 1"),
        (["--fraction", "0.1"], "fractions 0.1,0.5, not 0.1"),
        (["--on", "b"], "on letters (b),words, not letters (b)"),
    ],
)
def test_resuming_with_other_settings_is_refused(here, refused, given, was):
    assert command(MASK) == 0
    rest = [part for i, part in enumerate(MASK) if given[0] not in MASK[max(i - 1, 0) : i + 1]]
    refused([*rest, *given, "--resume"], "off-target-zero.json was started with", was)


def test_a_run_that_is_another_by_now_is_not_resumed(here, refused):
    assert command(MASK) == 0
    edit(file_of(here), lambda document: document["runs"][2]["provenance"].update(seed=7))
    refused([*MASK, "--resume"], "words's seed 7, not 0")


def test_the_report_has_a_section(here):
    assert command(MASK) == command([*MASK, "--name", "again"]) == command(["report", "--run", "a"]) == 0
    page = Page((here / "a" / "report" / "index.html").read_text())
    assert "off-target" in page.sections and "letters (b)" in page.text
    assert (here / "a" / "report" / "off-target-zero.png").is_file()
    lines = (here / "a" / "report" / "off-target-zero-again.csv").read_text().splitlines()
    assert lines[0].startswith("run,fraction,neurons,") and len(lines) == 7


@pytest.mark.parametrize(
    "given,phrases",
    [
        (["--on", "a"], ["a: is the same run as a"]),
        (["--on", "b,b"], ["b: is the same run as b; give each run once"]),
        (["--on", "b,,c"], ["--on b,,c: expected folders of runs"]),
        (["--on", "d"], ["d: not a run"]),
        (["--controls", 0], ["--controls 0", "draw 1 or more"]),
        (
            ["--match", "layer,activity"],
            ["--match layer,activity: one match stands beside the masks of other runs; give one"],
        ),
        (["--dtype", "int8"], ["--dtype int8"]),
        (["--fraction", "0:0.1:0.1"], ["--fraction 0: no neuron of layers 0:3"]),
        (["--thresholds", "b/moments.safetensors"], ["--thresholds has no effect with --on"]),
    ],
)
def test_bad_input(here, refused, given, phrases):
    rest = [part for i, part in enumerate(MASK) if given[0] not in MASK[max(i - 1, 0) : i + 1]]
    refused([*rest, *given], *phrases)


def test_another_backbone(here, refused, runs):
    other = shutil.copytree(runs("bert"), here / "bert")
    refused([*MASK[:4], other.name, *MASK[5:]], "bert: made for another backbone", "give runs of one backbone")


def test_means_that_are_not_there_or_are_read_elsewhere(here, refused, made, tiny):
    (here / "c" / "moments.safetensors").unlink()
    refused([*MASK, "--kind", "mean"], "c/moments.safetensors: not there; run 'skn probe --run c'")
    asked = ["--method", "template", "--template", "{text} It was {mask}.", "--verbalizer", "never,the"]
    train = ["train", "--backbone", tiny("roberta"), "--data", made / "words", "--out", "d", *asked]
    assert command(train) == 0
    refused([*MASK[:4], "d", *MASK[5:], "--kind", "mean"], "d: its means are read at 'mask', those of a at 'prompt'")
    assert command([*MASK[:4], "d", *MASK[5:]]) == 0
