"""Several trainings in one forward: each is its own training, within float error; each stops, fails and resumes alone."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from emotions_data import write_tsv
from trainings import evaluations, running_threads, stored
from transformers import TrainerCallback

from skn.data.spec import DataSpec
from skn.errors import SknError
from skn.runs.run import Run
from skn.stages.train import resume, train
from skn.training import checkpoints, steps
from skn.training import trainer as training
from skn.training.together import trained_together

pytestmark = pytest.mark.usefixtures("one_thread")


class Losses(TrainerCallback):
    """The loss of every step, by the seed of the training."""

    def __init__(self, made):
        self.made, self.found = made, {}

    def on_step_end(self, args, state, control, model=None, **_):
        trainer = next(trainer for trainer in self.made if trainer.model is model)
        self.found.setdefault(args.seed, []).append(trainer.batch_loss.item())


@pytest.fixture
def emotions(request_for, tmp_path):
    """Settings of a training of another task: other texts, of other lengths, and other label words."""
    data = DataSpec(data=str(write_tsv(tmp_path / "emotions")), task="goemotions/joy")

    def make(**options):
        made = request_for(words=["positive", "negative"], **options)
        return type(made)(**{**vars(made), "data": data})

    return make


def caught(function):
    """The result of a function, or its error."""
    try:
        return function()
    except Exception as error:
        return error


def all_together(requests, folder, at_once=None):
    works = [partial(caught, partial(train, request, folder / str(request.seed))) for request in requests]
    return list(trained_together(works, at_once or len(works)))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder of the trainings that stood alone, and the losses of their steps; each is made once."""
    return tmp_path_factory.mktemp("alone"), {}


@pytest.fixture
def alone(kept, made_trainers):
    """``alone(request)``: the same training by itself, and the losses of its steps."""
    folder, losses = kept

    def train_alone(request) -> tuple[Run, list[float]]:
        name = str(request.seed)
        if name not in losses:
            watch, made_trainers.watch = made_trainers.watch, (Losses(made_trainers),)
            train(request, folder / name)
            losses[name] = made_trainers.watch[0].found[request.seed]
            made_trainers.watch = watch
        return Run.open(folder / name), losses[name]

    return train_alone


def check(made: Run, own: Run) -> None:
    """A run is the other one, within float error."""
    torch.testing.assert_close(stored(made), stored(own), rtol=0, atol=1e-3)
    assert evaluations(made) == evaluations(own) and made.training["engine"] == own.training["engine"]
    assert made.config == own.config and not made.checkpoints.exists()


def test_each_is_its_own_training(request_for, emotions, made_trainers, alone, tmp_path):
    """Twenty steps, three trainings, two tasks with texts of other lengths: the losses, the evaluations, the prompts."""
    requests = [request_for(seed=1), request_for(seed=2), emotions(seed=3)]
    apart = [alone(request) for request in requests]
    watch = Losses(made_trainers)
    made_trainers.watch = (watch,)
    assert len(all_together(requests, tmp_path)) == 3
    for request, (own, losses) in zip(requests, apart, strict=True):
        assert len(losses) == 20
        torch.testing.assert_close(watch.found[request.seed], losses, rtol=0, atol=1e-5)
        check(Run.open(tmp_path / str(request.seed)), own)


def test_one_forward_a_step(request_for, emotions, tmp_path, monkeypatch):
    """A training that has ended leaves the batch, and the next one takes its place."""
    rows, original = [], steps.losses
    monkeypatch.setattr(steps, "losses", lambda parts: rows.append(len(parts)) or original(parts))
    requests = [emotions(seed=1, epochs=1), request_for(seed=2), request_for(seed=3)]
    assert len(all_together(requests, tmp_path, at_once=2)) == 3
    assert rows == [2] * 20 + [1] * 10  # the first has 10 steps, the others have 20


def test_one_that_stops_early_leaves_the_others(request_for, made_trainers, tmp_path, monkeypatch):
    values = {1: iter([0.9, 0.8, 0.7]), 2: iter([0.5, 0.6, 0.7, 0.8, 0.9])}
    monkeypatch.setattr(training, "accuracy", lambda *_: next(values[running()]))

    def running() -> int:
        return next(t.args.seed for t in made_trainers if t.model is training_now[0])

    training_now, predict = [None], training.predict
    monkeypatch.setattr(
        training, "predict", lambda model, *a, **k: training_now.__setitem__(0, model) or predict(model, *a, **k)
    )
    runs = all_together([request_for(seed=seed, patience=2) for seed in (1, 2)], tmp_path)
    assert [(run.config.seed, run.training["best_step"]) for run in runs] == [(1, 4), (2, 20)]
    assert [len(evaluations(run)) for run in runs] == [3, 5]


def test_one_that_fails_fails_alone(request_for, made_trainers, alone, tmp_path):
    """NaN in one prompt, and a bug in another training: the third is what it is without them."""

    class Spoil(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            if (args.seed, state.global_step) == (3, 6):
                model.prompt.data.fill_(float("nan"))
            if (args.seed, state.global_step) == (1, 7):
                raise ZeroDivisionError("a bug")

    own, _ = alone(request_for(seed=2))
    made_trainers.watch = (Spoil(),)
    bug, diverged, whole = all_together([request_for(seed=seed) for seed in (3, 1, 2)], tmp_path)
    assert isinstance(bug, ZeroDivisionError) and isinstance(diverged, SknError) and "diverged: NaN" in str(diverged)
    check(whole, own)


def test_an_error_of_the_forward_is_an_error_of_each(request_for, tmp_path, monkeypatch):
    def fails(parts):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(steps, "losses", fails)
    found = all_together([request_for(seed=seed) for seed in (1, 2)], tmp_path)
    assert [str(error) for error in found] == ["out of memory"] * 2


def test_checkpoints_are_gone_on_with_alone_and_together(request_for, alone, tmp_path, monkeypatch):
    """Ctrl-C at a late save of one: both go on from their checkpoints, one alone, one beside a new training."""
    requests = [request_for(seed=1), request_for(seed=2), request_for(seed=3, epochs=1)]
    write, threads = checkpoints.write, running_threads()

    def killed(folder, step, *content):
        if step == 12 and folder.parent.name == "2":
            raise KeyboardInterrupt
        return write(folder, step, *content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            all_together(requests[:2], tmp_path)
    assert [checkpoints.newest(tmp_path / str(s) / "checkpoints").name[-2:] for s in (1, 2)] == ["12", "08"]
    assert running_threads() == threads
    resume(tmp_path / "1")
    begun = [partial(resume, tmp_path / "2"), partial(train, requests[2], tmp_path / "3")]
    assert len(list(trained_together(begun, 2))) == 2
    for request in requests[:2]:
        check(Run.open(tmp_path / str(request.seed)), alone(request)[0])


def test_ctrl_c_reaches_a_training_that_runs(ctrl_c):
    """The main thread is interrupted while it waits for a thread that computes without end."""
    left = []

    def endless():
        ctrl_c()
        try:
            while True:
                sum(range(100))
        except KeyboardInterrupt:
            left.append("clean")
            raise

    before = running_threads()
    with pytest.raises(KeyboardInterrupt):
        list(trained_together([endless, endless], 2))
    assert left == ["clean"] and running_threads() == before
