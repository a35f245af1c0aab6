"""``skn import`` of the original's rank tables, and their writing."""

import numpy as np
import pytest
import torch
from refusals import command

from skn.rsa.foreign_ranks import read_ranks, write_ranks
from skn.store import artifacts

TABLE = '"arousal","valence","happy-face"\n1,6,NA\n2.5,5,1\n2.5,4,2\n4,3,3\n5,2,4.5\n6,1,4.5\n'
RANK = np.array([[1, 2.5, 2.5, 4, 5, 6], [6, 5, 4, 3, 2, 1], [np.nan, 1, 2, 3, 4.5, 4.5]])


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "neuron_rank.csv"
    file.write_text(TABLE)
    return file


def imported(*arguments):
    assert command(["import", *arguments]) == 0
    return artifacts.load(arguments[arguments.index("--out") + 1], "rsa")


def test_all_columns(table, tmp_path, quiet_exit):
    found = imported(table, "--shape", "2x3", "--out", tmp_path / "r.safetensors")
    assert found.meta["attributes"] == ["arousal", "valence", "happy-face"] and list(found.tensors) == ["rank"]
    np.testing.assert_array_equal(found["rank"], RANK.reshape(3, 2, 3))
    assert found.provenance["source_code"] == "Model_Emotion" and found.provenance["imported_from"] == table.name


def test_some_columns_in_the_order_asked_for(table, tmp_path, quiet_exit):
    columns = ["--column", "happy-face", "--column", "arousal"]
    found = imported(table, "--shape", "3x2", *columns, "--out", tmp_path / "r.safetensors")
    assert found.meta["attributes"] == ["happy-face", "arousal"]
    np.testing.assert_array_equal(found["rank"], RANK[[2, 0]].reshape(2, 3, 2))


def test_the_published_shape_needs_no_option(tmp_path):
    file = tmp_path / "rank.csv"
    rank = torch.randperm(36864, generator=torch.Generator().manual_seed(0)).double().numpy() + 1
    write_ranks(file, ["arousal"], rank[None])
    found = read_ranks(file)
    assert found.tensors["rank"].shape == (1, 12, 3072)
    np.testing.assert_array_equal(found.tensors["rank"].flatten(), rank)


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "rank.csv"
    write_ranks(file, ["a", 'b, "c"', "d"], RANK)
    assert file.read_text().splitlines()[1] == "1,6,NA"
    found = read_ranks(file, shape=(1, 6))
    assert found.meta["attributes"] == ["a", 'b, "c"', "d"]
    np.testing.assert_array_equal(found.tensors["rank"].flatten(1), RANK)


@pytest.mark.parametrize(
    "change, phrases",
    [
        (("1,6,NA", "0.5,6,NA"), ["line 2, column 'arousal'", "rank 0.5 is outside 1 to 6"]),
        (("6,1,4.5", "7,1,4.5"), ["line 7, column 'arousal'", "rank 7 is outside 1 to 6"]),
        (("2.5,5,1", "best,5,1"), ["line 3, column 'arousal'", "'best' is no finite number"]),
        (("2.5,5,1", "nan,5,1"), ["line 3, column 'arousal'", "'nan' is no finite number"]),
        (("2.5,5,1", "2.5,5"), ["line 3 has 2 fields, the header has 3"]),
        (('"valence"', '"arousal"'), ["column 'arousal' stands twice in the header"]),
        (('"valence"', '""'), ["a column without a name", "--column"]),
        ((TABLE, '"arousal"\n'), ["no rows"]),
        ((TABLE, '"arousal"\n' + "NA\n" * 6), ["column 'arousal' is NA in every row"]),
        ((TABLE, ""), ["no rows"]),
    ],
)
def test_bad_tables(refused, table, change, phrases):
    table.write_text(TABLE.replace(*change))
    refused(["import", table, "--shape", "2x3", "--out", "r.safetensors"], "neuron_rank.csv", *phrases)


@pytest.mark.parametrize(
    "options, phrases",
    [
        ([], ["6 neurons; say their layers and width with --shape LxF"]),
        (["--shape", "4x3"], ["--shape 4x3: 12 neurons", "has 6"]),
        (["--shape", "two"], ["--shape two: expected LxF"]),
        (["--shape", "2x3", "--column", "arousel"], ["no column 'arousel'; did you mean 'arousal'?"]),
        (["--shape", "2x3", "--column", "zzz"], ["no column 'zzz' (it has arousal, valence, happy-face)"]),
        (["--shape", "2x3", *["--column", "valence"] * 2], ["column 'valence' stands there twice"]),
        (["--shape", "2x3", "--as", "accuracies"], ["--as accuracies", "whose columns are ranks"]),
    ],
)
def test_bad_options(refused, table, options, phrases):
    refused(["import", table, *options, "--out", "r.safetensors"], *phrases)


def test_options_of_tables_for_other_files(refused, tmp_path):
    torch.save(torch.zeros(2, 3, dtype=torch.bool), tmp_path / "set")
    refused(["import", "set", "--column", "a", "--out", "r.safetensors"], "--column and --shape are for a csv of ranks")
    refused(["import", "gone.csv", "--out", "r.safetensors"], "gone.csv: cannot be read (No such file")
