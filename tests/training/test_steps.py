"""Steps in CUDA graphs, without CUDA: a graph here is the call. The losses and gradients are those of the eager steps."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from functools import partial

import pytest
import torch
from captures import refuse
from skn.kernels import capture
from torch._subclasses import FakeTensorMode
from trainings import PROMPT_LENGTH, fresh, part

from skn.inference.batches import Encoded
from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel
from skn.training import checkpoints, steps, trainer
from skn.training.losses import Part
from skn.training.settings import TrainSettings
from skn.training.steps import Steps
from skn.training.together import trained_together

pytestmark = pytest.mark.usefixtures("one_thread")

ENCODERS = ["roberta", "bert", "bert-headless", "electra", "mpnet", "modernbert"]
FAMILIES = [*ENCODERS, "gpt2", "llama", "gemma2", "gpt_neox", "opt"]


@pytest.fixture
def graphed(captures, monkeypatch):
    """Every step may be a graph. Holds the lane of each capture."""
    monkeypatch.setattr(steps, "_on_cuda", lambda ids: True)
    return captures


def trained(own: Steps, backbone: Backbone, batches: list[list[list[int]]], classes=(2, 3)) -> list[torch.Tensor]:
    """Losses and gradients of steps of Adam, one for each entry of ``batches``: the lengths of each training's texts."""
    models = [fresh(backbone, seed, count) for seed, count in zip(range(len(batches[0])), classes, strict=False)]
    optimizer = torch.optim.AdamW([model.prompt for model in models], lr=0.01)
    found = []
    for number, lengths in enumerate(batches):
        parts = [part(model, *given, seed=number) for model, *given in zip(models, lengths, strict=True)]
        losses = own.losses(parts)
        assert not any(loss.requires_grad for loss in losses)
        found += [*losses, *(model.prompt.grad.clone() for model in models)]
        optimizer.step()
        optimizer.zero_grad()
    return found


ALONE = [[[33, 9]], [[35, 20]], [[17, 17]], [[34, 3]], [[18, 4]]] * 4  # 33, 34 and 35 become 36; 17 becomes 18
TOGETHER = [[[33, 9], [5, 4, 3]], [[20, 8], [35, 35, 35]], [[17, 17], [18, 2, 2]], [[34, 1], [9, 9, 36]]] * 5


@pytest.mark.parametrize("family", ["roberta", "bert-headless", "gpt2"])
@pytest.mark.parametrize("batches", [ALONE, TOGETHER], ids=["alone", "together"])
def test_losses_and_gradients_are_those_of_the_eager_steps(tiny, graphed, family, batches):
    """Twenty steps of two shapes, whose batches leave other texts in the memory that a graph reads."""
    backbone = Backbone.load(str(tiny(family)))
    found = trained(Steps(), backbone, batches)
    assert len(graphed) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "_on_cuda", lambda ids: False)
        expected = trained(Steps(), backbone, batches)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert len(graphed) == 2


def test_a_text_that_fills_all_positions_is_not_padded_beyond_them(tiny, graphed):
    backbone = Backbone.load(str(tiny("roberta")))
    room = backbone.max_positions - PROMPT_LENGTH
    for length in (room, room - 1):
        assert capture.rounded(length, 8) > room
        assert steps._columns([part(fresh(backbone), [length])]) == room
    trained(Steps(), backbone, [[[room, 3]]] * 3)
    assert len(graphed) == 1
    later = TunedModel(backbone, torch.tensor([7, 8]), torch.zeros(4, 32), torch.zeros(32), fresh(backbone).extra, 4)
    assert steps._columns([part(later, [room - 2])]) == room - 2  # an imported prompt begins at position 4, not 2


def test_another_training_takes_the_place_of_one_that_ended(tiny, graphed):
    """The graph is the same, with another prompt, other label words and other texts."""
    backbone, own = Backbone.load(str(tiny("roberta"))), Steps()
    for seed in range(4):
        model = fresh(backbone, seed)
        (found,) = own.losses([part(model, [9, 4], seed)])
        gradient, model.prompt.grad = model.prompt.grad, None
        (expected,) = Steps.losses(_Eager(), [part(model, [9, 4], seed)])
        torch.testing.assert_close([found, gradient], [expected, model.prompt.grad], rtol=0, atol=1e-5)
    assert len(graphed) == 1


class _Eager(Steps):
    def _graph(self, parts):
        return None


def test_what_a_step_returned_is_not_overwritten_and_gradients_add_up(tiny, graphed):
    model, own = fresh(Backbone.load(str(tiny("roberta")))), Steps()
    first, second, third = (own.losses([part(model, [9, 4], seed)])[0] for seed in (0, 1, 2))
    assert graphed and len({first.item(), second.item(), third.item()}) == 3
    whole, model.prompt.grad = model.prompt.grad, None
    for seed in (0, 1, 2):
        own.losses([part(model, [9, 4], seed)])
    torch.testing.assert_close(model.prompt.grad, whole)


def test_what_differs_has_another_graph(tiny, graphed):
    backbone, own = Backbone.load(str(tiny("roberta"))), Steps()
    plain = [part(fresh(backbone), [9, 4])]
    others = [
        [replace(plain[0], autocast=True)],
        [part(fresh(backbone, classes=3), [9, 4])],
        [part(fresh(backbone), [9, 4, 2])],
        [part(fresh(Backbone.load(str(tiny("roberta")))), [9, 4])],
        [*plain, part(fresh(backbone), [9, 4])],
    ]
    for parts in [plain, *others]:
        before = len(graphed)
        for _ in range(3):
            own.losses(parts)
        assert len(graphed) == before + 1


def test_what_cuda_refuses_is_tried_once_and_the_eager_step_answers(tiny, graphed, monkeypatch, caplog):
    tried = refuse(monkeypatch)
    backbone = Backbone.load(str(tiny("roberta")))
    found = trained(Steps(), backbone, ALONE)
    assert len(tried) == 2 and caplog.text.count("no CUDA graph of a step of 2 × 36 tokens: operation not") == 1
    monkeypatch.setattr(steps, "_on_cuda", lambda ids: False)
    assert all(map(torch.equal, found, trained(Steps(), backbone, ALONE)))


def test_biases_and_a_cpu_have_no_graph(tiny, graphed, monkeypatch):
    backbone = Backbone.load(str(tiny("roberta")))
    biases = [part(TunedModel.fresh(backbone, [7, 8], 4, 1, "bitfit"), [9, 4])]
    assert not steps._fit(biases) and not steps._fit([part(fresh(backbone).requires_grad_(False), [9, 4])])
    assert steps._fit([part(fresh(backbone), [9, 4])])
    monkeypatch.undo()
    assert not steps._fit([part(fresh(backbone), [9, 4])])


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_captured_step_asks_for_no_value(tiny, family, autocast):
    """On tensors without values: a question for a value, which would wait for the device, is an error."""
    model = fresh(Backbone.load(str(tiny(family))))
    slots = [steps._slot(part(model, lengths, autocast=autocast), 20) for lengths in ([9, 4], [20, 20])]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        unknown = [_without_values(slot, mode) for slot in slots]
        losses, gradients = steps.losses_and_gradients(unknown)
    assert all(loss.shape == () and not loss.requires_grad for loss in losses)
    assert [gradient.shape for gradient in gradients] == [model.prompt.shape] * 2


def _without_values(slot: Part, mode: FakeTensorMode) -> Part:
    fake = {name: mode.from_tensor(getattr(slot, name)) for name in (*steps._TEXTS, "labels")}
    return replace(slot, **fake)


# ---- whole trainings -------------------------------------------------------------------------------------------


def rows(seed: int, count: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 40, (count,), generator=generator).tolist()
    ids = [torch.randint(5, 200, (length,), generator=generator).tolist() for length in lengths]
    return Encoded(ids, None, torch.arange(count) % 2, truncated=0)


SETTINGS = TrainSettings(epochs=2, batch_size=8, lr=0.01, eval_every=5)


def cell(backbone: Backbone, folder, seed: int) -> dict[str, torch.Tensor]:
    """The tuned tensors of a training of 2 × 5 steps."""
    model = fresh(backbone, seed)
    settings = replace(SETTINGS, seed=seed)
    trainer.tune(model, rows(seed, 40), rows(9, 8), settings, folder / str(seed), resume=False)
    return model.tuned_tensors()


def test_trainings_in_graphs_are_those_without(tiny, graphed, made_trainers, monkeypatch, tmp_path):
    """Alone and together, where the third takes the place of one that ended. No slot lives longer than its training,
    though the Trainers do.
    """
    backbone, slots, slot = Backbone.load(str(tiny("roberta"))), [], steps._slot

    def watched(given: Part, columns: int) -> Part:
        made = slot(given, columns)
        slots.append(weakref.ref(made.model))
        return made

    monkeypatch.setattr(steps, "_slot", watched)
    alone = cell(backbone, tmp_path / "alone", 0)
    gc.collect()
    assert made_trainers and graphed and slots and not any(ref() for ref in slots)
    cells = [partial(cell, backbone, tmp_path / "together", seed) for seed in range(3)]
    captured = len(slots)
    together = list(trained_together(cells, 2))
    gc.collect()
    assert len(slots) > captured and not any(ref() for ref in slots)
    monkeypatch.setattr(steps, "_on_cuda", lambda ids: False)
    eager = [cell(backbone, tmp_path / "eager", seed) for seed in range(3)]
    for found, expected in zip([alone, *together], [eager[0], *eager], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_on_cuda_the_optimizer_is_fused_and_no_filter_waits(tiny, tmp_path):
    """Its training on a CPU is that of the plain optimizer."""
    backbone = Backbone.load(str(tiny("roberta")))
    model = fresh(backbone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backbone, "device", property(lambda _: torch.device("cuda")))
        made = trainer._TuneTrainer(model, rows(0, 40), rows(9, 8), SETTINGS, folder=tmp_path / "fused", engine="hf")
    assert made.args.optim == "adamw_torch_fused" and not made.args.logging_nan_inf_filter
    made.train()
    torch.testing.assert_close(made.best.tensors, cell(backbone, tmp_path, 0), rtol=0, atol=1e-5)


def test_the_optimizer_of_cuda_goes_on_from_the_checkpoint_of_the_other():
    """Fused and plain Adam take the same steps, and each reads the other's tensors."""
    found = {}
    for first, second in ((False, False), (True, True), (False, True), (True, False)):
        prompt = torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))
        saved = {}
        for fused in (first, second):
            optimizer = torch.optim.AdamW([prompt], lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=0, fused=fused)
            checkpoints.unpack_optimizer(optimizer, saved)
            for step in range(10):
                prompt.grad = torch.sin(prompt.detach() * (step + 1))
                optimizer.step()
            saved = checkpoints.pack_optimizer(optimizer)
        found[first, second] = prompt.detach(), saved["optimizer.0.exp_avg"], saved["optimizer.0.step"]
    for other in found.values():
        torch.testing.assert_close(other, found[False, False], rtol=1e-5, atol=1e-6)
