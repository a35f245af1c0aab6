"""The map of every neuron on a run's report: its numbers, its marks, and what its script draws and says."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from filled_run import CHOSEN, LAYERS, WIDTH, add_neurons
from pages import Page, numbers
from spoiled import rewrite

from skn.reports.read_run import report
from skn.store import artifacts


def test_the_map_holds_every_neuron(full):
    text = report(full.path).read_text()
    stored = re.search(r'id="neuron-map-scores">([^<]+)<', text)[1]
    steps = np.frombuffer(base64.b64decode(stored), dtype="<u2").reshape(LAYERS, WIDTH)
    score = artifacts.load(full.file("neurons"), "neurons")["score"].numpy()
    assert np.array_equal(steps == 65_535, np.isnan(score))
    assert np.abs(steps / 10_000 - score)[1:].max() <= 0.5e-4
    assert f'data-layers="{LAYERS}" data-width="{WIDTH}"' in text
    assert 'data-highest="0.937"' in text and "The lightest colour is 50%, the darkest 93.7%." in Page(text).text
    assert f'style="height: {24 * LAYERS}px"' in text  # 20 neurons over the width of the page would be 3,000 high


def marks(run):
    """Which neurons the map marks, [L, F] bool; None without permutation tests."""
    stored = re.search(r'id="neuron-map-marks">([^<]*)<', report(run.path).read_text())[1]
    bits = np.unpackbits(np.frombuffer(base64.b64decode(stored), dtype=np.uint8), bitorder="little")
    return bits[: LAYERS * WIDTH].reshape(LAYERS, WIDTH).astype(bool) if stored else None


def test_the_map_marks_the_neurons_beyond_chance(full):
    assert sorted(zip(*np.nonzero(marks(full)), strict=True)) == sorted(CHOSEN)
    text = Page(report(full.path).read_text()).text
    assert (
        "the permutation tests of balanced accuracy on validation put the neuron's family-wise p at 0.05 or less. 3 of 40"
        in text
    )
    header, *rows = numbers(full, "predictivity")
    assert header[3] == "p_family_validation"
    assert {(int(layer), int(neuron)) for layer, neuron, _, p in rows if float(p) <= 0.05} == set(CHOSEN)


def test_a_joint_ranking_is_marked_by_its_own_tests_alone(full):
    add_neurons(full, runs=["a", "b"])
    assert marks(full) is None and "An orange mark" not in Page(report(full.path).read_text()).text
    assert numbers(full, "predictivity")[0] == ["layer", "neuron", "predictivity"]
    p = torch.ones(LAYERS, WIDTH, dtype=torch.float64)
    p[1, 4] = 0.05
    rewrite(full.file("neurons"), lambda tensors: tensors.update(p_family_validation=p))
    assert list(zip(*np.nonzero(marks(full)), strict=True)) == [(1, 4)]


MOVED = """
const fs = require("fs"), page = fs.readFileSync(process.argv[2], "utf8"), drawn = [], value = {};
const data = name => page.match(new RegExp('id="neuron-map-' + name + '">([^<]*)<'))[1];
const canvas = {height: 24 * LAYERS, dataset: {layers: LAYERS, width: WIDTH, highest: 0.937}, parentNode: {clientWidth: WIDTH},
  getContext: () => ({fillRect: (...box) => drawn.push(box)}), getBoundingClientRect: () => ({left: 0, top: 0, width: WIDTH, height: LAYERS}),
  addEventListener: (_, moved) => { canvas.moved = moved; }};
const found = {"neuron-map": canvas, "neuron-map-value": value};
global.document = {getElementById: id => found[id] || {textContent: data(id.split("-")[2])}};
global.window = {addEventListener: () => 0};
eval(page.match(/<script>([^]*?)<\\/script>/)[1]);
const said = [];
for (let layer = 0; layer < LAYERS; layer++) for (let column = 0; column < WIDTH; column++) {
  canvas.moved({clientX: column + .5, clientY: layer + .5});
  said.push(value.textContent);
}
console.log(JSON.stringify({drawn, said}));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")
def test_the_map_shows_the_best_neuron_of_a_layer_first(full, tmp_path):
    script = tmp_path / "moved.js"
    script.write_text(MOVED.replace("LAYERS", str(LAYERS)).replace("WIDTH", str(WIDTH)))
    done = subprocess.run(["node", script, report(full.path)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    score = artifacts.load(full.file("neurons"), "neurons")["score"].numpy()
    expected = ["layer 0: no neuron here"] * WIDTH
    for layer in range(1, LAYERS):
        steps = np.rint(score[layer] * 10_000) / 100
        for neuron in np.argsort(-steps, kind="stable"):
            beyond = "; marked" if (layer, neuron) in CHOSEN else ""
            expected.append(f"layer {layer}, neuron {neuron}: {steps[neuron]:.2f}%{beyond}")
    assert found["said"] == expected
    marked = [place for place, words in enumerate(expected) if words.endswith("marked")]
    feet = [(int(y // 24) * WIDTH + x) for x, y, _, high in found["drawn"] if high < 20]
    assert feet == marked


@pytest.mark.parametrize("other", [{"split": "test"}, {"readout": "mean"}, {"contrasts": [[[0], [1]]]}])
def test_a_ranking_is_not_marked_by_tests_of_something_else(full, other):
    add_neurons(full, **other)
    found = marks(full)
    assert found is None or not found.any()  # on test no neuron is beyond chance among all
