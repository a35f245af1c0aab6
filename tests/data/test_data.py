"""Loading, labels, frozen disjoint splits, batches, task files, label words."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from skn.commands import parse
from skn.data import sources
from skn.data.emotions import LABELS
from skn.data.label_words import choose_label_words, label_token_ids
from skn.data.spec import DataSpec
from skn.data.splits import SPLITS, Examples, load_splits, read_data, save_splits
from skn.data.task_file import read_task_file
from skn.data.tasks import DEFAULT_LABEL_WORDS, TASKS, get_task
from skn.errors import InputError
from skn.inference.batches import batches_by_length, collate, tokenize
from skn.model.pretrained import load_tokenizer
from skn.stages.binarize import binarize

ROWS = [(f'text {i} é "quoted"\tand null', i % 3) for i in range(300)]

ORIGINAL_TASKS = [
    "ag_news",
    "ag_news_s",
    "cola",
    "dbpedia",
    "dbpedia_s",
    "deontology",
    "ethos",
    "empty",
    "hate",
    "hate-pn",
    "hate-neu",
    "imdb",
    "justice",
    "mnli",
    "mnli-pn",
    "mnli-neu",
    "tweet_eval",
    "tweet_eval-pn",
    "tweet_eval-neu",
    "qnli",
    "qqp",
    "sst2",
    "tweets_hate",
    "virtue",
]


def write(path, rows, delimiter=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([("text", "label"), *rows])


def make(kind, path, rows):
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows), encoding="utf-8")
    elif kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"text": [t for t, _ in rows], "label": [y for _, y in rows]}), path)
    else:
        write(path, rows, "\t" if kind == "tsv" else ",")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_file_gives_the_same_data(tmp_path, kind):
    make(kind, tmp_path / f"data.{kind}", ROWS)
    data = read_data(DataSpec(data=str(tmp_path / f"data.{kind}")))
    assert data.examples.text == [t for t, _ in ROWS] and data.examples.label == [y for _, y in ROWS]
    assert data.classes == ["0", "1", "2"]


def test_saved_datasets_folder(tmp_path):
    import datasets

    dataset = datasets.Dataset.from_dict({"text": [t for t, _ in ROWS], "label": [y for _, y in ROWS]})
    datasets.DatasetDict({"train": dataset, "test": dataset.select(range(30))}).save_to_disk(str(tmp_path / "d"))
    data = read_data(DataSpec(data=str(tmp_path / "d")))
    assert len(data.rows["test"]) == 30


def test_folder_with_named_splits(tmp_path):
    for name, part in (("train", ROWS[:200]), ("dev", ROWS[200:250]), ("test", ROWS[250:])):
        write(tmp_path / f"{name}.csv", part)
    data = read_data(DataSpec(data=str(tmp_path)))
    assert data.split("validation").text == [t for t, _ in ROWS[200:250]]


def test_splits_are_by_content_frozen_and_disjoint(tmp_path):
    rows = ROWS + ROWS[:100]  # a hundred duplicates
    write(tmp_path / "a.csv", rows)
    write(tmp_path / "b.csv", rows[::-1])
    a, b = (read_data(DataSpec(data=str(tmp_path / name))) for name in ("a.csv", "b.csv"))
    for split in SPLITS:
        assert set(a.split(split).text) == set(b.split(split).text)  # the order of rows does not matter
    assert sum(len(a.rows[s]) for s in SPLITS) == 400
    texts = [set(a.split(s).text) for s in SPLITS]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    assert 0.04 < len(texts[1]) / 300 < 0.17 and 0.04 < len(texts[2]) / 300 < 0.17


def test_a_row_of_test_leaves_train(tmp_path, caplog):
    write(tmp_path / "train.csv", ROWS[:200])
    write(tmp_path / "test.csv", ROWS[150:260])
    with caplog.at_level("INFO"):
        data = read_data(DataSpec(data=str(tmp_path)))
    assert len(data.rows["test"]) == 110
    assert not set(data.split("test").text) & (set(data.split("train").text) | set(data.split("validation").text))
    assert "occur in a held-out split" in caplog.text


def test_stored_split_is_read_back_and_changed_data_is_refused(tmp_path):
    write(tmp_path / "data.csv", ROWS)
    spec = DataSpec(data=str(tmp_path / "data.csv"))
    save_splits(read_data(spec), tmp_path / "splits.safetensors")
    assert load_splits(spec, tmp_path / "splits.safetensors").rows == read_data(spec).rows
    write(tmp_path / "data.csv", [*ROWS[:-1], (ROWS[-1][0], 0)])  # one label differs
    with pytest.raises(InputError, match="has changed"):
        load_splits(spec, tmp_path / "splits.safetensors")


def test_string_labels_are_mapped_in_sorted_order(tmp_path):
    write(tmp_path / "d.csv", [(t, ["zebra", "ant", "10"][y]) for t, y in ROWS])
    data = read_data(DataSpec(data=str(tmp_path / "d.csv")))
    assert data.classes == ["10", "ant", "zebra"] and data.examples.label[:3] == [2, 1, 0]
    write(tmp_path / "n.csv", [(t, [2, 10, 1][y]) for t, y in ROWS])
    assert read_data(DataSpec(data=str(tmp_path / "n.csv"))).classes == ["1", "2", "10"]


def test_unlabelled_rows(tmp_path):
    write(tmp_path / "d.csv", [*ROWS, ("no label", ""), ("minus one", -1)])
    with pytest.raises(InputError, match=r"2 rows without a label \(line 302, 303\)"):
        read_data(DataSpec(data=str(tmp_path / "d.csv")))
    data = read_data(DataSpec(data=str(tmp_path / "d.csv"), drop_unlabelled=True))
    assert len(data.examples) == 300 and data.classes == ["0", "1", "2"]


def test_task_with_own_data_reads_class_names_too(tmp_path):
    with open(tmp_path / "sst.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("sentence", "label"), *((f"s {i}", ["negative", "positive"][i % 2]) for i in range(100))]
        )
    data = read_data(DataSpec(task="sst2", data=str(tmp_path / "sst.csv")))
    assert data.classes == ["negative", "positive"] and data.examples.label[:2] == [0, 1]


def test_task_that_picks_labels_drops_the_others(monkeypatch):
    rows = sources.Rows({"content": [f"c {i}" for i in range(300)], "label": [i % 14 for i in range(300)]}, "hub")
    monkeypatch.setattr(sources, "read_hub", lambda *_: {"train": rows})
    data = read_data(DataSpec(task="dbpedia_s"))
    assert set(data.examples.label) == {0, 1} and len(data.examples) == 44
    assert all(int(t.split()[1]) % 14 in (0, 4) for t in data.examples.text)


def test_registry_is_complete():
    emotions = [f"goemotions/{name}" for name in LABELS]
    assert [*ORIGINAL_TASKS, *emotions] == sorted(TASKS, key=[*ORIGINAL_TASKS, *emotions].index)
    for task in TASKS.values():
        assert len(task.classes) == len(task.label_words) == len(set(task.label_words))
        assert task.hub or task.binarized_from or task.name == "empty"
    with pytest.raises(InputError, match="did you mean 'sst2'"):
        get_task("sst-2")


def test_task_file(tmp_path):
    write(tmp_path / "d.csv", ROWS)
    (tmp_path / "t.toml").write_text('data = "d.csv"\ntext-column = "text"\nverbalizer = "a,b,c"\n')
    options = read_task_file(tmp_path / "t.toml")
    assert options == {"data": str(tmp_path / "d.csv"), "text_column": "text", "verbalizer": "a,b,c"}


@pytest.mark.parametrize("one_vs_rest", [False, True])
def test_binarize(tmp_path, one_vs_rest):
    rows = [(f"t {i}", i % 3 if i % 5 else 1) for i in range(600)]
    write(tmp_path / "d.csv", rows)
    label_of = dict(rows)
    spec = DataSpec(data=str(tmp_path / "d.csv"))
    folders = binarize(spec, tmp_path / "out", one_vs_rest)
    names = ["d-0", "d-1", "d-2"] if one_vs_rest else ["d-pn", "d-neu"]
    assert [f.name for f in folders] == names
    expected = [{0}, {1}, {2}] if one_vs_rest else [{2}, {1}]
    for folder, positive in zip(folders, expected, strict=True):
        data = read_data(DataSpec(data=str(folder)))
        for split in SPLITS:
            part = data.split(split)
            assert sum(part.label) * 2 == len(part) > 0
            assert all((label_of[t] in positive) == bool(y) for t, y in zip(part.text, part.label, strict=True))
            if folder.name == "d-pn":
                assert not any(label_of[t] == 1 for t in part.text)
    again = binarize(spec, tmp_path / "again", one_vs_rest)
    assert read_data(DataSpec(data=str(again[0]))).digest == read_data(DataSpec(data=str(folders[0]))).digest
    other = binarize(spec, tmp_path / "other", one_vs_rest, seed=1)
    assert read_data(DataSpec(data=str(other[0]))).digest != read_data(DataSpec(data=str(folders[0]))).digest


def test_binarize_of_four_classes(tmp_path):
    """The poles of (conflict, negative, neutral, positive) are 1 and 3; neutral is 2."""
    rows = [(f"t {i}", i % 4) for i in range(400)]
    write(tmp_path / "hate.csv", rows)
    pn, neu = (
        read_data(DataSpec(data=str(f))) for f in binarize(DataSpec(data=str(tmp_path / "hate.csv")), tmp_path / "o")
    )
    label_of = dict(rows)
    assert {(label_of[t], y) for t, y in zip(pn.examples.text, pn.examples.label, strict=True)} == {(1, 0), (3, 1)}
    found = {(label_of[t], y) for t, y in zip(neu.examples.text, neu.examples.label, strict=True)}
    assert found == {(2, 1), (0, 0), (1, 0), (3, 0)}


def test_binarize_keeps_pairs(tmp_path):
    with open(tmp_path / "p.csv", "w", newline="") as file:
        csv.writer(file).writerows([("a", "b", "label"), *((f"a {i}", f"b {i}", i % 3) for i in range(300))])
    folder = binarize(DataSpec(data=str(tmp_path / "p.csv"), text_column="a", pair_column="b"), tmp_path / "o")[0]
    data = read_data(DataSpec(data=str(folder), pair_column="pair"))
    assert all(t[2:] == p[2:] for t, p in zip(data.examples.text, data.examples.pair, strict=True))


# ---- tokens and batches --------------------------------------------------------------------------------------


def test_pairs_go_to_the_tokenizer_as_pairs(tiny):
    tokenizer = load_tokenizer(str(tiny("bert")))
    encoded = tokenize(Examples(["the film"], ["a fine ending"], [0]), tokenizer, 50)
    assert encoded.input_ids[0] == tokenizer("the film", "a fine ending")["input_ids"]
    assert (
        encoded.token_type_ids[0] == tokenizer("the film", "a fine ending")["token_type_ids"]
        and 1 in encoded.token_type_ids[0]
    )


def test_truncation_is_counted(tiny):
    encoded = tokenize(Examples(["funny " * 30, "dull"], None, [0, 1]), load_tokenizer(str(tiny("bert"))), 10)
    assert encoded.truncated == 1 and [len(ids) for ids in encoded.input_ids] == [10, 3]


def test_batches_hold_every_row_once_and_collate_pads(tiny):
    tokenizer = load_tokenizer(str(tiny("bert")))
    texts = [text + " fine" * (i % 20) for i, (text, _) in enumerate(ROWS)]
    encoded = tokenize(Examples(texts, None, [y for _, y in ROWS]), tokenizer, 50)
    batches = batches_by_length(encoded, 150, prompt_length=4)
    assert sorted(row for rows in batches for row in rows) == list(range(300))
    widths = [max(len(encoded.input_ids[row]) for row in rows) + 4 for rows in batches]
    assert widths == sorted(widths, reverse=True) and len(set(map(len, batches))) > 1
    assert all(width * len(rows) <= 150 for width, rows in zip(widths, batches, strict=True))
    assert batches_by_length(encoded, 1, prompt_length=4) == [[row] for rows in batches for row in rows]
    batch = collate(encoded, [5, 2])
    for i, row in enumerate((5, 2)):
        assert batch.input_ids[i][batch.attention_mask[i] == 1].tolist() == encoded.input_ids[row]
        assert batch.label[i] == ROWS[row][1] and batch.lengths[i] == len(encoded.input_ids[row])
    there = batch.to(torch.device("meta"))
    assert there.input_ids.is_meta and there.attention_mask.is_meta
    assert there.rows is batch.rows and there.label is batch.label and there.lengths is batch.lengths


# ---- label words ----------------------------------------------------------------------------------------------


def test_label_words(tiny):
    assert choose_label_words(parse.words("a, b"), None, ["x", "y"]) == ["a", " b"]
    assert choose_label_words(None, get_task("hate"), list("wxyz")) == ["conflict", "negative", "neutral", "positive"]
    assert choose_label_words(None, None, list("vwxyz")) == list("ABCDE") and max(DEFAULT_LABEL_WORDS) == 26
    with pytest.raises(InputError, match="27 classes .* but 0 label words"):
        choose_label_words(None, None, [str(i) for i in range(27)])


def test_label_words_in_another_order_than_the_classes():
    classes = ["Cheerful", "furious", "gloomy"]
    assert choose_label_words(["cheerful", " furious", "sad"], None, classes) == ["cheerful", " furious", "sad"]
    said = r"'furious' is a class, but would stand for the class 'Cheerful'; .* \(Cheerful, furious, gloomy\)"
    with pytest.raises(InputError, match=said):
        choose_label_words([" furious", "cheerful", "sad"], None, classes)


@pytest.mark.parametrize("family", ["roberta", "bert", "gpt2"])
def test_label_words_are_single_tokens(tiny, family):
    tokenizer = load_tokenizer(str(tiny(family)))
    ids = label_token_ids(tokenizer, ["negative", "positive"])
    assert [tokenizer.decode([i]).strip() for i in ids] == ["negative", "positive"]
    with pytest.raises(InputError, match="'positivelyunheard' is not one token of this backbone; 'positive' is"):
        label_token_ids(tokenizer, ["negative", "positivelyunheard"])
    with pytest.raises(InputError, match="stands for two classes"):
        label_token_ids(tokenizer, ["negative", "negative"])


def test_a_word_that_exists_only_after_a_space(tiny):
    """Byte-level vocabularies know most words with the space before them only."""
    tokenizer = load_tokenizer(str(tiny("roberta")))
    assert len(tokenizer.encode("ending", add_special_tokens=False)) > 1
    assert label_token_ids(tokenizer, ["ending"]) == tokenizer.encode(" ending", add_special_tokens=False)
