"""``encode`` as CUDA serves it, on the CPU: the same functions, around the operators that serve there."""

import weakref

import pytest
import torch
from encode_cases import EPS, SHAPES, Case, changed, error, form_of
from skn.kernels import encode as packed
from torch.utils._python_dispatch import TorchDispatchMode

from skn.ops.encoder import _check_encode


def run(case):
    weights = [packed.pack(w, form_of(w)) if w.dim() == 2 else w for w in case.weights]
    return packed.encode(case.hidden, case.bounds, weights, case.masks, case.heads, EPS, case.read, case.tap)


@pytest.fixture(params=["padded", "varlen"])
def attention(request, monkeypatch):
    """Both ways to attention; torch's packed one, which needs a device, by what its documentation says it computes."""

    def stand_in(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, dropout_p, is_causal, return_debug_mask):
        assert (dropout_p, is_causal, return_debug_mask) == (0.0, False, False)
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32 and cu_seq_k.shape == cu_seq_q.shape
        assert cu_seq_q.diff().max() <= max_q and cu_seq_k.diff().max() <= max_k
        out = torch.full_like(query, torch.nan)
        for a, b, c, d in zip(cu_seq_q[:-1], cu_seq_q[1:], cu_seq_k[:-1], cu_seq_k[1:], strict=True):
            q, k, v = (t.transpose(0, 1) for t in (query[a:b], key[c:d], value[c:d]))
            out[a:b] = ((q @ k.transpose(1, 2) / q.shape[2] ** 0.5).softmax(2) @ v).transpose(0, 1)
        return out, None, None, None, None

    if request.param == "varlen":
        monkeypatch.setattr(packed, "_varlen_fits", lambda q: True)
        monkeypatch.setattr(packed, "flash_attention", stand_in)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_float32(attention, name, masked):
    case = Case(name, torch.float32, masked)
    found = run(case)
    exact = case.exact()
    assert [t.shape for t in found] == [t.shape for t in exact]
    assert [t.dtype for t in found] == [torch.float32] * len(found)
    assert error(found, exact) < 3e-6


@pytest.mark.parametrize("name", SHAPES)
def test_bfloat16_is_no_worse_than_plain_bfloat16(name):
    case = Case(name, torch.bfloat16, masked=True)
    exact = case.exact()
    assert error(run(case), exact) < max(0.02, 1.5 * error(case.eager(), exact))


@pytest.mark.parametrize("tap", [0, 2])
def test_a_mask_of_each_example_in_the_trimmed_layer(tap):
    case = Case("trimmed", torch.float32)
    case.tap, width = tap, len(case.weights[-5])
    untouched = [torch.empty(0)] * 4
    case.masks = [*untouched, torch.full((width,), 0.5), torch.arange(4.0)[:, None].expand(-1, width)]
    assert error(run(case), case.exact()) < 3e-6


def test_taps_are_what_the_down_projection_reads(attention):
    case = Case("trimmed", torch.bfloat16, masked=True)
    for found, expected in zip(run(case)[1:], case.eager()[1:], strict=True):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def test_torch_has_the_attention_that_is_called():
    """The operator is private. Its ten positional arguments and its first result are the same in torch 2.5 to 2.13."""
    schema = packed.flash_attention.default._schema
    positional = [argument.name for argument in schema.arguments if not argument.kwarg_only]
    assert positional == [
        *("query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k"),
        *("dropout_p", "is_causal", "return_debug_mask"),
    ]
    assert all(argument.has_default_value() for argument in schema.arguments if argument.kwarg_only)
    assert schema.returns[0].name == "output"


def test_the_bounds_are_converted_once_a_batch(attention):
    """On the CPU, before they are copied to the device; no layer converts them again."""
    case = Case("trimmed", torch.float32)
    sequences = packed.Sequences(case.bounds.int(), longest=65)
    with Calls() as calls:
        packed.encode_sequences(case.hidden, sequences, case.weights, [], case.heads, EPS, case.read, 0)
    assert "aten::_to_copy" not in calls.names


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["trimmed", "several slices"])
def test_layer_by_layer_is_the_same(name, masked):
    case = Case(name, torch.float32, masked)
    arguments = (case.hidden, case.bounds, case.weights, case.masks, case.heads, EPS, case.read, case.tap)
    layers, (expected, *taps) = list(packed.encode_layers(*arguments)), packed.encode(*arguments)
    assert torch.equal(layers[-1][0], expected) and len(layers) == len(taps)
    assert all(torch.equal(act, tap) for (_, act), tap in zip(layers, taps, strict=True))


def test_layer_by_layer_keeps_no_activations():
    case = Case("trimmed", torch.float32)
    arguments = (case.hidden, case.bounds, case.weights, [], case.heads, EPS, case.read, case.tap)
    layers = packed.encode_layers(*arguments)
    for _ in range(2):
        _, act = next(layers)
        left = weakref.ref(act)
        del act
        assert left() is None
    case.bounds = case.bounds + 1
    with pytest.raises(RuntimeError, match="bounds must go from 0"):
        next(packed.encode_layers(case.hidden, case.bounds, *arguments[2:]))


class Calls(TorchDispatchMode):
    """The names of the operators that are called inside of the context."""

    def __enter__(self):
        self.names = []
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("tap", [0, 3])
def test_gelu_of_many_neurons_needs_no_second_tensor(tap):
    case = Case("several slices", torch.float32)  # layers of 600 and of 64 neurons
    case.tap = tap
    with Calls() as calls:
        found = run(case)
    assert error(found, case.exact()) < 3e-6
    few = 0 if tap else 1
    assert calls.names.count("skn::ffn_pruned") == few
    assert calls.names.count("aten::gelu_") == 2 - few and "aten::gelu" not in calls.names


def test_few_neurons_are_those_that_one_kernel_takes():
    pytest.importorskip("triton")
    from skn.kernels import ffn_pruned

    assert packed.FEW_NEURONS == ffn_pruned.MAX_NEURONS


def test_a_nan_stays_in_its_sequence(attention):
    case = Case("small", torch.float32)
    whole = run(case)[0]
    case.hidden[6] = torch.nan  # the third sequence begins at row 6
    found = run(case)[0]
    assert torch.equal(found[:6], whole[:6]) and found[6:].isnan().all()


@pytest.mark.parametrize("name", ["small", "trimmed"])
def test_rows_and_sequences_of_no_one_change_nothing(attention, name):
    """What a batch is filled up with: rows behind the last bound, sequences without rows, a longer longest."""
    case = Case(name, torch.float32, masked=True)
    expected = case.exact()
    case.masks = [m if m.dim() < 2 or len(m) < 2 else torch.cat([m, m[:2]]) for m in case.masks]
    rows, count = len(case.hidden), len(case.bounds) - 1
    weights = [packed.pack(w, form_of(w)) if w.dim() == 2 else w for w in case.weights]
    for value in (0.0, torch.nan):
        filled = torch.cat([case.hidden, torch.full((9, case.hidden.shape[1]), value)])
        bounds = torch.cat([case.bounds, torch.full((2,), rows)])
        sequences = packed.Sequences(bounds.int(), longest=80)
        found = packed.encode_sequences(filled, sequences, weights, case.masks, case.heads, EPS, case.read, case.tap)
        found = [found[0][: count * case.read or rows], *(act[:count] for act in found[1:])]
        assert error(found, expected) < 3e-6


@pytest.mark.parametrize("with_varlen", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_nothing_waits_for_the_device_and_no_shape_depends_on_values(monkeypatch, name, with_varlen):
    """Tensors without values: whoever asked for one, as a wait for a device does, would fail."""
    monkeypatch.setattr(packed, "_varlen_fits", lambda q: with_varlen)
    case = Case(name, torch.bfloat16, masked=True)
    hidden, bounds = case.hidden.to("meta"), case.bounds.to("meta")
    weights, masks = [w.to("meta") for w in case.weights], [m.to("meta") for m in case.masks]
    sequences = packed.Sequences(bounds.int(), longest=80)
    found = packed.encode_sequences(hidden, sequences, weights, masks, case.heads, EPS, case.read, case.tap)
    assert [t.shape for t in found] == [t.shape for t in case.exact()]
    assert all(t.is_meta and t.dtype == torch.bfloat16 for t in found)


def test_strided_hidden_empty_batch_and_long_sequence():
    case = Case("small", torch.float32)
    whole = run(case)[0]
    case.hidden = torch.stack([case.hidden, case.hidden], 2)[:, :, 0]
    assert torch.equal(run(case)[0], whole)
    case.hidden, case.bounds, case.tap = case.hidden[:0], case.bounds[:1], 2
    assert [t.shape for t in run(case)] == [(0, 24), (0, 2, 7), (0, 2, 33)]
    case = Case("small", torch.float32)
    case.hidden = torch.randn(515, 24, generator=torch.Generator().manual_seed(0))
    case.bounds = torch.tensor([0, 512, 515])
    assert error(run(case), case.exact()) < 3e-6


def test_parts_of_one_tensor_are_joined_without_a_copy():
    whole = torch.randn(9, 4)
    parts = whole.split(3)
    assert packed.joined(parts).data_ptr() == whole.data_ptr() and torch.equal(packed.joined(parts), whole)
    assert packed.joined(parts[1:]).data_ptr() == parts[1].data_ptr() and torch.equal(
        packed.joined(parts[1:]), whole[3:]
    )
    bias = torch.randn(6).split(2)
    assert packed.joined(bias).data_ptr() == bias[0].data_ptr()
    turned = [part.t() for part in torch.randn(8, 4).split(4)]
    for others in ((parts[1], parts[0]), (parts[0], parts[2]), (parts[0], parts[1].clone()), turned):
        found = packed.joined(others)
        assert torch.equal(found, torch.cat(others)) and found.data_ptr() not in [t.data_ptr() for t in others]


def test_packing_changes_no_value():
    for shape in ((7, 24), (24, 7), (24, 24), (2000, 24)):
        weight = torch.randn(*shape)
        found = packed.pack(weight, form_of(weight))
        assert torch.equal(found, weight) and found.data_ptr() != weight.data_ptr()
        assert found.t().is_contiguous() if shape == (24, 7) else found.is_contiguous()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (changed(bounds=lambda b: b + 1), "bounds must go from 0 to 15"),
        (changed(bounds=lambda b: torch.tensor([0, 5, 5, 15])), "sequence 1 has 0 rows"),
        (changed(tap=lambda _: 4), "sequence 1 has 1 rows, fewer than 1, read or tap"),
        (changed(masks=lambda _: [torch.ones(7), torch.ones(2, 7)] * 2), r"shift must be \[1, F\] or \[3, F\]"),
        (changed(weights=lambda w: [*w[:10], w[10][:, :20], *w[11:]]), r"\[7, 24\]|x and w|multipl|packed"),
    ],
)
def test_what_does_not_fit_is_refused(case, message):
    with pytest.raises(RuntimeError, match=message):
        run(case)


def test_bounds_may_stay_on_the_cpu():
    case = Case("small", torch.float32)
    with pytest.raises(RuntimeError, match="bounds must be on the CPU or on the device of hidden"):
        _check_encode(case.hidden, case.bounds.to("meta"), case.weights, [], 3)
    meta = [w.to("meta") for w in case.weights]
    _check_encode(case.hidden.to("meta"), case.bounds, meta, [], 3)
