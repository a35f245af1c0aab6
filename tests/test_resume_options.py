"""What may be said beside ``--resume``."""

from __future__ import annotations

import dataclasses

import pytest

from skn.errors import InputError
from skn.stages.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


def test_resume_wants_the_same_backbone(request_for, tmp_path, monkeypatch):
    request = request_for(epochs=0)
    train(request, tmp_path / "run")
    with pytest.raises(InputError, match="was started with --backbone"):
        train(request_for("bert"), tmp_path / "run", resume=True)
    folder = request.backbone.rsplit("/", 1)
    monkeypatch.chdir(folder[0])  # the same folder, named from elsewhere
    train(dataclasses.replace(request, backbone=folder[1]), tmp_path / "run", resume=True)
