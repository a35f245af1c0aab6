"""A pruned folder is whole, or it is refused: no weight of it is ever drawn at random."""

from __future__ import annotations

import shutil

import pytest
import torch
from edited_folders import copied
from pruned_models import pruned
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from skn.errors import InputError
from skn.model.backbone import Backbone
from skn.pruned.folder import load_pruned
from skn.store import folders


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("pruned")
    model, _, tokenizer = pruned(tiny("roberta"))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


LOADS = {
    "skn": load_pruned,
    "classifier": AutoModelForSequenceClassification.from_pretrained,
    "masked LM": AutoModelForMaskedLM.from_pretrained,
    "backbone": lambda path: Backbone.load(str(path)),
}
PROMPT = ("label_ids", "prompt", "mask_embedding")


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(
    "name", [*PROMPT, "lm_head.dense.weight", "roberta.encoder.layer.1.intermediate.kept_neurons", "lm_head.bias"]
)
def test_a_weight_that_is_missing(folder, tmp_path, load, name):
    path = copied(folder, tmp_path / "model", lambda tensors: tensors.pop(name))
    if name in PROMPT and load in ("masked LM", "backbone"):
        return LOADS[load](path)  # which have no prompt
    with pytest.raises(
        InputError, match=f"{path}: no whole model of skn, missing weights: {name}.*; prune or export it again"
    ):
        LOADS[load](path)


@pytest.mark.parametrize("load", LOADS)
def test_a_weight_too_many(folder, tmp_path, load):
    path = copied(folder, tmp_path / "model", lambda tensors: tensors.update(more=torch.zeros(2)))
    with pytest.raises(InputError, match="no whole model of skn, unexpected weights: more; prune or export it again"):
        LOADS[load](path)


@pytest.mark.parametrize("load", LOADS)
def test_weights_of_other_sizes_are_refused_though_transformers_would_draw_them(folder, tmp_path, load):
    path = copied(folder, tmp_path / "model", vocab_size=20)
    with pytest.raises((InputError, RuntimeError), match="weights have not the sizes|ignore_mismatched_sizes"):
        LOADS[load](path)
    if load in ("classifier", "masked LM"):
        with pytest.raises(InputError, match=r"that its config.json says \(lm_head.bias is \[.*, expected \[20\]\)"):
            LOADS[load](path, ignore_mismatched_sizes=True)


def test_numbers_beyond_the_vocabulary(folder, tmp_path):
    path = copied(folder, tmp_path / "model", lambda tensors: tensors["label_ids"].fill_(10**6))
    with pytest.raises(InputError, match="label_ids holds numbers outside of 0 to"):
        load_pruned(path)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"ffn_widths": [5, 48]}, r"ffn_widths \[5, 48\], not a width from 1 to 48 for each layer"),
        ({"ffn_widths": [5, 48, 10**9]}, "not a width from 1 to 48 for each layer"),
        ({"is_decoder": True}, "is_decoder"),
        ({"hidden_act": "gelo"}, "the activation 'gelo'"),
    ],
)
@pytest.mark.parametrize("load", ["skn", "backbone"])
def test_configurations_pass_the_same_checks(folder, tmp_path, load, fields, words):
    path = copied(folder, tmp_path / "model", **fields)
    with pytest.raises(InputError, match=f"{path}: its config.json says .*{words}"):
        LOADS[load](path)


def test_the_report_is_given_to_whoever_asks(folder):
    model, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert model.label_ids.tolist() == [7, 200] and not report["missing_keys"]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_flipped_bit_of_a_folder_that_skn_wrote_is_refused(folder, tmp_path, name):
    with folders.replaced(tmp_path / "model", "pruned model") as made:
        shutil.copytree(folder, made, dirs_exist_ok=True)
    path = tmp_path / "model"
    load_pruned(path)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(InputError, match=name):
        load_pruned(path)


def test_a_folder_that_was_saved_anew_says_how_to_use_it(folder, tmp_path):
    with folders.replaced(tmp_path / "model", "pruned model") as made:
        shutil.copytree(folder, made, dirs_exist_ok=True)
    model = load_pruned(tmp_path / "model")
    with torch.no_grad():
        model.prompt.add_(1)
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="or saved anew; make the folder again, or delete its skn.json to use it"):
        load_pruned(tmp_path / "model")
    (tmp_path / "model" / folders.MARK).unlink()
    assert torch.equal(load_pruned(tmp_path / "model").prompt, model.prompt)


def test_a_folder_of_format_1_is_taken_with_a_note(folder, tmp_path, caplog):
    """Its skn.json held the provenance, and no digests."""
    path = shutil.copytree(folder, tmp_path / "model")
    (path / folders.MARK).write_text('{"provenance": {}, "widths": [1]}')
    with caplog.at_level("INFO"):
        load_pruned(path)
    assert "written by an older skn, without a digest" in caplog.text
