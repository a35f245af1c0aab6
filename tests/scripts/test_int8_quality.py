"""``bench/int8_quality.py``, without NNCF: every product and every layer in int8 alone."""

import pytest
import torch
from repository import REPOSITORY

import skn
from skn.inference.engine import predict


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    import int8_quality

    def shifted(run, texts):
        return {split: predict(run.model, encoded) + 0.1 for split, encoded in texts.items()}

    monkeypatch.setattr(int8_quality, "nncf", shifted)
    return int8_quality


def test_each_part_alone_errs_less_than_all_together(quality, int8_run):
    found = quality.measured(int8_run, ["validation"], parts=True)
    rows = {name: (same, wrong) for _, _, name, _, same, _, wrong in found}
    alone = {name: rows.pop(name)[1] for name in list(rows) if "alone" in name}
    products, layers = ("q", "k", "v", "out", "up", "down"), range(3)
    assert list(alone) == [f"skn, {name} alone in int8" for name in (*products, *(f"layer {n}" for n in layers))]
    assert list(rows) == ["float32", "bfloat16", "OpenVINO, NNCF int8", "skn, int8", "skn, int8, bfloat16 around"]
    assert rows["float32"] == (1, 0) and rows["OpenVINO, NNCF int8"][1] < 1e-5  # a shift of all classes is no error
    assert 0 < min(alone.values()) and max(alone.values()) < 2 * rows["skn, int8"][1] < 0.2
    assert len({round(wrong, 6) for wrong in alone.values()}) == len(alone)


def test_every_model_answers_on_each_split(quality, int8_run):
    run = skn.open_run(int8_run)
    sizes = {split: len(run.encoded(split)) for split in ("validation", "test")}
    rows = list(quality.measured(int8_run, list(sizes), parts=False))
    names = [name for _, _, name, *_ in rows[:: len(sizes)]]
    expected = [(int8_run.name, split, name, size) for name in names for split, size in sizes.items()]
    assert [row[:4] for row in rows] == expected and names[-2:] == ["skn, int8", "skn, int8, bfloat16 around"]
    assert all(0 < row[-1] < 0.2 for row in rows[-4:])


def test_products_go_where_they_were(quality, int8_run):
    run = skn.open_run(int8_run)
    validation = run.encoded("validation")
    exact, places = predict(run.model, validation), quality.products(run.model.backbone)
    quality.put(run.model.backbone, {place: torch.nn.Identity() for place in places})
    assert {type(module) for module in quality.products(run.model.backbone).values()} == {torch.nn.Identity}
    quality.put(run.model.backbone, places)
    assert torch.equal(predict(run.model, validation), exact)
