"""Equal digests mean equal weights, on the CPU and in the arithmetic of a device."""

import pytest
import torch

from skn.inference import digests as module

FORMS = {"cpu": module.digests, "device": lambda tensors: module._on_device(tensors)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_bit_and_its_place_count(form, dtype):
    digest = FORMS[form]
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in ((65, 130), (130,), (3,))]
    first = digest(tensors)
    assert digest([t.clone() for t in tensors]) == first
    edits = (
        lambda: tensors[0][64, 129].mul_(-1),
        lambda: tensors[0].neg_(),
        lambda: tensors[0].copy_(tensors[0].flip(0)),
        lambda: tensors[2].copy_(tensors[2].roll(1)),
        lambda: tensors[1].zero_(),
    )
    seen = {first}
    for edit in edits:
        edit()
        assert digest(tensors) not in seen
        seen.add(digest(tensors))


@pytest.mark.parametrize("form", FORMS)
def test_two_changed_signs_do_not_cancel_each_other(form):
    weight = torch.randn(12, 130, generator=torch.Generator().manual_seed(0))
    seen = {FORMS[form]([weight])}
    for row in range(12):
        for column in range(0, 130, 13):
            edited = weight.clone()
            edited[row, column : column + 2].neg_()
            seen.add(FORMS[form]([edited]))
    assert len(seen) == 1 + 12 * 10


def test_weights_that_change_places_across_the_diagonal_of_the_device_count(monkeypatch):
    monkeypatch.setattr(module, "_COLUMNS", 8)
    weight = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    assert module._on_device([weight]) != module._on_device([weight.T])


def test_strides_do_not_count_but_dtypes_and_shapes_do():
    weight = torch.arange(12.0).view(3, 4)
    assert module.digests([weight.t().contiguous().t()]) == module.digests([weight])
    assert module.digests([weight.view(4, 3)]) != module.digests([weight])
    assert module.digests([weight.view(torch.bfloat16)]) != module.digests([weight])


def test_bits_that_move_from_one_tensor_to_the_next_count():
    parts = [torch.tensor([1.0, 2.0]), torch.tensor([3.0]), torch.tensor([[4.0]]), torch.tensor([3.0])]
    moved = [torch.tensor([1.0]), torch.tensor([2.0, 3.0]), *parts[2:]]
    swapped = [parts[0], torch.tensor([4.0]), torch.tensor([[3.0]]), parts[3]]
    assert len({module.digests(tensors) for tensors in (parts, moved, swapped)}) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_of_one_neuron(dtype):
    """Its strides may be those of a column, and torch calls it contiguous."""
    weight = torch.tensor([1.0, 2.0], dtype=dtype).as_strided((2, 1), (1, 2))
    other = torch.tensor([[1.0], [3.0]], dtype=dtype)
    assert module.digests([weight]) == module.digests([weight.clone()]) != module.digests([other])
