"""``skn predict``: new texts, of a run or of a pruned model, with the truth where a file has it; and where that file goes."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
import torch
import transformers
from emotions_data import write_jsonl
from refusals import command
from spoiled import on
from tables import write_tsv

import skn
from skn.inference.measures import Score
from skn.inference.predictions import SHORT_ROWS
from skn.store import folders

TEXTS = ["a dull film", "the ending is wonderful", "=1+1"]


@pytest.fixture(scope="module")
def kept(runs, tmp_path_factory) -> Path:
    """A run with a pruned model; no test writes there."""
    out = Path(shutil.copytree(runs(), tmp_path_factory.mktemp("kept") / "run"))
    assert skn.prune(skn.open_run(out), count=12, out=out / "pruned") is not None
    return out


@pytest.fixture(scope="module")
def loaded(kept):
    return skn.open_run(kept)


def table(capsys, *arguments) -> dict:
    """The one table of a command."""
    capsys.readouterr()
    assert command([*arguments, "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["tables"]
    return found


def rows_of(file) -> list[dict[str, str]]:
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


# ---- what is said of texts -------------------------------------------------------------------------------------


def test_it_is_what_evaluate_counts_and_what_the_pipeline_answers(loaded, kept):
    texts, truth = loaded.data.split("test").text, loaded.data.split("test").label
    measured = skn.evaluate(loaded, kept / "pruned").models
    for model, own in zip((loaded, kept / "pruned"), measured, strict=True):
        found = skn.predict(model, texts)
        right = [name == loaded.class_names[c] for name, c in zip(found.predicted, truth, strict=True)]
        assert sum(right) / len(right) == own["accuracy"] and found.score is None and found.truth is None
    answers = transformers.pipeline("text-classification", str(kept / "pruned"))(texts)
    assert [answer["label"] for answer in answers] == found.predicted
    likely = found.probabilities.max(dim=1).values
    assert likely.tolist() == pytest.approx([answer["score"] for answer in answers], abs=1e-4)


def test_a_pruned_model_answers_as_its_folder(loaded, kept, tmp_path):
    small = skn.prune(loaded, count=12).train()
    again = transformers.AutoModelForSequenceClassification.from_pretrained(kept / "pruned")
    found = [skn.predict(model, TEXTS).probabilities for model in (small, kept / "pruned", again)]
    assert torch.allclose(found[0], found[1], atol=1e-6) and torch.allclose(found[1], found[2], atol=1e-6)
    assert small.training and found[0].shape == (3, 2)
    assert found[0].sum(dim=1).tolist() == pytest.approx([1, 1, 1])
    labelled = write_tsv(tmp_path / "d.tsv", ["text", "label"], [(TEXTS[0], "0"), (TEXTS[1], "positive")])
    for model in (small, kept / "pruned"):  # both know how the run's data writes the classes
        assert skn.predict(model, data=labelled).truth == ["negative", "positive"]


def test_batches_change_nothing(loaded):
    texts = loaded.data.split("test").text
    few = skn.predict(loaded, texts, compute=skn.Compute(batch_tokens=40)).probabilities
    assert torch.allclose(few, skn.predict(loaded, texts).probabilities, atol=1e-6)


def test_one_text_and_what_is_shown(loaded):
    found = skn.predict(loaded, "a dull film " * 12)
    assert len(found) == 1 and found.classes == ["negative", "positive"]
    frame = found.to_pandas()
    assert list(frame.columns) == ["row", "text", "predicted", "P(negative)", "P(positive)"]
    assert frame["text"][0] == "a dull film " * 12 and "…" in repr(found) and "…" in found._repr_html_()
    assert "(1 text)" in found.table().title


def test_the_table_of_many_classes_is_narrow(tiny, tmp_path):
    rows = [(f"text number {i}", f"topic {i % 7}") for i in range(140)]
    data = skn.load_data(write_tsv(tmp_path / "d.tsv", ["text", "label"], rows))
    run = skn.tune(str(tiny("roberta")), data, words=list("ABCDEFG"), prompt_length=4, epochs=0, batch_size=8)
    found = skn.predict(run, ["one", "two"])
    assert list(found.short().columns) == ["row", "text", "predicted", "probability"]
    best = [row[-1] for row in found.short().rows]
    assert best == found.probabilities.max(dim=1).values.tolist() and len(found.table().columns) == 10


def test_pairs(tiny, tmp_path, refused):
    rows = [(f"text {i}", f"other {i % 5}", i % 2) for i in range(80)]
    file = write_tsv(tmp_path / "d.tsv", ["said", "asked", "label"], rows)
    data = skn.load_data(file, text="said", pair="asked")
    run = skn.tune(str(tiny("roberta")), data, prompt_length=4, epochs=0, batch_size=8, out=tmp_path / "run")
    pairs = [(said, asked) for said, asked, _ in rows]
    assert torch.equal(skn.predict(run, pairs).probabilities, skn.predict(run, data=file).probabilities)
    assert skn.predict(run, data=file).table().columns[1:4] == ["text", "pair", "truth"]
    refused(["predict", "--run", "run", "--text", "a"], "this run reads pairs of texts; give --data")


# ---- files -----------------------------------------------------------------------------------------------------


def test_a_file_is_read_with_the_columns_of_the_run(kept, tmp_path, capsys, quiet_exit):
    """Labels as the data writes them or as the classes are called; an empty cell is none."""
    (tmp_path / "d.csv").write_text('text,label\n"=1+1, dull",0\nfunny,\nwonderful,positive\n')
    found = table(capsys, "predict", "--run", kept, "--data", tmp_path / "d.csv", "--out", tmp_path / "out.csv")
    assert "3 texts, 2 with a label; accuracy" in found["title"] and "the larger class alone: 0.5000" in found["title"]
    assert [row[2] for row in found["rows"]] == ["negative", None, "positive"]
    answers = skn.predict(skn.open_run(kept), data=tmp_path / "d.csv")
    assert answers.score == Score.of(answers.logits[[0, 2]], torch.tensor([0, 1]))
    written = rows_of(tmp_path / "out.csv")
    assert written[0]["text"] == "'=1+1, dull" and [row["truth"] for row in written] == ["negative", "", "positive"]
    assert [float(row["P(negative)"]) for row in written] == [row[4] for row in found["rows"]]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_other_columns_and_kinds(loaded, tmp_path, kind):
    file = tmp_path / f"d.{kind}"
    rows = [{"review": text, "stars": str(i % 2)} for i, text in enumerate(TEXTS)]
    if kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with open(file, "w", newline="") as lines:
            writer = csv.DictWriter(lines, ["review", "stars"], delimiter="," if kind == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    found = skn.predict(loaded, data=file, text="review")
    assert found.truth is None and torch.equal(found.logits, skn.predict(loaded, TEXTS).logits)
    assert skn.predict(loaded, data=file, text="review", label="stars").truth == ["negative", "positive", "negative"]


def test_another_kind_of_file_needs_none_of_the_runs_dialect(loaded, tmp_path):
    """The run's csv has no header, is in another encoding and does not quote; a json file needs no such word."""
    spec = replace(loaded.data.spec, quoting="none", encoding="cp1252", columns=["text", "label"])
    reader = replace(loaded.reader, spec=spec)
    (tmp_path / "d.csv").write_bytes('"café,0\n'.encode("cp1252"))
    (tmp_path / "d.jsonl").write_text('{"text": "\\"caf\\u00e9", "label": 0}\n')
    pandas.DataFrame({"text": ['"café'], "label": [0]}).to_parquet(tmp_path / "d.parquet")
    for name in ("d.csv", "d.jsonl", "d.parquet"):
        assert reader.read(tmp_path / name).examples.text == ['"café'], name
    with pytest.raises(skn.InputError, match="quoting: .*d.parquet: has no effect on a .parquet file"):
        skn.predict(loaded, data=tmp_path / "d.parquet", quoting="none")


def test_a_task_with_several_labels(tiny, tmp_path):
    write_jsonl(tmp_path, lambda labels: labels)
    data = skn.load_data(tmp_path, task="goemotions/joy")
    run = skn.tune(str(tiny("roberta")), data, prompt_length=4, epochs=0, batch_size=8)
    found = skn.predict(run, data=tmp_path / "train.jsonl")
    assert found.classes == ["other", "joy"] and set(found.truth) == {"other", "joy"}


def test_the_data_of_the_run_may_be_gone(kept, corpus_folder, tmp_path, quiet_exit, tiny):
    shutil.copytree(corpus_folder, tmp_path / "data")
    line = ["train", "--backbone", tiny("roberta"), "--data", tmp_path / "data", "--epochs", 0, "--prompt-length", 4]
    assert command([*line, "--out", tmp_path / "run"]) == 0
    shutil.rmtree(tmp_path / "data")
    assert command(["predict", "--run", tmp_path / "run", "--text", "a"]) == 0


def test_a_long_table_is_cut_and_says_so(kept, corpus_folder, tmp_path, capsys, quiet_exit):
    line = ["predict", "--run", kept, "--data", corpus_folder / "test.tsv"]
    assert command(line) == 0
    assert f"{40 - SHORT_ROWS} texts more; --out FILE.csv writes all" in capsys.readouterr().out
    assert len(table(capsys, *line)["rows"]) == 40


# ---- what is refused -------------------------------------------------------------------------------------------


def test_refused(run, refused, corpus_folder, tmp_path):
    shutil.copytree(corpus_folder, "data")
    Path("bad.csv").write_text("text,label\ndull,0\n\ngreat,superb\n")
    Path("mine.csv").write_text("text,mood,predicted\nmine,0,1\n")
    predict = ["predict", "--run", "run"]
    refused(predict, "give --text or --data, one of them")
    refused([*predict, "--text", "a", "--data", "bad.csv"], "give --text or --data, one of them")
    refused(["predict", "--text", "a"], "give --run or --model, one of them")
    refused([*predict, "--text", "a", "--label-column", "b"], "--label-column goes with --data; leave it out")
    refused(
        [*predict, "--data", "bad.csv"], "bad.csv: line 4: label 'superb' is outside the classes (negative, positive)"
    )
    refused([*predict, "--data", "bad.csv", "--label-column", "stars"], "bad.csv: no column 'stars'", "--label-column")
    refused([*predict, "--data", "none.csv"], "none.csv: no such file; see --data")
    refused([*predict, "--data", "data"], "data: a folder; give one file")
    refused([*predict, "--text", "a", "--out", "out.txt"], "--out out.txt: a csv file is written there")
    refused([*predict, "--text", "a", "--out", "mine.csv"], "mine.csv: exists already; --overwrite replaces it")
    refused([*predict, "--text", "a", "--out", "mine.csv", "--overwrite"], "mine.csv: is nothing that skn wrote")
    refused(["predict", "--model", "run", "--text", "a"], "--model run: a run; give it with --run")
    refused(["predict", "--run", "data", "--text", "a"], "data: not a run")


def test_a_file_of_predictions_is_skns(run, quiet_exit):
    """It may be replaced, also inside of a run, which it does not keep from being replaced."""
    line = ["predict", "--run", run, "--text", "a", "--out", run / "p.csv"]
    assert command(line) == 0 and command([*line, "--overwrite"]) == 0
    folders.refuse_occupied(run, "run", overwrite=True)
    (run / "mine.csv").write_text("row,text\n1,mine\n")
    with pytest.raises(skn.InputError, match="holds mine.csv, which skn did not write"):
        folders.refuse_occupied(run, "run", overwrite=True)


REFUSED = {
    "nothing": (lambda run, kept: skn.predict(run), "give texts, or data= with a file"),
    "no texts": (lambda run, kept: skn.predict(run, []), "texts: no text is given"),
    "numbers": (lambda run, kept: skn.predict(run, [1, 2]), "texts: expected texts, or pairs of texts"),
    "texts and pairs": (lambda run, kept: skn.predict(run, ["a", ("b", "c")]), "texts: expected texts, or pairs"),
    "a model": (
        lambda run, kept: skn.predict(run.model, "a"),
        "expected a run, or what skn.prune or skn.export returns",
    ),
    "the folder of a run": (lambda run, kept: skn.predict(kept, "a"), "a run; give what skn.open_run"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_face_refuses_in_one_line(name, loaded, kept):
    call, words = REFUSED[name]
    with pytest.raises(skn.InputError) as refusal:
        call(loaded, kept)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


# ---- evaluate on another file, and what each model says ----------------------------------------------------------


def test_evaluate_on_another_file(run, tmp_path, quiet_exit, capsys):
    rows = [(text, ("negative", "1")[i % 2]) for i, text in enumerate(TEXTS * 3)]
    file = write_tsv(tmp_path / "other.tsv", ["review", "stars"], rows)
    line = ["evaluate", "--run", run, "--data", file, "--text-column", "review", "--label-column", "stars"]
    assert command(on("prune", run=run)) == 0
    found = table(capsys, *line, "--predictions", tmp_path / "each.csv")
    stored = json.loads((run / "evaluate-data-other.json").read_text())
    assert (stored["data"], stored["split"], stored["examples"]) == ("other.tsv", None, 9)
    assert found["title"].startswith("Evaluation on other.tsv (9 examples")
    columns = {"text": "review", "label": "stars"}
    expected = skn.evaluate(skn.open_run(run), run / "pruned", data=file, **columns)
    assert [m["accuracy"] for m in stored["models"]] == [m["accuracy"] for m in expected.models]
    each = rows_of(tmp_path / "each.csv")
    for model in stored["models"]:
        right = [row[f"{model['name']}: predicted"] == row["truth"] for row in each]
        assert sum(right) / 9 == model["accuracy"]
    assert command(["report", "--run", run]) == 0
    assert "other.tsv; float32" in (run / "report/index.html").read_text()
    folders.refuse_occupied(run, "run", overwrite=True)  # its files are skn's
    (run / "evaluate-data-mine.json").write_text("{}")
    with pytest.raises(skn.InputError, match="holds evaluate-data-mine.json, which skn did not write"):
        folders.refuse_occupied(run, "run", overwrite=True)


def test_evaluate_on_another_file_refuses(run, refused, tmp_path):
    Path("bad.csv").write_text("text,label\ndull,0\ngreat,superb\n")
    Path("part.csv").write_text("text,label\ndull,0\ngreat,\n")
    Path("empty.csv").write_text("text,label\ndull,\n")
    refused(on("evaluate", "--data", "bad.csv"), "bad.csv: line 3: label 'superb' is outside the classes")
    refused(on("evaluate", "--data", "part.csv"), "part.csv: 1 rows without a label (line 3); --drop-unlabelled")
    refused(on("evaluate", "--data", "empty.csv", "--drop-unlabelled"), "empty.csv: no row with a label")
    refused(on("evaluate", "--data", "none.csv"), "none.csv: no such file")
    refused(on("evaluate", "--data", "part.csv", "--split", "test"), "--split: part.csv is another file")
    refused(on("evaluate", "--text-column", "a"), "--data: columns go with another file")
    assert command(on("evaluate", "--data", "part.csv", "--drop-unlabelled")) == 0
    assert json.loads(Path("run/evaluate-data-part.json").read_text())["examples"] == 1


def test_texts_of_train_are_counted(loaded, corpus_folder, tmp_path, caplog):
    """A copy of a part of the run's data is another file; who evaluates on texts of train is told."""
    file = shutil.copy(corpus_folder / "train.tsv", tmp_path / "t.tsv")
    with caplog.at_level("INFO"):
        skn.evaluate(loaded, data=file)
    seen = len(loaded.data.rows["train"])
    assert any(f"{seen} of 160 texts also stand in the run's train split" in line for line in caplog.messages)


def test_predictions_of_a_split(run, tmp_path, quiet_exit):
    file = tmp_path / "each.csv"
    assert command(on("evaluate", "--predictions", file, "--split", "validation", run=run)) == 0
    rows, loaded = rows_of(file), skn.open_run(run)
    part = loaded.data.split("validation")
    assert [row["text"] for row in rows] == part.text and [row["row"] for row in rows][:2] == ["1", "2"]
    assert [row["truth"] for row in rows] == [loaded.class_names[c] for c in part.label]
    assert [row["predicted"] for row in rows] == skn.predict(loaded, part.text).predicted
