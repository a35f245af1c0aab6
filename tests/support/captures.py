"""CUDA graphs without CUDA: a capture is a call, and a replay is the call again, into the tensors of the capture."""

from __future__ import annotations

import pytest
import torch
from skn.kernels import capture, graphs
from torch.utils import _pytree


@pytest.fixture
def captures(monkeypatch):
    """Stands in for CUDA. Holds the lane of each capture."""
    made = []

    def captured(run, lane, before=None):
        made.append(lane)
        if before:
            before()
            output = _pytree.tree_map(torch.zeros_like, before())  # a capture computes nothing
        else:
            output = _pytree.tree_map(torch.clone, run())

        def replay():
            _pytree.tree_map(lambda own, new: own.copy_(new), output, run())
            return output

        return replay

    monkeypatch.setattr(capture, "capture", captured)
    monkeypatch.setattr(capture, "new_lane", object)
    monkeypatch.setattr(capture, "current_stream", lambda: 0)
    monkeypatch.setattr(graphs, "_of_weights", graphs.WeakTensorKeyDictionary())
    return made


def refuse(monkeypatch) -> list:
    """CUDA refuses every capture. Returns the lanes of the attempts."""
    tried = []

    def refused(_run, lane, _before=None):
        tried.append(lane)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(capture, "capture", refused)
    return tried
