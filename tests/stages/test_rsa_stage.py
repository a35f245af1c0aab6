"""``skn rsa`` from the command line: every form of input, what is written, what is said."""

import json

import numpy as np
import pytest
import searchlight_files as files
import torch
from options import replaced
from refusals import command, tree
from searchlight_files import CONDITIONS, LAYERS, NAMES, RATED, SEEDS, WIDTH

from skn.rsa.conditions import pairs_of
from skn.rsa.foreign_ranks import read_ranks
from skn.rsa.searchlight import distances, places, searchlight
from skn.store import artifacts

pytestmark = pytest.mark.usefixtures("quiet_exit")
PARAMETRIC = {"tau", "p", "q", "q_all", "rank"}
MANTEL = {"p_mantel", "q_mantel", "p_family"}
PARTIAL = {"partial_tau", "partial_p", "partial_q"}


def right_distance():
    """Of the attributes, between the activations' conditions: float64 [pairs, 2]."""
    values = np.array([files.ratings()[name] for name in CONDITIONS])
    first, second = np.triu_indices(len(CONDITIONS), 1)
    return torch.from_numpy(np.abs(values[first] - values[second]))


def run(folder, activations, attributes, *options):
    """The artifact of one run into folder/out."""
    arguments = ["rsa", "--activations", activations, "--attributes", attributes, "--out", folder / "out"]
    assert command(replaced(arguments, options)) == 0
    return artifacts.load(folder / "out" / "rsa.safetensors", "rsa")


def assert_right(found):
    right = searchlight(distances(files.values()), right_distance())
    for name in PARAMETRIC:
        np.testing.assert_array_equal(found[name].flatten(1), getattr(right, name), err_msg=name)
    assert torch.equal(found["distance"], right_distance().T)


@pytest.mark.parametrize("form", [files.ours, files.foreign, files.cells])
def test_every_form_of_activations(tmp_path, form):
    shape = ["--shape", f"{LAYERS}x{WIDTH}"] if form is files.cells else []
    found = run(tmp_path, form(tmp_path), files.rated(tmp_path), *shape)
    if form is files.cells:  # emotions by their published order, not by that of their names
        assert found.meta["conditions"] == ["pride", "joy", "love", "anger", "fear"]
        right = searchlight(distances(files.values()), right_distance()).tau
        np.testing.assert_allclose(found["tau"].flatten(1), right, rtol=1e-12)
    else:
        assert_right(found)
        assert found.meta["conditions"] == CONDITIONS
    assert found.meta["seeds"] == SEEDS and found.meta["attributes"] == NAMES
    assert found.provenance.get("backbone_digest") == ("abc" if form is files.ours else None)


def test_where_no_neuron_has_a_tau_the_table_says_so_and_the_report_is_drawn(tmp_path, capsys):
    file = tmp_path / "same.safetensors"
    alike = torch.ones(len(SEEDS), len(CONDITIONS), LAYERS, WIDTH)
    artifacts.save(
        file, "activations", {"activations": alike}, {}, {"activations": ("seed", "condition", "L", "F")},
        conditions=CONDITIONS, seeds=SEEDS,
    )  # fmt: skip
    run(tmp_path, file, files.rated(tmp_path))
    out = capsys.readouterr().out
    assert "no neuron has a tau (NaN): all neurons, or all attributes, are the same for all pairs" in out
    assert "attribute '" not in out
    assert command(["report", "--rsa", tmp_path / "out"]) == 0


def test_of_a_sweep(tmp_path):
    sweep = files.sweep(tmp_path)
    assert command(["rsa", "--sweep", sweep, "--attributes", files.rated(tmp_path)]) == 0
    assert_right(artifacts.load(sweep / "rsa" / "rsa.safetensors", "rsa"))


@pytest.mark.parametrize("form", [files.rated, files.paired])
def test_attributes_by_name(tmp_path, capsys, form):
    assert_right(run(tmp_path, files.ours(tmp_path), form(tmp_path)))
    said = capsys.readouterr().out
    assert "5 of the attributes' 6 conditions: their 10 pairs are used" in said and "by name" in said


def test_distances_in_the_order_of_the_activations(tmp_path, capsys):
    assert_right(run(tmp_path, files.ours(tmp_path), files.triangle(tmp_path, CONDITIONS)))
    said = capsys.readouterr().out
    assert "strict lower triangle column by column" in said
    assert "the order of the activations: joy, anger, fear, love, pride" in said


@pytest.mark.parametrize("in_file", [False, True])
def test_distances_in_a_given_order(tmp_path, capsys, in_file):
    (tmp_path / "names").write_text("\n".join(RATED))
    order = tmp_path / "names" if in_file else ",".join(RATED)
    assert_right(run(tmp_path, files.ours(tmp_path), files.triangle(tmp_path, RATED), "--conditions", order))
    assert "the order of --conditions: pride, love" in capsys.readouterr().out


def test_distances_in_the_published_order(tmp_path, capsys):
    from skn.data.emotions import PUBLISHED_ORDER

    rows = np.arange(351.0)[:, None] % 50
    file = files.write_rows(tmp_path / "d.csv", ["arousal"], rows.tolist())
    found = run(tmp_path, files.ours(tmp_path), file)
    chosen = pairs_of([PUBLISHED_ORDER.index(name) for name in CONDITIONS], 27)
    np.testing.assert_array_equal(found["distance"][0], rows[chosen, 0])
    assert "the published order: realization, surprise" in capsys.readouterr().out


def test_what_is_written_and_said(tmp_path, capsys):
    found = run(tmp_path, files.ours(tmp_path), files.rated(tmp_path))
    assert set(found.tensors) == PARAMETRIC | {"distance"} and found["tau"].shape == (2, LAYERS, WIDTH)
    assert found.meta["permutations"] == 0 and found.meta["top"] == [2] and found.meta["stability"] is None
    layer, neuron = files.CONSTANT
    assert torch.isnan(found["tau"][:, layer, neuron]).all() and torch.isnan(found["tau"]).sum() == 2

    ranks = read_ranks(tmp_path / "out" / "rank.csv", shape=(LAYERS, WIDTH))
    assert ranks.meta["attributes"] == NAMES
    np.testing.assert_array_equal(ranks.tensors["rank"], found["rank"])
    assert "NA,NA" in (tmp_path / "out" / "rank.csv").read_text()

    summary = json.loads((tmp_path / "out" / "rsa.json").read_text())
    assert summary["alpha"] == 0.05 and summary["stability"] is None
    for i, attribute in enumerate(summary["attributes"]):
        assert attribute["name"] == NAMES[i] and attribute["constant"] == 1
        assert attribute["significant"] == {k: int((found[k][i] <= 0.05).sum()) for k in ("p", "q", "q_all")}
        layer, neuron, tau = attribute["best"][0]
        assert len(attribute["best"]) == 10 and found["rank"][i, layer, neuron] <= 1.5
        assert tau == found["tau"][i, layer, neuron] == found["tau"][i].nan_to_num(-1).max()

    said = " ".join(capsys.readouterr().out.split())
    assert "without tau (NaN) and rank (NA): 1" in said and "takes the pairs of conditions as independent" in said
    assert "seconds: reading" in said


def test_an_attribute_that_is_the_same_for_all(tmp_path, capsys):
    rows = [[name, 3, i] for i, name in enumerate(CONDITIONS)]
    file = files.write_rows(tmp_path / "r.csv", ["condition", *NAMES], rows)
    found = run(tmp_path, files.ours(tmp_path), file, "--permutations", 9, "--leave-one-out")
    said = " ".join(capsys.readouterr().out.split())
    assert "attribute 'arousal' is the same for all pairs" in said and "and rank (NA): 1" in said
    for name in PARAMETRIC | MANTEL:
        assert torch.isnan(found[name][0]).all() and torch.isnan(found[name][1]).sum() == 1, name
    first = json.loads((tmp_path / "out" / "rsa.json").read_text())["attributes"][0]
    assert first["best"] == [] and set(first["significant"].values()) == {0}
    assert found.meta["stability"]["seeds"]["jaccard"]["2"][0][0] is None


def test_help(capsys):
    assert command(["rsa", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--attributes", "--permutations", "--leave-one-out", "--partial"))


def test_everything_at_once(tmp_path, capsys):
    options = ["--permutations", 19, "--seed", 3, "--partial", "--leave-one-out", "--top", "4,2"]
    inputs = files.ours(tmp_path), files.rated(tmp_path)
    found = run(tmp_path, *inputs, *options)
    expected = PARAMETRIC | MANTEL | PARTIAL | {f"partial_{name}" for name in MANTEL} | {"distance"}
    assert set(found.tensors) == expected
    assert found.meta["permutations"] == 19 and found.meta["seed"] == 3 and found.meta["top"] == [2, 4]
    for name in expected - {"distance", "rank"}:
        assert torch.isnan(found[name]).sum() == 2, name  # the constant neuron
    assert found["p_mantel"].nan_to_num(1).min() >= 1 / 20

    summary = json.loads((tmp_path / "out" / "rsa.json").read_text())
    tests = (MANTEL | PARTIAL | {f"partial_{name}" for name in MANTEL} | {"p", "q", "q_all"}) - {"partial_tau"}
    assert set(summary["attributes"][0]["significant"]) == tests
    assert summary["stability"] == found.meta["stability"]
    assert "no p is below 1/20, so that q_mantel reaches 0.05 only where 20 neurons" in capsys.readouterr().out

    before = tree(tmp_path / "out")
    run(tmp_path, *inputs, *options, "--overwrite")
    assert tree(tmp_path / "out") == before  # the same bytes
    run(tmp_path, *inputs, *options[:2], "--overwrite", "--seed", 4)
    assert tree(tmp_path / "out") != before


def test_stability_is_that_of_the_sets_without(tmp_path):
    found = run(tmp_path, files.ours(tmp_path), files.rated(tmp_path), "--leave-one-out", "--top", "3,6")
    stability = found.meta["stability"]
    assert stability["seeds"]["names"] == ["1", "3", "42"] and stability["conditions"]["names"] == CONDITIONS
    full = searchlight(distances(files.values()), right_distance()).tau

    def check(what, dropped, values, distance):
        tau = searchlight(distances(values), distance).tau
        for a in range(2):
            for k in (3, 6):
                one, other = (set(np.flatnonzero(places(t)[a] < k)) for t in (full, tau))
                right = len(one & other) / len(one | other)
                assert stability[what]["jaccard"][str(k)][dropped][a] == right

    for s in range(3):
        check("seeds", s, files.values()[[i for i in range(3) if i != s]], right_distance())
    for c in range(5):
        kept = [i for i in range(5) if i != c]
        check("conditions", c, files.values()[:, kept], right_distance()[pairs_of(kept, 5)])


def test_too_few_to_leave_out(tmp_path, capsys):
    one = files.foreign(tmp_path, tensor=files.values()[:1, :3], seeds="[1]", emotions=json.dumps(CONDITIONS[:3]))
    found = run(tmp_path, one, files.rated(tmp_path), "--leave-one-out")
    assert found.meta["stability"] == {"seeds": None, "conditions": None}
    assert "leaving out seeds: too few" in capsys.readouterr().out


def test_output_that_exists(tmp_path, refused):
    inputs = ["--activations", files.ours(tmp_path), "--attributes", files.rated(tmp_path)]
    assert command(["rsa", *inputs, "--out", tmp_path / "out"]) == 0
    refused(["rsa", *inputs, "--out", "out"], "out: exists already; --overwrite replaces it")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    refused(["rsa", *inputs, "--out", "mine", "--overwrite"], "mine: is no searchlight of skn", "will not be deleted")
