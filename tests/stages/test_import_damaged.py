"""``skn import`` of files that are not what they should be; no code in them runs."""

import os

import numpy as np
import pytest
import torch
from foreign_files import F, L, saved

from skn.errors import InputError
from skn.neurons import torch_files
from skn.stages.import_ import import_


class Command:
    """Runs a shell command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Elsewhere:
    """A class of somebody's own."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"prompt": torch.zeros(1, 2, 2), "pos": [1, x]}])
def test_code_in_a_file_is_named_and_does_not_run(tmp_path, out, zipped, wrap):
    witness, file = tmp_path / "witness", tmp_path / "best-backbone"
    torch.save(wrap(Command(f"touch {witness}")), file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=rf"backbone: holds '{os.name}\.system', which skn does not load$"):
        import_([file], out)
    assert not witness.exists() and not out.exists()
    torch.load(file, weights_only=False)
    assert witness.exists()  # so the file would have run it


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (Elsewhere(), "Elsewhere"),
        (np.array([{}], dtype=object), "numpy.dtypes.ObjectDType"),
        (np.zeros(2, dtype=[("a", "f8")]), "numpy.dtypes.VoidDType"),
        (np.array(["text"]), "numpy.dtypes.StrDType"),
        (np.random.RandomState(0), "numpy.random"),
    ],
)
def test_other_classes_are_named(tmp_path, out, content, name):
    with pytest.raises(InputError, match=rf"holds '[\w.]*{name}[\w.]*', which skn does not load$"):
        import_([saved(tmp_path / "file", content)], out)


def test_nothing_stays_allowed_after_reading(tmp_path, thresholds):
    torch_files.read(saved(tmp_path / "train_avg", thresholds))
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "train_avg", weights_only=True)


@pytest.mark.parametrize("keep", [0, 3, 50, 0.5, 0.99])
def test_truncated_files(tmp_path, out, thresholds, keep):
    file = saved(tmp_path / "train_avg", thresholds)
    data = file.read_bytes()
    file.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(InputError, match="train_avg: damaged or not written by torch.save$"):
        import_([file], out)


@pytest.mark.parametrize("data", [b"hello world", b"\x80\x02.", b"{}", b"\x00" * 100, bytes(range(256))])
def test_files_of_something_else(tmp_path, out, data):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(InputError, match="file: damaged or not written by torch.save$"):
        import_([tmp_path / "file"], out)


@pytest.mark.parametrize(
    "content", [[{"acc": 0.9}], {"state": {}, "param_groups": []}, torch.ones(L, F, dtype=torch.int32), 0.5]
)
def test_content_that_is_no_known_format(tmp_path, out, content):
    with pytest.raises(InputError, match="file: holds .*, which is none of: prompt, emotion checkpoint"):
        import_([saved(tmp_path / "file", content)], out)


def test_a_file_that_is_not_there(tmp_path, out):
    with pytest.raises(InputError, match="cannot be read"):
        import_([tmp_path / "absent"], out)
    with pytest.raises(InputError, match="cannot be read"):
        import_([tmp_path], out)


def test_messages_are_one_line(tmp_path, out):
    file = saved(tmp_path / "file", Elsewhere())
    with pytest.raises(InputError) as caught:
        import_([file], out)
    assert "\n" not in str(caught.value)
