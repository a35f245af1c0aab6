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

    monkeypatch.setattr(int8_quality, "nncf", lambda run, validation: predict(run.model, validation) + 0.1)
    return int8_quality


def test_each_part_alone_errs_less_than_all_together(quality, int8_run):
    rows = {name: (same, wrong) for _, name, _, same, _, wrong in quality.measured(int8_run, parts=True)}
    alone = {name: rows.pop(name)[1] for name in list(rows) if "alone" in name}
    products, layers = ("q", "k", "v", "out", "up", "down"), range(3)
    assert list(alone) == [f"skn, {name} alone in int8" for name in (*products, *(f"layer {n}" for n in layers))]
    assert list(rows) == ["float32", "bfloat16", "OpenVINO, NNCF int8", "skn, int8", "skn, int8, bfloat16 around"]
    assert rows["float32"] == (1, 0) and rows["OpenVINO, NNCF int8"][1] < 1e-5  # a shift of all classes is no error
    assert 0 < min(alone.values()) and max(alone.values()) < 2 * rows["skn, int8"][1] < 0.2
    assert len({round(wrong, 6) for wrong in alone.values()}) == len(alone)


def test_products_go_where_they_were(quality, int8_run):
    run = skn.open_run(int8_run)
    validation = run.encoded("validation")
    exact, places = predict(run.model, validation), quality.products(run.model.backbone)
    quality.put(run.model.backbone, {place: torch.nn.Identity() for place in places})
    assert {type(module) for module in quality.products(run.model.backbone).values()} == {torch.nn.Identity}
    quality.put(run.model.backbone, places)
    assert torch.equal(predict(run.model, validation), exact)
