"""``skn import`` of thresholds, accuracies and neuron sets."""

import pickle

import numpy as np
import pytest
import torch
from foreign_files import F, H, L, P, as_numpy_1, generator, imported, saved

from skn.errors import InputError
from skn.stages.import_ import import_
from skn.store import artifacts


def test_thresholds(tmp_path, out, thresholds):
    found = imported("thresholds", [saved(tmp_path / "train_avg", thresholds)], out)
    assert np.array_equal(found["threshold"].numpy(), thresholds)
    assert found.provenance["prompt_length"] == P
    assert found.provenance["format"] == "thresholds"


def test_pooled_thresholds(tmp_path, out, thresholds):
    found = imported("thresholds", [saved(tmp_path / "train_max_avg", thresholds[:, 0])], out)
    assert np.array_equal(found["threshold"].numpy(), thresholds[:, :1])
    # One pooled row is no prompt position: it fits a run of any prompt length.
    artifacts.check_provenance(found, {"prompt_length": 128})


def test_thresholds_of_another_prompt_length_are_refused(tmp_path, out, thresholds):
    import_([saved(tmp_path / "train_avg", thresholds)], out)
    with pytest.raises(InputError, match="another prompt length"):
        artifacts.load(out, "thresholds", {"prompt_length": P + 1})


@pytest.mark.parametrize("integers", [False, True])
def test_arrays_of_numpy_1(tmp_path, out, thresholds, integers):
    file = as_numpy_1(saved(tmp_path / "train_avg", thresholds), integers)
    assert np.array_equal(imported("thresholds", [file], out)["threshold"].numpy(), thresholds)


def test_scalars_of_numpy_1(tmp_path, out):
    content = {"best_prompt": torch.randn(5, H), "best_acc": np.float64(0.75), "epoch": 3}
    file = as_numpy_1(saved(tmp_path / "joy-1.pt", content))
    assert imported("tuned", [file], out).meta["best_accuracy"] == 0.75


def test_no_warning_reaches_the_user(tmp_path, out, thresholds, recwarn):
    import_([as_numpy_1(saved(tmp_path / "train_avg", thresholds), integers=True)], out)
    (tmp_path / "plain").write_bytes(pickle.dumps(thresholds, protocol=4))
    with pytest.raises(InputError, match="plain: damaged or not written by torch.save$"):
        import_([tmp_path / "plain"], out, overwrite=True)
    assert not recwarn.list


def test_arrays_of_another_byte_order_and_layout(tmp_path, out, thresholds):
    content = np.asfortranarray(thresholds.astype(">f8"))
    found = imported("thresholds", [saved(tmp_path / "train_avg", content)], out)
    assert np.array_equal(found["threshold"].numpy(), thresholds)


def expected_score(accuracy):
    """As the original ranks: the distance from chance at the best position, moved from 0 … 0.5 to 0.5 … 1."""
    return np.abs(accuracy - 0.5).max(axis=1) + 0.5


def test_accuracies(tmp_path, out, accuracy):
    accuracy[1, :, 2] = [0.5, 0.02, 0.6, 0.9]  # wrong nearly always: the best classifier, reversed
    found = imported("neurons", [saved(tmp_path / "dev_perf", accuracy)], out, as_="accuracies")
    score = expected_score(accuracy)
    np.testing.assert_allclose(found["score"].numpy(), score, rtol=0, atol=1e-15)
    assert found["score"][1, 2] == 0.98
    order = np.argsort(-score, axis=1)
    assert np.array_equal(np.take_along_axis(found["rank"].numpy(), order, 1), np.tile(np.arange(F), (L, 1)))
    assert found.meta == {"by": "plain", "aggregate": "mean"}
    assert found.provenance["imported_from"] == "dev_perf"
    assert found.provenance["prompt_length"] == P


@pytest.mark.parametrize("how", ["mean", "min"])
def test_accuracies_of_several_seeds(tmp_path, out, how):
    seeds = [generator(seed).random((L, P, F)) for seed in range(3)]
    files = [saved(tmp_path / str(i) / "test_perf", seed) for i, seed in enumerate(seeds)]
    found = imported("neurons", files, out, as_="accuracies", aggregate=how)
    score = getattr(np, how)([expected_score(seed) for seed in seeds], axis=0)
    np.testing.assert_allclose(found["score"].numpy(), score, rtol=0, atol=1e-15)
    assert found["rank"].gather(1, found["score"].argmax(dim=1, keepdim=True)).eq(0).all()
    assert found.meta["aggregate"] == how
    assert found.provenance["imported_from"] == "test_perf, test_perf, test_perf"


def test_pooled_accuracies_are_torch_tensors(tmp_path, out, accuracy):
    table = torch.tensor(accuracy[:, 0], dtype=torch.float32)
    found = imported("neurons", [saved(tmp_path / "dev_mean_perf", table)], out, as_="accuracies")
    assert torch.equal(found["score"], torch.maximum(table.double(), 1 - table.double()))
    assert found.provenance["prompt_length"] is None


def test_equal_accuracies_rank_by_index(tmp_path, out):
    file = saved(tmp_path / "dev_perf", np.full((L, P, F), 0.5))
    assert torch.equal(imported("neurons", [file], out, as_="accuracies")["rank"], torch.arange(F).repeat(L, 1))


@pytest.mark.parametrize("shape", [(L, P, F), (L, F)])
def test_an_ambiguous_array_asks(tmp_path, out, shape):
    file = saved(tmp_path / "dev_perf", generator().random(shape))
    with pytest.raises(InputError, match="dev_perf: .*say --as thresholds or --as accuracies"):
        import_([file], out)
    assert not out.exists()
    found = imported("thresholds", [file], out, as_="thresholds")
    assert found["threshold"].shape == (L, P if len(shape) == 3 else 1, F)


@pytest.mark.parametrize("content", [torch.randn(L, F), generator().normal(size=(L, F)).astype(np.float32)])
def test_activations_are_not_taken_for_thresholds(tmp_path, out, content):
    file = saved(tmp_path / "activated_neuron_before_relu.pt", content)
    with pytest.raises(InputError, match="can be activations.*--as thresholds"):
        import_([file], out)
    found = imported("thresholds", [file], out, as_="thresholds")
    assert torch.equal(found["threshold"], torch.as_tensor(content).double()[:, None])


@pytest.mark.parametrize("as_", [None, "thresholds", "accuracies"])
@pytest.mark.parametrize("shape", [(F,), (2, L, P, F), (0, P, F)])
def test_arrays_of_a_wrong_shape(tmp_path, out, shape, as_):
    with pytest.raises(InputError, match=r"values \[.*expected \[L, P, F\]"):
        import_([saved(tmp_path / "file", torch.full(shape, 0.5))], out, as_=as_)


@pytest.mark.parametrize("as_", [None, "thresholds", "accuracies"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused(tmp_path, out, accuracy, as_, bad):
    accuracy[0, 0, 0] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        import_([saved(tmp_path / "file", accuracy)], out, as_=as_)


@pytest.mark.parametrize("value", [-0.01, 1.01, 75.0])
def test_accuracies_outside_0_to_1(tmp_path, out, accuracy, value):
    accuracy[0, 0, 0] = value
    with pytest.raises(InputError, match="outside 0 to 1"):
        import_([saved(tmp_path / "file", accuracy)], out, as_="accuracies")


# ---- neuron sets -------------------------------------------------------------------------------------------


def test_neuron_set(tmp_path, out):
    selected = torch.rand(L, F) > 0.5
    found = imported("neurons", [saved(tmp_path / "info" / "sst2" / "0.02", selected)], out)
    assert found.tensors.keys() == {"selected"}
    assert torch.equal(found["selected"], selected)
    assert found.provenance["format"] == "neuron set"
    assert found.provenance["imported_from"] == "0.02"


@pytest.mark.parametrize("shape", [(F,), (L, P, F), (0, F)])
def test_neuron_sets_of_a_wrong_shape(tmp_path, out, shape):
    with pytest.raises(InputError, match="a neuron set is"):
        import_([saved(tmp_path / "0.1", torch.zeros(shape, dtype=torch.bool))], out)
