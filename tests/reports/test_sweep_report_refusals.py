"""What the report of a sweep or of a searchlight refuses: damage is named, and no page is written."""

import json
import re

import pytest
from filled_report_sweep import TASKS, make_sweep, specificity_table, write_accuracy
from filled_run import PROVENANCE

from skn.errors import InputError
from skn.reports.read_sweep import report_rsa, report_sweep
from skn.store import artifacts


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("sweep.json", "{", "damaged"),
        ("failed.json", "[1]", "damaged"),
        ("failed.json", '{"a": 3}', "damaged"),
        ("goemotions/joy/seed-1/run.json", "{}", "damaged"),
        ("rsa/rsa.safetensors", "nothing", "damaged"),
        ("rsa/rsa.json", "{", "damaged"),
        ("rsa/rsa.json", '{"alpha": "x"}', "damaged"),
        ("rsa/rsa.json", '{"stability": {"seeds": {"names": ["1"]}}}', "damaged"),
        ("rsa/rsa.json", '{"stability": {"seeds": {"names": ["1"], "jaccard": {"4": [[1]]}}}}', "damaged"),
        ("masked/sets/accuracy.csv", "", "holds no cell"),
        ("masked/sets/accuracy.csv", "emotion,seed\njoy,1\n", "lacks attribute, top"),
        ("masked/sets/specificity.json", "[]", "damaged"),
        ("masked/sets/specificity.json", "{}", "alpha: Field required"),
        ("masked/sets/specificity.json", json.dumps({**specificity_table(), "rows": [3]}), "damaged"),
        (
            "masked/sets/specificity.json",
            json.dumps({**specificity_table(), "rows": [{"top": 1}]}),
            "attribute: Field required",
        ),
        (
            "masked/sets/specificity.json",
            json.dumps({**specificity_table(), "alpha": "x"}),
            "alpha: Input should be a valid number",
        ),
        (f"masked/sets/{TASKS[0]}/seed-1/0.safetensors", "nothing", "damaged"),
    ],
)
def test_damaged_files_are_named(full_sweep, name, text, said):
    (full_sweep.path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{re.escape(name)}: .*{said}|{re.escape(name)}: {said}") as caught:
        report_sweep(full_sweep.path)
    assert "\n" not in str(caught.value)
    assert not (full_sweep.path / "report").exists()


def test_a_number_that_is_none_is_named(full_sweep):
    write_accuracy(full_sweep.path / "masked" / "sets", [["joy", 1, "valence", 4, "high", 0.9, "", "", "", 20]])
    with pytest.raises(InputError, match=r"accuracy\.csv: damaged .*high"):
        report_sweep(full_sweep.path)


def test_attributes_without_names_are_refused(full_sweep):
    found = artifacts.load(full_sweep.path / "rsa" / "rsa.safetensors", "rsa")
    artifacts.save(found.path, "rsa", found.tensors, PROVENANCE, attributes=["one"])
    with pytest.raises(InputError, match="'attributes' has not 3 entries"):
        report_rsa(full_sweep.path / "rsa")


def test_what_to_report_on(refused, tmp_path):
    make_sweep(tmp_path / "sweep")
    refused(["report"], "give --run or --sweep or --rsa, one of them")
    refused(["report", "--run", "a", "--sweep", "b"], "give --run or --sweep or --rsa, one of them")
    refused(["report", "--sweep", "nowhere"], "nowhere: not a sweep", "skn sweep --out DIR")
    refused(["report", "--rsa", "sweep"], "sweep: no searchlight", "skn rsa --out DIR")
    refused(["report", "--run", "sweep"], "sweep: not a run")
