"""What the report of a run refuses: damage is named, and no page is written."""

import json

import pytest
import torch
from filled_run import LAYERS, PROVENANCE, WIDTH, add_significance, mask_table
from spoiled import rewrite

from skn.errors import InputError
from skn.reports.read_run import report
from skn.runs.run import Run
from skn.store import artifacts


def test_refuses_what_is_not_a_finished_run(tmp_path, bare):
    with pytest.raises(InputError, match="not a run"):
        report(tmp_path)
    Run(bare.path, bare.config, None).save()
    with pytest.raises(InputError, match="not finished"):
        report(bare.path)
    assert not (bare.path / "report").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "damaged"), ("[]", "damaged"), ('{"rows": 3}', "damaged"), ("{}", "damaged .*kind: Field required"),
     (json.dumps(mask_table(rows=[{"fraction": 0.1}])), "damaged .*rows.0.neurons: Field required")],
)  # fmt: skip
def test_damaged_json_is_named(bare, text, said):
    (bare.path / "mask-zero.json").write_text(text)
    with pytest.raises(InputError, match=rf"mask-zero\.json: {said}"):
        report(bare.path)


def test_a_split_that_leads_out_of_the_report(full, tmp_path):
    """What a file says becomes the name of a picture."""
    victim = tmp_path / "victim.png"
    victim.write_text("a user's")
    found = artifacts.load(full.file("activations", "neuron", "test"), "activations")
    meta = {**found.meta, "split": "x/../../../victim"}
    artifacts.save(found.path, "activations", found.tensors, found.provenance, **meta)
    with pytest.raises(InputError, match="split.*: Input should be 'train', 'validation' or 'test'"):
        report(full.path)
    assert victim.read_text() == "a user's"


def test_damaged_or_foreign_artifacts_are_named(full):
    (full.path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"other\.safetensors: damaged"):
        report(full.path)
    (full.path / "other.safetensors").unlink()
    score = torch.zeros(LAYERS, WIDTH, dtype=torch.float64)
    artifacts.save(full.file("neurons"), "neurons", {"score": score}, {**PROVENANCE, "backbone_digest": "d2"})
    with pytest.raises(InputError, match="another backbone"):
        report(full.path)


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda t: t["chance"].copy_(torch.nan), "chance"),
     (lambda t: t.update({name: t[name][:, :5].contiguous() for name in ("p", "p_family", "p_chosen")}), r"neurons \[3, 5\]"),
     (lambda t: t["p_chosen"].fill_(0.04), "tests other neurons than .*significance-validation.safetensors chose"),
     (lambda t: t.update(chance=t["chance"][:20].contiguous()), "20 relabellings, .*validation.safetensors has 99")],
)  # fmt: skip
def test_damaged_tests_are_named(full, change, said):
    rewrite(full.file("significance", "test"), change)
    with pytest.raises(InputError, match=rf"significance-test\.safetensors: .*{said}.*'skn probe"):
        report(full.path)
    assert not (full.path / "report").exists()


def test_foreign_tests_are_named(full):
    add_significance(full, "test", readout="mean", tuned="other")
    with pytest.raises(InputError, match=r"significance-mean-test\.safetensors: made for another tuned prompt"):
        report(full.path)
