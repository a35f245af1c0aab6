"""Small trainings over tiny models: their settings, and the parts of a result that tests read."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch
from transformers import TrainerCallback

from skn.data.spec import DataSpec
from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel
from skn.runs.prepare import TrainRequest
from skn.runs.run import Run
from skn.store import artifacts
from skn.training import trainer as training
from skn.training.losses import Part

PROMPT_LENGTH = 5  # of a fresh model
LR = {"prompt": 0.05, "bitfit": 0.01, "adapter": 0.01}


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def running_threads():
    """The threads of this process, without the one that tqdm starts for itself."""
    return [thread for thread in threading.enumerate() if thread.name != "tqdm_monitor"]


@pytest.fixture
def ctrl_c():
    """``ctrl_c()``: this process gets the signal, as from a terminal. The system gives it to the main thread."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def request_for(tiny, corpus_folder):
    def make(family="roberta", method="prompt", **options) -> TrainRequest:
        options = {"prompt_length": 4 if method == "prompt" else 1, "epochs": 2, "batch_size": 16, "eval_every": 4,
                   "lr": LR[method], "words": ["negative", "positive"]} | options  # fmt: skip
        data = DataSpec(data=str(corpus_folder))
        return TrainRequest(backbone=str(tiny(family)), data=data, method=method, **options)

    return make


@pytest.fixture
def made_trainers(monkeypatch):
    """Collect every Trainer that is made. A test's callbacks in ``watch`` are added to it."""

    class Trainers(list):
        watch: tuple[TrainerCallback, ...] = ()

    made = Trainers()
    original = training._TuneTrainer.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        made.append(self)
        for callback in made.watch:
            self.add_callback(callback)

    monkeypatch.setattr(training._TuneTrainer, "__init__", init)
    return made


def stored(run: Run) -> dict[str, torch.Tensor]:
    return artifacts.load(run.tuned_file, "tuned").tensors


def evaluations(run: Run) -> list[dict[str, float]]:
    return [entry for entry in run.training["history"] if "eval_accuracy" in entry]


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def fresh(backbone: Backbone, seed: int = 0, classes: int = 2) -> TunedModel:
    """A model with its own prompt and label words."""
    words = torch.randperm(100, generator=torch.Generator().manual_seed(seed))[:classes].add(50).tolist()
    return TunedModel.fresh(backbone, words, None if backbone.causal else 4, PROMPT_LENGTH, seed=seed)


def part(model: TunedModel, lengths: list[int], seed: int = 0, **more) -> Part:
    """A batch of texts of these lengths, padded to its own longest text."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 200, mask.shape, generator=torch.Generator().manual_seed(seed)) * mask
    return Part(model, ids, mask, torch.arange(len(lengths)) % len(model.label_ids), torch.zeros_like(ids), **more)
