"""What ``skn import`` is asked for: options, several files, output that exists."""

import pytest
import torch
from foreign_files import F, H, L, P, generator, saved

from skn.errors import InputError
from skn.stages.import_ import import_


def test_as_is_for_arrays(tmp_path, out):
    file = saved(tmp_path / "best-backbone", {"prompt": torch.randn(1, P, H), "pos": [1, 2]})
    with pytest.raises(InputError, match="--as thresholds is for an array of numbers; this is a prompt"):
        import_([file], out, as_="thresholds")


def test_options_of_other_values(tmp_path, out, accuracy):
    file = saved(tmp_path / "dev_perf", accuracy)
    with pytest.raises(InputError, match="--as prompts: expected"):
        import_([file], out, as_="prompts")
    with pytest.raises(InputError, match='aggregate="max": expected'):
        import_([file], out, as_="accuracies", aggregate="max")
    with pytest.raises(InputError, match="at least one file"):
        import_([], out)


def test_several_files_of_what_is_not_accuracies(tmp_path, out, thresholds):
    files = [saved(tmp_path / name, thresholds) for name in ("train_avg", "train_mean_avg")]
    with pytest.raises(InputError, match="only accuracies of several seeds"):
        import_(files, out)


def test_accuracies_beside_something_else(tmp_path, out, accuracy):
    files = [saved(tmp_path / "a", accuracy), saved(tmp_path / "b", torch.zeros(L, F, dtype=torch.bool))]
    with pytest.raises(InputError, match="b: --as accuracies is for an array"):
        import_(files, out, as_="accuracies")


@pytest.mark.parametrize("other", [(L, P + 1, F), (L, F), (L, P, F + 1)])
def test_seeds_of_other_shapes(tmp_path, out, accuracy, other):
    files = [saved(tmp_path / "a", accuracy), saved(tmp_path / "b", generator().random(other))]
    with pytest.raises(InputError, match="different models cannot be aggregated"):
        import_(files, out, as_="accuracies")


def test_existing_output_is_kept(tmp_path, out, thresholds):
    file = saved(tmp_path / "train_avg", thresholds)
    before = import_([file], out).read_bytes()
    other = saved(tmp_path / "other", thresholds + 1)
    with pytest.raises(InputError, match="exists.*; overwrite=True replaces it"):
        import_([other], out)
    assert out.read_bytes() == before
    import_([other], out, overwrite=True)
    assert out.read_bytes() != before


def test_the_same_file_gives_the_same_bytes(tmp_path, out, thresholds):
    file = saved(tmp_path / "train_avg", thresholds)
    before = import_([file], out).read_bytes()
    assert import_([file], out, overwrite=True).read_bytes() == before
