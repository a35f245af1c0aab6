"""``skn import`` of prompts."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from foreign_files import H, P, imported, saved

import skn
from skn.errors import InputError
from skn.stages.import_ import import_
from skn.store import artifacts


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
        ({"prompt": torch.randn(1, P, H).to_sparse(), "pos": [1, 2]}, "_rebuild_sparse_tensor.*skn does not load"),
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
