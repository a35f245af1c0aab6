"""Bad input of ``skn rsa``: one line, exit code 2, nothing left behind."""

import json

import pytest
import searchlight_files as files
import torch
from searchlight_files import CONDITIONS, NAMES

from skn.store import artifacts


@pytest.fixture
def spoiled(refused, tmp_path):
    """``spoiled(phrases, activations=…, attributes=…, options=…)``: what is not given is good."""

    def check(*phrases, activations=None, attributes=None, options=()):
        inputs = [
            "--activations",
            activations or files.ours(tmp_path),
            "--attributes",
            attributes or files.rated(tmp_path),
        ]
        return refused(["rsa", *inputs, "--out", "out", *options], *phrases)

    return check


# ---- activations --------------------------------------------------------------------------------------------


def test_missing_cells(spoiled, tmp_path):
    folder = files.cells(tmp_path)
    for name in ("joy-3", "fear-42"):
        (folder / f"{name}.csv").unlink()
    spoiled("cells: cells are missing: joy-3.csv, fear-42.csv;", activations=folder, options=["--shape", "2x10"])


def test_cells_of_other_lengths(spoiled, tmp_path):
    folder = files.cells(tmp_path)
    files.write_rows(folder / "joy-3.csv", [str(i) for i in range(19)], [[0.5] * 19])
    spoiled("joy-3.csv: 19 neurons, anger-1.csv has 20", activations=folder, options=["--shape", "2x10"])


@pytest.mark.parametrize(
    "name, text, phrase",
    [
        ("joy-3.csv", "0,1\n0.5,nan\n", "joy-3.csv: line 2, column '1': 'nan' is no finite number"),
        ("joy-3.csv", "0,1\n0.5,much\n", "joy-3.csv: line 2, column '1': 'much' is no finite number"),
        ("joy-3.csv", "0,1\n1,2\n3,4\n", "joy-3.csv: 2 rows below the header, expected one"),
        ("joy-3.csv", "", "joy-3.csv: no rows"),
        ("notes.csv", "a\n1\n", "notes.csv: expected a name such as joy-1.csv"),
    ],
)
def test_bad_cells(spoiled, tmp_path, name, text, phrase):
    folder = files.cells(tmp_path)
    (folder / name).write_text(text)
    spoiled(phrase, activations=folder, options=["--shape", "2x10"])


def test_shape_of_cells(spoiled, tmp_path):
    folder = files.cells(tmp_path)
    spoiled("cells: 20 neurons; say their layers and width with --shape LxF", activations=folder)
    spoiled("--shape 3x10: 30 neurons, ", "has 20", activations=folder, options=["--shape", "3x10"])
    spoiled("says its shape itself", options=["--shape", "2x10"])


def test_no_cells(spoiled, tmp_path):
    (tmp_path / "empty").mkdir()
    spoiled("empty: no EMOTION-SEED.csv in it", activations=tmp_path / "empty")


@pytest.mark.parametrize(
    "changes, phrase",
    [
        ({"seeds": None}, "its metadata must hold JSON lists 'seeds' and 'conditions'"),
        ({"emotions": None}, "its metadata must hold JSON lists 'seeds' and 'conditions'"),
        ({"seeds": "1, 2"}, "metadata 'seeds' is not JSON"),
        ({"seeds": "[1, 2]"}, "activations of [3, 5] seeds and conditions, but the names are of [2, 5]"),
        ({"seeds": "[1, 2, 1]"}, "seed '1' stands there twice"),
        ({"seeds": '["a", "b", "c"]'}, "seeds must be whole numbers"),
        ({"emotions": '["joy", "fear", "love", "joy", "pride"]'}, "condition 'joy' stands there twice"),
        ({"tensor": torch.zeros(3, 5, 20)}, "'activations' is float32 [3, 5, 20], expected floats"),
        ({"tensor": torch.zeros(3, 5, 2, 10, dtype=torch.int64)}, "'activations' is int64"),
    ],
)
def test_foreign_files(spoiled, tmp_path, changes, phrase):
    spoiled("foreign.safetensors", phrase, activations=files.foreign(tmp_path, **changes))


def test_nan_activations(spoiled, tmp_path):
    values = files.values()
    values[1, 2, 1, 7] = torch.inf
    phrase = "NaN or infinite at seed 3, condition 'fear', layer 1, neuron 7"
    spoiled(phrase, activations=files.foreign(tmp_path, tensor=values))


def test_activations_of_one_run(spoiled, tmp_path):
    file = artifacts.save(tmp_path / "x.safetensors", "activations", {"activations": files.values()}, {})
    spoiled("x.safetensors: activations of one run", "skn activate --sweep", activations=file)


def test_no_activations(spoiled, refused, tmp_path):
    spoiled("gone.safetensors: no such file", activations=tmp_path / "gone.safetensors")
    spoiled("damaged or not a safetensors file", activations=files.rated(tmp_path))
    attributes = ["--attributes", files.rated(tmp_path)]
    refused(["rsa", *attributes, "--out", "out"], "one of --activations and --sweep is needed")
    refused(["rsa", *attributes, "--activations", files.ours(tmp_path)], "--out is needed with --activations")
    sweep = files.sweep(tmp_path)
    (sweep / "activations.safetensors").unlink()
    refused(["rsa", *attributes, "--sweep", sweep], "activations.safetensors: no such file", "skn activate --sweep")


def test_two_conditions(spoiled, tmp_path):
    two = files.foreign(tmp_path, tensor=files.values()[:, :2], emotions=json.dumps(CONDITIONS[:2]))
    spoiled("2 conditions; 3 or more are needed", activations=two)


# ---- attributes ---------------------------------------------------------------------------------------------

GOOD = [[name, i, i % 3] for i, name in enumerate(CONDITIONS)]


@pytest.mark.parametrize(
    "rows, phrase",
    [
        (
            [*GOOD[:4], ["prode", 1, 2]],
            "have condition 'pride', which these attributes have not; did you mean 'prode'?",
        ),
        ([*GOOD[:4], ["xyz", 1, 2]], "have not (they have joy, anger, fear, love, xyz)"),
        ([*GOOD, ["joy", 1, 2]], "condition 'joy' stands there twice"),
        ([*GOOD[:4], ["pride", "nan", 2]], "line 6, column 'arousal': 'nan' is no finite number"),
        ([*GOOD[:4], ["pride", "", 2]], "line 6, column 'arousal': '' is no finite number"),
        ([*GOOD[:4], ["pride", 1, "high"]], "line 6, column 'valence': 'high' is no finite number"),
        ([*GOOD[:4], ["pride", 1]], "line 6 has 2 fields, the header has 3"),
    ],
)
def test_bad_ratings(spoiled, tmp_path, rows, phrase):
    spoiled("r.csv", phrase, attributes=files.write_rows(tmp_path / "r.csv", ["condition", *NAMES], rows))


def test_bad_headers(spoiled, tmp_path):
    def check(header, phrase):
        spoiled("r.csv", phrase, attributes=files.write_rows(tmp_path / "r.csv", header, GOOD))

    check(["condition", "arousal", "arousal"], "column 'arousal' stands twice")
    check(["condition", "arousal", ""], "a column without a name")
    check(["name", *NAMES], "5 rows are the pairs of no number of conditions (3 have 3, 4 have 6)")
    only = files.write_rows(tmp_path / "o.csv", ["condition"], [[name] for name in CONDITIONS])
    spoiled("o.csv: no column of an attribute", attributes=only)


def test_bad_distances(spoiled, tmp_path):
    triangle = files.triangle(tmp_path, CONDITIONS)
    lines = triangle.read_text().splitlines()
    triangle.write_text("\n".join(lines[:-1]))
    spoiled("9 rows are the pairs of no number of conditions (4 have 6, 5 have 10)", attributes=triangle)
    triangle.write_text("\n".join([*lines[:-1], "1,NA"]))
    spoiled("line 11, column 'valence': 'NA' is no finite number", attributes=triangle)
    four = files.triangle(tmp_path, CONDITIONS[:4])
    spoiled("the pairs of 4 conditions, the activations have 5; name them with --conditions", attributes=four)
    spoiled("have condition 'pride'", attributes=four, options=["--conditions", "joy,anger,fear,love"])
    spoiled("3 names", "holds the pairs of 4", attributes=four, options=["--conditions", "joy,anger,fear"])
    spoiled("'joy' stands there twice", attributes=four, options=["--conditions", "joy,anger,fear,joy"])
    spoiled("--conditions gone: neither names", attributes=four, options=["--conditions", "gone"])
    spoiled("names its conditions itself", options=["--conditions", "joy,anger,fear"])


def test_bad_named_pairs(spoiled, tmp_path):
    def check(rows, phrase):
        file = files.write_rows(tmp_path / "p.csv", ["condition_1", "condition_2", "arousal"], rows)
        spoiled("p.csv", phrase, attributes=file)

    rows = [[one, other, 1] for i, one in enumerate(CONDITIONS) for other in CONDITIONS[i + 1 :]]
    check(rows[:-1], "no row for 'love' and 'pride'; 5 conditions have 10 pairs")
    check([*rows, ["anger", "joy", 2]], "line 12: 'anger' and 'joy' is the pair of line 2 again")
    check([*rows[:-1], ["pride", "pride", 2]], "line 11: 'pride' and 'pride' is a condition with itself")


def test_attributes_that_are_no_csv(spoiled, tmp_path):
    spoiled("gone.csv: cannot be read", attributes=tmp_path / "gone.csv")
    (tmp_path / "b.csv").write_bytes(b"condition,a\nj\xff,1\n")
    spoiled("b.csv: not UTF-8", attributes=tmp_path / "b.csv")


# ---- options ------------------------------------------------------------------------------------------------


def test_options(spoiled, tmp_path):
    spoiled("--seed 3: has no effect without --permutations", options=["--seed", 3])
    spoiled("--top 5,x: expected counts of neurons", options=["--top", "5,x"])
    spoiled("--top 5,21: outside 1 to 20", options=["--top", "5,21"])
    spoiled("--top 0: a count of neurons, 1 or more", options=["--top", "0"])
    same = files.write_rows(
        tmp_path / "s.csv", ["condition", "a", "b"], [[name, i, 2 * i] for i, name in enumerate(CONDITIONS)]
    )
    spoiled("attributes 'a' and 'b' determine each other", attributes=same, options=["--partial"])
