"""``pack`` and ``encode`` against the eager definition in float64, at every instruction set of the machine."""

import pytest
import torch
from levels import default, threads

from skn import ops
from skn.ops import encoder, native, reference
from skn.ops.encoder import PER_LAYER, pack

EPS = 1e-5
# Hidden size, heads, FFN widths, lengths, read, tap: multiples of nothing, one row, many rows, wide and narrow layers.
SHAPES = {
    "small": (24, 3, [7, 33], [5, 1, 9], 0, 0),
    "trimmed": (40, 4, [61, 130, 1], [17, 40, 3, 65], 1, 2),
    "several slices": (64, 2, [600, 64], [100, 33], 0, 3),
    "odd": (21, 7, [61], [3, 4], 2, 1),
    "odd heads in full rows": (96, 32, [33], [3, 4], 0, 0),
    "several groups": (32, 4, [48], [70] * 9 + [1], 1, 0),
    "tap over read": (32, 2, [40, 50], [6, 8], 1, 6),
}


def normal(*shape, generator):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def layer(hidden, width, generator):
    def linear(n, k):
        return [normal(n, k, generator=generator) / k**0.5, 0.1 * normal(n, generator=generator)]

    def norm():
        return [1 + 0.1 * normal(hidden, generator=generator), 0.1 * normal(hidden, generator=generator)]

    square = [linear(hidden, hidden) for _ in range(4)]
    return sum([*square, norm(), linear(width, hidden), linear(hidden, width), norm()], [])


class Case:
    """Inputs of a shape, rounded to a dtype, and the float64 answer to the rounded inputs."""

    def __init__(self, name, dtype, masked=False, form=None):
        self.form = form
        hidden, self.heads, widths, lengths, self.read, self.tap = SHAPES[name]
        g = torch.Generator().manual_seed(len(name))
        self.weights = [t.to(dtype) for width in widths for t in layer(hidden, width, g)]
        self.hidden = normal(sum(lengths), hidden, generator=g).to(dtype)
        self.bounds = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])
        self.masks = self.draw_masks(widths, len(lengths), g) if masked else []

    def draw_masks(self, widths, examples, g):
        """A mask for all examples, one for each, and none, in turn."""
        masks = []
        for i, width in enumerate(widths):
            rows = (1, examples, 1)[i % 3]
            pair = [torch.rand(width, generator=g), torch.randn(rows, width, generator=g)]
            masks += pair if i % 3 < 2 else [torch.empty(0), torch.empty(0)]
        return masks

    def exact(self):
        weights = [w.double() for w in self.weights]
        return reference.encode(
            self.hidden.double(), self.bounds, weights, self.masks, self.heads, EPS, self.read, self.tap
        )

    def eager(self):
        weights = [reference.split(w) if self.form and w.dim() == 2 else w for w in self.weights]
        return default("encode")(self.hidden, self.bounds, weights, self.masks, self.heads, EPS, self.read, self.tap)

    def run(self, level):
        if level == "eager":
            return self.eager()
        packed = [pack(w, self.form) if w.dim() == 2 else w for w in self.weights]
        return ops.encode(self.hidden, self.bounds, packed, self.heads, EPS, self.masks, self.read, self.tap)


def form_of(weight):
    return str(weight.dtype).removeprefix("torch.")


def error(found, exact):
    return max(((a.double() - b).abs().max() / b.abs().max()).item() for a, b in zip(found, exact, strict=True))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_float32(level, name, masked):
    case = Case(name, torch.float32, masked)
    found = case.run(level)
    assert [t.dtype for t in found] == [torch.float32] * len(found)
    assert error(found, case.exact()) < 3e-6


@pytest.mark.parametrize("name", SHAPES)
def test_bfloat16_is_no_worse_than_plain_bfloat16(level, name):
    case = Case(name, torch.bfloat16, masked=True)
    exact = case.exact()
    assert error(case.run(level), exact) < max(0.02, 1.5 * error(case.eager(), exact))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_bf16x3_is_far_from_bfloat16_and_near_float32(level, name, masked):
    case = Case(name, torch.float32, masked, form="bf16x3")
    exact = case.exact()
    found = case.run(level)
    assert [t.dtype for t in found] == [torch.float32] * len(found)
    assert error(found, exact) < 2e-5 < 2e-3 < error(Case(name, torch.bfloat16, masked).run(level), exact)


@pytest.mark.parametrize("form", [None, "bf16x3"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_threads_and_neighbours_change_no_bit(level, count, form):
    if level == "eager":
        pytest.skip("its products are torch's")
    case = Case("several groups", torch.float32, form=form)
    alone = case.run("native")
    with threads(count):
        assert all(torch.equal(a, b) for a, b in zip(alone, case.run("native"), strict=True))
    first = Case("several groups", torch.float32, form=form)
    first.hidden, first.bounds = case.hidden[:70], case.bounds[:2]
    assert torch.equal(first.run("native")[0], alone[0][:1])


FORMS = [(torch.float32, None), (torch.bfloat16, None), (torch.float32, "bf16x3")]


@pytest.mark.parametrize(("name", "row"), [("small", 6), ("odd", 3), ("odd heads in full rows", 3)])  # the last begins
@pytest.mark.parametrize(("dtype", "form"), FORMS)
def test_a_nan_stays_in_its_sequence(level, dtype, form, name, row):
    case = Case(name, dtype, form=form)
    before = row if case.read == 0 else case.read  # rows of the result that are of earlier sequences
    whole = case.run(level)[0]
    case.hidden[row] = torch.nan
    found = case.run(level)[0]
    assert torch.equal(found[:before], whole[:before]) and found[before:].isnan().all()


@pytest.mark.parametrize(("dtype", "form"), FORMS)
def test_strided_hidden_and_empty_batch(level, dtype, form):
    case = Case("small", dtype, form=form)
    whole = case.run(level)[0]
    case.hidden = torch.stack([case.hidden, case.hidden], 2)[:, :, 0]
    assert torch.equal(case.run(level)[0], whole)
    case.hidden, case.bounds = case.hidden[:0], case.bounds[:1]
    assert case.run(level)[0].shape == (0, 24)


def test_long_sequence(level):
    g = torch.Generator().manual_seed(0)
    case = Case("small", torch.float32)
    case.hidden, case.bounds = normal(515, 24, generator=g).float(), torch.tensor([0, 512, 515])
    assert error(case.run(level), case.exact()) < 3e-6


@pytest.mark.parametrize(
    ("weight", "form", "message"),
    [
        (torch.zeros(3, 4), "bfloat16", "form must be 'float32' or 'bf16x3' for a weight of float32, got 'bfloat16'"),
        (torch.zeros(3, 4).bfloat16(), "bf16x3", "form must be 'bfloat16' for a weight of bfloat16, got 'bf16x3'"),
        (torch.zeros(3, 4).double(), None, "weight must be float32 or bfloat16"),
        (torch.zeros(3), None, r"\[N, K\]"),
    ],
)
@pytest.mark.parametrize("path", ["native", "eager"])
def test_pack_refuses_a_form_that_does_not_fit(path, weight, form, message):
    with pytest.raises(RuntimeError, match=message):
        if path == "native":
            pack(weight, form)
        else:
            default("pack")(weight, form or "float32")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(dtype):
    case = Case("trimmed", dtype, masked=True)
    for form, of in encoder.FORMS.items():
        if of == dtype:
            torch.library.opcheck(torch.ops.skn.pack.default, (case.weights[0], form), test_utils=("test_schema",))
    if native.isa() is None:
        arguments = (case.hidden, case.bounds, case.weights, case.masks, case.heads, EPS, case.read, case.tap)
        torch.library.opcheck(torch.ops.skn.encode.default, arguments)


def test_fake_shapes():
    case = Case("trimmed", torch.float32)
    fake = [w.to("meta") for w in case.weights]
    found = torch.ops.skn.encode(case.hidden.to("meta"), case.bounds.to("meta"), fake, [], case.heads, EPS, 1, 2)
    assert [t.shape for t in found] == [t.shape for t in case.exact()]
    for form in ("float32", "bf16x3"):
        packed = default("pack")(case.weights[0], form)
        fake = torch.ops.skn.pack(case.weights[0].to("meta"), form)
        assert (fake.shape, fake.dtype) == (packed.shape, packed.dtype)


def test_a_gradient_is_refused():
    case = Case("small", torch.float32)
    case.hidden.requires_grad_()
    with pytest.raises(RuntimeError, match="for inference only"):
        case.run("native")


def changed(**changes):
    case = Case("small", torch.float32)
    for name, change in changes.items():
        setattr(case, name, change(getattr(case, name)))
    return case


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (changed(hidden=lambda x: x.double()), "hidden must be float32 or bfloat16"),
        (changed(hidden=lambda x: x[None]), r"\[T, H\]"),
        (changed(bounds=lambda b: b.int()), "bounds must be int64"),
        (changed(bounds=lambda b: b + 1), "bounds must go from 0 to 15"),
        (changed(bounds=lambda b: torch.tensor([0, 5, 5, 15])), "sequence 1 has 0 rows"),
        (changed(heads=lambda _: 5), "5 heads do not divide 24"),
        (changed(weights=lambda w: w[:-1]), f"{PER_LAYER} tensors a layer, got {2 * PER_LAYER - 1}"),
        (changed(tap=lambda _: 4), "sequence 1 has 1 rows, fewer than 1, read or tap"),
        (changed(masks=lambda _: [torch.ones(7)]), "scale and shift of 2 layers, got 1"),
    ],
)
@pytest.mark.parametrize("path", ["native", "eager"])
def test_what_does_not_fit_is_refused(path, case, message):
    if path == "native" and native.isa() is None:
        pytest.skip("no native library")
    with pytest.raises(RuntimeError, match=message):
        case.run(path)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (changed(masks=lambda _: [torch.ones(6), torch.ones(1, 7)] * 2), r"scale must be float32 \[7\]"),
        (changed(masks=lambda _: [torch.ones(7), torch.ones(2, 7)] * 2), "shift must be float32"),
        (changed(weights=lambda w: [w[1], *w[1:]]), "must be packed"),
        (changed(form=lambda _: "bf16x3", weights=lambda w: [*w[:2], w[2].bfloat16()[0], *w[3:]]), "as bf16x3"),
        (changed(weights=lambda w: [w[0], w[1][:5], *w[2:]]), r"expected float32 \[24\], got float32 \[5\]"),
    ],
)
def test_the_kernel_reads_no_foreign_memory(case, message):
    if native.isa() is None:
        pytest.skip("no native library")
    with pytest.raises(RuntimeError, match=message):
        case.run("native")
