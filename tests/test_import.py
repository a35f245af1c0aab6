"""``skn import`` on files written as the original code bases write them."""

import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

import skn
from skn import artifacts, foreign
from skn.errors import InputError
from skn.stages.import_ import import_

L, P, F, H = 3, 4, 6, 8


def generator(seed=0):
    return np.random.default_rng(seed)


def saved(path, content):
    """``torch.save`` as the originals call it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def as_numpy_1(path, integers=False):
    """The same file as NumPy 1 writes it: its pickles differ in the module's name alone.

    ``integers``: as NumPy before 1.20, which gives the dtype's flags as integers.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in data and b"\x89\x88\x87" in data
                data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
                data = data.replace(b"\x89\x88\x87", b"K\x00K\x01\x87") if integers else data
            archive.writestr(name, data)
    return path


def imported(kind, *args, **options):
    return artifacts.load(import_(*args, **options), kind)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "imported.safetensors"


@pytest.fixture
def accuracy():
    return generator().random((L, P, F))


@pytest.fixture
def thresholds():
    return generator(1).normal(size=(L, P, F))


# ---- prompts -----------------------------------------------------------------------------------------------


def test_skill_neuron_prompt(tmp_path, out):
    prompt = torch.randn(1, P - 1, H)
    file = saved(tmp_path / "best-backbone", {"prompt": prompt, "pos": [33407, 12516, 22173]})
    found = imported("tuned", [file], out)
    assert found.tensors.keys() == {"prompt", "label_ids"}
    assert torch.equal(found["prompt"], prompt[0]) and found["prompt"].dtype == torch.float32
    assert found["label_ids"].tolist() == [33407, 12516, 22173]
    assert found.meta == {"method": "prompt", "position_start": None, "mask_embedding": "from backbone"}
    assert found.provenance == {
        "imported_from": "best-backbone",
        "format": "prompt",
        "source_code": "Skill-Neuron V1.0",
        "prompt_length": None,  # P − 1 rows of an MLM or P rows of a GPT
        "skn_version": skn.__version__,
    }
    artifacts.check_provenance(found, {"backbone_digest": "any", "prompt_length": P})


def test_prompt_saved_as_a_half_precision_parameter(tmp_path, out):
    prompt = torch.nn.Parameter(torch.randn(1, P, H).half())
    file = saved(tmp_path / "best-backbone", {"prompt": prompt, "pos": [1, 2]})
    assert torch.equal(imported("tuned", [file], out)["prompt"], prompt[0].detach().float())


@pytest.mark.parametrize("last", [{}, {"final_prompt": torch.randn(5, H), "final_acc": 0.5}])
@pytest.mark.parametrize("number", [float, torch.tensor, np.float64])
def test_emotion_checkpoint(tmp_path, out, number, last):
    prompt = torch.randn(5, H)
    content = {"best_prompt": prompt, "best_acc": number(0.75), "epoch": 3, **last}
    found = imported("tuned", [saved(tmp_path / "joy-42.pt", content)], out)
    assert found.tensors.keys() == {"prompt", "label_ids"}
    assert torch.equal(found["prompt"], prompt)
    assert found["label_ids"].tolist() == [33407, 22173]
    assert found.meta == {
        "method": "prompt",
        "position_start": 0,  # not null: that code counts positions from 0, RoBERTa itself from 2
        "mask_embedding": "from backbone",
        "best_accuracy": 0.75,
    }
    assert found.provenance["source_code"] == "Model_Emotion"
    assert found.provenance["prompt_length"] == 6


def test_a_pruned_checkpoint_is_no_prompt(tmp_path, out):
    content = OrderedDict(prompt=torch.randn(1, P - 1, H), mask=torch.randn(1, 1, H), pos=[1, 2])
    content["backbone.roberta.embeddings.word_embeddings.weight"] = torch.randn(9, H)
    with pytest.raises(InputError, match="best-backbone: a pruned checkpoint .* is not a prompt"):
        import_([saved(tmp_path / "best-backbone", content)], out)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prompt": torch.randn(P, H), "pos": [1, 2]}, r"'prompt' is \[4, 8\]"),
        ({"prompt": torch.randn(2, P, H), "pos": [1, 2]}, r"'prompt' is \[2, 4, 8\]"),
        ({"prompt": torch.ones(1, P, H, dtype=torch.int64), "pos": [1, 2]}, "expected floats"),
        ({"prompt": [0.5], "pos": [1, 2]}, "a list where a tensor is expected"),
        ({"prompt": torch.randn(1, P, H).to_sparse(), "pos": [1, 2]}, "where a tensor is expected"),
        ({"prompt": torch.full((1, P, H), torch.nan), "pos": [1, 2]}, "NaN"),
        ({"prompt": torch.randn(1, P, H), "pos": [1]}, "'pos' is"),
        ({"prompt": torch.randn(1, P, H), "pos": [1, -2]}, "'pos' is"),
        ({"prompt": torch.randn(1, P, H), "pos": [1.0, 2.0]}, "'pos' is"),
        ({"best_prompt": torch.randn(1, P, H), "best_acc": 0.5}, r"'best_prompt' is \[1, 4, 8\]"),
        ({"best_prompt": torch.full((P, H), torch.inf), "best_acc": 0.5}, "infinite"),
        ({"best_prompt": torch.randn(P, H), "best_acc": "good"}, "'best_acc' is a str"),
    ],
)
def test_prompts_that_do_not_fit(tmp_path, out, content, message):
    with pytest.raises(InputError, match=message):
        import_([saved(tmp_path / "file", content)], out)
    assert not out.exists()


# ---- arrays ------------------------------------------------------------------------------------------------


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


# ---- what is asked -----------------------------------------------------------------------------------------


def test_as_is_for_arrays(tmp_path, out):
    file = saved(tmp_path / "best-backbone", {"prompt": torch.randn(1, P, H), "pos": [1, 2]})
    with pytest.raises(InputError, match="--as thresholds is for an array of numbers; this is a prompt"):
        import_([file], out, as_="thresholds")


def test_options_of_other_values(tmp_path, out, accuracy):
    file = saved(tmp_path / "dev_perf", accuracy)
    with pytest.raises(InputError, match="--as prompts: expected"):
        import_([file], out, as_="prompts")
    with pytest.raises(InputError, match="--aggregate max: expected"):
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
    with pytest.raises(InputError, match="exists.*; --overwrite replaces it"):
        import_([other], out)
    assert out.read_bytes() == before
    import_([other], out, overwrite=True)
    assert out.read_bytes() != before


def test_the_same_file_gives_the_same_bytes(tmp_path, out, thresholds):
    file = saved(tmp_path / "train_avg", thresholds)
    before = import_([file], out).read_bytes()
    assert import_([file], out, overwrite=True).read_bytes() == before


# ---- files that are not what they should be ----------------------------------------------------------------


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
    foreign.read(saved(tmp_path / "train_avg", thresholds))
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
