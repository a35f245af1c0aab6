"""Bad data, backbones, label words and options: one line that says what, where and how to mend it; exit code 2."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import transformers
from options import replaced
from refusals import command, tree

from skn.data.spec import DataSpec
from skn.data.splits import read_data

ROWS = [(f"text {i}", i % 2) for i in range(120)]


def csv_text(rows, header="text,label") -> str:
    return "\n".join([header, *(f"{text},{label}" for text, label in rows)]) + "\n"


def jsonl_text(rows) -> str:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)


@pytest.fixture
def train(tiny, tmp_path):
    """``train(data, *options)``: the arguments of a training that would succeed on good data."""
    if not (tmp_path / "good.csv").exists():
        (tmp_path / "good.csv").write_text(csv_text(ROWS))

    def arguments(*options, data="good.csv", backbone=None):
        source = () if data is None else ("--data", tmp_path / data)
        common = (
            "--backbone",
            backbone or tiny("bert"),
            "--out",
            tmp_path / "run",
            "--epochs",
            0,
            "--prompt-length",
            4,
        )
        return replaced(["train", *common, *source], options)

    return arguments


# ---- data ------------------------------------------------------------------------------------------------------

FILES = {
    "empty": ("d.csv", b"", "d.csv: the file is empty", "header"),
    "header only": ("d.csv", b"text,label\n", "d.csv: no rows for the train split", "below its header"),
    "blank line": ("d.tsv", b"\n", "d.tsv: no rows for the train split"),
    "no rows of json": ("d.jsonl", b"\n\n", "d.jsonl: no rows"),
    "wrong text column": ("d.csv", b"review,label\na,0\n", "d.csv: no column 'text'", "review, label", "--text-column"),
    "wrong label column": ("d.csv", b"text,stars\na,0\n", "d.csv: no column 'label'", "text, stars", "--label-column"),
    "two columns of a name": ("d.csv", b"text,label,text\na,0,b\n", "d.csv: column 'text' stands twice in the header", "rename"),
    "one class": ("d.csv", csv_text([(f"t {i}", 1) for i in range(60)]).encode(), "d.csv: one class only (1)", "two"),
    "too small": ("d.csv", csv_text(ROWS[:2]).encode(), "d.csv: the data is too small", "split", "a file for each split"),
    "a number as text": ("d.jsonl", jsonl_text([*ROWS, (7, 0)]).encode(), "line 121", "column 'text' holds int", "--text-column"),
    "no text": ("d.jsonl", jsonl_text([*ROWS, (None, 0)]).encode(), "1 rows without a text (line 121; column 'text'); --drop-unlabelled"),
    "no label": ("d.csv", csv_text([*ROWS, ("a", ""), ("b", -1)]).encode(), "2 rows without a label (line 122, 123)", "-1 beside 0 to 1 is no label", "--drop-unlabelled"),
    "null label": ("d.jsonl", jsonl_text([*ROWS, ("a", None), ("b", float("nan"))]).encode(), "(line 121, 122)", "--drop-unlabelled"),
    "ragged": ("d.csv", b"text,label\na,0\nb\n", "d.csv: line 3 has 1 fields, the header has 2"),
    "not utf-8": ("d.csv", b"text,label\n\xff\xfe,0\n", "d.csv: not UTF-8 (byte", "line 2", "save it as UTF-8, or name its encoding: --encoding 'cp1252'"),
    "no json": ("d.jsonl", b'{"text": "a", "label": 0}\n{"text": \n', "d.jsonl: line 2: not JSON (Expecting value, column 9)"),
    "a list of json": ("d.jsonl", b"[1, 2]\n", "d.jsonl: line 1 is not a JSON object"),
    "a key that a row lacks": ("d.jsonl", jsonl_text(ROWS).encode() + b'\n{"text": "b"}\n', "1 rows without a label (line 122)"),
    "json of one object": ("d.json", b'{"text": "a", "label": 0}', "d.json: expected a list of objects"),
    "json cut off": ("d.json", b'[{"text": "a",\n "label": 0}', "d.json: not JSON (Expecting ',' delimiter, line 2, column 13)"),
    "no header": ("d.tsv", b"a good film\t1\na bad film\t0\n", "d.tsv: no column 'text' (it has a good film, 1)", "is the first line data? then --columns 'text,label' names"),
    "a gap in the shards": ("d/train-00000-of-00002.jsonl", jsonl_text(ROWS).encode(), "d: of 2 shards of the train split 00001 is missing"),
    "no parquet": ("d.parquet", b"nothing of the kind", "d.parquet: not a parquet file"),
    "unknown kind": ("d.xlsx", b"spreadsheet", "d.xlsx: unknown kind of file", ".csv, .tsv, .jsonl, .json, .parquet"),
    "saved data set": ("d/dataset_dict.json", b'{"splits": ["train"]}', "d: a saved data set that cannot be read", "save it again"),
    "folder of nothing": ("d/notes.txt", b"nothing", "d: no train/validation/test file", ".csv"),
    "no train split": ("d/test.csv", csv_text(ROWS).encode(), "d: no train split (found test)", "add a train file"),
    "empty validation": ("d/validation.csv", b"text,label\n", "d/validation.csv: no rows for the validation split"),
}  # fmt: skip


@pytest.mark.parametrize("name, content, phrases", [(f, c, p) for f, c, *p in FILES.values()], ids=FILES)
def test_data_files(refused, train, tmp_path, name, content, phrases):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    refused(train(data=name.split("/")[0]), *phrases)


@pytest.mark.parametrize("name", ["none.csv", "no/folder"])
def test_data_that_is_not_there(refused, train, tmp_path, name):
    refused(train(data=name), f"{tmp_path / name}: no such file", "--data")


def test_two_files_for_a_split(refused, train, tmp_path):
    (tmp_path / "d").mkdir()
    for name in ("dev.csv", "valid.csv", "train.csv"):
        (tmp_path / "d" / name).write_text(csv_text(ROWS))
    refused(train(data="d"), "d: several files for the validation split: dev.csv, valid.csv")


def test_label_outside_the_task(refused, train, tmp_path):
    (tmp_path / "d.csv").write_text(csv_text([*ROWS, ("seven", 7)], "sentence,label"))
    refused(
        train("--task", "sst2", data="d.csv"), "d.csv: line 122: label '7' is outside", "negative, positive", "--task"
    )


def test_validation_label_that_train_lacks(refused, train, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train.csv").write_text(csv_text(ROWS))
    (tmp_path / "d" / "validation.csv").write_text(csv_text([("a", 0), ("b", 3)]))
    refused(train(data="d"), "validation.csv: line 3: label '3' is outside the classes (0, 1)")


def test_unlabelled_rows_are_left_out_on_request(train, tmp_path, quiet_exit):
    (tmp_path / "d.csv").write_text(csv_text([*ROWS, ("a", ""), ("b", -1)]))
    assert command(train("--drop-unlabelled", "--batch-size", 8, data="d.csv")) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["data"]["drop_unlabelled"]


@pytest.mark.parametrize("convert", [float, bool, str, lambda label: f" {label} "])
def test_labels_mean_the_same_however_they_are_stored(tmp_path, convert):
    (tmp_path / "d.jsonl").write_text("\ufeff" + jsonl_text([(t, convert(y)) for t, y in ROWS]), encoding="utf-8")
    data = read_data(DataSpec(data=str(tmp_path / "d.jsonl")))
    assert data.classes == ["0", "1"] and data.examples.label == [y for _, y in ROWS]


def test_fewer_rows_than_a_batch(refused, train):
    refused(train("--batch-size", 500), "train split has", "fewer than one batch; use --batch-size")


def test_long_texts_are_truncated_counted_and_said(train, tmp_path, caplog, quiet_exit):
    long = [(f"{'word ' * 100}{i}", i % 2) for i in range(7)]
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train.csv").write_text(csv_text([*ROWS, *long]))
    (tmp_path / "d" / "validation.csv").write_text(csv_text([("fine", 0), ("good", 1)]))
    (tmp_path / "d" / "test.csv").write_text(csv_text([("bad", 0), ("dull", 1)]))
    assert command(train(data="d")) == 0
    assert "7 of 127 texts are longer than 60 tokens and were truncated" in caplog.text
    assert json.loads((tmp_path / "run" / "run.json").read_text())["training"]["truncated"] == {
        "train": 7,
        "validation": 0,
    }


@pytest.mark.parametrize(
    "options, phrases",
    [
        (["--task", "sst-2"], ["--task sst-2: not in the registry", "did you mean 'sst2'?", "skn tasks"]),
        (["--task", "mnli-pn"], ["--task mnli-pn: made from mnli", "skn binarize --task mnli"]),
        (["--task", "empty"], ["--task empty: has no data of its own", "--data"]),
        ([], ["no data", "--task NAME", "--data FILE"]),
    ],
)
def test_tasks_without_data(refused, train, options, phrases):
    refused(train(*options, data=None), *phrases)


@pytest.mark.parametrize(
    "text, phrases",
    [
        ('data = "good.csv"\ntext_colum = "t"', ["t.toml: unknown key 'text_colum'", "did you mean 'text_column'?"]),
        ('data = "good.csv"\nqqq = "t"', ["t.toml: unknown key 'qqq'", "the keys are data, text_column"]),
        ('text_column = "t"', ["t.toml: no 'data' key", "a file, a folder or a hub id"]),
        ("data = ", ["t.toml: not TOML ("]),
        ("data = 7", ["t.toml: 'data' must be a text"]),
        ('data = "good.csv"\ndrop_unlabelled = "yes"', ["'drop_unlabelled' must be true or false"]),
        ('data = "none.csv"', ["none.csv: no such file"]),
    ],
)
def test_task_files(refused, train, tmp_path, text, phrases):
    (tmp_path / "t.toml").write_text(text)
    refused(train(data="t.toml"), *phrases)


@pytest.mark.parametrize("classes", [2, 5])
def test_binarize_needs_three_or_four_classes(refused, tmp_path, classes):
    (tmp_path / "d.csv").write_text(csv_text([(t, i % classes) for i, (t, _) in enumerate(ROWS)]))
    refused(["binarize", "--data", "d.csv", "--out", "b"], f"{classes} classes", "3 and 4", "--one-vs-rest")


def test_binarize_writes_all_or_nothing(refused, tmp_path):
    """-pn could be drawn; -neu could not, because the test split has no neutral rows."""
    (tmp_path / "d").mkdir()
    for split, labels in (("train", (0, 1, 2)), ("validation", (0, 1, 2)), ("test", (0, 2))):
        rows = [(f"{split} {i}", labels[i % len(labels)]) for i in range(12)]
        (tmp_path / "d" / f"{split}.csv").write_text(csv_text(rows))
    refused(["binarize", "--data", "d", "--out", "b"], "sub-task neu", "the test split", "give more rows")


def test_binarize_deletes_nothing_but_data_sets(refused, tmp_path, quiet_exit):
    (tmp_path / "d.csv").write_text(csv_text([(t, i % 3) for i, (t, _) in enumerate(ROWS)]))
    arguments = ["binarize", "--data", "d.csv", "--out", "b"]
    (tmp_path / "b" / "d-neu").mkdir(parents=True)
    (tmp_path / "b" / "d-neu" / "thesis.txt").write_text("years of work")
    foreign = "b/d-neu: is no data set of skn (no skn.json in it that says so) and will not be deleted"
    refused(arguments, foreign, "another --out")
    refused([*arguments, "--overwrite"], foreign, "another --out")
    assert command([*arguments[:-1], "c"]) == 0 and command([*arguments[:-1], "c", "--overwrite"]) == 0
    refused([*arguments[:-1], "c"], "c/d-pn: exists already")
    refused([*arguments[:-1], "d.csv/b"], "d.csv/b: cannot be written", "Not a directory")


def test_binarize_appears_at_once(refused, tmp_path, monkeypatch):
    (tmp_path / "d.csv").write_text(csv_text([(t, i % 3) for i, (t, _) in enumerate(ROWS)]))
    arguments = ["binarize", "--data", "d.csv", "--out", "deep/er"]
    renamed, rename = [], os.rename

    def failing(source, target):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing)
        refused(arguments, "deep/er: cannot be written (Permission denied)")
        patch.setattr(os, "rename", lambda source, target: renamed.append(str(target)) or rename(source, target))
        assert command(arguments) == 0
    assert renamed == ["deep/er"]
    assert sorted(p.name for p in (tmp_path / "deep" / "er").iterdir()) == ["d-neu", "d-pn"]


# ---- backbones -------------------------------------------------------------------------------------------------


def folder_with(path: Path, **files) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name.replace("_json", ".json").replace("_safetensors", ".safetensors")).write_text(content)
    return path


BERT = json.dumps({"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4})
BACKBONES = {
    "another family": (
        {"config_json": '{"model_type": "t5"}'},
        "model family 't5' is not supported; skn reads roberta",
    ),
    "unheard of": ({"config_json": '{"model_type": "nonsense"}'}, "no configuration of a model"),
    "no model": ({"notes_txt": "nothing"}, "this folder is no model (no config.json in it)"),
    "no json": ({"config_json": "{"}, "no configuration of a model"),
    "no weights": ({"config_json": BERT}, "no weights that transformers can load"),
    "damaged weights": (
        {"config_json": BERT, "model_safetensors": "rubbish" * 10**6},
        "no weights that transformers can load",
    ),
}


@pytest.mark.parametrize("files, phrase", BACKBONES.values(), ids=BACKBONES)
def test_backbone_folders(refused, train, tmp_path, files, phrase):
    folder = folder_with(tmp_path / "model", **files)
    refused(train(backbone=folder), str(folder), phrase)


def test_backbone_without_a_tokenizer(refused, train, tiny, tmp_path):
    folder = tmp_path / "model"
    transformers.AutoModelForMaskedLM.from_pretrained(tiny("bert")).save_pretrained(folder)
    refused(train(backbone=folder), f"{folder}: no tokenizer with words in it")


def test_backbone_that_is_a_file(refused, train, tmp_path):
    refused(train(backbone=tmp_path / "good.csv"), "good.csv: a file; give the folder of a model or a hub id")


@pytest.fixture
def no_network(monkeypatch):
    """The hub without a network: every look-up fails at once, and its retries do not wait."""

    def fail(*_args, **_kwargs):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_hub_that_cannot_be_reached(refused, train, no_network):
    refused(train(backbone="nobody/nothing"), "nobody/nothing: neither the folder of a model nor a reachable hub id")
    refused(
        train("--data", "nobody/nothing", data=None),
        "nobody/nothing: neither a file, a folder nor a reachable",
        "--data",
    )


# ---- options of train --------------------------------------------------------------------------------------------

OPTIONS = {
    "label word of several tokens": (["--verbalizer", "negative,positivelyunheard"], "'positivelyunheard' is not one token", "'positive' is"),
    "label word twice": (["--verbalizer", "positive,positive"], "'positive' stands for two classes", "its own word"),
    "too few label words": (["--verbalizer", "positive"], "2 classes (0, 1) but 1 label words", "--verbalizer"),
    "no prompt": (["--prompt-length", 0], "--prompt-length 0: must be 1 to 61", "64 positions"),
    "prompt too long": (["--prompt-length", 64], "--prompt-length 64: must be 1 to 61"),
    "texts too long": (["--max-length", 61], "--max-length 61: must be 3 to 60 tokens beside a prompt of 4"),
    "texts too short": (["--max-length", 2], "--max-length 2: must be 3 to 60"),
    "prompt of bitfit": (["--method", "bitfit"], "--method bitfit reads the mask alone", "--prompt-length 1"),
    "device": (["--device", "nonsense"], "--device nonsense: use cpu or cuda"),
    "warmup": (["--warmup", 1], "--warmup 1.0: a share"),
    "lr": (["--lr", "inf"], "--lr inf: a number of at most 1e+30, such as 0.01"),
    "lr that float32 cannot hold": (["--lr", 1e38], "--lr 1e+38: a number of at most 1e+30, such as 0.01"),
    "eval-every": (["--epochs", 1, "--eval-every", 99], "--eval-every 99", "lower it or raise --epochs"),
    "init-from": (["--init-from", "none.safetensors"], "none.safetensors: no such file"),
    "output below a file": (["--out", "good.csv/run"], "good.csv/run", "cannot be written (Not a directory)"),
    "output with too long a name": (["--out", "x" * 300], "xxx", "File name too long"),
    "resume of no run": (["--resume", "--out", "."], "not a run (no run.json in it)", "skn train --out"),
}  # fmt: skip


@pytest.mark.parametrize("options, phrases", [(o, p) for o, *p in OPTIONS.values()], ids=OPTIONS)
def test_options_of_train(refused, train, options, phrases):
    refused(train(*options), *phrases)


def test_more_classes_than_label_words(refused, train, tmp_path):
    (tmp_path / "d").mkdir()
    for split in ("train", "validation", "test"):
        (tmp_path / "d" / f"{split}.csv").write_text(csv_text([(f"{split} {i}", i % 27) for i in range(54)]))
    refused(train(data="d"), "27 classes", "but 0 label words", "--verbalizer with one word for each class")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_that_is_not_there(refused, train):
    refused(train("--device", "cuda"), "--device cuda: this torch sees no CUDA device; use --device cpu")


def test_overwrite_deletes_nothing_but_runs(refused, train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    for options in ([], ["--overwrite"]):
        refused(
            train(*options),
            "run: is no run of skn (no skn.json in it that says so) and will not be deleted; choose another --out",
        )
    refused(train("--overwrite", "--out", "good.csv"), "good.csv: is no run")
    for options in ([], ["--overwrite"]):
        words = "run: is no demo of skn (no skn.json in it that says so) and will not be deleted"
        refused(["demo", "--out", "run", *options], words)
    refused(["demo", "--out", "good.csv", "--overwrite"], "good.csv: is no demo of skn")
    refused(["demo", "--out", "good.csv/demo"], "good.csv/demo/skn.json: cannot be written (Not a directory)")


# ---- the option parser -----------------------------------------------------------------------------------------

USAGE = {
    "unknown option": (["train", "--out", "r", "--speed", 3], "No such option: --speed"),
    "missing option": (["train", "--backbone", "x"], "Missing option '--out'"),
    "no backbone": (["train", "--out", "r"], "--backbone is needed"),
    "wrong choice": (
        ["mask", "--run", "r", "--kind", "blur"],
        "'blur' is not one of 'zero', 'mean', 'gaussian', 'scale', 'resample'",
    ),
    "unknown command": (["trian"], "No such command 'trian'"),
    "no command": ([], "name a command"),
    "no integer": (["train", "--out", "r", "--epochs", "many"], "--epochs"),
    "negative": (["train", "--out", "r", "--epochs", -1], "--epochs"),
    "seed too large": (["train", "--out", "r", "--seed", 2**32], "--seed", "4294967295"),
    "no float": (["prune", "--run", "r", "--fraction", "half"], "--fraction"),
    "option without a value": (["probe", "--run"], "'--run' requires an argument"),
    "one argument too many": (["tasks", "sst2"], "unexpected extra argument"),
}


@pytest.mark.parametrize("arguments, phrases", [(a, p) for a, *p in USAGE.values()], ids=USAGE)
def test_usage(refused, arguments, phrases):
    refused(arguments, *phrases, "--help")


# ---- the process itself ----------------------------------------------------------------------------------------


def process(arguments, folder: Path) -> subprocess.CompletedProcess:
    code = "from skn.cli import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "options, phrase",
    [
        (["--max-length", 61], "--max-length 61"),
        (["--epochs", "x"], "--epochs"),
    ],
)
def test_a_real_process_prints_one_line(train, tmp_path, options, phrase):
    arguments = train(*options)
    before = tree(tmp_path)
    done = process(arguments, tmp_path)
    assert done.returncode == 2 and done.stdout == "" and tree(tmp_path) == before
    assert done.stderr.startswith("skn: ") and done.stderr.count("\n") == 1 and phrase in done.stderr
