"""Tasks over rows with several labels: what is positive, how negatives are drawn, what is refused."""

from __future__ import annotations

import json

import pytest
from emotions_data import SPLITS, labels_of, rows_of, write_columns, write_jsonl, write_tsv
from options import replaced
from refusals import command

from skn.commands import parse
from skn.data import multilabel, sources
from skn.data.emotions import LABELS
from skn.data.rows import Rows
from skn.data.spec import DataSpec
from skn.data.splits import load_splits, read_data, save_splits
from skn.data.tasks import TASKS, expand_tasks, get_task
from skn.errors import InputError
from skn.runs.run import Run

JOY = 17


def content(data):
    return {split: list(zip(data.split(split).text, data.split(split).label, strict=True)) for split in SPLITS}


def joy(folder, seed=0, **options):
    return read_data(DataSpec(task="goemotions/joy", data=str(folder), **options).drawn_by(seed))


def test_as_many_rows_with_the_emotion_as_without(tmp_path):
    data = joy(write_tsv(tmp_path))
    assert data.classes == ["other", "joy"]
    has = {text: JOY in labels for split in SPLITS for text, labels in rows_of(split)}
    for split, rows in content(data).items():
        positive = [text for text, label in rows if label == 1]
        negative = [text for text, label in rows if label == 0]
        assert positive == [text for text, labels in rows_of(split) if JOY in labels]
        assert len(negative) == len(set(negative)) == len(positive) > 0
        assert not any(has[text] for text in negative) and all(text.startswith(split) for text in negative)


def test_the_draw_is_the_seeds(tmp_path):
    folder = write_tsv(tmp_path)
    one, again, other = (content(joy(folder, seed)) for seed in (1, 1, 2))
    assert one == again != other
    for split in SPLITS:
        assert [row for row in one[split] if row[1]] == [row for row in other[split] if row[1]]
    assert DataSpec(task="sst2").drawn_by(3) == DataSpec(task="sst2")


SPELLINGS = {
    "indices": lambda labels: ",".join(map(str, labels)),
    "spaced": lambda labels: " , ".join(map(str, labels)),
    "list": lambda labels: labels,
    "floats": lambda labels: [float(label) for label in labels],
    "names": lambda labels: [LABELS[label] for label in labels],
    "text of names": lambda labels: ",".join(LABELS[label] for label in labels),
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_labels_mean_the_same_however_they_are_written(tmp_path, spelled):
    assert content(joy(write_jsonl(tmp_path / "a", spelled), 5)) == content(joy(write_tsv(tmp_path / "b"), 5))


def test_a_number_alone_is_one_label(tmp_path):
    data = joy(write_jsonl(tmp_path, lambda labels: labels[0]))
    assert sum(data.split("train").label) == sum(labels_of(row)[0] == JOY for row in range(240))


def test_a_column_for_each_emotion(tmp_path):
    indices, columns = write_tsv(tmp_path / "a"), write_columns(tmp_path / "b")
    assert content(joy(columns, 5)) == content(joy(indices, 5))
    assert content(joy(columns, 5, label_column="joy")) == content(joy(indices, 5))


def test_a_saved_data_set_with_lists_of_class_labels(tmp_path):
    """The form of the hub's set "simplified"."""
    import datasets

    kinds = datasets.Features(
        {"text": datasets.Value("string"), "labels": datasets.Sequence(datasets.ClassLabel(names=list(LABELS)))}
    )
    parts = {}
    for split in SPLITS:
        columns = {"text": [t for t, _ in rows_of(split)], "labels": [y for _, y in rows_of(split)]}
        parts[split] = datasets.Dataset.from_dict(columns, features=kinds)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    assert content(joy(tmp_path / "saved", 5)) == content(joy(write_tsv(tmp_path / "b"), 5))


def test_the_hub(tmp_path, monkeypatch):
    """Lists of numbers, as the hub's set "simplified" has them."""
    found = {}
    for split in SPLITS:
        rows = rows_of(split)
        found[split] = sources.Rows({"text": [t for t, _ in rows], "labels": [y for _, y in rows]}, f"hub/{split}")
    asked = []
    monkeypatch.setattr(sources, "read_hub", lambda *names: asked.append(names) or found)
    assert content(read_data(DataSpec(task="goemotions/joy"))) == content(joy(write_tsv(tmp_path)))
    assert asked == [("google-research-datasets/go_emotions:simplified", None)]


def test_a_row_of_a_held_out_split_is_never_drawn_for_train(tmp_path):
    """Half of the rows of validation stand in train too, with other labels."""
    write_tsv(tmp_path)
    copied = [f"{text}\t27" for text, _ in rows_of("validation")[:30]]
    with open(tmp_path / "train.tsv", "a") as file:
        file.write("\n".join(copied) + "\n")
    for seed in range(20):
        rows = content(joy(tmp_path, seed))
        held_out = {text for split in ("validation", "test") for text, _ in rows_of(split)}
        assert not held_out & {text for text, _ in rows["train"]}


def test_too_few_without_it_are_all_taken_and_it_is_said(tmp_path):
    write_tsv(tmp_path)
    (tmp_path / "test.tsv").write_text("text\tlabels\n" + "".join(f"t {i}\t{17 if i else 2}\n" for i in range(5)))
    notes = []
    spec = DataSpec(task="goemotions/joy", data=str(tmp_path))
    data = read_data(spec, note=lambda line, *values: notes.append(line % values))
    assert data.split("test").label == [0, 1, 1, 1, 1]
    assert notes == ["test: 1 rows without 'joy' to 4 with it; all are taken"]


def test_every_stage_reads_the_rows_of_the_run(tmp_path, tiny, quiet_exit):
    folder = write_tsv(tmp_path / "d")
    (tmp_path / "t.toml").write_text('data = "d"')
    arguments = ["train", "--backbone", tiny("roberta"), "--task", "goemotions/joy", "--data", tmp_path / "t.toml",
                 "--out", tmp_path / "run", "--epochs", 0, "--prompt-length", 4, "--seed", 7]  # fmt: skip
    assert command(arguments) == 0
    run = Run.open(tmp_path / "run")
    assert run.config.data.draw_seed == 7 and run.config.label_words == ["negative", "positive"]
    assert content(run.load().data) == content(joy(folder, 7)) != content(joy(folder, 0))
    stored = json.loads((tmp_path / "run" / "run.json").read_text())["config"]["data"]
    assert stored["task"] == "goemotions/joy" and stored["draw_seed"] == 7
    assert command([*arguments, "--resume"]) == 0


def test_changed_data_is_refused(tmp_path):
    spec = DataSpec(task="goemotions/joy", data=str(write_tsv(tmp_path / "d")))
    save_splits(read_data(spec), tmp_path / "splits.safetensors")
    assert load_splits(spec, tmp_path / "splits.safetensors").rows == read_data(spec).rows
    with open(tmp_path / "d" / "train.tsv", "a") as file:
        file.write("one more\t3\n")
    with pytest.raises(InputError, match="has changed"):
        load_splits(spec, tmp_path / "splits.safetensors")


def test_rows_without_labels(tmp_path):
    write_tsv(tmp_path)
    with open(tmp_path / "train.tsv", "a") as file:
        file.write("nothing felt\t\n")
    with pytest.raises(InputError, match=r"train.tsv: 1 rows without a label \(line 242\); drop_unlabelled=True"):
        joy(tmp_path)
    assert len(joy(tmp_path, drop_unlabelled=True).examples) == sum(SPLITS.values())
    lists = write_jsonl(tmp_path / "lists", lambda labels: labels)
    with open(lists / "train.jsonl", "a") as file:
        file.write('{"text": "nothing felt", "labels": []}\n')
    with pytest.raises(InputError, match="1 rows without a label"):
        joy(lists)


# ---- bad input -------------------------------------------------------------------------------------------------

CELLS = {
    "out of range": ('"3,28"', "line 241: column 'labels': '28' is no label of this task; give 0 to 27 or names"),
    "negative": ("[-1]", "line 241: column 'labels': '-1' is no label of this task; give 0 to 27"),
    "no emotion": ('"joyful"', "line 241: column 'labels': 'joyful' is no label of this task; did you mean 'joy'?"),
    "nothing between commas": ('"3,,4"', "line 241: column 'labels': '' is no label of this task; give 0 to 27"),
    "half": ("2.5", "line 241: column 'labels': '2.5' is no label of this task; give 0 to 27 or names"),
    "true": ("[true]", "line 241: column 'labels' holds bool; write the labels as indices or names"),
    "an object": ('{"joy": 1}', "line 241: column 'labels' holds dict; write the labels"),
    "lists in a list": ("[[3]]", "line 241: column 'labels' holds list; write the labels"),
}


@pytest.mark.parametrize("cell, phrase", CELLS.values(), ids=CELLS)
def test_bad_cells(refused, tiny, tmp_path, cell, phrase):
    folder = write_jsonl(tmp_path / "d", lambda labels: labels)
    with open(folder / "train.jsonl", "a") as file:
        file.write(f'{{"text": "bad", "labels": {cell}}}\n')
    refused(train(tiny, "goemotions/joy"), "d/train.jsonl: " + phrase)


def train(tiny, task):
    return ["train", "--backbone", tiny("bert"), "--task", task, "--data", "d", "--out", "run", "--epochs", 0]


def test_bad_data(refused, tiny, tmp_path):
    write_tsv(tmp_path / "d")
    refused(train(tiny, "goemotions/grief"), "--task goemotions/grief: of 240 rows of the train split 0 have 'grief'")
    refused([*train(tiny, "goemotions/joy"), "--label-column", "mood"], "no column 'mood'", "--label-column")
    (tmp_path / "d" / "train.tsv").write_text("text\tmood\na\tjoy\n")
    refused(train(tiny, "goemotions/joy"), "no column 'labels' and no column 'joy' (it has text, mood)", "--label-col")
    write_columns(tmp_path / "c")
    (tmp_path / "c" / "test.csv").write_text("text,joy\na,0\nb,2\n")
    arguments = replaced(train(tiny, "goemotions/joy"), ["--data", "c"])
    refused(arguments, "c/test.csv: line 3: label '2' is outside the classes (other, joy)")


def test_unknown_emotion(refused, tiny):
    refused(
        train(tiny, "goemotions/joyy"), "--task goemotions/joyy: not in the registry; did you mean 'goemotions/joy'?"
    )
    refused(train(tiny, "admiraton"), "did you mean 'goemotions/admiration'?")


# ---- names -----------------------------------------------------------------------------------------------------


def test_patterns():
    emotions = [f"goemotions/{name}" for name in LABELS]
    assert expand_tasks(["goemotions/*"]) == emotions
    assert expand_tasks(["goemotions/*", "!goemotions/neutral"]) == emotions[:27]
    assert expand_tasks(["!goemotions/neutral", "goemotions/*"]) == emotions[:27]
    assert expand_tasks(["sst2", "goemotions/joy", "goemotions/j*"]) == ["sst2", "goemotions/joy"]
    assert expand_tasks(["*"]) == list(TASKS)
    assert get_task("goemotions/joy").one_of == LABELS


@pytest.mark.parametrize(
    "text, phrase",
    [
        ("goemotion/*", "--tasks goemotion/*: matches no task of the registry; did you mean 'goemotions/"),
        ("goemotions/joyy", "did you mean 'goemotions/joy'"),
        ("sst2,!goemotions/joyy", "--tasks goemotions/joyy: matches no task"),
        ("sst2,!sst*", "--tasks 'sst2,!sst*': no task is left"),
        (",", "--tasks '': no task is left"),
    ],
)
def test_patterns_that_match_nothing(text, phrase):
    with pytest.raises(InputError) as refusal:
        expand_tasks(parse.names(text))
    assert phrase in str(refusal.value)


def test_the_table_of_tasks(capsys, quiet_exit):
    assert command(["tasks"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "goemotions/… is one task each of: admiration, amusement," in shown and "surprise, neutral" in shown


@pytest.mark.parametrize(
    "cell", ["17", "17.0", 17.0, "[2, 17]", "[2 17]", "['joy', 'anger']", "['joy' 'anger']", [17.0], ["joy"]]
)
def test_a_label_means_the_same_however_it_is_written(cell):
    task = get_task("goemotions/joy")
    rows = Rows({"text": ["a", "b", "c"], "labels": [cell, "2", "[]"]}, "d.csv")
    assert multilabel.membership(rows, task, "labels") == [1, 0, None]


@pytest.mark.parametrize("cell", ["[2; 17]", "2.5", float("inf"), [[17]], "[17, true]"])
def test_what_is_no_label_of_the_task(cell):
    rows = Rows({"text": ["a", "b"], "labels": ["2", cell]}, "d.csv", lines=[2, 4])
    with pytest.raises(InputError, match="d.csv: line 4"):
        multilabel.membership(rows, get_task("goemotions/joy"), "labels")
