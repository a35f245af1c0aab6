"""The tour: its notebook is that of its script, and what its text says one should see is what its code shows."""

import json
import re

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from repository import REPOSITORY

TOUR = REPOSITORY / "notebooks"


def script_cells():
    """(kind, source) of each cell of the script in the percent format."""
    head, *parts = re.split(r"^# %%(.*)\n", (TOUR / "tour.py").read_text(), flags=re.MULTILINE)
    assert head == ""
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        if mark == " [markdown]":
            yield "markdown", re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE)
        else:
            assert mark == ""
            yield "code", body.strip()


def notebook_cells():
    return json.loads((TOUR / "tour.ipynb").read_text())["cells"]


def test_the_notebook_is_that_of_the_script():
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook_cells()]
    assert cells == list(script_cells()), "make it again: python scripts/make_tour.py"


def test_the_notebook_holds_outputs_and_nothing_of_its_machine():
    text = (TOUR / "tour.ipynb").read_text()
    code = [cell for cell in notebook_cells() if cell["cell_type"] == "code"]
    shown = [output for cell in code for output in cell["outputs"]]
    pictures = [output["data"]["image/png"] for output in shown if "image/png" in output.get("data", {})]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert len(pictures) == 4 and max(map(len, pictures)) < 40_000 * 4 / 3 and len(text) < 300_000
    assert not re.search(r"/(home|root|tmp|Users|usr)/|s left|widget|Warning|Traceback", text)


def test_the_links_of_the_tour_lead_somewhere():
    links = re.findall(r"\]\((\.\./[^)#]+)", (TOUR / "tour.py").read_text())
    assert links and all((TOUR / link).is_file() for link in links)


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """What the names of the tour stand for after its last cell; ``pictures`` is how many it showed."""
    pictures, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, matplotlib.rc_context():
        patch.chdir(tmp_path_factory.mktemp("tour"))
        plt.switch_backend("agg")
        patch.setattr(plt, "show", lambda: pictures.append(plt.get_fignums()) or plt.close("all"))
        names = {}
        for kind, source in script_cells():
            if kind == "code":
                exec(source, names)
    torch.set_num_threads(threads)
    assert all(len(figures) == 1 for figures in pictures)
    return names | {"pictures": len(pictures)}


@pytest.mark.slow
def test_four_pictures(tour):
    assert tour["pictures"] == 4


@pytest.mark.slow
def test_the_splits(tour):
    assert 40 <= len(tour["data"].rows["test"]) <= 60


@pytest.mark.slow
def test_high_boxes_stand_in_the_upper_layers(tour):
    medians = [sorted(layer)[len(layer) // 2] for layer in tour["predictivity"]]
    assert 0.5 < min(medians) and max(medians[:3]) < min(medians[3:])


@pytest.mark.slow
def test_the_best_neuron_comes_close_to_the_model_on_test(tour):
    shown = {(row["split"], row["measure"]): row["accuracy"] for row in tour["probe"].table().records()}
    neuron, model = shown["test", "neuron, balanced"], shown["test", "model, balanced"]
    assert model - 0.1 < neuron < shown["validation", "neuron, balanced"]


@pytest.mark.slow
def test_the_large_mask_costs_more_than_random_masks_in_accuracy_alone(tour):
    _, small, large = (
        {measure: row["controls"] and row["controls"][measure] for measure in ("accuracy", "auc")} | {"row": row}
        for row in tour["masked"].rows
    )
    assert small["accuracy"]["low"] <= small["row"]["accuracy"] <= small["accuracy"]["high"]
    assert large["row"]["accuracy"] < large["accuracy"]["low"]
    assert large["row"]["auc"] > 0.95


@pytest.mark.slow
def test_the_pruned_model_guesses_until_its_prompt_is_tuned_again(tour):
    evaluation = tour["evaluation"]
    full, pruned, again = evaluation.models
    larger = evaluation.document["majority"]
    assert pruned["interval"][0] <= larger < min(full["interval"][0], again["interval"][0])
    answers = evaluation.predictions[1].predicted
    assert pruned["auc"] > 0.9 and max(map(answers.count, set(answers))) > 0.9 * len(answers)


@pytest.mark.slow
def test_the_sentences_without_a_denial_are_told_right(tour):
    found = tour["skn"].predict(tour["again"], tour["texts"]).predicted
    assert found[:4] == ["positive", "negative", "positive", "negative"]
