"""Results have names: several masks and evaluations of one kind side by side; speeds that still hold are kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from refusals import command
from spoiled import edit
from transformers import AutoModelForSequenceClassification

import skn
from skn.errors import InputError
from skn.neurons.mask_table import read_mask
from skn.pruned.evaluation import read_evaluation
from skn.reports.card import card
from skn.reports.read_run import collect
from skn.runs.run import Run
from skn.store import documents, folders


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory) -> Path:
    """A run with a ranking and a pruned model; no test writes there."""
    out = Path(shutil.copytree(runs(), tmp_path_factory.mktemp("made") / "run"))
    assert command(["prune", "--run", out, "--count", 12, "--overwrite"]) == 0
    return out


@pytest.fixture
def run(made, tmp_path) -> Path:
    out = Path(shutil.copytree(made, tmp_path / "run"))
    for file in (*out.glob("mask-*"), *out.glob("evaluate-*")):
        file.unlink()
    return out


MASK = ["mask", "--kind", "zero", "--controls", 0, "--fraction"]


def test_masks_of_one_kind_stand_side_by_side(run, refused):
    assert command([*MASK, 0.1, "--run", run]) == 0
    refused(
        [*MASK, 0.2, "--run", run],
        "mask-zero.json: exists already; --overwrite replaces it, --resume continues, --name NAME keeps both",
    )
    assert command([*MASK, 0.2, "--run", run, "--name", "a fifth"]) == 0
    assert command([*MASK, 0.2, "--run", run, "--name", "a/b"]) == 0
    assert [row["fraction"] for row in read_mask(run / "mask-zero-a fifth.json")["rows"]] == [0.2]
    assert [row["fraction"] for row in read_mask(run / "mask-zero.json")["rows"]] == [0.1]
    held = [read_mask(run / f"{stem}.json")["name"] for stem in ("mask-zero", "mask-zero-a fifth", "mask-zero-a%2Fb")]
    assert held == [None, "a fifth", "a/b"]
    assert command(["report", "--run", run]) == 0
    page = (run / "report" / "index.html").read_text()
    assert "Mask: zero;" in page and "Mask &#39;a fifth&#39;: zero;" in page and "Mask &#39;a/b&#39;: zero;" in page
    assert (run / "report" / "mask-zero-a fifth.csv").is_file() and (run / "report" / "mask-zero-a%2Fb.csv").is_file()
    assert 'href="mask-zero-a%252Fb.csv"' in page
    folders.refuse_occupied(run, "run", overwrite=True)  # all of it is skn's


def test_several_matches_stand_side_by_side(run, refused):
    """Each match has the draws that it has alone. The first one is what older readers find under ``controls``."""
    command_line = ["mask", "--fraction", "0.1,0.2", "--controls", 2, "--run", run]
    for name, match in {"layer": "layer", "overall": "overall", "both": "overall,layer"}.items():
        assert command([*command_line, "--match", match, "--name", name]) == 0
    layer, overall, both = (read_mask(run / f"mask-zero-{name}.json") for name in ("layer", "overall", "both"))
    assert both["match"] == "overall,layer"
    for row, by_layer, by_all in zip(both["rows"], layer["rows"], overall["rows"], strict=True):
        assert row["controls"] == by_all["controls"] != by_layer["controls"]
        assert row["controls_by_match"] == {"layer": by_layer["controls"], "overall": by_all["controls"]}
    file = run / "mask-zero-both.json"
    whole = file.read_bytes()
    edit(file, lambda table: table.update(rows=table["rows"][:1]))
    resumed = [*command_line, "--name", "both", "--resume", "--match"]
    refused([*resumed, "layer,overall"], "was started with match overall,layer, not layer,overall; ")
    assert command([*resumed, "overall,layer"]) == 0 and file.read_bytes() == whole
    table = skn.mask(skn.open_run(run), fractions=0.1, controls=2, match=["overall", "layer", "overall"])
    assert table.rows == both["rows"][:1]
    assert [record["match"] for record in table.table().records()] == ["overall", "layer"] * 2
    refused([*command_line, "--match", "layer,al"], "--match al: expected layer, overall")
    refused([*command_line, "--match", ","], "--match: none is given; give one or several of layer, overall")


def test_rows_of_one_match_go_on_as_they_were(run):
    """Files of older versions have no ``controls_by_match``."""
    command_line = ["mask", "--fraction", "0.1,0.2", "--controls", 2, "--run", run]
    assert command(command_line) == 0
    whole = read_mask(run / "mask-zero.json")
    edit(run / "mask-zero.json", lambda table: table.update(rows=table["rows"][:1]))
    edit(run / "mask-zero.json", lambda table: table["rows"][0].pop("controls_by_match"))
    assert command([*command_line, "--resume"]) == 0
    rows = read_mask(run / "mask-zero.json")["rows"]
    assert rows[1] == whole["rows"][1] and rows[0] == {**whole["rows"][0], "controls_by_match": None}


def test_evaluations_have_names(run, refused):
    assert command(["evaluate", "--run", run, "--name", "first"]) == 0
    assert command(["evaluate", "--run", run]) == 0
    refused(
        ["evaluate", "--run", run],
        "evaluate-test.json: exists already; --overwrite replaces it, --name NAME keeps both",
    )
    assert (
        read_evaluation(run / "evaluate-test-first.json")["models"]
        == read_evaluation(run / "evaluate-test.json")["models"]
    )
    assert command(["report", "--run", run]) == 0
    page = (run / "report" / "index.html").read_text()
    assert "test split;" in page and "test split &#39;first&#39;;" in page


def test_no_two_results_share_a_file(run, tmp_path, corpus_folder):
    """The file's name and the result's stood with a hyphen between them: a.csv named b was a-b.csv without a name."""
    for stem in ("a", "a-b"):
        shutil.copy(corpus_folder / "test.tsv", tmp_path / f"{stem}.tsv")
    evaluate = ["evaluate", "--run", run, "--data"]
    assert command([*evaluate, tmp_path / "a.tsv", "--name", "b"]) == 0
    assert command([*evaluate, tmp_path / "a-b.tsv"]) == command([*evaluate, tmp_path / "a.tsv", "--name", "b@c"]) == 0
    held = {file.name: read_evaluation(file) for file in run.glob("evaluate-*.json")}
    assert {name: (found["data"], found["name"]) for name, found in held.items()} == {
        "evaluate-data-a@b.json": ("a.tsv", "b"),
        "evaluate-data-a-b.json": ("a-b.tsv", None),
        "evaluate-data-a@b%40c.json": ("a.tsv", "b@c"),
    }
    assert command(["report", "--run", run]) == 0
    assert all((run / "report" / f"{Path(name).stem}.csv").is_file() for name in held)
    folders.refuse_occupied(run, "run", overwrite=True)  # all of it is skn's


def test_a_speed_of_other_texts_in_a_file_of_that_name_is_not_kept(run, tmp_path, corpus_folder):
    for folder, split in (("x", "test"), ("y", "validation")):  # as many rows of each
        (tmp_path / folder).mkdir()
        shutil.copy(corpus_folder / f"{split}.tsv", tmp_path / folder / "a.tsv")
    evaluate = ["evaluate", "--run", run, "--overwrite", "--data"]
    assert command([*evaluate, tmp_path / "x" / "a.tsv", "--speed"]) == 0
    for folder, kept in (("x", True), ("y", False)):
        assert command([*evaluate, tmp_path / folder / "a.tsv"]) == 0
        (full, *_) = read_evaluation(run / "evaluate-data-a.json")["models"]
        assert (full["examples_per_second"] is not None) is kept


def test_a_name_is_said_in_the_title(run):
    loaded = skn.open_run(run)
    assert skn.evaluate(loaded, name=" first ").table().title.startswith("Evaluation 'first' on test")
    assert skn.mask(loaded, fractions=0.1, controls=0, name="a").table().title.startswith("Mask 'a' zero,")
    for function, values in ((skn.evaluate, {}), (skn.mask, {"fractions": 0.1})):
        with pytest.raises(InputError, match="^name: is empty"):
            function(loaded, name=" ", **values)


def test_the_card_is_of_the_results_without_a_name(run):
    assert command(["evaluate", "--run", run]) == 0
    shutil.copy(run / "evaluate-test.json", run / "evaluate-test-a.json")
    edit(run / "evaluate-test-a.json", lambda found: found["models"][0].update(accuracy=0.123))
    data = collect(Run.open(run))
    assert [found["stem"] for found in data.evaluations] == ["evaluate-test", "evaluate-test-a"]
    assert "12.3" not in card(data)[0].value


@pytest.mark.parametrize("name, words", [("", "--name: is empty"), ("a\x1bb", "control characters")])
def test_names_that_are_none(run, refused, name, words):
    refused([*MASK, 0.1, "--run", run, "--name", name], words)
    refused(["evaluate", "--run", run, "--name", name], words)


def test_a_users_file_with_such_a_name_is_not_deleted(run):
    documents.write(run / "evaluate-mine.json", "grid", {})
    with pytest.raises(InputError, match="holds evaluate-mine.json, which skn did not write"):
        folders.refuse_occupied(run, "run", overwrite=True)


# ---- speeds ----------------------------------------------------------------------------------------------------


def speeds(run):
    return [model["examples_per_second"] for model in read_evaluation(run / "evaluate-test.json")["models"]]


def test_speeds_are_kept_where_nothing_changed(run, caplog):
    caplog.set_level("INFO")
    assert command(["evaluate", "--run", run, "--speed", "--repeats", 2]) == 0
    before = speeds(run)
    assert command(["evaluate", "--run", run, "--overwrite"]) == 0
    assert speeds(run) == before and None not in before and "kept for 2 of 2 models" in caplog.text
    edit(run / "evaluate-test.json", lambda found: found.update(threads=77))
    assert command(["evaluate", "--run", run, "--overwrite"]) == 0
    assert speeds(run) == [None, None] and "left out (threads differ); --speed measures them" in caplog.text


def test_the_speed_of_a_model_that_was_made_anew_goes(run, caplog):
    caplog.set_level("INFO")
    assert command(["evaluate", "--run", run, "--speed", "--repeats", 1]) == 0
    full, _ = speeds(run)
    assert command(["prune", "--run", run, "--count", 7, "--overwrite"]) == 0
    assert command(["evaluate", "--run", run, "--overwrite"]) == 0
    assert speeds(run) == [full, None]
    assert "kept for 1 of 2 models, not for pruned (other weights or another engine)" in caplog.text


# ---- models ----------------------------------------------------------------------------------------------------


def pretend(folder: Path, task: str, **changes) -> Path:
    """The mark says that the model was made for another task."""
    edit(folder / "skn.json", lambda mark: mark["about"]["provenance"].update(task=task, **changes))
    return folder


def test_a_model_of_another_task(run, tmp_path):
    loaded = skn.open_run(run)
    theirs = pretend(shutil.copytree(run / "pruned", tmp_path / "theirs"), "joy")
    assert [model["name"] for model in skn.evaluate(loaded, theirs).models] == ["full", "theirs (of joy)"]
    loaded.model.label_ids = loaded.model.label_ids.flip(0)
    with pytest.raises(
        InputError, match="theirs: made for the task 'joy' with other label words, this run's task is '.*'; give"
    ):
        skn.evaluate(loaded, theirs)
    assert skn.evaluate(loaded, run / "pruned").models[1]["name"] == "pruned"  # its own


def test_a_model_of_another_task_with_other_classes(run, tmp_path):
    theirs = pretend(shutil.copytree(run / "pruned", tmp_path / "theirs"), "joy", class_names=["calm", "joy"])
    with pytest.raises(
        InputError, match="theirs: made for the task 'joy' with other classes, this run's task is '.*'; give"
    ):
        skn.evaluate(skn.open_run(run), theirs)


def test_models_of_another_task_with_one_name_still_say_their_task(run, tmp_path):
    one, two = (pretend(shutil.copytree(run / "pruned", tmp_path / x / "pruned"), "joy") for x in "ab")
    found = [model["name"] for model in skn.evaluate(skn.open_run(run), [one, two]).models]
    assert found == ["full", f"{one} (of joy)", f"{two} (of joy)"]


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"tuned": "0"}, "theirs (of another run)"),
        ({"backbone_digest": "0", "backbone": "large/model", "tuned": "0"}, "theirs (over large/model)"),
        ({"backbone_digest": "0", "tuned": "0"}, "theirs (over another {backbone})"),
        ({"backbone_digest": None, "tuned": None}, "theirs"),
        ({"task": "joy", "backbone_digest": "0", "backbone": "b"}, "theirs (of joy, over b)"),
    ],
)
def test_a_model_of_another_run_or_backbone_says_so(run, tmp_path, changes, name):
    loaded = skn.open_run(run)
    theirs = pretend(shutil.copytree(run / "pruned", tmp_path / "theirs"), **{"task": None, **changes})
    found = skn.evaluate(loaded, theirs, out=tmp_path / "evaluate.json")
    name = name.format(backbone=loaded.provenance["backbone"])
    assert [row[0] for row in found.table().rows] == ["full", name]
    assert [line["name"] for line in read_evaluation(tmp_path / "evaluate.json")["models"]] == ["full", name]


def test_a_model_in_memory_is_compared_as_its_folder_is(run):
    loaded = skn.open_run(run)
    small, origin = skn.prune(loaded, count=5), loaded.provenance
    assert small.origin == origin
    others = {
        "pruned (over another {backbone})": {"backbone_digest": "0"},
        "pruned (of another run)": {"tuned": "0"},
        "pruned (of joy)": {"task": "joy"},
    }
    for name, changes in others.items():
        small.origin = {**origin, **changes}
        assert skn.evaluate(loaded, small).models[1]["name"] == name.format(backbone=origin["backbone"])
    small.origin = {**origin, "class_names": ["calm", "joy"]}
    with pytest.raises(InputError, match="^models: made for other classes, this run's task is"):
        skn.evaluate(loaded, small)
    small.origin = {**origin, "task": "joy"}
    small.label_ids = small.label_ids.flip(0)
    with pytest.raises(InputError, match="^models: made for the task 'joy' with other label words"):
        skn.evaluate(loaded, small)


def test_a_model_that_says_its_names_alone(run, tmp_path):
    """As from_pretrained gives one whose folder has lost its mark."""
    folder = shutil.copytree(run / "pruned", tmp_path / "theirs")
    (folder / "skn.json").unlink()
    small, loaded = AutoModelForSequenceClassification.from_pretrained(folder), skn.open_run(run)
    assert skn.evaluate(loaded, small).models[1]["name"] == "pruned"
    small.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    assert skn.evaluate(loaded, small).models[1]["name"] == "pruned"
    small.config.id2label = dict(enumerate(reversed(loaded.class_names)))
    with pytest.raises(InputError, match="^models: made for other classes"):
        skn.evaluate(loaded, small)


def test_a_folder_given_twice(run, refused):
    refused(
        ["evaluate", "--run", run, "--model", run / "pruned", "--model", run / "." / "pruned", "--overwrite"],
        "pruned: is given twice; give each folder once",
    )


def test_a_folder_called_as_the_runs_own_model_is(run, tmp_path, monkeypatch):
    theirs = Path(shutil.copytree(run / "pruned", tmp_path / "full"))
    monkeypatch.chdir(tmp_path)
    assert [model["name"] for model in skn.evaluate(skn.open_run(run), "full").models] == ["full", str(theirs)]


def test_models_with_one_name_are_told_apart(run, tmp_path):
    other = shutil.copytree(run / "pruned", tmp_path / "other" / "pruned")
    loaded = skn.open_run(run)
    found = [model["name"] for model in skn.evaluate(loaded, [run / "pruned", other]).models]
    assert found == ["full", str(run / "pruned"), str(other)]
    small = skn.prune(loaded, count=5)
    assert [model["name"] for model in skn.evaluate(loaded, [small, small]).models] == ["full", "pruned 1", "pruned 2"]


# ---- files of another kind -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command_line, file, kind",
    [
        (["select", "--run", "RUN", "--out"], "tuned.safetensors", "tuned"),
        (["select", "--run", "RUN", "--out"], "splits.safetensors", "splits"),
    ],
)
def test_a_result_does_not_replace_a_file_of_another_kind(run, refused, command_line, file, kind):
    line = [run if part == "RUN" else part for part in command_line]
    refused([*line, run / file, "--overwrite"], f"{file}: holds '{kind}', not 'neurons', and will not be replaced")


def test_the_library_does_not_either(run):
    loaded = skn.open_run(run)
    with pytest.raises(InputError, match="holds 'tuned', not 'activations'"):
        skn.activate(loaded, [(1, 1)], out=run / "tuned.safetensors", overwrite=True)
    with pytest.raises(InputError, match="holds 'run', not 'mask'"):
        skn.mask(loaded, fractions=0.1, controls=0, out=run / "run.json", overwrite=True)
    with pytest.raises(InputError, match="holds 'run', not 'evaluate'"):
        skn.evaluate(loaded, out=run / "run.json", overwrite=True)
