"""Attributes as square matrices of distances: what they give, and what is no such matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from skn.errors import InputError
from skn.rsa.attributes import read_attributes

NAMES = ["joy", "anger", "fear", "love"]
POINTS = np.array([0.0, 1.5, 4.0, 9.0])


def matrix(names=NAMES, points=POINTS, corner="") -> list[list[object]]:
    distance = np.abs(points[:, None] - points)
    return [[corner, *names], *([name, *row] for name, row in zip(names, distance.tolist(), strict=True))]


def write(file, rows):
    file.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("corner", ["", "emotion", "condition"])
def test_a_matrix_is_the_ratings_of_its_points(tmp_path, corner):
    ratings = write(tmp_path / "valence-ratings.csv", [["emotion", "valence"], *zip(NAMES, POINTS, strict=True)])
    found = read_attributes(write(tmp_path / "valence.csv", matrix(corner=corner)), None, NAMES)
    expected = read_attributes(ratings, None, NAMES)
    assert found.names == ["valence"] and found.conditions == expected.conditions == NAMES
    assert torch.equal(found.distance, expected.distance)


def test_rows_in_another_order_than_the_columns(tmp_path):
    header, *rows = matrix()
    found = read_attributes(write(tmp_path / "a.csv", [header, *reversed(rows)]), None, NAMES)
    assert found.conditions == NAMES[::-1]
    assert found.among(NAMES, tmp_path).distance.T.tolist() == [[1.5, 4, 9, 2.5, 7.5, 5]]


def test_a_folder_of_matrices(tmp_path):
    write(tmp_path / "valence.csv", matrix())
    order = [2, 0, 3, 1]
    write(tmp_path / "arousal.csv", matrix([NAMES[i] for i in order], POINTS[order] ** 2))
    found = read_attributes(tmp_path, None, NAMES)
    assert found.names == ["arousal", "valence"] and "2 of them" in found.origin
    arousal, valence = found.among(NAMES, tmp_path).distance.T.tolist()
    assert valence == [1.5, 4, 9, 2.5, 7.5, 5] and arousal[0] == 1.5**2 and arousal[-1] == 81 - 16
    write(tmp_path / "other.csv", matrix(["joy", "anger", "fear", "pride"]))
    with pytest.raises(InputError, match="other.csv: not of the conditions of .*arousal.csv: '(love|pride)'"):
        read_attributes(tmp_path, None, NAMES)
    write(tmp_path / "other.csv", [["condition", "x"], ["joy", 1], ["anger", 2]])
    with pytest.raises(InputError, match="other.csv: no square matrix"):
        read_attributes(tmp_path, None, NAMES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no csv file in this folder"):
        read_attributes(tmp_path / "empty", None, NAMES)


@pytest.mark.parametrize(
    "row, column, value, words",
    [
        (1, 1, 0.5, "line 2: 'joy' is 0.5 from itself, expected 0"),
        (1, 2, 7, "line 2: 'joy' to 'anger' is 7, 'anger' to 'joy' is 1.5; make the matrix symmetric"),
        (2, 0, "angr", "'angr' is not in the first row; did you mean 'anger'"),
        (0, 3, "pride", "'fear' is not in the first row"),
        (2, 0, "joy", "first column: condition 'joy' stands there twice"),
        (3, 4, "far", "line 4, column 'love': 'far' is no finite number"),
    ],
)
def test_what_is_no_matrix_of_distances(tmp_path, row, column, value, words):
    rows = matrix()
    rows[row][column] = value
    with pytest.raises(InputError) as refusal:
        read_attributes(write(tmp_path / "a.csv", rows), None, NAMES)
    assert words in str(refusal.value)


def test_a_row_that_is_missing(tmp_path):
    with pytest.raises(InputError, match="'love' is not in the first column"):
        read_attributes(write(tmp_path / "a.csv", matrix()[:-1]), None, NAMES)
    with pytest.raises(InputError, match="conditions: .*names its conditions itself"):
        read_attributes(write(tmp_path / "a.csv", matrix()), NAMES, NAMES)


def test_attributes_that_are_named_after_conditions_are_ratings(tmp_path):
    """How much joy and anger is in each emotion."""
    rows = [["condition", "joy", "anger"], *([name, i, -i] for i, name in enumerate(NAMES))]
    found = read_attributes(write(tmp_path / "basic.csv", rows), None, NAMES)
    assert found.names == ["joy", "anger"] and found.origin.startswith("ratings of 4 conditions")
