"""``skn activate --top`` and what the report shows of its file: shaded tokens, the csv, and files that do not fit."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path

import pytest
import torch
from pages import Page
from refusals import command
from spoiled import rewrite

import skn
from skn.data.splits import Examples
from skn.errors import InputError
from skn.reports.read_exemplars import LONGEST, _pieces
from skn.reports.read_run import collect, report
from skn.runs.run import Run
from skn.store import artifacts

TOP = 12


@pytest.fixture(scope="module")
def stored(runs, tmp_path_factory) -> Path:
    """A run with the exemplars of all neurons; no test writes there."""
    out = Path(shutil.copytree(runs(), tmp_path_factory.mktemp("stored") / "run"))
    assert command(["activate", "--run", out, "--top", TOP, "--all"]) == 0
    return out


@pytest.fixture
def run(stored, tmp_path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "run"))


def load(run, split="test"):
    return artifacts.load(run / f"exemplars-{split}.safetensors", "exemplars")


def test_the_file_is_what_the_face_returns(stored):
    opened, artifact = skn.open_run(stored), load(stored)
    ranking = skn.NeuronSets.load(stored / "neurons.safetensors", opened.provenance, opened.model.backbone.present)
    best = ranking.best(10)
    found = skn.exemplars(opened, top=TOP)
    assert found.neurons[:10] == best and len(set(found.neurons)) == len(found.neurons) == 3 * 48
    assert list(zip(artifact["layer"].tolist(), artifact["neuron"].tolist(), strict=True)) == found.neurons
    for end, side in enumerate((found.highest, found.lowest)):
        for name, tensor in zip(("activation", "row", "token"), side, strict=True):
            assert torch.equal(artifact[name][end], tensor)
    assert artifact["shade"].shape[:3] == artifact["span"].shape[:3] == (2, 10, 10)
    assert artifact.meta == {"split": "test"} and artifact.provenance["engine"] == "hf"
    again = skn.exemplars(opened, ranking=ranking, top=TOP)
    assert again.neurons == ranking.best(1000) and torch.equal(again.highest.values[:10], found.highest.values[:10])


def test_a_fixed_set_gives_its_neurons_and_best_those_of_the_file(run, capsys):
    artifact = artifacts.load(run / "neurons.safetensors", "neurons")
    selected = torch.zeros(3, 48, dtype=torch.bool)
    selected[1, 4] = selected[2, 0] = True
    fixed = artifacts.save(run / "fixed.safetensors", "neurons", {"selected": selected}, artifact.provenance)
    assert command(["activate", "--run", run, "--top", 3, "--neurons", fixed, "--split", "validation"]) == 0
    assert load(run, "validation")["neuron"].tolist() == [4, 0]
    table = capsys.readouterr().out
    assert "1,4" in table and "»" in table and f"wrote {run}/exemplars-validation.safetensors" in table
    file = run / "neurons.safetensors"
    assert command(["activate", "--run", run, "--top", 3, "--neurons", file, "--best", 2, "--split", "train"]) == 0
    best = skn.NeuronSets(score=artifact["score"]).best(2)
    assert list(map(list, best)) == torch.stack([load(run, "train")[n] for n in ("layer", "neuron")], dim=1).tolist()


def test_refusals(run, refused):
    top = ["activate", "--run", run, "--top", 5, "--overwrite"]
    refused(top, "--top: say whose texts to find: --best N")
    refused([*top, "--all", "--best", 2], "--top: say whose")
    refused([*top, "--neurons", run / "neurons.safetensors", "--neuron", "1,2"], "--top: say whose")
    refused([*top, "--empty"], "--top has no effect with --empty")
    refused([*top, "--all", "--engine", "fast"], "No such option: --engine")
    refused([*top, "--all", "--dtype", "bf16x3"], "--dtype bf16x3")
    refused(["activate", "--run", run, "--neurons", run / "neurons.safetensors"], "--neurons goes with --top")
    refused(["activate", "--run", run, "--top", 0, "--all"], "--top")
    refused([*top[:-1], "--all"], "exemplars-test.safetensors: exists already")
    refused(["activate", "--sweep", run, "--top", 3], "--top goes with --run")


def test_the_page_shades_every_token_and_marks_the_peak(run):
    page = report(run)
    text = page.read_text()
    (section,) = re.findall(r'<section id="exemplars">.*?</section>', text, re.DOTALL)
    found, texts = load(run), skn.open_run(run).data.split("test").text
    assert len(re.findall("<details", section)) == 10 and len(re.findall("<details open", section)) == 1
    cells = re.findall(r'<td class="shaded">(.*?)</td>', section)
    assert len(cells) == 200 and all(cell.count("<strong") == 1 for cell in cells)
    for cell, row in zip(cells[:20], found["row"][:, 0, :10].flatten().tolist(), strict=True):
        assert Page(cell).text.replace(" ", "") == texts[row].replace(" ", "")
    peak = re.search(r'<strong class="above-4" title="([\d.]+)">', cells[0])
    assert peak and float(peak[1]) == pytest.approx(found["activation"][0, 0, 0].item(), abs=6e-4)
    (peak,) = re.findall(r"<strong[^>]*>(.*?)</strong>", cells[0])
    token, span = found["token"][0, 0, 0], found["span"][0, 0, 0]
    assert peak == texts[found["row"][0, 0, 0]][span[token][1] : span[token][2]]
    assert not re.search(r"\.(above|below)-\d \{ color", text) and 'href="exemplars-test.csv"' in section
    assert page.stat().st_size < 2_000_000


def test_the_csv_has_every_text_of_the_shown_neurons(run):
    report(run)
    rows = list(csv.DictReader(io.StringIO((run / "report" / "exemplars-test.csv").read_text())))
    found = load(run)
    assert len(rows) == 10 * 2 * TOP
    first, last = rows[0], rows[-1]
    assert [first[name] for name in ("layer", "neuron", "end", "place")] == [str(found["layer"][0].item()), str(found["neuron"][0].item()), "highest", "1"]  # fmt: skip
    assert float(last["activation"]) == found["activation"][1, 9, -1].item() and last["end"] == "lowest"
    data = skn.open_run(run).data.split("test")
    assert last["text"] == data.text[int(last["row"])] and last["class"] in ("negative", "positive", "0", "1")


def test_a_long_text_is_cut_around_its_token_and_shared_characters_are_one_piece():
    text = "a" * 300 + " peak 🙂 " + "b" * 300
    first = text.index("peak")
    smile = (0, first + 5, first + 6)
    spans = [(-1, -1, -1), (0, 0, 300), (0, first, first + 4), smile, smile, (0, first + 7, len(text))]
    shade = torch.tensor([torch.nan, 0.1, 0.9, 0.2, 0.95, -0.3])
    for token, expected in ((2, "peak"), (4, "🙂")):
        pieces = _pieces(Examples([text], None, [0]), 0, token, shade, torch.tensor(spans))
        joined = "".join(piece.text for piece in pieces)
        assert joined.startswith("…a") and joined.endswith("b…") and len(joined) == LONGEST + 2
        assert joined[1:-1] in text
        (peak,) = [piece for piece in pieces if piece.peak]
        assert peak.text == expected and peak.activation == pytest.approx(shade[token].item())


def test_both_texts_of_a_pair_are_shaded():
    spans = torch.tensor([(0, 0, 3), (-1, -1, -1), (1, 0, 4)])
    pieces = _pieces(Examples(["one"], ["more"], [0]), 0, 2, torch.tensor([0.5, torch.nan, 1.0]), spans)
    assert [(piece.text, piece.peak) for piece in pieces] == [("one", False), (" ‖ ", False), ("more", True)]


def test_files_that_do_not_fit(run):
    file = run / "exemplars-test.safetensors"
    rewrite(file, lambda tensors: tensors["row"].fill_(4000))
    missing = collect(Run.open(run)).exemplars_missing
    assert "is not of these rows" in missing
    assert "The texts cannot be shown" in Page(report(run).read_text()).text
    rewrite(file, lambda tensors: (tensors.pop("shade"), tensors.pop("span"), tensors["row"].fill_(0)))
    assert "does not tell which characters" in Page(report(run).read_text()).text


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors["token"].fill_(4000),
        lambda tensors: tensors["token"].fill_(-1),
        lambda tensors: tensors.pop("shade"),
        lambda tensors: tensors.pop("span"),
        lambda tensors: tensors.update(span=tensors["span"][..., :2].contiguous()),
        lambda tensors: tensors.update({name: tensor[:1].contiguous() for name, tensor in tensors.items() if tensor.dim() > 1}),
    ],
)  # fmt: skip
def test_tokens_that_no_text_has_are_refused(run, refused, change):
    rewrite(run / "exemplars-test.safetensors", change)
    refused(["report", "--run", run], "exemplars-test.safetensors: its tokens do not fit its texts", "skn activate")


def test_spans_from_elsewhere_are_cut_to_the_text(run):
    rewrite(run / "exemplars-test.safetensors", lambda tensors: tensors["span"].mul_(1000))
    rewrite(run / "exemplars-test.safetensors", lambda tensors: tensors["activation"].fill_(torch.nan))
    assert "nan" in Page(report(run).read_text()).text


def test_without_the_data_the_section_says_so(run, monkeypatch):
    def gone(*_):
        raise InputError("/nowhere/corpus: is not there")

    monkeypatch.setattr("skn.reports.read_activations.load_splits", gone)
    found = collect(Run.open(run))
    assert found.exemplars == [] and "/nowhere/corpus" in found.exemplars_missing and found.texts_missing is None
