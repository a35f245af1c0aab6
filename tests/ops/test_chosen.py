"""Chosen neurons of ``encode`` and ``ffn_masked``, held against their meaning at every instruction set: they take given
activations row by row, or are recorded."""

import pytest
import torch
from encode_cases import EPS, SHAPES, Case, error
from levels import default, threads
from skn.kernels import encode as on_cuda

from skn import ops
from skn.ops import native, reference
from skn.ops.encoder import _check_encode

NAMES = ["small", "trimmed", "several slices", "tap over read"]
FORMS = [(torch.float32, None), (torch.float32, "bf16x3"), (torch.bfloat16, None)]


class Chosen(Case):
    """A case with chosen neurons: some of a layer, none of the next, all of the third. Every third row keeps its own activations."""

    def __init__(self, name, dtype, form=None, masked=True):
        super().__init__(name, dtype, masked, form)
        g = torch.Generator().manual_seed(7)
        self.widths, rows = SHAPES[name][2], len(self.hidden)
        kept = [torch.rand(width, generator=g) < (0.4, 0.0, 1.1)[i % 3] for i, width in enumerate(self.widths)]
        self.neurons = [which.nonzero()[:, 0] for which in kept]
        self.values = [torch.randn(5, len(own), generator=g).to(dtype) for own in self.neurons]
        self.source = torch.randint(0, 5, (rows,), generator=g).where(torch.arange(rows) % 3 > 0, -1)

    def chosen(self, take):
        return (self.neurons, self.values, self.source) if take else (self.neurons, None, None)

    def arguments(self, weights, take):
        read = self.read if take else 0
        return self.hidden, self.bounds, weights, self.masks, self.heads, EPS, read, self.tap, *self.chosen(take)

    def found(self, level, take=True):
        """What an engine computes: "eager", "cuda", or natively."""
        if level == "cuda":
            return on_cuda.encode(*self.arguments(self.weights, take))
        if level == "eager":
            return default("encode")(*self.arguments(self.weights, take))
        weights = [self.packed(w) if w.dim() == 2 else w for w in self.weights]
        return torch.ops.skn.encode(*self.arguments(weights, take))

    def by_hand(self, take=True):
        """In float64, layer by layer: the FFN with its activations changed row by row."""
        hidden, found, per_layer = self.hidden.double(), [], len(self.weights) // len(self.widths)
        for index, own in enumerate(self.neurons):
            weights = [w.double() for w in self.weights[index * per_layer : (index + 1) * per_layer]]
            masks = self.masks[2 * index : 2 * index + 2] or [torch.empty(0), torch.empty(0)]
            w_in, b_in, w_out, b_out, *norm = weights[10:]
            attended = attention_sublayer(hidden, self.bounds, weights[:10], self.heads)
            act = torch.nn.functional.gelu(attended @ w_in.T + b_in)
            if masks[0].numel():
                lengths = self.bounds.diff()
                shift = masks[1].double().expand(len(lengths), -1).repeat_interleave(lengths, 0)
                act = act * masks[0].double() + shift
            if take:
                for row, source in enumerate(self.source.tolist()):
                    if source >= 0:
                        act[row, own] = self.values[index][source].double()
            else:
                found.append(act[:, own])
            hidden = torch.nn.functional.layer_norm(attended + act @ w_out.T + b_out, hidden.shape[1:], *norm, EPS)
        return hidden, found


def attention_sublayer(hidden, bounds, weights, heads):
    q, k, v, (w_out, b_out), norm = (weights[i : i + 2] for i in range(0, 10, 2))
    context = []
    for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
        one, two, three = (
            (hidden[begin:end] @ w.T + b).unflatten(1, (heads, -1)).transpose(0, 1) for w, b in (q, k, v)
        )
        weight = (one @ two.transpose(1, 2) / one.shape[2] ** 0.5).softmax(2)
        context.append((weight @ three).transpose(0, 1).flatten(1))
    return torch.nn.functional.layer_norm(hidden + torch.cat(context) @ w_out.T + b_out, hidden.shape[1:], *norm, EPS)


def read_of(case, hidden):
    rows = (case.bounds[:-1, None] + torch.arange(case.read)).flatten()
    return hidden[rows] if case.read else hidden


TOLERANCE = {(torch.float32, None): 3e-6, (torch.float32, "bf16x3"): 3e-5}


@pytest.mark.parametrize(("dtype", "form"), FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_rows_take_given_activations(level, name, dtype, form):
    case = Chosen(name, dtype, form)
    found, exact = case.found(level), read_of(case, case.by_hand()[0])
    assert error(found[:1], [exact]) < TOLERANCE.get((dtype, form), 0.03)
    plain = Case(name, dtype, True, form).run(level)
    assert error(plain[:1], [exact]) > 0.1  # what they take has an effect
    for tapped, own, given in zip(found[1:], case.neurons, case.values, strict=bool(case.tap)):
        rows = case.bounds[:-1, None] + torch.arange(case.tap)
        takes = case.source[rows] >= 0
        assert torch.equal(tapped[..., own][takes], given[case.source[rows]][takes])  # to the bit


@pytest.mark.parametrize(("dtype", "form"), FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_activations_are_recorded(level, name, dtype, form):
    case = Chosen(name, dtype, form)
    hidden, *found = case.found(level, take=False)
    recorded = found[len(case.widths) if case.tap else 0 :]
    exact, expected = case.by_hand(take=False)
    assert [t.shape for t in recorded] == [t.shape for t in expected] and {t.dtype for t in recorded} == {dtype}
    tolerance = TOLERANCE.get((dtype, form), 0.03)
    for one, other in zip([hidden, *recorded], [exact, *expected], strict=True):
        assert not other.numel() or error([one], [other]) < tolerance


@pytest.mark.parametrize("name", NAMES)
def test_cuda_serves_them_alike(name):
    case = Chosen(name, torch.float32)
    for take in (True, False):
        found, expected = case.found("cuda", take), case.found("eager", take)
        assert [t.shape for t in found] == [t.shape for t in expected]
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_what_a_row_has_recorded_and_takes_changes_nothing(level):
    """The activations of a pass, put into the same pass."""
    case = Chosen("trimmed", torch.float32, masked=False)
    case.tap = case.read = 0
    hidden, *case.values = case.found(level, take=False)
    case.source = torch.arange(len(case.hidden))
    assert torch.equal(case.found(level)[0], hidden)


def test_threads_and_neighbours_change_no_bit(level):
    if level == "eager":
        pytest.skip("its products are torch's")
    case = Chosen("several groups", torch.float32)
    alone = case.found(level)
    for count in (1, 2, 3, 11):
        with threads(count):
            assert all(torch.equal(a, b) for a, b in zip(alone, case.found(level), strict=True))
            assert all(
                torch.equal(a, b) for a, b in zip(case.found(level, False), case.found(level, False), strict=True)
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 13, 40), (401, 21), (0, 24)])
@pytest.mark.parametrize("neurons", [33, 1030])
def test_one_sublayer(level, shape, neurons, dtype):
    g = torch.Generator().manual_seed(0)
    hidden, rows = shape[-1], torch.Size(shape[:-1]).numel()
    sizes = [shape, (neurons, hidden), (neurons,), (hidden, neurons), (hidden,)]
    x, w_in, b_in, w_out, b_out = ((torch.randn(*size, generator=g) / size[-1] ** 0.5).to(dtype) for size in sizes)
    scale, shift = torch.rand(neurons, generator=g), torch.randn(1, neurons, generator=g)
    own = (torch.rand(neurons, generator=g) < 0.5).nonzero()[:, 0]
    values = torch.randn(rows, len(own), generator=g).to(dtype)
    source = torch.randperm(rows, generator=g).where(torch.arange(rows) % 2 > 0, -1)
    act = (torch.nn.functional.gelu(x.double() @ w_in.double().T + b_in.double()) * scale + shift).reshape(
        rows, neurons
    )
    for row in range(1, rows, 2):
        act[row, own] = values[source[row]].double()
    exact = (act @ w_out.double().T + b_out.double()).view(shape)
    run = default("ffn_masked") if level == "eager" else ops.ffn_masked
    found = run(x, w_in, b_in, w_out, b_out, scale, shift, own, values, source)
    assert found.dtype == dtype and found.shape == x.shape
    tolerance = 2e-6 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(found.double(), exact, rtol=tolerance, atol=tolerance * 3)


def broken(**changes):
    case = Chosen("small", torch.float32)
    for name, change in changes.items():
        setattr(case, name, change(getattr(case, name)))
    return case


REFUSED = {
    "neurons fall": (broken(neurons=lambda n: [n[0].flip(0), n[1]]), r"neurons must rise and lie in \[0, 7\)"),
    "a neuron twice": (broken(neurons=lambda n: [n[0][:1].expand(len(n[0])), n[1]]), "neurons must rise"),
    "a neuron outside": (broken(neurons=lambda n: [n[0] + 7, n[1]]), r"lie in \[0, 7\)"),
    "int32": (broken(neurons=lambda n: [n[0].int(), n[1]]), r"neurons must be int64 \[K\], got int32"),
    "one layer": (broken(neurons=lambda n: n[:1]), "neurons must hold 2 tensors, one a layer, got 1"),
    "values of one layer": (broken(values=lambda v: v[:1]), "values must hold 2 tensors, one a layer, got 1"),
    "bfloat16": (broken(values=lambda v: [v[0].bfloat16(), v[1]]), r"values must be float32 \[V, \d\], got bfloat16"),
    "narrow": (broken(values=lambda v: [v[0][:, 1:], v[1]]), r"values must be float32 \[V, \d\], got float32"),
    "a row that is not there": (broken(source=lambda s: s + 2), r"source must lie in \[-1, 5\), got [56] at row"),
    "below": (broken(source=lambda s: s - 1), r"source must lie in \[-1, 5\), got -2 at row 0"),
    "short": (broken(source=lambda s: s[1:]), r"source must be int64 \[15\], got int64 \[14\]"),
    "without source": (broken(source=lambda _: None), "values and source go together, and with neurons"),
    "without neurons": (broken(neurons=lambda _: None), "values and source go together, and with neurons"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("path", ["native", "eager", "cuda"])
def test_what_does_not_fit_is_refused(path, name):
    if path == "native" and native.isa() is None:
        pytest.skip("no native library")
    case, message = REFUSED[name]
    if path == "cuda":
        with pytest.raises(RuntimeError, match=message):
            _check_encode(*case.arguments(case.weights, True))
            case.found("cuda")
        return
    with pytest.raises(RuntimeError, match=message):
        case.found(path)


@pytest.mark.parametrize("path", ["native", "eager"])
def test_other_refusals(path):
    if path == "native" and native.isa() is None:
        pytest.skip("no native library")
    case = Chosen("small", torch.float32)
    run = default("encode") if path == "eager" else torch.ops.skn.encode
    given = case.hidden, case.bounds, case.weights, case.masks, case.heads, EPS, 1, 0, case.neurons
    with pytest.raises(RuntimeError, match="every row is recorded, so read must be 0, got 1"):
        run(*given)
    run = default("ffn_masked") if path == "eager" else ops.ffn_masked
    x, linear = torch.zeros(3, 4), (torch.zeros(5, 4), torch.zeros(5), torch.zeros(4, 5), torch.zeros(4))
    with pytest.raises(RuntimeError, match="neurons, values and source go together"):
        run(x, *linear, torch.ones(5), torch.zeros(1, 5), torch.arange(2))
    with pytest.raises(RuntimeError, match=r"source must lie in \[-1, 2\), got 2 at row 2"):
        run(x, *linear, torch.ones(5), torch.zeros(1, 5), torch.arange(2), torch.zeros(2, 2), torch.arange(3))


def test_the_definition_keeps_its_input():
    act = torch.arange(6.0).view(2, 3)
    found = reference.taken(act, torch.tensor([2]), torch.tensor([[7.0], [8.0]]), torch.tensor([-1, 1]))
    assert found.tolist() == [[0, 1, 2], [3, 4, 8]] and act[1, 2] == 5
    assert reference.taken(act, torch.tensor([2]), torch.empty(0, 1), torch.tensor([-1, -1])) is act
