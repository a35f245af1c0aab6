"""mask --match activity: from the probe of a run to controls, their balance, and what is said where there are none."""

from __future__ import annotations

import pytest
import torch
from options import replaced
from refusals import command
from spoiled import edit, rewrite

import skn
from skn.inference.readouts import OF_GATE
from skn.neurons import mask as neurons_mask
from skn.neurons.activity import activity_of
from skn.neurons.controls import summary
from skn.neurons.mask_options import MaskOptions
from skn.neurons.mask_table import MaskTable, read_mask
from skn.neurons.masking import Mask
from skn.neurons.matching import as_set, balance, match_by_activity
from skn.neurons.neuron_sets import NeuronSets
from skn.seeds import generator

MASK = ["mask", "--fraction", "0.1,0.6", "--controls", 3, "--match", "layer,activity", "--run"]


@pytest.fixture
def masks(monkeypatch):
    """Every mask that is applied."""
    made = []
    monkeypatch.setattr(neurons_mask, "Mask", lambda *a, **k: made.append(Mask(*a, **k)) or made[-1])
    return made


def test_controls_are_the_keyed_draws_of_the_runs_moments(run, masks, caplog):
    assert command([*MASK, run]) == 0
    loaded = skn.open_run(run)
    sets = NeuronSets.load(run / "neurons.safetensors", loaded.provenance, loaded.model.backbone.present)
    activity = activity_of(loaded, sets, MaskOptions(), alpha=None, mean=None)
    rows = read_mask(run / "mask-zero.json")["rows"]
    for row, of_row in zip(rows, (masks[:7], masks[7:]), strict=True):
        chosen = sets.cut(row["fraction"])
        partners = [match_by_activity(chosen, activity, generator(0, "control", row["neurons"], d)) for d in range(3)]
        assert [torch.equal(mask.chosen, as_set(p)) for mask, p in zip(of_row[3:6], partners, strict=True)] == [
            True
        ] * 3
        assert row["balance"] == balance(chosen, activity, partners)
        assert row["controls"] == row["controls_by_match"]["layer"] != row["controls_by_match"]["activity"]
        draws = row["controls_by_match"]["activity"]["auc"]["draws"]
        assert row["controls_by_match"]["activity"]["auc"] == summary(draws) and len(draws) == 3
    assert rows[0]["balance"]["missing"] == 0
    # 28 of 48 neurons of each layer are chosen, so 20 are left
    assert rows[1]["balance"]["missing"] == 3 * 8 and [m.chosen.sum().item() for m in masks[10:13]] == [60] * 3
    assert "mask 0.6: 24 of the 84 neurons have no control of their activity" in caplog.text


def test_the_balance_is_shown_in_tables_and_on_the_page(run, capsys):
    assert command([*MASK, run]) == 0
    printed = " ".join(capsys.readouterr().out.split())  # a title has lines as long as its table
    assert "Controls of equal activity, mean of 3 draws" in printed and "none within 1.25" in printed
    table = MaskTable(read_mask(run / "mask-zero.json"))
    assert [record["none at all"] for record in table.balance().records()] == [0, 24]
    assert "none at all" in table._repr_html_() and "none at all" in repr(table)
    assert command(["report", "--run", run]) == 0
    page = (run / "report" / "index.html").read_text()
    assert "none within 1.25" in page and "random sets, of equal activity)" in page
    assert skn.mask(skn.open_run(run), fractions=0.1, controls=2).balance() is None


def test_resumed_with_the_moments_it_was_started_with(run, refused):
    assert command([*MASK, run]) == 0
    file = run / "mask-zero.json"
    whole = file.read_bytes()
    edit(file, lambda table: table.update(rows=table["rows"][:1]))
    assert command([*MASK, run, "--resume"]) == 0 and file.read_bytes() == whole
    refused(
        replaced([*MASK, run, "--resume"], ["--match", "layer"]), "was started with match layer,activity, not layer; "
    )
    rewrite(run / "moments.safetensors", lambda tensors: tensors["total_sq"].mul_(1.5))
    refused([*MASK, run, "--resume"], "was started with digest of the activity ")


@pytest.mark.parametrize("kind", [("mean",), ("resample",), ("gaussian", "--alpha", 0.2), ("scale", "--alpha", 0.5)])
def test_every_kind(run, kind):
    assert (
        command(["mask", "--run", run, "--fraction", 0.1, "--controls", 2, "--match", "activity", "--kind", *kind]) == 0
    )
    (row,) = read_mask(run / f"mask-{kind[0]}.json")["rows"]
    assert row["controls"] == row["controls_by_match"]["activity"] and row["balance"]["chosen"] > 0


def test_no_moments_and_moments_of_the_gate_are_refused(run, refused):
    moments = run / "moments.safetensors"
    moments.rename(run / f"moments-prompt{OF_GATE}.safetensors")
    refused([*MASK, run], f"--match activity: needs {moments}, which is not there; moments-prompt-gate.safetensors is of act(gate) "
            "alone", f"run 'skn probe --run {run}' first")  # fmt: skip
    (run / f"moments-prompt{OF_GATE}.safetensors").unlink()
    refused([*MASK, run], f"needs {moments}, which is not there; run 'skn probe")
    assert not (run / "mask-zero.json").exists()
    refused(replaced([*MASK, run], ["--controls", 0]), "--match layer,activity: has no effect with --controls 0")


def test_moments_of_another_prompt_are_refused(run, runs, refused):
    (run / "moments.safetensors").write_bytes((runs(prompt_length=3) / "moments.safetensors").read_bytes())
    refused([*MASK, run], "moments.safetensors: made for another prompt length", "skn probe --overwrite")


def test_in_memory_the_ranked_probe_has_the_moments(tiny, corpus_folder, run):
    data = skn.load_data(corpus_folder)
    small = {"prompt_length": 4, "epochs": 0, "batch_size": 16}
    tuned = skn.tune(str(tiny("roberta")), data, ["negative", "positive"], **small)
    ranking = skn.rank(skn.probe(tuned))
    (row,) = skn.mask(tuned, ranking, 0.1, controls=2, match="activity").rows
    assert row["balance"]["missing"] == 0 and row["controls_by_match"].keys() == {"activity"}
    of_others = NeuronSets(rank=ranking.rank, provenance=ranking.provenance)
    with pytest.raises(
        skn.InputError, match='match="activity": needs the moments of a probe of this run; give what skn.rank'
    ):
        skn.mask(tuned, of_others, 0.1, controls=2, match="activity")
    kept = skn.open_run(run)
    from_file = skn.mask(kept, fractions=0.1, controls=2, match="activity")
    in_memory = skn.mask(kept, skn.rank(skn.probe(kept)), 0.1, controls=2, match="activity")
    assert from_file.document["activity"] == in_memory.document["activity"] and from_file.rows == in_memory.rows


def test_factors_go_over_to_the_controls(run, masks):
    loaded = skn.open_run(run)
    selected = torch.zeros_like(loaded.model.backbone.present)
    selected[:, 3:8] = True
    factor = torch.rand(selected.shape, generator=generator(1)).where(selected, torch.ones(()))
    sets = NeuronSets(selected=selected, factor=factor, provenance=loaded.provenance)
    skn.mask(loaded, sets, controls=2, match="activity", kind="scale")
    for control in masks[:2]:
        assert not (control.chosen & selected).any()
        assert control.factor[control.chosen].sort().values.tolist() == factor[selected].sort().values.tolist()
