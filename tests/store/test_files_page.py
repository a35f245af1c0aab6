"""docs/files.md: every kind of artifact, document and folder stands there as it is, and its example runs."""

import re
from dataclasses import fields

import pytest
from filled_run import add_hits, make_run
from repository import REPOSITORY

from skn.neurons.probed import read_probe
from skn.store import artifacts
from skn.store.descriptions import SCHEMAS, Provenance
from skn.store.folder_kinds import FOLDER_KINDS
from skn.store.folders import MARK_KIND
from skn.store.kinds import ARTIFACT_KINDS

TEXT = (REPOSITORY / "docs" / "files.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \| (.+) \|$", re.MULTILINE)


def _part(heading):
    """What stands under a heading, up to the next one."""
    assert f"\n{heading}\n" in TEXT, f"no heading '{heading}'"
    return re.split(r"\n##+ ", TEXT.partition(f"\n{heading}\n")[2])[0]


@pytest.mark.parametrize("kind", ARTIFACT_KINDS)
def test_the_tensors_of(kind):
    told = {
        name: (dtype, axes, "not always" in holds) for name, dtype, axes, holds in ROW.findall(_part(f"### `{kind}`"))
    }
    is_optional = {name: told[name][2] for name in told}
    if kind == "rsa":  # said once for all that follow
        is_optional |= dict.fromkeys([name for name in told if name not in ("rank", "distance")], True)
    known = {
        name: (str(spec.dtype).removeprefix("torch."), ", ".join(spec.axes), spec.optional)
        for name, spec in ARTIFACT_KINDS[kind].items()
    }
    assert {name: (*told[name][:2], is_optional[name]) for name in told} == known


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_description_of(kind):
    alike = [
        other for other in SCHEMAS if SCHEMAS[other] is SCHEMAS[kind]
    ]  # moments have no contrasts, accuracies have
    said = set(re.findall(r"`(\w+)`", "".join(_part(f"### `{other}`") for other in alike)))
    assert {field.name for field in fields(SCHEMAS[kind])} <= said


def test_every_axis_is_explained():
    explained = set(re.findall(r"`(\w+)`", _part("## Axes")))
    assert {axis for specs in ARTIFACT_KINDS.values() for spec in specs.values() for axis in spec.axes} <= explained


def test_the_provenance():
    said = set(re.findall(r"`(\w+)`", _part("## What every artifact says of itself")))
    assert {field.name for field in fields(Provenance)} <= said


def test_every_kind_of_document_and_of_folder():
    sources = "".join(file.read_text() for file in (REPOSITORY / "skn").rglob("*.py"))
    written = set(re.findall(r'documents\.write\(.*?, "([\w-]+)", ', sources)) | {MARK_KIND}
    assert {"run", "mask"} < written
    for heading, kinds in (("## JSON documents", written), ("## Folders", set(FOLDER_KINDS))):
        assert set(re.findall(r"^\| `([\w -]+)` \|", _part(heading), re.MULTILINE)) == kinds


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "runs" / "sst2")
    add_hits(run)
    first, second, *_ = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    known: dict = {}
    exec(first, known)
    probe = read_probe(artifacts.load(run.file("hits", "test"), "hits"))
    assert known["accuracy"] == pytest.approx(probe.accuracy("test")[0].numpy())
    exec(second.rpartition("\nabout[")[0], known)
    assert known["about"]["kind"] == "hits" and known["about"]["axes"]["hits"] == ["C", "L", "P", "F"]
    assert known["about"]["provenance"]["task"] == "toy"
