"""The validation split is the test split where the labels of test are hidden, whatever way the same rows are read."""

from __future__ import annotations

import datasets
import pytest
import torch
from tables import write_tsv

from skn.data import sources, splits
from skn.data.spec import SPLITS, DataSpec
from skn.data.splits import load_splits, read_data, save_splits
from skn.store import artifacts

ROWS = [(f"film {i}", i % 2) for i in range(240)]
DEV = [(f"new film {i}", i % 2) for i in range(20)]
HIDDEN = [(f"secret {i}", -1) for i in range(10)]
GLUE = {"train": ROWS, "validation": DEV, "test": HIDDEN}


def folder_of(place, rows=GLUE, **names):
    """A folder as GLUE's archives have it: train.tsv, dev.tsv, test.tsv."""
    for split, part in rows.items():
        write_tsv(place / f"{names.get(split, split)}.tsv", ["sentence", "label"], part)
    return place


def saved(place, **names):
    sets = {
        names.get(split, split): datasets.Dataset.from_dict(
            {"sentence": [t for t, _ in part], "label": [y for _, y in part]}
        )
        for split, part in GLUE.items()
    }
    datasets.DatasetDict(sets).save_to_disk(str(place))
    return place


def contents(data):
    return {split: (data.split(split).text, data.split(split).label) for split in SPLITS}


def read(notes=None, **said):
    said["data"] = said.get("data") and str(said["data"])
    return read_data(DataSpec(**said), note=lambda line, *values: notes is None or notes.append(line % values))


@pytest.fixture
def from_hub(monkeypatch):
    """What --task sst2 reads from the hub, where the registry takes validation as test."""

    def rows(_, names):
        return {
            ours: sources.Rows(
                {"sentence": [t for t, _ in GLUE[theirs]], "label": [y for _, y in GLUE[theirs]]}, theirs
            )
            for ours, theirs in names.items()
        }

    monkeypatch.setattr(sources, "read_hub", rows)


def test_the_registry_and_the_folder_have_the_same_splits(tmp_path, from_hub):
    hub = read(task="sst2")
    (tmp_path / "bare").mkdir()
    (tmp_path / "hidden").mkdir()
    folders = [
        folder_of(tmp_path / "hidden", validation="dev"),
        folder_of(tmp_path / "bare", {"train": ROWS, "validation": DEV}),  # the task's test split is validation
        saved(tmp_path / "saved"),
    ]
    for folder in folders:
        data = read(task="sst2", data=folder)
        assert contents(data) == contents(hub) and data.digest == hub.digest, folder
        assert data.split("test").text == [text for text, _ in DEV]
        assert 0 < len(data.rows["validation"]) < 50 and set(data.split("validation").text) <= {t for t, _ in ROWS}
    assert contents(read(data=folders[0], text_column="sentence")) == contents(hub)  # a task is not needed


def test_it_is_said(tmp_path):
    hidden, bare = [], []
    read(hidden, task="sst2", data=folder_of(tmp_path))
    instead = "the validation split is the test split instead, and rows of train become the validation split"
    assert [
        n
        for n in hidden
        if n.endswith(f"test.tsv: no row has a label (-1 beside the task's labels is no label); {instead}")
    ]
    (tmp_path / "test.tsv").unlink()
    read(bare, task="sst2", data=tmp_path)
    assert [n for n in bare if "validation.tsv: is the test split, as task sst2 has it; rows of train become" in n]


def test_splits_that_have_labels_are_what_they_are_called(tmp_path):
    data = read(task="sst2", data=folder_of(tmp_path, GLUE | {"test": [("a", 0), ("b", 1)]}))
    assert data.split("test").text == ["a", "b"] and len(data.rows["validation"]) == 20
    (tmp_path / "test.tsv").unlink()
    data = read(data=tmp_path, text_column="sentence")  # no test split, and no task that says more
    assert len(data.rows["validation"]) == 20 and set(data.split("test").text) <= {t for t, _ in ROWS}


def test_mnlis_matched_splits_are_taken(tmp_path):
    names = {split: f"{split}_matched" for split in ("validation", "test")}
    data = read(data=saved(tmp_path / "d", **names), text_column="sentence")
    assert data.split("test").text == [text for text, _ in DEV]


def test_runs_of_older_versions_keep_their_splits(tmp_path, monkeypatch):
    """Test rows were taken out of train then, validation was GLUE's own, and a text could be blank."""
    rows = GLUE | {"train": [*ROWS, (" ", 1)]}
    spec, file = DataSpec(task="sst2", data=str(folder_of(tmp_path, rows))), tmp_path / "splits.safetensors"
    old = {"train": list(range(30, 241)), "validation": list(range(241, 261)), "test": list(range(30))}
    examples = splits._read_rows(spec, lambda *_: None, stored=True).examples
    tensors = {name: torch.tensor(places) for name, places in old.items()}
    origin = {"split_digest": splits._digest(examples)}
    artifacts.save(file, "splits", tensors, origin, classes=["negative", "positive"])
    data = load_splits(spec, file)
    assert data.rows == old and data.split("validation").text == [text for text, _ in DEV]
    monkeypatch.setattr(splits, "_freeze_splits", None)  # what is stored is not split again
    assert load_splits(spec, file).rows == old


def test_runs_on_mnli_of_older_versions(tmp_path):
    """Their held-out rows were all taken out of train."""
    file, place = tmp_path / "splits.safetensors", tmp_path / "d"
    write_tsv(tmp_path / "train.tsv", ["sentence", "label"], ROWS)
    before = read(data=tmp_path / "train.tsv", text_column="sentence")
    save_splits(before, file)
    saved(place, validation="validation_matched", test="test_matched")
    found = load_splits(DataSpec(data=str(place), text_column="sentence"), file)
    assert contents(found) == contents(before) and found.digest == before.digest
